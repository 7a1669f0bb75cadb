"""`eprune new`: what it writes is sound and runs at once."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
from application import ROOT

from tests.kit.accelerator import NEEDS_CC, WARNINGS
from tests.kit.opencl import NEEDS_OPENCL
from tests.kit.programs import environment

APPLICATION = {
    "Makefile",
    "README.md",
    "application.xml",
    "behaviours.py",
    "mappings/local/endpoint.xml",
    "mappings/split/endpoint.xml",
    "mappings/split/server.xml",
    "platforms/endpoint.xml",
    "platforms/server.xml",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wave(place, eprune, monkeypatch):
    """A new application, in its folder."""
    done = eprune("new", "app", "wave")
    assert done.code == 0, done.err
    monkeypatch.chdir(place / "wave")
    return place / "wave"


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_an_application_has_these_files_and_no_others(place, eprune):
    done = eprune("new", "app", "wave")
    assert done.out.split() == sorted(f"wave/{name}" for name in APPLICATION)
    assert "next: cd wave && make check split" in done.err
    assert {str(path.relative_to(place / "wave")) for path in (place / "wave").rglob("*.*")} >= APPLICATION - {
        "Makefile"
    }
    assert [path.name for path in place.iterdir()] == ["wave"]


LOCAL = ("application.xml", "-p", "platforms/endpoint.xml", "-m", "mappings/local")
SPLIT = ("application.xml", "-p", "platforms", "-m", "mappings/split")


def test_an_application_is_sound(wave, eprune):
    for deployment in (LOCAL, SPLIT):
        done = eprune("analyze", *deployment, "--strict")
        assert (done.code, done.out.splitlines()[0]) == (0, "no findings")


def test_an_application_runs_and_its_cut_does_not_change_the_results(wave, eprune_process):
    local = eprune_process("run", *LOCAL, "-q")
    split = eprune_process("run", *SPLIT, "-q")
    assert (local.code, split.code) == (0, 0), local.err + split.err
    assert local.out == split.out
    assert [each["frame"] for each in lines(local.out)] == list(range(100))


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_its_makefile_does_what_it_lists(wave):
    variables = {**environment(), "EPRUNE_DEBUG": "1"}
    for target in ("check", "local", "split", "programs", "clean"):
        done = subprocess.run(
            ["make", target, f"EPRUNE={sys.executable} -m eprune"],
            capture_output=True,
            text=True,
            env=variables,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if target == "programs":
            assert {path.name for path in (wave / "build").iterdir()} == {"endpoint.pyz", "server.pyz"}
    assert not (wave / "build").exists()


def test_every_command_in_its_readme_works(wave, eprune):
    commands = [
        line.strip() for line in (wave / "README.md").read_text().splitlines() if line.startswith("    eprune ")
    ]
    assert len(commands) == 3
    for command in commands:
        _, *arguments = command.split()
        assert eprune(*arguments).code == 0, command


@NEEDS_CC
def test_a_new_actor_in_c_takes_the_place_of_another_one(wave, eprune, eprune_process):
    done = eprune("new", "actor", "edges", "-o", "edges.c")
    assert (done.code, done.out) == (0, "edges.c\n")
    assert '<actor name="edges" c="edges.c:edges">' in done.err
    graph = wave / "application.xml"
    text = graph.read_text().replace('class="behaviours.py:Filter"', 'c="edges.c:edges"')
    graph.write_text(text.replace('<param name="window" value="4"/>', '<param name="factor" value="0"/>'))
    done = eprune("analyze", *LOCAL, "--strict")
    assert (done.code, done.out.splitlines()[0]) == (0, "no findings")
    assert {each["peak"] for each in lines(eprune_process("run", *LOCAL, "-q").out)} == {0}
    flags = ["-fsyntax-only", *WARNINGS, "-I", str(ROOT / "eprune/runtime/fire")]
    subprocess.run(["cc", *flags, "edges.c"], check=True)
    assert eprune("new", "actor", "edges", "-o", "edges.c").code == 2
    assert "is not a name in C" in eprune("new", "actor", "2edges", "-o", "2.c").err


@NEEDS_OPENCL
def test_a_new_kernel_takes_the_place_of_another_actor(wave, eprune, eprune_process):
    done = eprune("new", "actor", "edges", "-o", "edges.cl")
    assert (done.code, done.out) == (0, "edges.cl\n")
    assert '<actor name="edges" opencl="edges.cl:edges">\n    <param name="factor" value="1"/>' in done.err
    graph, platform, mapping = (
        wave / "application.xml",
        wave / "platforms/endpoint.xml",
        wave / LOCAL[-1] / "endpoint.xml",
    )
    text = graph.read_text().replace('class="behaviours.py:Filter"', 'opencl="edges.cl:edges"')
    graph.write_text(text.replace('<param name="window" value="4"/>', '<param name="factor" value="0"/>'))
    platform.write_text(platform.read_text().replace("<link", '<unit name="gpu" opencl="0:0"/>\n  <link', 1))
    mapping.write_text(re.sub('(actor="Filter" unit=)"[^"]*"', r'\1"gpu"', mapping.read_text()))
    done = eprune("analyze", *LOCAL, "--strict")
    assert (done.code, done.out.splitlines()[0]) == (0, "no findings")
    assert {each["peak"] for each in lines(eprune_process("run", *LOCAL, "-q").out)} == {0}


def test_a_new_actor_takes_the_place_of_another_one(wave, eprune, eprune_process):
    done = eprune("new", "actor", "EdgeFilter")
    assert (done.code, done.out) == (0, "edge_filter.py\n")
    assert 'class="edge_filter.py:EdgeFilter"' in done.err
    graph = wave / "application.xml"
    text = graph.read_text().replace('class="behaviours.py:Filter"', 'class="edge_filter.py:EdgeFilter"')
    graph.write_text(text.replace('<param name="window" value="4"/>', '<param name="factor" value="0"/>'))
    assert eprune("analyze", *SPLIT, "--strict").code == 0
    ran = eprune_process("run", *SPLIT, "-q", "--frames", "3")
    assert ran.code == 0, ran.err
    assert [each["peak"] for each in lines(ran.out)] == [0.0, 0.0, 0.0]


def test_a_new_actor_can_be_inspected(place, eprune):
    eprune("new", "actor", "Blur")
    data = json.loads(eprune("inspect", "blur.py", "--format", "json").out)
    assert (data["name"], data["is_actor"], data["reads"], data["writes"]) == ("Blur", True, ["in"], ["out"])


def test_templates_are_formatted_like_the_rest(place, eprune):
    eprune("new", "app", "wave")
    eprune("new", "actor", "Blur")
    ruff = [sys.executable, "-m", "ruff"]
    settings = ["--config", str(ROOT / "pyproject.toml"), "wave/behaviours.py", "blur.py"]
    assert subprocess.run([*ruff, "format", "--check", *settings], check=False).returncode == 0
    assert subprocess.run([*ruff, "check", "--no-cache", "--ignore", "I001", *settings], check=False).returncode == 0


def test_for_scripts_it_prints_json(place, eprune):
    data = json.loads(eprune("new", "actor", "Blur", "-o", "lib/soft.py", "--format", "json").out)
    assert data == {"kind": "actor", "name": "Blur", "files": ["lib/soft.py"]}
    assert "class Blur(Actor)" in (place / "lib/soft.py").read_text()


def test_an_empty_folder_may_be_there(place, eprune):
    (place / "there").mkdir()
    assert eprune("new", "app", "wave", "-o", "there").code == 0
    assert (place / "there/application.xml").exists()


@pytest.mark.parametrize("there", ["wave/notes.txt", "wave"])
def test_an_application_overwrites_nothing(place, eprune, there):
    path = place / there
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    done = eprune("new", "app", "wave")
    assert (done.code, done.out) == (2, "")
    assert "wave: error[FILE]: is there already, and is not overwritten" in done.err
    assert path.read_text() == "mine"
    assert [each.name for each in place.iterdir()] == ["wave"], "nothing is left behind"


def test_an_actor_overwrites_nothing(place, eprune):
    (place / "blur.py").write_text("mine")
    done = eprune("new", "actor", "Blur")
    assert (done.code, done.out) == (2, "")
    assert "blur.py: error[FILE]: is there already, and is not overwritten" in done.err
    assert (place / "blur.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("app", "a b"), "'a b' is not a name of letters, digits, '_' and '-'; for example 'a_b'"),
        (("app", "../up"), "for example 'up'"),
        (("actor", "edge-filter"), "'edge-filter' is not the name of a class, such as 'EdgeFilter'"),
        (("actor", "!"), "'!' is not the name of a class, such as 'EdgeFilter'"),
        (("actor", "None"), "'None' is not the name of a class"),
        (("actor", "Numpy"), "'numpy.py' would hide the module 'numpy'"),
        (("actor", "Blur", "-o", "blur.txt"), "'blur.txt' is not the name of a Python module, FILE.py"),
        (("actor", "Blur", "-o", "my blur.py"), "'my blur.py' is not the name of a Python module, FILE.py"),
    ],
)
def test_names_that_would_not_work_are_refused(place, eprune, arguments, message):
    done = eprune("new", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert list(place.iterdir()) == []


@pytest.mark.skipif(sys.version_info < (3, 10), reason="Python 3.9 has no list of its own modules")
def test_a_module_of_the_standard_library_is_not_hidden(place, eprune):
    assert "would hide the module 'random'" in eprune("new", "actor", "Random").err


def test_a_folder_that_cannot_be_written_gets_one_message(place, eprune):
    (place / "file").write_text("")
    done = eprune("new", "app", "wave", "-o", "file/wave")
    assert (done.code, done.out) == (2, "")
    assert "file/wave: error[FILE]: cannot be written: Not a directory" in done.err
