"""Put an application on several platforms: one behind the other, in the order of the file."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Optional

from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.names import NAME
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries, option

#: The pass makes the platforms and mappings.
UNMAPPED = True
#: The first port of the first link, and how far those of the next are from it.
PORT, STEP = 5100, 100


@dataclass(frozen=True)
class Options:
    """The platforms, and the last actor of each but the last."""

    over: tuple[str, ...] = option(
        metavar="NAME[=ADDRESS] ...", help="The platforms; an address is where the others reach it (127.0.0.1)."
    )
    after: tuple[str, ...] = option(
        metavar="ACTOR ...", help="The last actor on each platform but the last one, in the order of the file."
    )


@carries
def apply(system: System, options: Options) -> Result:
    """The system on platforms of one unit each, with a link between any two, without its former mappings.

    Raises ValueError for names that are none, and for actors that are not there or in another order.
    """
    actors = [actor.name for actor in system.graph.actors]
    names = list(addresses_of(options.over))
    if len(options.after) != len(names) - 1:
        raise ValueError(f"{len(names)} platforms take {len(names) - 1} cuts, not {len(options.after)}")
    for name in options.after:
        if name not in actors:
            raise ValueError(f"there is no actor {name!r}")
    ends = [actors.index(name) + 1 for name in options.after]
    if ends != sorted(set(ends)) or ends[-1:] == [len(actors)]:
        raise ValueError(f"each platform needs an actor: after {', '.join(options.after)} does not leave any to one")
    bounds = [0, *ends, len(actors)]
    homes = {actor: name for name, start, end in zip(names, bounds, bounds[1:]) for actor in actors[start:end]}
    return onto(system, options.over, homes)


def addresses_of(over: Sequence[str]) -> dict[str, str]:
    """Platform -> address of ``NAME[=ADDRESS]``. Raises ValueError for names that are none, and for one given twice."""
    pairs = [text.partition("=") for text in over]
    for name, _, _ in pairs:
        if not re.fullmatch(NAME, name):
            raise ValueError(f"{name!r} cannot be the name of a platform")
    names = [name for name, _, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"the platforms need different names: {', '.join(names)}")
    return {name: address or "127.0.0.1" for name, _, address in pairs}


def onto(system: System, over: Sequence[str], homes: Mapping[str, str], memory: Optional[int] = None) -> Result:
    """The system with its actors on the platforms that ``homes`` says; ``over`` are these, ``NAME[=ADDRESS]``.

    ``memory``: the bytes of each. Raises ValueError as ``addresses_of`` does.
    """
    addresses = addresses_of(over)
    names, actors = list(addresses), [actor.name for actor in system.graph.actors]
    ports = {frozenset(pair): PORT + STEP * place for place, pair in enumerate(combinations(names, 2))}
    platforms = tuple(
        Platform(
            name,
            (Unit("cpu"),),
            tuple(Link(other, addresses[other], ports[frozenset((name, other))]) for other in names if other != name),
            memory,
        )
        for name in names
    )
    mappings = tuple(PlatformMapping(system.graph.name, name, _placements(homes, name)) for name in names)
    lines = tuple(f"{name}: {', '.join(actor for actor in actors if homes[actor] == name)}" for name in names)
    made = replace(system, platforms=platforms, mappings=mappings)
    return Result(made, Report(lines, {"homes": dict(homes)}))


def _placements(homes: Mapping[str, str], platform: str) -> tuple[Placement, ...]:
    return tuple(
        Placement(actor, unit="cpu") if home == platform else Placement(actor, platform=home)
        for actor, home in homes.items()
    )
