"""Commands of eprune: all of them, those inside of others as well; and one way to call them in this process."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import NamedTuple

import click
from click.testing import CliRunner

from eprune.cli.main import cli


def commands() -> dict[str, click.Command]:
    """``apply``, ``apply resize`` and so on -> the command; of the passes, only those that take something."""
    return dict(_commands(cli, ""))


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield f"{prefix}{name}", command
            yield from _commands(command, f"{name} ")
        elif command.params or not prefix:
            yield f"{prefix}{name}", command


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def call(*arguments: str, stdin: str = "") -> Done:
    """Call eprune in this process: fast; what child processes print is not seen."""
    result = _runner().invoke(cli, list(arguments), input=stdin, prog_name="eprune")
    return Done(result.exit_code, result.stdout, result.stderr)


def _runner() -> CliRunner:
    """A runner that keeps stdout and stderr apart; click before 8.2 wants to be told."""
    keywords = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    return CliRunner(**keywords)
