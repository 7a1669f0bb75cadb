"""Self-timed execution, the slow way: every actor fires as soon as it can, event after event, until a state repeats."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Optional

from hypothesis import strategies as st
from sample_graphs import build

from eprune.model.graph import Graph


def period(graph: Graph, times: Mapping[str, Fraction]) -> Optional[Fraction]:
    """The time between two iterations in the long run; None for a deadlock. The graph must be connected."""
    rates = {fifo.name: fifo_rate(graph, fifo.name) for fifo in graph.fifos}
    tokens = {fifo.name: fifo.delay for fifo in graph.fifos}
    taken = dict(tokens)  # slots: tokens and reserved room
    running: dict[str, Fraction] = {}
    now, firings = Fraction(0), 0
    first = graph.actors[0].name
    seen: dict[object, tuple[Fraction, int]] = {}
    while True:
        for actor in graph.actors:
            inputs = [fifo for fifo in graph.fifos if fifo.target.actor == actor.name]
            outputs = [fifo for fifo in graph.fifos if fifo.source.actor == actor.name]
            if (
                actor.name not in running
                and all(tokens[fifo.name] >= rates[fifo.name] for fifo in inputs)
                and all(fifo.capacity - taken[fifo.name] >= rates[fifo.name] for fifo in outputs)
            ):
                running[actor.name] = now + times[actor.name]
                for fifo in outputs:
                    taken[fifo.name] += rates[fifo.name]
        if not running:
            return None
        state = (
            tuple(tokens.items()),
            tuple(taken.items()),
            frozenset((name, end - now) for name, end in running.items()),
        )
        if state in seen:
            before, count = seen[state]
            assert firings > count
            return (now - before) / (firings - count)
        seen[state] = now, firings
        now = min(running.values())
        for name in [name for name, end in running.items() if end == now]:
            del running[name]
            firings += name == first
            for fifo in graph.fifos:
                if fifo.target.actor == name:
                    tokens[fifo.name] -= rates[fifo.name]
                    taken[fifo.name] -= rates[fifo.name]
                if fifo.source.actor == name:
                    tokens[fifo.name] += rates[fifo.name]


def fifo_rate(graph: Graph, name: str) -> int:
    source = next(fifo.source for fifo in graph.fifos if fifo.name == name)
    return next(port.url for ref, port in graph.ports() if ref == source)


@st.composite
def timed_graphs(
    draw: st.DrawFn, actors: int = 5, fifos: int = 8, longest: int = 5
) -> tuple[Graph, dict[str, Fraction]]:
    """A connected graph, sound by rule G5, that may deadlock; and times from 0, not all of them whole."""
    count = draw(st.integers(1, actors))
    pairs = []
    for index in range(1, count):
        other = draw(st.integers(0, index - 1))
        pairs.append((other, index) if draw(st.booleans()) else (index, other))
    node = st.integers(0, count - 1)
    pairs += draw(st.lists(st.tuples(node, node), max_size=fifos - len(pairs)))
    made = []
    for source, target in pairs or [(0, 0)]:
        rate, ahead, room = draw(st.tuples(st.integers(1, 2), st.integers(0, 2), st.integers(0, 3)))
        if source >= target and draw(st.integers(0, 3)):  # else the graph would mostly deadlock
            ahead += rate
        delay = max(ahead, rate) if source == target else ahead
        least = delay + rate if delay < rate or source == target else delay
        made.append((f"a{source}", f"a{target}", rate, delay, max(least + room, 1)))
    graph = build(made, tuple(f"a{index}" for index in range(count)))
    length = st.fractions(0, longest, max_denominator=2)
    times = {actor.name: draw(length) for actor in graph.actors}
    return graph, times
