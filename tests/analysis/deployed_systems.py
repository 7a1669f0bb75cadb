"""Sound systems at random: graphs, with live data among them, on platforms with links; and the times of actors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from hypothesis import assume
from hypothesis import strategies as st
from sample_graphs import build

from eprune.analysis.check import check
from eprune.model.finding import has_errors
from eprune.model.graph import FaultPolicy, Fifo, Graph
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System

#: Rules about addresses and ports, which these systems do not state.
ASIDE = ("M2", "M5")


@st.composite
def deployed_systems(
    draw: st.DrawFn, live: bool = False, actors: int = 7, platforms: int = 3
) -> tuple[System, dict[str, Fraction]]:
    """Up to so many actors; with ``live``, some FIFOs that are ``newest``, and some inputs on hold."""
    count = draw(st.integers(2, actors))
    made = []
    for index in range(1, count):
        for _ in range(draw(st.integers(int(index == 1), 2))):
            rate = draw(st.integers(1, 2))
            made.append((f"a{draw(st.integers(0, index - 1))}", f"a{index}", rate, 0, rate * draw(st.integers(1, 3))))
    if draw(st.booleans()):
        back = draw(st.integers(1, count - 1))
        made.append((f"a{back}", f"a{draw(st.integers(0, back))}", 1, draw(st.integers(1, 2)), 3))
    graph = build(made, tuple(f"a{index}" for index in range(count)))
    paces = st.sampled_from([None, None, 1 / 3, 1 / 7, 1 / 20])
    graph = replace(
        graph,
        actors=tuple(actor if actor.inputs else replace(actor, rate=draw(paces)) for actor in graph.actors),
    )
    if live:
        graph = _with_live_data(draw, graph)
    times = {actor.name: draw(st.fractions(0, 5, max_denominator=2)) for actor in graph.actors}
    system = _deployed(draw, graph, platforms)
    assume(not has_errors([finding for finding in check(system) if finding.rule not in ASIDE]))
    return system, times


def _with_live_data(draw: st.DrawFn, graph: Graph) -> Graph:
    rates = {ref: port.url for ref, port in graph.ports()}
    held = set()

    def turned(fifo: Fifo) -> Fifo:
        kind = draw(st.integers(0, 5))
        if fifo.delay or kind > 2:
            return fifo
        if kind == 0:
            fifo = replace(fifo, policy=FaultPolicy.NEWEST, capacity=draw(st.integers(2, 4)) * rates[fifo.source])
        if kind or draw(st.booleans()):
            held.add(fifo.target)
            fifo = replace(fifo, capacity=max(fifo.capacity, 3 * rates[fifo.source]))
        return fifo

    fifos = tuple(turned(fifo) for fifo in graph.fifos)
    actors = tuple(
        replace(
            actor,
            ports=tuple(
                replace(port, hold=any((ref.actor, ref.port) == (actor.name, port.name) for ref in held))
                for port in actor.ports
            ),
        )
        for actor in graph.actors
    )
    return replace(graph, actors=actors, fifos=fifos)


def _deployed(draw: st.DrawFn, graph: Graph, platforms: int) -> System:
    names = [f"p{index}" for index in range(draw(st.integers(1, platforms)))]
    bandwidths, latencies = st.sampled_from([None, 16.0, 32.0]), st.sampled_from([None, 0.5, 2.0])
    made = tuple(
        Platform(
            name,
            tuple(Unit(f"u{index}") for index in range(draw(st.integers(1, 2)))),
            tuple(Link(other, bandwidth=draw(bandwidths), latency=draw(latencies)) for other in names if other != name),
        )
        for name in names
    )
    homes = {actor.name: draw(st.sampled_from(made)) for actor in graph.actors}
    places = {name: f"{home.name}/{draw(st.sampled_from(home.units)).name}" for name, home in homes.items()}
    return System(graph, made, mapped(names, places))


def mapped(platforms: Iterable[str], places: dict[str, str]) -> tuple[Mapping, ...]:
    """The mappings of an application called "random"; ``places``: actor -> "platform/unit"."""
    units = {actor: place.split("/") for actor, place in places.items()}
    return tuple(
        Mapping(
            "random",
            name,
            tuple(
                Placement(actor, unit=unit) if home == name else Placement(actor, platform=home)
                for actor, (home, unit) in units.items()
            ),
        )
        for name in platforms
    )
