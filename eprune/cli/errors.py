"""The edge: whatever goes wrong inside becomes a message on stderr and an exit code here, and nowhere else.

0 fine, 1 findings or a failed run, 2 wrong usage or unusable input, 70 our own mistake, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from eprune.cli import early
from eprune.model.exit_codes import FINDINGS, INTERNAL, INTERRUPTED, USAGE

__all__ = ["FINDINGS", "INTERNAL", "INTERRUPTED", "USAGE", "guarded", "say", "say_findings"]


def guarded(command: Callable[[], Any]) -> int:
    """Run a command; its exit code is what it returns (None: 0) or what its failure calls for."""
    from eprune.model.finding import EpruneError, Failure, WrongUsage

    try:
        result = command()
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except EpruneError as error:
        say_findings(error.findings)
        return error.exit_code
    except WrongUsage as error:
        text, option = str(error), error.option
        wrong = click.BadParameter(text, param_hint=option) if option else click.UsageError(text)
        wrong.show()
        return wrong.exit_code
    except Failure as error:
        click.ClickException(str(error)).show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _interrupted()
    except BrokenPipeError:
        # The reader has had enough, as in `eprune ... | head`. Python would complain at exit once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FINDINGS
    except OSError as error:
        say(f"error: {_os_error(error)}")
        return USAGE
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            return _interrupted()
        if os.environ.get("EPRUNE_DEBUG"):
            traceback.print_exc()
        else:
            say(_internal_error(error))
        return INTERNAL
    return result if isinstance(result, int) else 0


def _interrupted() -> int:
    early.interrupted = True
    say("\ninterrupted" if sys.stderr.isatty() else "interrupted")  # a terminal has shown ^C in this line
    return INTERRUPTED


def say(text: str) -> None:
    """One message for people: on stderr, for stdout is data."""
    if early.interrupted and not _takes(sys.stderr):
        return
    try:
        click.echo(text, err=True)
    except (OSError, ValueError):
        # Nobody gets it, which changes no result. What is left in the buffer would fail once more when Python ends.
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, sys.stderr.fileno())
            os.close(nothing)


def say_next(application: str, platforms: str, mappings: str, outside: bool) -> None:
    """How to run what was written; ``outside``: it reaches files beyond its own folder."""
    trust = " --allow-outside" if outside else ""
    say(f"next: eprune run {application} -p {platforms} -m {mappings}{trust}")


def _takes(stream: Any) -> bool:
    """Whether a stream takes a message now."""
    try:
        return bool(select.select([], [stream], [], 0)[1])
    except (OSError, ValueError):  # no descriptor: text in memory
        return True


def say_findings(findings: Iterable[Any]) -> None:
    """Findings as text, on stderr."""
    from eprune.formats.findings import render

    say(render(list(findings), "text").rstrip("\n"))


def _os_error(error: OSError) -> str:
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, (str, bytes)) else ""
    return f"{where}{error.strerror or error}"


def _internal_error(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return (
        f"INTERNAL ERROR: {type(error).__name__}: {error} ({where}, in {frame.name})\n"
        "This is a mistake in eprune, not in your files. Please report it with the command you typed, its input\n"
        "files, and what the same command prints with EPRUNE_DEBUG=1 set."
    )
