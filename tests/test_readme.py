"""What the README shows is what a user sees: its sessions are run, and each line shown must come out, in that order."""

import re
import subprocess
import sys

import pytest

from eprune.cli.main import COMMANDS
from tests.kit import pages
from tests.kit.programs import ROOT, environment

README = (ROOT / "README.md").read_text(encoding="utf-8")
SESSIONS = pages.sessions(README)


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command.split()[1] for command, _ in SESSIONS])
def test_a_session_of_the_readme_is_real(command, shown):
    done = pages.run(command, ROOT)
    assert pages.missing(shown, done.stdout) == [], done.stdout


def test_there_are_sessions():
    assert len(SESSIONS) >= 3


def test_every_command_is_listed():
    assert [name for name in COMMANDS if not re.search(rf"^\| .*`(eprune )?{name}`", README, re.MULTILINE)] == []


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
