"""What users install and what distributions package: the source distribution and the wheel that is built from it."""

from __future__ import annotations

import email
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from configparser import RawConfigParser
from pathlib import Path

import pytest

import eprune
from tests.kit.programs import ROOT

SETTINGS = RawConfigParser()
SETTINGS.read(ROOT / "setup.cfg", encoding="utf-8")
URL = SETTINGS["metadata"]["url"]
#: what a source distribution has besides the repository's files
GENERATED = {"PKG-INFO"}


def build(kind: str, tree: Path, target: Path) -> Path:
    """Build ``sdist`` or ``wheel`` of a tree, without the network."""
    # An archive's contents are looked at, not its size: twelve seconds go into the best compression.
    quick = "import zlib; best = zlib.compressobj; zlib.compressobj = lambda level, *how: best(1, *how)"
    hook = f"{quick}; from setuptools import build_meta; print(build_meta.build_{kind}({str(target)!r}))"
    done = subprocess.run([sys.executable, "-c", hook], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def repository():
    """The files of the repository, committed or not yet."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("git is not installed")
    if done.returncode != 0 or not (ROOT / ".git").exists():
        pytest.skip("this is not a checkout")
    return {name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def sdist(repository, tmp_path_factory):
    """The source distribution of a clean checkout, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    for name in repository:
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "tree" / name)
    with tarfile.open(build("sdist", folder / "tree", folder)) as archive:
        archive.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / f"eprune-{eprune.__version__}"


@pytest.fixture(scope="module")
def wheel(sdist):
    with zipfile.ZipFile(build("wheel", sdist, sdist.parent)) as archive:
        yield archive


def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.message_from_bytes(wheel.read(f"eprune-{eprune.__version__}.dist-info/METADATA"))


def test_a_source_distribution_holds_what_the_repository_holds(sdist, repository):
    packed = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    packed = {name for name in packed if not name.startswith(("eprune.egg-info/", "build/"))}
    assert packed == repository | GENERATED


@pytest.mark.long
def test_the_tests_of_a_source_distribution_are_complete(sdist):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q"],
        cwd=sdist,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_wheel_holds_the_package_its_data_and_its_licence(wheel, repository):
    names = set(wheel.namelist())
    assert f"eprune-{eprune.__version__}.dist-info/licenses/LICENSE" in names
    ours = {name for name in repository if name.startswith("eprune/")}
    ours |= {f"eprune/{name}" for name in repository if name.startswith(("actors/", "graphs/", "mappings/"))}
    assert {name for name in names if "dist-info" not in name} == ours


def test_the_licence_is_the_one_that_the_metadata_states(wheel):
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "limitations under the License." in text


def test_the_classifiers_name_the_versions_of_python_that_are_supported(wheel):
    stated = metadata(wheel)
    [oldest] = re.findall(r">=3\.(\d+)", stated["Requires-Python"])
    minors = [int(minor) for minor in re.findall(r":: 3\.(\d+)", " ".join(stated.get_all("Classifier")))]
    assert minors == list(range(int(oldest), minors[-1] + 1))
    assert "Typing :: Typed" in stated.get_all("Classifier")


def test_the_description_has_no_link_that_needs_a_checkout(wheel):
    """Every link leads to a file of this repository, or to a place on the page."""
    text = metadata(wheel).get_payload()
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(targets) > 10
    for target in targets:
        local = re.fullmatch(rf"{re.escape(URL)}/(?:blob|raw)/main/([^#]+)(#.*)?", target)
        assert local or target.startswith(("#", "https://")), target
        assert not local or (ROOT / local[1]).exists(), target
    assert f"({URL}/raw/main/docs/" in text, "a picture is linked as a file, not as a page"


def test_the_readme_states_the_purpose_of_each_dependency():
    required = re.findall(r"^([\w-]+)", SETTINGS["options"]["install_requires"].lower(), re.MULTILINE)
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Dependencies")[2].lower()
    assert required
    assert [name for name in set(required) if not re.search(rf"^\|[^|]*\b{name}\b[^|]*\| ", table, re.MULTILINE)] == []


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("[a](docs/b.md#c)", "[a](https://x.org/y/blob/main/docs/b.md#c)"),
        ("![a](docs/b.svg)", "![a](https://x.org/y/raw/main/docs/b.svg)"),
        ("[a](#b) and [c](https://d.org)", "[a](#b) and [c](https://d.org)"),
    ],
)
def test_relative_links_become_absolute(given, wanted):
    assert runpy.run_path(str(ROOT / "setup.py"))["description"](given, "https://x.org/y") == wanted


def test_version_licence_and_address_are_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.*)$", citation, re.MULTILINE)[1] == eprune.__version__
    assert re.search(r"^license: (.*)$", citation, re.MULTILINE)[1] == SETTINGS["metadata"]["license_expression"]
    assert re.search(r"^repository-code: (.*)$", citation, re.MULTILINE)[1] == URL
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert re.search(r"^repo_url: (.*)$", site, re.MULTILINE)[1] == URL
