"""What the README shows is what a user sees: its sessions are run, and each line shown must come out, in that order."""

import re
import subprocess
import sys

import pytest

from eprune.cli.main import COMMANDS
from tests.kit.programs import ROOT, environment

SESSIONS = re.findall(r"^\$ eprune (.*)\n((?:(?!\$ |```).*\n)*)", (ROOT / "README.md").read_text(), re.MULTILINE)
#: what differs from run to run (times) and from processor to processor (the last digits of scores)
TIMES = re.compile(r" +\d+\.\d+(?=$|[ ,}])")


def shape(line):
    return TIMES.sub(" #", line.strip())


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command.split()[0] for command, _ in SESSIONS])
def test_a_session_of_the_readme_is_real(command, shown):
    done = subprocess.run(
        [sys.executable, "-m", "eprune", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    seen = iter([shape(line) for line in done.stdout.splitlines()])
    for line in shown.splitlines():
        if line.strip():
            assert shape(line) in seen, f"not seen, or not in this place: {line}\n\n{done.stdout}"


def test_there_are_sessions():
    assert len(SESSIONS) >= 3


def test_every_command_is_listed():
    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if not re.search(rf"^\| .*`(eprune )?{name}`", text, re.MULTILINE)] == []


def test_the_example_of_the_model_is_sound_and_its_mistake_is_reported_as_shown(tmp_path):
    text = (ROOT / "docs" / "explanation" / "model.md").read_text()
    example = re.search(r"```xml\n(.*?)```", text, re.DOTALL)[1]
    shown = re.search(r"```console\n(.*?)```", text, re.DOTALL)[1]
    for application, code in ((example, 0), (example.replace(' delay="1"', ""), 1)):
        (tmp_path / "sums.xml").write_text(application)
        done = subprocess.run(
            [sys.executable, "-m", "eprune", "analyze", "sums.xml"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment(),
            check=False,
        )
        assert done.returncode == code
    assert done.stdout.startswith(shown)
