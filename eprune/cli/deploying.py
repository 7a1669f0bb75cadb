"""What the subcommands of ``eprune deploy`` share: arguments, the system that is meant, progress, how it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from eprune.cli import options
from eprune.cli.errors import say

if TYPE_CHECKING:
    from eprune.deploy.rollout import Rollout, Step
    from eprune.deploy.sites import Site
    from eprune.model.system import System

#: Seconds that programs have to become healthy.
TIMEOUT = 60.0
#: Seconds that the version before has to become healthy again.
BACK = 20.0


def system_arguments(function: options.Decorated) -> options.Decorated:
    """SYSTEM, or APP.xml with -p and -m; --allow-outside."""
    for decorate in (
        options.outside_option,
        options.deployment_options(required=False),
        click.argument("application", metavar="SYSTEM|APP.xml"),
    ):
        function = decorate(function)
    return function


def timeout_option(function: options.Decorated) -> options.Decorated:
    """--timeout."""
    decorated: options.Decorated = click.option(
        "--timeout",
        type=click.FloatRange(min=0.1),
        default=TIMEOUT,
        metavar="S",
        help=f"Seconds that programs have to become healthy (default: {TIMEOUT:g}).",
    )(function)
    return decorated


def quiet_option(function: options.Decorated) -> options.Decorated:
    """-q."""
    decorated: options.Decorated = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")(function)
    return decorated


def read_deployed(application: str, platforms: Sequence[str], mappings: Sequence[str]) -> System:
    """The system of these arguments, in which every platform that has actors is given."""
    from pathlib import Path

    from eprune.cli.reading import read_sound
    from eprune.deploy.options import check_complete
    from eprune.formats.system import written_in

    if application != "-" and Path(application).is_dir():
        found = written_in(application)
        application, platforms, mappings = found[0], platforms or found[1], mappings or found[2]
    for given, option, what in ((platforms, "-p", "platform"), (mappings, "-m", "mapping")):
        if not given:
            raise click.UsageError(f"{application}: there are no {what} files: add them with {option}")
    system = read_sound(application, platforms, mappings, multi_rate=True)
    check_complete(system)
    return system


def order_of(system: System) -> tuple[str, ...]:
    """The platforms in the order in which they are started: receivers first."""
    from eprune.deploy.sites import start_order

    homes = system.homes
    edges = [(homes[fifo.source.actor], homes[fifo.target.actor]) for fifo in system.graph.fifos]
    return start_order([mapping.platform for mapping in system.mappings], edges)


class Shown:
    """Progress of steps on a terminal, and what devices say, above it."""

    def __init__(self, count: int, quiet: bool) -> None:
        from eprune.cli.progress import progress

        self.line = progress(count, quiet=quiet, unit="KiB sent")
        self._quiet = quiet
        self._sent = 0

    def step(self, step: Step) -> None:
        """A step begins."""
        self.line.begin(str(step))
        self.line.update(self._sent >> 10)

    def sent(self, platform: str, count: int) -> None:
        """So many bytes more have been sent."""
        self._sent += count
        self.line.update(self._sent >> 10)

    def said(self, platform: str, text: str) -> None:
        """A device says something."""
        if not self._quiet:
            self.line.say(f"{platform}: {log_line(text)}")

    def clear(self) -> None:
        """All is over."""
        self.line.clear()


def log_line(text: str) -> str:
    """A line of a program's log for people: of an event its time and message."""
    from datetime import datetime

    try:
        event = json.loads(text)
        moment = datetime.fromtimestamp(event["time"]).astimezone()
        level = "" if event["level"] == "info" else f"{event['level']}: "
        return f"{moment:%Y-%m-%d %H:%M:%S} {level}{event['message']}"
    except (ValueError, KeyError, TypeError):
        return "".join(char if char.isprintable() or char == "\t" else "?" for char in text)


def carry_out(rollout: Rollout, steps: Sequence[Step], quiet: bool) -> None:
    """Carry steps out, and show which."""
    shown = Shown(len(steps), quiet)
    rollout.on_step, rollout.on_say, rollout.on_bytes = shown.step, shown.said, shown.sent
    try:
        rollout.carry_out(steps)
    finally:
        shown.clear()


@contextmanager
def told_how_it_ended(system: System, sites: Sequence[Site], quiet: bool) -> Iterator[dict[str, Mapping[str, Any]]]:
    """Where what is done inside fails, say what has become of the devices, which are looked at once more.

    What they were like before belongs into what this yields.
    """
    from eprune.model.finding import Failure

    before: dict[str, Mapping[str, Any]] = {}
    try:
        yield before
    except Failure:
        for name, facts in before.items():
            if facts["version"] is None:
                say(f"{name}: nothing was there before, and nothing is left")
        ran = [name for name, facts in before.items() if facts["version"] and facts["state"]["active"] != "stopped"]
        if ran and not quiet:
            _say_back(system, [site for site in sites if site.platform in ran], before)
        raise


def _say_back(system: System, sites: Sequence[Site], before: Mapping[str, Mapping[str, Any]]) -> None:
    """Wait for the version before to be well again, and say whether it is."""
    from eprune.deploy.fleet import fleet
    from eprune.deploy.rollout import Rollout
    from eprune.model.finding import Failure

    with fleet(system.graph.name, sites) as devices:
        for name, failure in devices.silent.items():
            say(f"{name}: it cannot be asked whether version {before[name]['version']} is back: {failure}")
        problem = ""
        try:
            Rollout(devices.sessions, {}, BACK).await_well(list(devices.sessions))
        except Failure as failure:
            problem = str(failure)
        for name in devices.sessions:
            same = devices.facts[name]["version"] == before[name]["version"]
            say(f"{name}: version {devices.facts[name]['version']} {'is back' if same else 'is there'}")
        if problem:
            say(f"warning: {problem}")
