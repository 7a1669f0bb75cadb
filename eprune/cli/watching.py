"""What ``eprune top`` and ``eprune watch`` share: their options, and the state of a system that goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Optional

import click

from eprune.cli import options
from eprune.cli.deploying import read_deployed, system_arguments
from eprune.watch.alarms import KINDS, Limits, alarms
from eprune.watch.drift import DRIFT, advice, drifts
from eprune.watch.state import UNKNOWN, Observation, Said, State, observe

if TYPE_CHECKING:
    from eprune.deploy.watching import Watching
    from eprune.model.system import System
    from eprune.watch.alarms import Alarm
    from eprune.watch.drift import Expected


def _kinds(ctx: click.Context, param: click.Parameter, given: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Kind -> the commands for it."""
    wanted: dict[str, list[str]] = {}
    for kinds, command in given:
        for kind in kinds.split(","):
            if kind not in KINDS:
                raise click.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}", ctx, param)
            wanted.setdefault(kind, []).append(command)
    return wanted


def watching_options(function: options.Decorated) -> options.Decorated:
    """SYSTEM, and how it is watched."""
    for decorate in (
        click.option(
            "--against",
            metavar="DIR",
            help=f"The exploration it was cut from: tell where measured and predicted are {DRIFT:g} times apart.",
        ),
        click.option(
            "--late-after",
            type=click.FloatRange(min=0, min_open=True),
            metavar="MS",
            help="Where no requirement says it: frames that are older than so many milliseconds at a sink are late, "
            "and more than 1 in 100 is an alarm.",
        ),
        click.option(
            "--on",
            "commands",
            type=(str, str),
            multiple=True,
            callback=_kinds,
            metavar="KINDS COMMAND",
            help=f"Run COMMAND for each new alarm of KINDS ({','.join(KINDS)}); $EPRUNE_MESSAGE says what it is.",
        ),
        click.option(
            "--every",
            type=click.FloatRange(min=0.1),
            default=1.0,
            metavar="S",
            help="Ask the devices every S seconds (default: 1).",
        ),
        system_arguments,
    ):
        function = decorate(function)
    return function


class Following:
    """The state of a deployed system that goes on, and the alarms that it gives."""

    def __init__(
        self, system: System, watching: Watching, state: State, limits: Limits, commands: dict[str, list[str]]
    ) -> None:
        from eprune.deploy.alarming import Commands

        self.system = system
        self.state = state
        self.alarms: list[Alarm] = []
        #: what is new of alarms, and of commands for them
        self.news: list[Said] = []
        self._limits = limits
        self._watching = watching
        self._said: list[Said] = []
        self._commands = Commands(commands, self.say)

    @property
    def heard(self) -> bool:
        """Whether something is known of each platform."""
        return all(program.health != UNKNOWN for program in self.state.all_programs)

    @property
    def advice(self) -> str:
        """What to do about what has drifted; '' for nothing."""
        expected = self._limits.expected
        return advice(drifts(self.state, expected), expected) if expected is not None else ""

    def say(self, message: str) -> None:
        """Tell whoever watches. Any thread may."""
        self._said.append(Said("", self.state.time, "warning", message, "warning"))

    def go_on(self, patience: float) -> bool:
        """Wait for something new, at most so many seconds; whether there is something."""
        said, self._said = self._said, []
        seen: list[Observation] = [*self._watching.next(patience), *said]
        for each in seen:
            self.state = observe(self.state, each)
        if seen:
            self.alarms = alarms(self.state, self._limits)
            new = self._commands.look(self.alarms, self.state.time)
            raised = [
                Said(alarm.platform, self.state.time, "warning", f"{alarm.kind}: {alarm.message}", "alarm")
                for alarm in new
            ]
            for each in raised:
                self.state = observe(self.state, each)
            self.news = [*raised, *said]
        return bool(seen)


@contextmanager
def following(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    every: float,
    commands: dict[str, list[str]],
    late_after: Optional[float],
    against: Optional[str],
) -> Iterator[Following]:
    """A deployed system, watched until this is left."""
    from eprune.deploy.build import programs_of
    from eprune.deploy.sites import sites_of
    from eprune.deploy.watching import Watching, shape_of

    if "drift" in commands and against is None:
        raise click.UsageError("--on drift needs to know what was predicted: add --against DIR, the exploration")
    system = read_deployed(application, platforms, mappings)
    sites = sites_of(system)
    shape = shape_of(programs_of(system), sites)
    limits = Limits(late_after, _expected(system, against) if against is not None else None)
    with Watching(shape.application, sites, every) as watching:
        yield Following(system, watching, State(shape), limits, commands)


def _expected(system: System, folder: str) -> Expected:
    """What the exploration predicts of the system as it is mapped."""
    from pathlib import Path

    from eprune.cli.ranking import costs_of
    from eprune.explore.cost import predict
    from eprune.measure.exploration import read_plan_of
    from eprune.watch.drift import Expected

    plan = read_plan_of(folder)
    costs = costs_of(plan, Path(folder))
    if costs is None:
        raise click.UsageError(f"--against {folder}: nothing is predicted there: run eprune profile {folder} --actors")
    homes = {actor: home for actor, home in system.homes.items() if actor in plan.flow.actors}
    unknown = sorted(set(homes.values()) - set(costs.times))
    if set(homes) != set(plan.flow.actors) or unknown:
        raise click.UsageError(f"--against {folder}: it is an exploration of another application or other platforms")
    made = predict(plan.flow, plan.roles, costs, homes)
    times = {actor: 1e3 * costs.times[home].get(actor, 0.0) for actor, home in homes.items()}
    links: dict[tuple[str, str], float] = {
        (link.origin, link.to): 1e3 * link.latency for link in costs.links if link.latency
    }
    rate = 1 / made.period if made.period else None
    return Expected(folder, {a: t for a, t in times.items() if t}, 1e3 * made.latency, rate, links)
