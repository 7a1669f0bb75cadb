"""All commands of eprune, those inside of others as well."""

from __future__ import annotations

from collections.abc import Iterator

import click

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
