"""How long actors take, as --times says it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eprune.cli.errors import say

if TYPE_CHECKING:
    from eprune.analysis.timing import ActorTimes
    from eprune.model.graph import Graph
    from eprune.model.system import System

#: A typical time, the least and the greatest, in seconds.
_Time = tuple[Fraction, tuple[Fraction, Fraction]]


def read_times(given: Sequence[str], system: System) -> ActorTimes:
    """Seconds per firing: what the graph declares, and over it ``given``, each ACTOR=TIME or a JSON file.

    A TIME is one time, or the least, the typical and the greatest. Raises BadParameter for what is neither, and for
    actors that do not exist.
    """
    from eprune.analysis.lookup import Guesser
    from eprune.analysis.timing import ActorTimes

    times: dict[str, Fraction] = {}
    bounds: dict[str, tuple[Fraction, Fraction]] = {}
    on: dict[str, dict[str, Fraction]] = {}
    for own in system.graph.actors:
        if own.time is not None:
            times[own.name] = own.time
            bounds[own.name] = own.bounds or (own.time, own.time)
    names = [actor.name for actor in system.graph.actors]
    for text in given:
        actor, equals, value = text.rpartition("=")
        if equals and not Path(text).exists():
            found = {actor: _exact(text, actor, value)}
        else:
            found, there = _read_file(text, system)
            on.update({platform: {**on.get(platform, {}), **own} for platform, own in there.items()})
        for name, (time, bound) in found.items():
            if name not in names:
                hint = Guesser().hint(name, names)
                raise click.BadParameter(f"{text}: there is no actor {name!r}; {hint}", param_hint="--times")
            times[name], bounds[name] = time, bound
    least = {name: least for name, (least, _) in bounds.items()}
    return ActorTimes(times, least, {name: most for name, (_, most) in bounds.items()}, on)


def _exact(text: str, name: str, time: Any) -> _Time:
    """A typical time, the least and the greatest."""
    from eprune.model.quantity import exact_times

    try:
        exact, bounds = exact_times(time) if isinstance(time, str) else (Fraction(time), None)
    except (ValueError, TypeError, OverflowError):
        message = f"{text}: the time of {name} is {time!r}; write it as 1.2ms, 1ms..1.2ms..4ms, or in a file as seconds"
        raise click.BadParameter(message, param_hint="--times") from None
    if exact < 0:
        raise click.BadParameter(f"{text}: the time of {name} is below 0", param_hint="--times")
    return exact, bounds or (exact, exact)


def _read_file(path: str, system: System) -> tuple[dict[str, _Time], dict[str, dict[str, Fraction]]]:
    """Actor -> time, of a file that ``eprune profile --actors`` wrote, of a run record, or of one that has just that.

    Of the first two also platform -> actor -> time. What is measured is bounded where a unit was timed with rests: the
    greatest time is what 95 of 100 firings keep.
    """
    from eprune.formats.xml.safe import read_bytes

    try:
        data = json.loads(read_bytes(path))
        if "digest" in data:
            platforms = {str(data["platform"]): _recorded(path, data["actors"], system.graph)}
        elif "platforms" in data:
            platforms = {name: _measured(path, timed) for name, timed in data["platforms"].items()}
        else:
            return {name: _exact(path, name, time) for name, time in dict(data.get("actors", data)).items()}, {}
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        message = f"{path} has no times: it is actors.json of eprune profile, a run record, or actor and seconds"
        raise click.BadParameter(message, param_hint="--times") from None
    homes = system.homes
    if not homes and len(platforms) > 1:
        message = f"{path} has times on {' and '.join(platforms)}: give a mapping, which says where an actor runs"
        raise click.BadParameter(message, param_hint="--times")
    only = next(iter(platforms), "")
    known = {actor.name for actor in system.graph.actors}
    others = sorted({name for timed in platforms.values() for name in timed} - known)
    if others:
        say(f"note: {path} also has times of {', '.join(others[:6])}{', ...' * (len(others) > 6)}: no actors here")
    own = {
        actor.name: platforms[home][actor.name]
        for actor in system.graph.actors
        if actor.name in platforms.get(home := homes.get(actor.name, only), {})
    }
    typical = {
        platform: {name: time for name, (time, _) in timed.items() if name in known}
        for platform, timed in platforms.items()
    }
    return own, typical


def _recorded(path: str, actors: Mapping[str, Any], graph: Graph) -> dict[str, _Time]:
    """Actor -> its mean time in a run, of the firings in which it was not idle. A segment's is shared by its slices."""
    found = {}
    rows = [(str(row.value), dpg.rates(row)) for dpg in graph.dpgs for row in dpg.rows]
    for name, each in actors.items():
        members, modes = each.get("members") or [name], each.get("modes")
        fired = each["firings"]
        if modes:
            data = {ref for ref, port in graph.ports() if ref.actor == members[0] and not port.control}
            own = ((value, rates) for value, rates in rows if data and data <= rates.keys())
            fired -= sum(modes.get(value, 0) for value, rates in own if not any(rates[ref] for ref in data))
        if fired:
            found.update(dict.fromkeys(members, _exact(path, name, each["busy_s"] / fired / len(members))))
    return found


def _measured(path: str, timed: Mapping[str, Any]) -> dict[str, _Time]:
    """Actor -> time on a platform, which may be emulated."""
    slow = Fraction(timed.get("slowdown", 1))
    spread = timed["spread"] if timed.get("rested") else {}
    found = {}
    for name, seconds in dict(timed["actors"]).items():
        time = slow * _exact(path, name, seconds)[0]
        least, most = (slow * Fraction(each) for each in spread.get(name, (0, 0)))
        # What an actor adds to the others may be less in the slowest runs.
        found[name] = time, (min(least, time), max(most, time)) if name in spread else (time, time)
    return found
