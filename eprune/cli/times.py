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
    from eprune.model.system import System


def read_times(given: Sequence[str], system: System) -> ActorTimes:
    """Seconds per firing: what the graph declares, and over it ``given``, each ACTOR=TIME or a JSON file.

    A TIME is one time, or the least, the typical and the greatest. Raises BadParameter for what is neither, and for
    actors that do not exist.
    """
    from eprune.analysis.lookup import Guesser
    from eprune.analysis.timing import ActorTimes

    times, bounds = {}, {}
    on: dict[str, dict[str, Fraction]] = {}
    for own in system.graph.actors:
        if own.time is not None:
            times[own.name] = own.time
            bounds[own.name] = own.bounds or (own.time, own.time)
    names = [actor.name for actor in system.graph.actors]
    for text in given:
        actor, equals, value = text.rpartition("=")
        if equals and not Path(text).exists():
            found: Mapping[str, Any] = {actor: value}
        else:
            found, elsewhere = _read_file(text, system)
            for platform, there in elsewhere.items():
                exact = {name: _exact(text, name, time)[0] for name, time in there.items() if name in names}
                on[platform] = {**on.get(platform, {}), **exact}
        for name, time in found.items():
            if name not in names:
                hint = Guesser().hint(name, names)
                raise click.BadParameter(f"{text}: there is no actor {name!r}; {hint}", param_hint="--times")
            times[name], bounds[name] = _exact(text, name, time)
    least = {name: least for name, (least, _) in bounds.items()}
    return ActorTimes(times, least, {name: most for name, (_, most) in bounds.items()}, on)


def _exact(text: str, name: str, time: Any) -> tuple[Fraction, tuple[Fraction, Fraction]]:
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


def _read_file(path: str, system: System) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Actor -> time, of a file that ``eprune profile --actors`` wrote, or one that has nothing but that.

    Of the first also platform -> actor -> time.
    """
    from eprune.formats.xml.safe import read_bytes

    try:
        data = json.loads(read_bytes(path))
        if "platforms" not in data:
            return dict(data.get("actors", data)), {}
        platforms = {name: dict(timed["actors"]) for name, timed in data["platforms"].items()}
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        message = f"{path} has no times: it is a JSON file of eprune profile --actors, or actor and seconds"
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
    return own, platforms
