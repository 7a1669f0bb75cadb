"""Self-timed execution, the slow way: every actor fires as soon as it can, event after event, until a state repeats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Optional

from hypothesis import strategies as st
from sample_graphs import build

from eprune.model.graph import Graph


@dataclass(frozen=True)
class Link:
    """FIFOs in the order in which they send; the link's seconds for each, the latency, and that of the way back."""

    fifos: tuple[str, ...]
    busy: Mapping[str, Fraction]
    latency: Fraction
    back: Fraction


def period(
    graph: Graph, times: Mapping[str, Fraction], clusters: Sequence[Sequence[str]] = (), links: Sequence[Link] = ()
) -> Optional[Fraction]:
    """The time between two iterations in the long run; None for a deadlock. The graph must be connected.

    The actors of a cluster fire in turn, and so do the FIFOs of a link send what was written in a firing.
    """
    rates = {fifo.name: fifo_rate(graph, fifo.name) for fifo in graph.fifos}
    link_of = {name: link for link in links for name in link.fifos}
    room = {fifo.name: fifo.capacity + (fifo.window or 0) * (fifo.name in link_of) for fifo in graph.fifos}
    tokens = {fifo.name: fifo.delay for fifo in graph.fifos}  # that are there to read
    unsent = dict.fromkeys(link_of, 0)  # firings
    taken = dict(tokens)  # slots: tokens and reserved room
    turns = {**{tuple(each): 0 for each in clusters}, **{link.fifos: 0 for link in links}}
    in_turn = {name: each for each in turns for name in each}
    running: list[tuple[Fraction, str, str]] = []
    now, firings = Fraction(0), 0
    first = graph.actors[0].name
    seen: dict[object, tuple[Fraction, int]] = {}

    def idle(name: str) -> bool:
        group = in_turn.get(name, (name,))
        busy = {each for _, kind, each in running if kind in ("fires", "is sent")}
        return not busy & {*group} and group[turns.get(group, 0)] == name

    def done(name: str) -> None:
        if name in in_turn:
            turns[in_turn[name]] = (turns[in_turn[name]] + 1) % len(in_turn[name])

    while True:
        for actor in graph.actors:
            inputs = [fifo for fifo in graph.fifos if fifo.target.actor == actor.name]
            outputs = [fifo for fifo in graph.fifos if fifo.source.actor == actor.name]
            if (
                idle(actor.name)
                and all(tokens[fifo.name] >= rates[fifo.name] for fifo in inputs)
                and all(room[fifo.name] - taken[fifo.name] >= rates[fifo.name] for fifo in outputs)
            ):
                running.append((now + times[actor.name], "fires", actor.name))
                for fifo in outputs:
                    taken[fifo.name] += rates[fifo.name]
        for name in unsent:
            if unsent[name] and idle(name):
                unsent[name] -= 1
                running.append((now + link_of[name].busy[name], "is sent", name))
        if not running:
            return None
        state = tuple(tuple(each.items()) for each in (tokens, unsent, taken, turns))
        state = (*state, tuple(sorted((end - now, kind, name) for end, kind, name in running)))
        if state in seen:
            before, count = seen[state]
            assert firings > count
            return (now - before) / (firings - count)
        seen[state] = now, firings
        now = min(running)[0]
        ended = [each for each in running if each[0] == now]
        running = [each for each in running if each[0] > now]
        for _, kind, name in ended:
            if kind == "is sent":
                done(name)
                running.append((now + link_of[name].latency, "arrives", name))
            elif kind == "arrives":
                tokens[name] += rates[name]
            elif kind == "is released":
                taken[name] -= rates[name]
            else:
                done(name)
                firings += name == first
                for fifo in graph.fifos:
                    if fifo.target.actor == name:
                        tokens[fifo.name] -= rates[fifo.name]
                        if fifo.name in link_of:
                            running.append((now + link_of[fifo.name].back, "is released", fifo.name))
                        else:
                            taken[fifo.name] -= rates[fifo.name]
                    if fifo.source.actor == name:
                        if fifo.name in link_of:
                            unsent[fifo.name] += 1
                        else:
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
