"""The command line: ``eprune COMMAND ...``. Each command is a module beside this one, loaded when it is asked for."""

from __future__ import annotations

import contextlib
import difflib
import gc
import importlib
import keyword
import os
import sys
from typing import Any, Optional

import click

import eprune
from eprune.cli import early
from eprune.cli.errors import INTERRUPTED, guarded

#: In the order in which one uses them.
COMMANDS = (
    "new",
    "import",
    "apply",
    "replicate",
    "analyze",
    "simulate",
    "codegen",
    "certify",
    "deploy",
    "top",
    "watch",
    "record",
    "run",
    "play",
    "sweep",
    "replay",
    "verify",
    "evaluate",
    "robustness",
    "privacy",
    "draw",
    "explore",
    "profile",
    "report",
    "cut",
    "demo",
    "upgrade",
    "schema",
    "rules",
    "inspect",
    "doctor",
    "completion",
)

#: Other names for commands: those that the papers use.
ALIASES = {"analyzer": "analyze", "explorer": "explore"}


class Commands(click.Group):
    """A group whose commands are modules of this package, and whose failures ``errors`` reports."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands' names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:
        """The command of that name or alias, None if there is none."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"eprune.cli.{_module(name)}").command
        early.take_over()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[Optional[str], Optional[click.Command], list[str]]:
        """Find the command; an unknown one gets the nearest name for a hint."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None:
            near = difflib.get_close_matches(name, [*COMMANDS, *ALIASES], n=1)
            ctx.fail(f"there is no command {name!r}; " + (f"did you mean {near[0]!r}?" if near else "see --help"))
        return command.name, command, args[1:]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; Ctrl-C passes click as its Abort, or click would print an empty line of its own first."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.Abort from None

    def main(self, *args: Any, **options: Any) -> Any:
        """Run with these arguments (default: the process's own) and exit."""
        options["standalone_mode"] = False
        sys.exit(guarded(lambda: super(Commands, self).main(*args, **options)))


def _module(name: str) -> str:
    """A command's module; words of the language take an underscore."""
    return f"{name}_" if keyword.iskeyword(name) else name


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(eprune.__version__, prog_name="eprune", message="%(prog)s %(version)s")
def cli() -> None:
    """Take deep-learning inference apart and spread it over devices.

    An application is a dataflow graph (XML). `analyze` proves it sound, `codegen` compiles it to one program
    per platform, `run` runs all of them on this machine. Start with `eprune demo`.

    Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 findings or a failed run, 2 wrong usage or
    unusable input, 130 interrupted.
    """


def main() -> None:
    """The entry point of the ``eprune`` command."""
    # A command's objects live until it ends: looking for garbage among them took a third of a large graph's analysis.
    gc.disable()
    if "_EPRUNE_COMPLETE" in os.environ:  # a shell asks
        from eprune.cli.shells import register

        register()
    early.own = True
    try:
        cli.main(prog_name="eprune")
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
        # Where an interrupt has passed an exec, as in a dataclass that is being made, Python would end by the signal.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
        os._exit(INTERRUPTED)
