"""``eprune top``: a deployed system on this terminal, live."""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS
from eprune.cli.printing import show
from eprune.cli.watching import Following, following, watching_options

#: Seconds between two drawings, and those that a device has to answer where the state is shown once.
DRAWN, PATIENCE = 0.25, 30.0


@click.command("top", cls=options.Command, short_help="Watch a deployed system on this terminal.")
@watching_options
@click.option("--once", is_flag=True, help="Show how it is now, and end; also where stdout is no terminal.")
@options.format_option
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    every: float,
    commands: dict[str, list[str]],
    late_after: Optional[float],
    against: Optional[str],
    once: bool,
    fmt: str,
) -> int:
    """Show a deployed system: health, load, memory and temperature of its platforms, rates of actors, fill of FIFOs.

    Rates, times and ages are those of the last ten seconds. It ends with q or Ctrl-C. With --format json each state is
    a line of JSON. With --once the exit code is 1 where something is not as it should be.

    \b
    Examples:
      eprune top build/system
      eprune top build/system --on lost,stalled 'notify-send "$EPRUNE_MESSAGE"'
      eprune top build/system --once --format json | jq .frames_per_s
    """
    with following(application, platforms, mappings, every, commands, late_after, against) as watched:
        if fmt == "json" and not once:
            _print_on(watched)
        elif once or not sys.stdout.isatty():
            return _show_once(watched, fmt)
        else:
            _draw(watched)
    return 0


def _show_once(watched: Following, fmt: str) -> int:
    from eprune.views.top import plain
    from eprune.views.watching import data

    until = time.monotonic() + PATIENCE
    while not watched.heard and time.monotonic() < until:
        watched.go_on(0.1)
    state, alarms, advice = watched.state, watched.alarms, watched.advice
    show(json.dumps(data(state, alarms, advice), indent=2) if fmt == "json" else plain(state, alarms, advice), fmt)
    return FINDINGS if state.degraded or alarms else 0


def _print_on(watched: Following) -> None:
    from eprune.views.watching import data

    while True:
        if watched.go_on(1.0):
            show(json.dumps(data(watched.state, watched.alarms, watched.advice)), "json")
            sys.stdout.flush()


def _draw(watched: Following) -> None:
    from rich.console import Console
    from rich.live import Live

    from eprune.views.top import screen

    console = Console(color_system=None if os.environ.get("NO_COLOR") else "auto")

    def drawn() -> Any:
        return screen(watched.state, watched.alarms, watched.advice, console.height - 1)

    with _keys() as pressed, Live(drawn(), console=console, screen=True, auto_refresh=False) as live:
        while True:
            watched.go_on(DRAWN)
            live.update(drawn(), refresh=True)
            if "q" in pressed():
                return


@contextlib.contextmanager
def _keys() -> Iterator[Any]:
    """What is typed, without waiting and without an echo; nothing where stdin is no terminal."""
    if not sys.stdin.isatty():
        yield str
        return
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed() -> str:
        ready = select.select([descriptor], [], [], 0)[0]
        return os.read(descriptor, 64).decode("utf-8", "replace").lower() if ready else ""

    tty.setcbreak(descriptor)
    try:
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
