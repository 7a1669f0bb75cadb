"""The documentation: every page is reached, every link leads somewhere, and what is generated is fresh."""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

import eprune
from eprune.cli.main import COMMANDS
from eprune.runtime.main import options as program_options
from scripts import reference
from tests.kit import pages
from tests.kit.accelerator import NEEDS_CC
from tests.kit.opencl import NEEDS_OPENCL
from tests.kit.programs import ROOT, environment

DOCS = ROOT / "docs"
#: the kinds of pages, as folders of docs/
KINDS = {"tutorial", "how-to", "reference", "explanation", "results"}


@pytest.mark.parametrize("page", pages.PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert pages.broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_seen():
    page = DOCS / "index.md"
    assert pages.broken_links(page, "[a](nowhere.md) and [b](index.md#nowhere), [c](#here)\n# Here\n") == [
        "nowhere.md",
        "index.md#nowhere",
    ]
    assert pages.broken_links(page, "```\n[a](nowhere.md)\n```\n`[b](nowhere.md)` [c](https://example.org)\n") == []


def test_every_page_is_of_one_kind_and_is_listed_on_the_first_one():
    written = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"index.md"}
    assert {name.partition("/")[0] for name in written} == KINDS
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert written - set(re.findall(r"\]\(([^)#]+)\)", index)) == set()


@pytest.mark.parametrize("name", reference.PAGES)
def test_generated_pages_are_fresh(name):
    """Wrapping and the notation of defaults may differ between versions of click, words may not."""
    written = (ROOT / name).read_text(encoding="utf-8")
    assert written.split() == reference.PAGES[name]().split(), f"{name} is out of date: run `make docs`"


def test_the_commands_page_has_every_command_with_its_alias():
    text = reference.commands_page()
    assert set(re.findall(r"^## eprune (\S+)$", text, re.MULTILINE)) == set(COMMANDS)
    assert "`eprune analyzer`" in text


def test_every_guide_that_the_commands_page_names_is_about_that_command():
    assert set(reference.GUIDES) <= {f"eprune {name}" for name in COMMANDS}
    for command, guide in reference.GUIDES.items():
        assert command in (DOCS / "reference" / guide).resolve().read_text(encoding="utf-8")


def test_there_is_a_manual_page_for_each_command():
    made = reference.manual_pages()
    assert {"eprune.1", "eprune-analyze.1"} <= set(made)
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed")
    for name, text in made.items():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww"], input=text, capture_output=True, text=True, check=False
        )
        assert done.stderr == "", name
        assert "SYNOPSIS" in re.sub(".\x08|\x1b\\[[0-9;]*m", "", done.stdout), name


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    built = {path.relative_to(tmp_path / "site").with_suffix(".md") for path in (tmp_path / "site").rglob("*.html")}
    assert built >= {page.relative_to(DOCS) for page in DOCS.rglob("*.md")}


def photograph_vehicles(folder: Path) -> None:
    """``photos`` and ``labels.txt``, as pages say that a user has them."""
    code = (
        "import numpy as np; from PIL import Image; from vehicle_renderer import render_vehicle\n"
        "for n in range(4):\n"
        " pixels = Image.fromarray(np.rint(render_vehicle(1, n) * 255).astype(np.uint8))\n"
        " pixels.resize((192, 192)).save(f'photos/{n}.png')"
    )
    (folder / "photos").mkdir()
    paths = f"{ROOT / 'actors'}{os.pathsep}{ROOT}"
    subprocess.run([sys.executable, "-c", code], cwd=folder, env={**environment(), "PYTHONPATH": paths}, check=True)
    (folder / "labels.txt").write_text("car\nbus\ntruck\nmotorcycle\n")


def record_sound(folder: Path) -> None:
    """``sound.wav``: two seconds of noise."""
    with wave.open(str(folder / "sound.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(random.Random(1).randbytes(64_000))


#: pages whose sessions are run here, in order, in a folder like a checkout; others have tests of their own
RUN_HERE = [
    "how-to/compress.md",
    "how-to/explore_cuts.md",
    "how-to/from_model_to_machines.md",
    "how-to/multi_rate.md",
    "how-to/offload.md",
    "how-to/partition_a_model.md",
    "how-to/place_on_many_devices.md",
    "how-to/run_in_containers.md",
    "how-to/run_on_dora.md",
]
#: those that take seconds each time
QUICK = ("how-to/offload.md", "how-to/from_model_to_machines.md", "how-to/multi_rate.md")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.long) for name in RUN_HERE]
)
def test_the_sessions_of_a_page_are_real(name, tmp_path):
    for folder in ("graphs", "mappings", "actors"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    photograph_vehicles(tmp_path)
    record_sound(tmp_path)
    commands = pages.sessions((DOCS / name).read_text(encoding="utf-8"))
    assert commands
    for command, shown in commands:
        done = pages.run(command, tmp_path)
        assert done.returncode == 0, done.stdout
        assert pages.missing(shown, done.stdout) == [], f"$ {command}\n{done.stdout}"


@pytest.mark.parametrize(
    "page",
    [pytest.param("write_a_c_actor.md", marks=NEEDS_CC), pytest.param("write_an_opencl_actor.md", marks=NEEDS_OPENCL)],
)
def test_the_actor_in_another_language_works_as_shown(page, tmp_path):
    text = (DOCS / "how-to" / page).read_text(encoding="utf-8")
    for name, body in pages.files(text).items():
        (tmp_path / name).write_text(body, encoding="utf-8")
    commands = pages.sessions(text)
    assert len(commands) == 2
    for command, shown in commands:
        done = pages.run(command, tmp_path)
        assert done.returncode == 0, done.stdout
        assert pages.missing(shown, done.stdout, timed=False) == [], f"$ {command}\n{done.stdout}"


def test_every_page_with_a_session_is_run_by_some_test():
    tests = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    shown = [page for page in pages.PAGES if pages.sessions(page.read_text(encoding="utf-8"))]
    assert [page for page in shown if page.name not in tests] == []
    assert len(shown) > 10


TUTORIAL = (DOCS / "tutorial" / "first_application.md").read_text(encoding="utf-8")


def test_the_tutorial_works_from_beginning_to_end(tmp_path):
    written = pages.files(TUTORIAL)
    assert len(written) == 10
    for name, body in written.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(body, encoding="utf-8")
    commands = pages.sessions(TUTORIAL)
    assert len(commands) >= 9
    for command, shown in commands:
        done = pages.run(command, tmp_path)
        assert (done.returncode == 0) == ("error" not in shown), done.stdout
        assert pages.missing(shown, done.stdout) == [], f"$ {command}\n{done.stdout}"


def test_the_options_of_programs_are_documented(monkeypatch):
    made = []
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", lambda parser, _: made.append(parser))
    program_options.parse("", links=True, faults=True, carried=True, arguments=[])
    shown = [action for action in made[0]._actions if action.help is not argparse.SUPPRESS]
    options = {action.option_strings[-1] for action in shown} - {"--help"}
    page = (DOCS / "reference" / "programs.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(--[a-z-]+)", page, re.MULTILINE)) == options


def test_the_run_record_is_documented(tmp_path):
    """Every key of a record, of its actors, FIFOs and links."""
    words = "run graphs/vehicle.xml -p graphs/endpoint.xml graphs/server.xml -m mappings/vehicle_split --frames 2 -q"
    subprocess.run(
        [sys.executable, "-m", "eprune", *words.split(), "--record", str(tmp_path)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        check=True,
    )
    record = json.loads((tmp_path / "endpoint.json").read_text())
    page = (DOCS / "reference" / "records.md").read_text(encoding="utf-8")
    keys = {*record, *record["actors"]["Input"], *record["fifos"]["f3"], *record["links"]["f3"]}
    keys |= {*record["peers"]["server"]}
    assert {key for key in keys if f"`{key}`" not in page} == set()


def test_the_notebook_runs_from_beginning_to_end(monkeypatch):
    """Each cell, and what it shows at its end; outputs are not stored, since they would differ from run to run."""
    monkeypatch.chdir(DOCS / "tutorial")
    notebook = json.loads(Path("notebook.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in (cell for cell in notebook["cells"] if cell["cell_type"] == "code"):
        assert cell["outputs"] == []
        *statements, last = ast.parse("".join(cell["source"])).body
        shown = ast.Expression(last.value) if isinstance(last, ast.Expr) else None
        exec(compile(ast.Module([*statements, *([] if shown else [last])], []), "notebook", "exec"), names)
        if shown:
            result = eval(compile(shown, "notebook", "eval"), names)
            assert getattr(result, "_repr_html_", result.__repr__)()
    assert names["scores"].shape[0] == 20


def test_the_reference_of_the_library_has_everything_that_it_offers():
    page = (DOCS / "reference" / "library.md").read_text(encoding="utf-8")
    assert [name for name in eprune.__all__ if f"## `eprune.{name}" not in page] == []
