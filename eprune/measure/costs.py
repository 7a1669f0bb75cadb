"""What an application's actors cost a frame: their times where all slices state one, else their multiplications.

Of both an estimate follows for platforms on which nothing was timed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from eprune.analysis.lookup import fifo_rates, token_bytes
from eprune.formats.model_files import read_model
from eprune.formats.models.ranking import ENDPOINT
from eprune.model.graph import Actor, Graph
from eprune.model.platform import Platform
from eprune.passes._places import Place

#: What an estimate assumes, for people.
ASSUMED = f"{ENDPOINT / 1e9:g} G operations/s on any unit, and one operation for each byte that an actor writes"

#: At most so many places are tried, and of none that saves less than this share of the work.
_PLACES, _LEAST = 8, 0.02


def costs(graph: Graph) -> tuple[dict[str, float], bool]:
    """Actor -> seconds, or MACs of its slice, and whether these are times. Models are read from their files."""
    times = [actor.time for actor in graph.actors if actor.is_slice]
    timed = bool(times) and None not in times
    return {actor.name: float(actor.time or 0) if timed else macs_of(actor) for actor in graph.actors}, timed


def spread(places: Iterable[Place], behind: Callable[[Place], float], total: float) -> list[Place]:
    """Up to ``_PLACES`` of these places, spread evenly over the ``total`` work; ``behind`` says what is left at one.

    What is left behind a place that saves next to nothing is no use, and of its like one is enough.
    """
    left = [(place, behind(place) / (total or 1)) for place in places]
    worth = [each for each in left if each[1] >= _LEAST] or left
    return list({int(_PLACES * share / 1.0001): place for place, share in worth}.values())


def estimated(graph: Graph, platforms: Sequence[Platform]) -> dict[str, dict[str, dict[str, float]]]:
    """Platform -> unit -> actor -> seconds, of the units that take it.

    An actor that states none has its multiplications to do, and one operation for each byte that it writes, at a speed
    that is assumed of every unit. A unit's ``slowdown`` counts in any case.
    """
    sizes, rates = token_bytes(graph), fifo_rates(graph)
    written: dict[str, int] = {}
    for fifo in graph.fifos:
        written[fifo.source.actor] = written.get(fifo.source.actor, 0) + sizes[fifo.name] * rates[fifo.name]
    seconds = {
        actor.name: float(actor.time)
        if actor.time is not None
        else (macs_of(actor) + written.get(actor.name, 0)) / ENDPOINT
        for actor in graph.actors
    }
    return {
        platform.name: {
            unit.name: {
                actor.name: unit.slowdown * seconds[actor.name] for actor in graph.actors if not actor.misplaced(unit)
            }
            for unit in platform.units
        }
        for platform in platforms
    }


def macs_of(actor: Actor) -> float:
    """The multiplications of an actor's slice, for a frame. The model is read from its file."""
    if actor.behaviour is None or not actor.behaviour.operators:
        return 0.0
    model = read_model(actor.behaviour.path)
    return float(sum(model.format.macs(model, model.operators[index]) for index in actor.behaviour.operators))
