"""Resize FIFOs: to stated capacities, or to the least that keep the graph live or at full speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Optional

from eprune.analysis.buffers import least_fast, least_live
from eprune.analysis.throughput import resources
from eprune.model.graph import Graph
from eprune.model.quantity import exact_seconds
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries, option
from eprune.passes.fuse import clusters_of

MENDS = True


@dataclass(frozen=True)
class Options:
    """What the capacities are to be good for, or what they are."""

    aim: str = option(
        "fast",
        help="live: the least capacities without deadlock; fast (default): the least for full speed.",
        metavar="live|fast",
    )
    times: tuple[str, ...] = option((), help="The firing time of an actor, for full speed.", metavar="ACTOR=TIME")
    capacities: tuple[str, ...] = option((), help="The capacity of a FIFO, in tokens.", metavar="FIFO=N")


@carries
def apply(system: System, options: Options = Options()) -> Result:
    """The system with the least capacities for the aim, and with those that are stated.

    For full speed, a FIFO over a link gets as window what it needs beyond its capacity.

    The graph must be sound by rules G1 to G7. Raises ValueError for names that do not exist, for actors without a time
    where the aim is full speed, and where no capacities will do.
    """
    graph = system.graph
    stated = {name: _count(name, text) for name, text in _pairs(options.capacities, "FIFO", graph)}
    only_stated = stated and options == Options(capacities=options.capacities)
    sized = resized(graph if only_stated else _least(system, options), stated)
    pairs = list(zip(graph.fifos, sized.fifos))
    changed = {new.name: [old.capacity, new.capacity] for old, new in pairs if old.capacity != new.capacity}
    windows = {new.name: new.window for old, new in pairs if old.window != new.window}
    lines = [f"{name}: capacity {old} -> {new}" for name, (old, new) in changed.items()]
    lines += [f"{name}: window {window}" for name, window in windows.items()]
    data = {"changed": changed, "windows": windows}
    return Result(replace(system, graph=sized), Report(tuple(lines) or ("no capacity changes",), data))


def resized(graph: Graph, capacities: Mapping[str, int]) -> Graph:
    """The graph with other capacities: FIFO name -> tokens."""
    return replace(
        graph,
        fifos=tuple(replace(fifo, capacity=capacities.get(fifo.name, fifo.capacity)) for fifo in graph.fifos),
    )


def _least(system: System, options: Options) -> Graph:
    """With the least capacities for the aim, and windows where FIFOs cross a link."""
    graph = system.graph
    if options.aim == "live":
        return least_live(graph, resources(system)).applied(graph)
    if options.aim != "fast":
        raise ValueError(f"--aim {options.aim}: expected live or fast")
    times = {actor.name: actor.time for actor in graph.actors}
    times.update((name, exact_seconds(text)) for name, text in _pairs(options.times, "actor", graph))
    unknown = [name for name, time in times.items() if time is None]
    if unknown:
        raise ValueError(f"actor '{unknown[0]}' has no time: say how long a firing takes, --times {unknown[0]}=1.2ms")
    shared = resources(system, clusters_of(system))
    return least_fast(graph, {name: Fraction(time or 0) for name, time in times.items()}, shared).applied(graph, shared)


def _pairs(texts: tuple[str, ...], kind: str, graph: Graph) -> list[tuple[str, str]]:
    things = graph.fifos if kind == "FIFO" else graph.actors
    known = {each.name for each in things}
    pairs = []
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise ValueError(f"{text!r}: there is no {kind} '{name}'")
        pairs.append((name, value))
    return pairs


def _count(name: str, text: str) -> int:
    count: Optional[int] = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
    if not count:
        raise ValueError(f"{name}={text}: a capacity is a number of tokens, at least 1")
    return count
