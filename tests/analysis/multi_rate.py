"""Multi-rate graphs for tests: short texts, random ones, and their self-timed execution, token by token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Optional

from hypothesis import strategies as st

from eprune.model.graph import Actor, Computation, Direction, Fifo, Graph, Port, PortRef, parse_phases
from eprune.model.token import TokenType

BYTE = TokenType("uint8", (64,))  # a slot


def multi_rate(*channels: str) -> Graph:
    """``A 2 3 B``: A writes 2 tokens a firing, B reads 3. ``A 2 3 B 4 7``: 4 initial tokens, a capacity of 7."""
    ports: dict[str, list[Port]] = {}
    fifos = []
    for number, channel in enumerate(channels, 1):
        source, produced, consumed, target, *more = channel.split()
        delay, capacity = (*map(int, more), 0, 0)[:2] if len(more) != 1 else (int(more[0]), 0)
        ends = []
        for actor, direction, text in ((source, Direction.OUT, produced), (target, Direction.IN, consumed)):
            rates = parse_phases(text)
            least, most = min(rates), max(rates)
            phases = rates if least < most else ()
            name = f"{direction.value}{number}"
            ports.setdefault(actor, []).append(Port(name, direction, BYTE, least, most, most, phases=phases))
            ends.append(PortRef(actor, name))
        most = max(*parse_phases(produced), *parse_phases(consumed))
        fifos.append(Fifo(f"f{number}", ends[0], ends[1], capacity or delay + 2 * most, delay))
    actors = tuple(Actor(name, tuple(own)) for name, own in ports.items())
    return Graph("g", actors, tuple(fifos), computation=Computation.SDF)


def with_capacities(graph: Graph, capacities: Sequence[int]) -> Graph:
    return replace(graph, fifos=tuple(replace(f, capacity=c) for f, c in zip(graph.fifos, capacities)))


def period(graph: Graph, times: Mapping[str, Fraction], firings: Mapping[str, int]) -> Optional[Fraction]:
    """The time of an iteration in the long run, each actor firing as soon as it can; None for a deadlock."""
    rates = {ref: port.rates for ref, port in graph.ports()}
    tokens = {fifo.name: fifo.delay for fifo in graph.fifos}
    taken = dict(tokens)
    count = dict.fromkeys(firings, 0)  # firings begun
    running: dict[str, Fraction] = {}
    now, first = Fraction(0), graph.actors[0].name
    seen: dict[object, tuple[Fraction, int]] = {}
    done = 0

    def rate(ref: PortRef, firing: int) -> int:
        return rates[ref][firing % len(rates[ref])]

    while True:
        for actor in graph.actors:
            name, number = actor.name, count[actor.name]
            into = [fifo for fifo in graph.fifos if fifo.target.actor == name]
            out = [fifo for fifo in graph.fifos if fifo.source.actor == name]
            if name in running or any(tokens[f.name] < rate(f.target, number) for f in into):
                continue
            if any(f.capacity - taken[f.name] < rate(f.source, number) for f in out):
                continue
            running[name] = now + times[name]
            count[name] += 1
            for fifo in out:
                taken[fifo.name] += rate(fifo.source, number)
        if not running:
            return None
        phases = tuple(count[name] % firings[name] for name in firings)
        left = tuple(sorted((name, end - now) for name, end in running.items()))
        state = tuple(tokens.items()), tuple(taken.items()), phases, left
        if state in seen:
            before, then = seen[state]
            assert done > then
            return (now - before) / Fraction(done - then, firings[first])
        seen[state] = now, done
        now = min(running.values())
        for name in [name for name, end in running.items() if end == now]:
            del running[name]
            done += name == first
            for fifo in graph.fifos:
                if fifo.target.actor == name:
                    tokens[fifo.name] -= rate(fifo.target, count[name] - 1)
                    taken[fifo.name] -= rate(fifo.target, count[name] - 1)
                if fifo.source.actor == name:
                    tokens[fifo.name] += rate(fifo.source, count[name] - 1)


def all_capacities(least: Sequence[int], most: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return product(*(range(low, high + 1) for low, high in zip(least, most)))


@st.composite
def graphs(draw: st.DrawFn, actors: int = 4, fifos: int = 5, phased: bool = True, most: int = 3) -> Graph:
    """A connected, consistent graph that may deadlock."""
    count = draw(st.integers(1, actors))
    firings = [draw(st.integers(1, most)) for _ in range(count)]
    pairs = []
    for index in range(1, count):
        other = draw(st.integers(0, index - 1))
        pairs.append((other, index) if draw(st.integers(0, 3)) else (index, other))
    node = st.integers(0, count - 1)
    pairs += draw(st.lists(st.tuples(node, node), max_size=fifos - len(pairs)))
    channels = []
    for source, target in pairs or [(0, 0)]:
        through = firings[source] * firings[target] * draw(st.integers(1, 2))
        ends = []
        for actor in (source, target):
            rate = through // firings[actor]
            parts = [rate] * firings[actor]
            if phased and firings[actor] > 1 and draw(st.booleans()):
                moved = draw(st.integers(0, rate))
                parts[0], parts[-1] = rate - moved, rate + moved
            ends.append(",".join(map(str, parts)) if len(set(parts)) > 1 else str(rate))
        ahead = through if source >= target and draw(st.integers(0, 4)) else 0
        delay = ahead + draw(st.integers(0, 3))
        room = delay + draw(st.integers(1, 2 * through + 1))
        channels.append(f"a{source} {ends[0]} {ends[1]} a{target} {delay} {room}")
    return multi_rate(*channels)
