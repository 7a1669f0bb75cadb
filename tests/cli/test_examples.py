"""The examples that ship with eprune: their programs, and the demo."""

from __future__ import annotations

import ast
import json
import re
import runpy
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from application import ROOT

from eprune.formats.examples import example
from tests.golden import expected

CASES = {
    "vehicle_local/endpoint": ("vehicle", ["endpoint"]),
    "vehicle_split/endpoint": ("vehicle", ["endpoint", "server"]),
    "vehicle_split/server": ("vehicle", ["endpoint", "server"]),
    "vehicle_dual/endpoint1": ("vehicle_dual", ["endpoint1", "endpoint2", "server"]),
    "vehicle_dual/server": ("vehicle_dual", ["endpoint1", "endpoint2", "server"]),
    "predistorter_split/endpoint": ("predistorter", ["endpoint", "server"]),
    "predistorter_split/server": ("predistorter", ["endpoint", "server"]),
    "sound_windows_split/endpoint": ("sound_windows", ["endpoint", "server"]),
    "sound_windows_split/server": ("sound_windows", ["endpoint", "server"]),
    "vehicle_third_split/endpoint": ("vehicle_third", ["endpoint", "server"]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_programs_are_what_was_reviewed(eprune, monkeypatch, case):
    """All but the digest, which changes with every actor's text.

    They are written into the checkout: where their lines break depends on how far their files are.
    """
    application, platforms = CASES[case]
    folder, platform = case.split("/")
    monkeypatch.chdir(ROOT)
    files = [f"graphs/{name}.xml" for name in platforms]
    deployment = (f"graphs/{application}.xml", "-p", *files, "-m", f"mappings/{folder}")
    (ROOT / "build").mkdir(exist_ok=True)
    with TemporaryDirectory(dir=ROOT / "build") as build:
        done = eprune("codegen", *deployment, "-o", f"{build}/")
        assert done.code == 0, done.err
        text = Path(build, f"{platform}.py").read_text()
    ast.parse(text)
    shown = re.sub(r'digest="[0-9a-f]{64}"', 'digest="..."', text)
    shown = re.sub(r"(\.\./)+[^\"\n]*?(?=(actors|graphs|mappings)/)", "../", shown)
    assert shown == expected(f"programs/{case}.py", shown), "run `make golden` and review the difference"


def test_the_demo_shows_that_splitting_changes_no_result(eprune_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = eprune_process("demo", "--frames", "8", "--build", "programs")

    assert done.code == 0, done.err
    assert "equal the whole model's to the last digit: 8 frames" in done.out
    assert done.out.count("$ eprune ") == 4
    assert {path.name for path in (tmp_path / "programs").glob("*.py")} == {"endpoint.py", "server.py"}


@pytest.mark.long
def test_the_demo_passes_on_what_fails(eprune_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = eprune_process("demo", "--images", "nothing-here")
    assert done.code != 0
    assert "nothing-here" in done.err
    assert done.out.count("$ eprune ") == 3
    assert "Traceback" not in done.err


FRAME = '{"frame": 0, "class": "car", "score": 0.5}'


@pytest.mark.parametrize(
    ("steps", "code", "equal"),
    [
        ([(0, ""), (0, ""), (0, FRAME), (0, FRAME)], 0, True),
        ([(0, ""), (0, ""), (0, FRAME), (0, FRAME.replace("5", "6"))], 1, False),
        ([(0, ""), (0, ""), (0, ""), (0, "")], 1, False),
        ([(0, ""), (2, "")], 2, None),
    ],
)
def test_the_demo_as_json_has_steps_results_and_a_verdict(eprune, monkeypatch, tmp_path, steps, code, equal):
    left = iter(steps)
    monkeypatch.setattr("subprocess.run", lambda command, **_: subprocess.CompletedProcess(command, *next(left)))
    done = eprune("demo", "--format", "json", "--build", str(tmp_path))
    data = json.loads(done.out)
    assert (done.code, data["equal"]) == (code, equal)
    assert [step["exit_code"] for step in data["steps"]] == [exit_code for exit_code, _ in steps]
    assert all(f"$ {step['command']}\n" in done.err for step in data["steps"])
    assert data["results"] == ([json.loads(FRAME)] if any(FRAME in out for _, out in steps) else [])


def test_examples_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert example("graphs/vehicle.xml") == str(Path("graphs/vehicle.xml"))
    monkeypatch.chdir(tmp_path)
    assert Path(example("graphs/vehicle.xml")).samefile(ROOT / "graphs/vehicle.xml")


def test_examples_are_found_when_installed(tmp_path, monkeypatch):
    (tmp_path / "eprune/graphs").mkdir(parents=True)
    (tmp_path / "eprune/graphs/vehicle.xml").touch()
    monkeypatch.setattr("eprune.__file__", str(tmp_path / "eprune/__init__.py"))
    assert Path(example("graphs/vehicle.xml")) == (tmp_path / "eprune/graphs/vehicle.xml").resolve()


def test_golden_programs_run_as_modules_without_side_effects():
    for path in sorted((ROOT / "tests/golden/programs").rglob("*.py")):
        assert runpy.run_path(str(path), run_name="golden")["program"].declared.platform == path.stem
