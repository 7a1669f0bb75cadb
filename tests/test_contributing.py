"""CONTRIBUTING.md keeps its word: the examples work, each by one new file; and it draws the rooms as they are."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from test_layers import ARROWS

from tests.kit import pages
from tests.kit.programs import ROOT, environment

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = pages.files(TEXT)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the checkout, as far as eprune needs it to run."""
    shutil.copytree(ROOT / "eprune", tmp_path / "eprune", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("graphs", "mappings", "actors"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def eprune(checkout, command):
    return subprocess.run(
        [sys.executable, "-m", "eprune", *command.split()],
        capture_output=True,
        text=True,
        cwd=checkout,
        env=environment(PYTHONPATH=str(checkout)),
        check=False,
    )


def test_a_pass_is_one_file(checkout):
    (checkout / "eprune" / "passes" / "policy.py").write_text(FILES["policy.py"])
    [(command, shown)] = pages.sessions(TEXT)
    done = eprune(checkout, command.partition(" ")[2])
    assert done.returncode == 0, done.stderr
    assert pages.missing(shown, done.stdout + done.stderr) == []
    written = (checkout / "waiting" / "application.xml").read_text()
    assert re.findall(r'<fifo name="(\w+)"[^>]*policy="drop"', written) == ["f3"]
    assert "policy" in eprune(checkout, "apply").stdout


def test_a_kind_of_behaviour_is_one_file(checkout):
    (checkout / "eprune" / "formats" / "behaviours" / "builtin.py").write_text(FILES["builtin.py"])
    (checkout / "builtin.xml").write_text(FILES["builtin.xml"])
    (checkout / "here.xml").write_text('<platform name="here"><unit name="cpu"/></platform>')
    (checkout / "map.xml").write_text(
        '<mapping application="builtin" platform="here">'
        '<map actor="Numbers" unit="cpu"/><map actor="Results" unit="cpu"/></mapping>'
    )
    done = eprune(checkout, "analyze builtin.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tensor_sink.py:TensorSink" in done.stdout
    done = eprune(checkout, "run builtin.xml -p here.xml -m map.xml -q")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_every_room_is_in_the_table():
    rooms = set(re.findall(r"^\| `(?:eprune/)?([a-z]+)/`", TEXT, re.MULTILINE))
    assert rooms >= {room for room in ARROWS if "." not in room}
    for room, others in ARROWS.items():
        row = re.search(rf"^\| `eprune/{room}/` \|[^|]*\| (.*) \|$", TEXT, re.MULTILINE)
        if row and "all rooms above" not in row[1]:
            named = set(re.findall(r"`(\w+)`", row[1]))
            assert named == {other for other in others if not other.startswith("runtime.")}, room
