"""Every command explains itself."""

from __future__ import annotations

import click
import pytest

import eprune as package
from eprune.cli.main import COMMANDS, cli
from tests.golden import expected

HELP = [(), *((name,) for name in COMMANDS)]


def load(name):
    return cli.get_command(click.Context(cli), name)


@pytest.mark.parametrize("command", HELP, ids=lambda command: command[0] if command else "eprune")
def test_help_is_what_was_reviewed(eprune, command):
    done = eprune(*command, "--help")
    assert (done.code, done.err) == (0, "")
    golden = expected(f"help/{command[0] if command else 'eprune'}.txt", done.out)
    assert done.out.split() == golden.split(), (
        "run `make golden` and review the difference"
    )  # wrapping differs by click


@pytest.mark.parametrize("command", HELP, ids=lambda command: command[0] if command else "eprune")
def test_h_is_help(eprune, command):
    assert eprune(*command, "-h") == eprune(*command, "--help")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_every_option_has_help_and_an_example(name):
    command = load(name)
    assert command.name == name
    assert "Example" in command.help
    for param in command.params:
        assert isinstance(param, click.Argument) or param.help


def test_version(eprune):
    assert eprune("--version").out == f"eprune {package.__version__}\n"


def test_an_unknown_command_gets_the_nearest_one(eprune):
    done = eprune("analyse", "app.xml")
    assert done.code == 2
    assert "there is no command 'analyse'; did you mean 'analyze'?" in done.err


def test_eprune_alone_prints_its_help(eprune):
    assert "Commands:" in "".join(eprune()[1:])


def test_python_m_eprune(eprune_process):
    assert eprune_process("--version").out == f"eprune {package.__version__}\n"
