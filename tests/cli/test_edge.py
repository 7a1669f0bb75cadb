"""Whatever goes wrong, people see one message and scripts see an exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
import pytest
from application import LOCAL, ROOT

from eprune.cli.errors import guarded
from eprune.model.finding import EpruneError, Finding, Location
from tests.kit.programs import finish, start_command

FINDING = Finding("G4", Location("app.xml", 3), "what is wrong", "what to do")


def fails_with(error):
    def command():
        raise error

    return command


def wrapped(error):
    """As Python before 3.12 wraps what is raised while a class is being made."""
    outer = RuntimeError("Error calling __set_name__")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (EpruneError(FINDING), 2, "app.xml:3: error[G4]: what is wrong\n    hint: what to do\n"),
        (EpruneError(FINDING, exit_code=1), 1, "app.xml:3: error[G4]: what is wrong\n    hint: what to do\n"),
        (FileNotFoundError(2, "No such file or directory", "x.py"), 2, "error: x.py: No such file or directory\n"),
        (OSError(28, "No space left on device"), 2, "error: No space left on device\n"),
        (click.Abort(), 130, "interrupted\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (wrapped(KeyboardInterrupt()), 130, "interrupted\n"),
        (click.UsageError("no such thing"), 2, "Error: no such thing\n"),
    ],
)
def test_failures_have_their_message_and_exit_code(capsys, error, code, message):
    assert guarded(fails_with(error)) == code
    assert capsys.readouterr().err == message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("module", ["click", "lxml"])
def test_a_signal_while_a_command_is_being_loaded_ends_it_quietly(tmp_path, number, module):
    (tmp_path / module).mkdir()
    (tmp_path / module / "__init__.py").write_text("print('loading', flush=True); import time; time.sleep(60)\n")
    arguments = ("-m", "eprune", "analyze", "graph.xml")
    process = start_command(sys.executable, *arguments, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert process.stdout.readline() == "loading\n"
    process.send_signal(number)
    assert finish(process) == (130, "", "interrupted\n")


def test_an_interrupt_that_passes_an_exec_gives_the_same_exit_code(tmp_path):
    """Dataclasses are made by exec. ``python -m`` then ends by the signal, whatever the code, unless left at once."""
    code = (
        "import os, sys\n"
        "from eprune.cli import early, errors, main\n"
        "early.take_over()\n"
        "interrupt = 'import signal; signal.raise_signal(signal.SIGINT)'\n"
        "main.cli.main = lambda **_: sys.exit(errors.guarded(lambda: exec(interrupt)))\n"
        "main.main()\n"
    )
    (tmp_path / "tool.py").write_text(code)
    process = start_command(sys.executable, "-m", "tool", PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert finish(process) == (130, "", "interrupted\n")


def test_what_only_imports_the_command_line_keeps_its_signals_as_they_are(tmp_path):
    (tmp_path / "tool.py").write_text("from eprune.cli.main import main\n")
    code = "import signal, tool; print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    process = start_command(sys.executable, "-c", code, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert finish(process) == (0, "True\n", "")


def test_our_own_mistakes_look_like_none_of_the_users(capsys, monkeypatch):
    monkeypatch.delenv("EPRUNE_DEBUG", raising=False)
    assert guarded(fails_with(ZeroDivisionError("oops"))) == 70
    told = capsys.readouterr().err
    assert told.startswith("INTERNAL ERROR: ZeroDivisionError: oops (test_edge.py:")
    assert "EPRUNE_DEBUG=1" in told
    assert "Traceback" not in told


def test_eprune_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("EPRUNE_DEBUG", "1")
    assert guarded(fails_with(ZeroDivisionError("oops"))) == 70
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (1, 1)])
def test_what_a_command_returns_is_its_exit_code(result, code):
    assert guarded(lambda: result) == code


def test_a_reader_that_has_enough_is_no_failure_to_complain_of(app):
    rules = f"{sys.executable} -m eprune analyze {' '.join(LOCAL)} | true"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(rules, shell=True, capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_a_full_disk_is_told(app, eprune):
    done = eprune("analyze", "app.xml", "-o", "/dev/full")
    assert done.code == 2
    assert done.err.startswith("/dev/full: error[FILE]: cannot be written: No space left on device")
