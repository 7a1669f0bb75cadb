"""Turn each firing of an iteration into an actor, where rates differ at the two ends of a FIFO.

Lee and Messerschmitt 1987: an actor that fires n times per iteration becomes n actors, and a FIFO becomes FIFOs that
lead each token from the firing that writes it to the one that reads it. What comes out is single-rate (rule G4). Where
an actor's rates go through phases (CSDF), each firing of an iteration has those of its phase.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from itertools import accumulate

from eprune.analysis.sdf.repetition import rates_at_ends, repetition
from eprune.formats.xml.sdf3 import STEADY, Phases
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.graph import Direction, Fifo, Graph, Port, PortRef, default_capacity
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries

MENDS = True
MULTI_RATE = True
UNMAPPED = True

#: Firings and FIFOs of an expanded graph, at most.
MAX_FIRINGS = 100_000
MAX_FIFOS = 500_000


@dataclass(frozen=True)
class Options:
    """There are none."""


@carries
def apply(system: System, options: Options = Options()) -> Result:
    """The single-rate graph that does the same. Platforms and mappings are left out, for the actors are others.

    Raises EpruneError where rates are inconsistent (C1) or the graph would be too large.
    """
    graph = expand(system.graph)
    line = f"{len(graph.actors)} actors and {len(graph.fifos)} FIFOs"
    made = replace(system, graph=graph, platforms=(), mappings=(), interfaces={})
    return Result(made, Report((line,), {"actors": len(graph.actors), "fifos": len(graph.fifos)}))


def repetitions(graph: Graph, phases: Phases = STEADY) -> dict[str, int]:
    """Actor -> its firings in an iteration, the least whole numbers after which every channel is as full as before.

    An actor with phases goes through all of them, once or several times. Raises EpruneError (C1) for channels that no
    such numbers satisfy.
    """
    found = repetition(graph, {actor.name: phases.count(actor.name) for actor in graph.actors})
    if found.contradictions:
        raise EpruneError(*found.contradictions, exit_code=1)
    return found.firings


def expand(graph: Graph, phases: Phases = STEADY) -> Graph:
    """The single-rate graph that does the same: one actor for each firing of an iteration, and its times.

    Firing i of actor A is ``A-i``, from 1; an actor that fires once keeps its name. Capacities are the defaults. Raises
    EpruneError where rates are inconsistent (C1) or the graph would be too large.
    """
    firings = repetitions(graph, phases)
    if sum(firings.values()) > MAX_FIRINGS:
        _too_large(graph.where, f"{sum(firings.values())} firings in an iteration; the limit is {MAX_FIRINGS}")
    taken = {actor.name for actor in graph.actors}
    copies = {}
    for actor in graph.actors:
        count = firings[actor.name]
        copies[actor.name] = [actor.name] if count == 1 else _fresh(actor.name, count, taken)
    names = {fifo.name for fifo in graph.fifos}
    ports: dict[str, list[Port]] = {name: [] for every in copies.values() for name in every}
    types = {ref: port.token for ref, port in graph.ports()}
    fifos: list[Fifo] = []
    for fifo, rates in zip(graph.fifos, rates_at_ends(graph)):
        paths = _paths(fifo, rates, (firings[fifo.source.actor], firings[fifo.target.actor]))
        if len(fifos) + len(paths) > MAX_FIFOS:
            _too_large(fifo.where, f"more than {MAX_FIFOS} FIFOs")
        own = [fifo.name] if len(paths) == 1 else _fresh(fifo.name, len(paths), names)
        for name, ((writer, reader, ahead), rate) in zip(own, paths.items()):
            ends = []
            for end, firing, direction in ((fifo.source, writer, Direction.OUT), (fifo.target, reader, Direction.IN)):
                own_ports = ports[copies[end.actor][firing]]
                port = f"{direction.value}{len(own_ports) + 1}"
                own_ports.append(Port(port, direction, types[end], rate, rate, rate, where=fifo.where))
                ends.append(PortRef(copies[end.actor][firing], port))
            source, target = ends
            fifos.append(
                Fifo(
                    name,
                    source,
                    target,
                    default_capacity(rate, ahead * rate),
                    ahead * rate,
                    channel=fifo.name if len(paths) > 1 else None,
                    where=fifo.where,
                )
            )
    actors = []
    for actor in graph.actors:
        times = phases.times.get(actor.name, (actor.time,))
        for firing, name in enumerate(copies[actor.name]):
            time = times[firing % len(times)]
            actors.append(replace(actor, name=name, ports=tuple(ports[name]), time=time))
    return Graph(graph.name, tuple(actors), tuple(fifos), where=graph.where)


def _paths(
    fifo: Fifo, rates: tuple[tuple[int, ...], tuple[int, ...]], firings: tuple[int, int]
) -> dict[tuple[int, int, int], int]:
    """(writing firing, reading firing, iterations that the second is ahead) -> tokens in an iteration."""
    (produced, consumed), (writers, readers) = rates, firings
    written = list(accumulate(produced))
    paths: Counter[tuple[int, int, int]] = Counter()
    token = -fifo.delay
    for reader in range(readers):
        end = token + consumed[reader % len(consumed)]
        while token < end:
            # The firing that writes the token: in one round of the writer's phases, the first that gets beyond it.
            rounds, within = divmod(token, written[-1])
            phase = bisect_right(written, within)
            firing = rounds * len(written) + phase
            following = min(end, rounds * written[-1] + written[phase])
            paths[firing % writers, reader, -(firing // writers)] += following - token
            token = following
            if len(paths) > MAX_FIFOS:
                _too_large(fifo.where, f"more than {MAX_FIFOS} FIFOs")
    return paths


def _fresh(name: str, count: int, taken: set[str]) -> list[str]:
    """``name-1`` and so on; more hyphens where one of them is taken."""
    hyphens = "-"
    while not taken.isdisjoint(f"{name}{hyphens}{number}" for number in range(1, count + 1)):
        hyphens += "-"
    made = [f"{name}{hyphens}{number}" for number in range(1, count + 1)]
    taken.update(made)
    return made


def _too_large(where: Location, message: str) -> None:
    raise EpruneError(Finding("XML", where, f"too large to expand: {message}"))
