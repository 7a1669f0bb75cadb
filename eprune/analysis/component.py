"""The components of a timed graph, each of which fires at one pace: when actors begin, and how old tokens get in it.

See ``latency``, which puts them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple, Optional

from eprune.analysis.cycle_ratio import TimedEdge, forward, longest_paths, max_cycle_ratio
from eprune.analysis.recurrence import NEVER, Recurrence
from eprune.analysis.throughput import LATENCY, Timed, is_load, subject


class Part(NamedTuple):
    """A part of a token's way: ``about`` an actor or a FIFO, which ``does`` something for so many seconds.

    ``does``: ``fires``, ``is sent``, ``is under way``, or ``waits``, and then ``why`` says for what.
    """

    about: str
    does: str
    seconds: Fraction
    why: str = ""


class Ages(NamedTuple):
    """Of tokens, in seconds: in the first firing of a sink, in the long run at most, and at most of all looked at.

    ``oldest``: the number of a firing on a token that is ``steady`` old. ``unsettled``: 0, or the number of firings
    that were looked at, if they do not repeat themselves yet.
    """

    first: Fraction
    steady: Fraction
    most: Fraction
    oldest: int
    unsettled: int


class Component:
    """The actors that FIFOs, threads and links join, with a pace of their own; but for FIFOs that divide a graph."""

    def __init__(
        self,
        model: Timed,
        stated: Mapping[str, tuple[Fraction, Fraction]],
        waits: Mapping[str, tuple[Fraction, str]],
    ) -> None:
        """``stated``: node of a source -> when it fires first, and its period; ``waits``: actor -> what it may have to
        wait for its unit in an iteration, and the unit.
        """
        self.paced = {name: pace for name, pace in stated.items() if name in model.times}
        #: the timed graph, and below what is left of it without the load of units, with waiting for them
        self.whole = model
        self.cycle = max_cycle_ratio(model.times, model.edges)
        self._waits = {name: wait for name, wait in waits.items() if name in model.times}
        self.model = self._in_turn(model)
        slowest = max((pace for _, pace in self.paced.values()), default=Fraction(0))
        self.period = max(Fraction(0) if self.cycle is None else self.cycle.ratio, slowest)
        # What threads wait for their unit makes cycles longer, too.
        whole = max_cycle_ratio(self.model.times, self.model.edges)
        self._least = Fraction(0) if whole is None else whole.ratio
        #: whether sources set the pace, as they state it
        self.keeps_up = bool(self.paced) and slowest >= max(self._least, self.period)
        self._round = max(self._least, slowest)
        self._walks: dict[str, Recurrence] = {}

    def _in_turn(self, model: Timed) -> Timed:
        """The model, in which what an actor waits for its unit comes before it, without the load of units."""
        load = {edge.source for edge in model.edges if edge.kind == "unit" and is_load(edge.source)}
        turns = {name: f"{_TURN}{name}" for name in self._waits}
        own = [edge for edge in model.edges if edge.source not in load]
        edges = [edge._replace(target=turns.get(edge.target, edge.target)) for edge in own]
        edges += [TimedEdge(turns[name], name, 0, "turn", unit) for name, (_, unit) in self._waits.items()]
        times = {node: seconds for node, seconds in model.times.items() if node not in load}
        times.update({turns[name]: seconds for name, (seconds, _) in self._waits.items()})
        return Timed(times, tuple(edges), {**model.actors, **{turn: name for name, turn in turns.items()}})

    def _ready(self, actor: str) -> str:
        """The node that begins when an actor has all that it needs but its unit."""
        return f"{_TURN}{actor}" if actor in self._waits else actor

    def sets_pace(self, source: str) -> bool:
        """Whether a source fires at its period, always."""
        return self.keeps_up and source in self.paced and self.paced[source][1] == self._round

    @cached_property
    def _run(self) -> tuple[Recurrence, int]:
        """The firings, and the length of the round in which they repeat themselves in the end, or 0."""
        paced = {self._ready(name): pace for name, pace in self.paced.items()}
        recurrence = Recurrence(self.model, paced, self._round)
        return recurrence, recurrence.settle()

    @cached_property
    def _latest(self) -> dict[str, Fraction]:
        """Node -> how much later than the sources that set the pace it begins in the long run."""
        nodes = forward(self.model.times, self.model.edges)
        number = {node: place for place, node in enumerate(nodes)}
        lengths = (*self.model.times.values(), self._round, *(first for first, _ in self.paced.values()))
        scale = math.lcm(*(length.denominator for length in lengths))
        seconds = [int(self.model.times[node] * scale) for node in nodes]
        arcs = []
        for edge in self.model.edges:
            source = number[edge.source]
            arcs.append((source, number[edge.target], seconds[source] - edge.tokens * int(self._round * scale)))
        roots = {
            number[self._ready(name)]: int(first * scale)
            for name, (first, _) in self.paced.items()
            if self.sets_pace(name)
        }
        potentials = longest_paths(len(nodes), arcs, roots).potentials or []
        return {node: Fraction(value, scale) for node, value in zip(nodes, potentials) if value > NEVER}

    def ages(self, source: str, sink: str) -> Ages:
        """How old tokens of a source are at a sink of this component."""
        (recurrence, length), begin = self._run, self._ready(source)
        count = len(recurrence.begins)
        ages = [recurrence.begin(sink, each) - recurrence.begin(begin, each) for each in range(count)]
        tail = range(count - length, count) if length else range(count)
        oldest = max(tail, key=ages.__getitem__)
        steady, settled = ages[oldest], bool(length)
        if not settled and self.keeps_up and {begin, sink} <= self._latest.keys():
            # So many firings were not enough, or something else of the component has a pace of its own. If none is
            # later than the longest path by now, none will be.
            last = max(range(count // 2, count), key=ages.__getitem__)
            limit = self._latest[sink] - self._latest[begin]
            if ages[last] <= limit:
                steady, oldest, settled = limit, last, True
        return Ages(ages[0], steady, max(steady, *ages), oldest, 0 if settled else count)

    def way(self, source: str, sink: str, iteration: int, carrying: Set[str]) -> Iterator[Part]:
        """Where a token was, from its source on: the latest of all ways that it and its like came.

        ``carrying``: the FIFOs over which tokens are as old as what they are made from.
        """
        recurrence, source = self._run[0], self._ready(source)
        before: dict[str, list[str]] = {}
        behind: dict[str, list[str]] = {}
        for edge in self.model.edges:
            on_way = edge.kind in ("turn", "self") or (edge.kind == "token" and edge.about in carrying)
            if on_way and not edge.tokens:
                before.setdefault(edge.target, []).append(edge.source)
                behind.setdefault(edge.source, []).append(edge.target)
        reached, stack = {source}, [source]
        while stack:
            for node in behind.get(stack.pop(), ()):
                if node not in reached:
                    reached.add(node)
                    stack.append(node)
        way = [sink]
        while way[-1] != source:
            came = (node for node in before[way[-1]] if node in reached)
            way.append(max(came, key=lambda node: recurrence.begin(node, iteration) + self.model.times[node]))
        way.reverse()
        for node, after in zip(way, way[1:]):
            if self.model.times[node]:
                yield self._at(node)
            ended = recurrence.begin(node, iteration) + self.model.times[node]
            wait = recurrence.begin(after, iteration) - ended
            if wait:
                yield Part(subject(after), "waits", wait, _reason(recurrence.binding(after, iteration)))

    def _at(self, node: str) -> Part:
        """What a token does at a node."""
        does, why = "is sent" if " " in node else "fires", ""
        if node.startswith(LATENCY):
            does = "is under way"
        elif node.startswith(_TURN):
            does, why = "waits", f"other threads of {self._waits[subject(node)][1]}"
        return Part(subject(node), does, self.model.times[node], why)

    def _from(self, origin: str) -> Recurrence:
        """What follows from one firing of an actor alone."""
        if origin not in self._walks:
            self._walks[origin] = Recurrence(self.model, {}, self._least, self._ready(origin))
            self._walks[origin].settle()
        return self._walks[origin]

    def spread(self, entry: str, actor: str) -> Part:
        """How long after a firing of ``entry`` that of an actor begins, at most, whenever ``entry`` fires."""
        walk = self._from(entry)
        places = walk.number[self._ready(entry)], walk.number[actor]
        later = (now[places[1]] - now[places[0]] for now in walk.begins if min(now[p] for p in places) > NEVER)
        return Part(actor, "is reached", Fraction(max(later), walk.scale), f"all between '{entry}' and it")

    def gap(self, actor: str) -> Fraction:
        """Seconds between the beginnings of two firings of an actor, at most, where it has tokens at any time."""
        walk = self._from(actor)
        place = walk.number[self._ready(actor)]
        steps = (
            now[place] - before[place] for before, now in zip(walk.begins, walk.begins[1:]) if before[place] > NEVER
        )
        _, pace = self.paced.get(actor, (Fraction(0), Fraction(0)))
        return max(Fraction(max(steps, default=0), walk.scale), pace)


_TURN = "turn of "
_WAITS = {
    "token": "tokens in {}",
    "room": "room in {}",
    "self": "its firing before",
    "unit": "its turn on {}",
    "link": "its turn on {}",
}


def _reason(edge: Optional[TimedEdge]) -> str:
    return "its time" if edge is None else _WAITS[edge.kind].format(edge.about)


def connected(model: Timed) -> list[Timed]:
    """The model in parts that no edges join. What a unit has to do is part of what those actors do."""
    owner = {node: node for node in model.times}

    def root(node: str) -> str:
        while owner[node] != node:
            owner[node] = owner[owner[node]]
            node = owner[node]
        return node

    for edge in model.edges:
        owner[root(edge.source)] = root(edge.target)
    first: dict[str, str] = {}
    for node, actor in model.actors.items():
        owner[root(node)] = root(first.setdefault(actor, node))
    nodes: dict[str, dict[str, Fraction]] = {}
    edges: dict[str, list[TimedEdge]] = {}
    for node, seconds in model.times.items():
        nodes.setdefault(root(node), {})[node] = seconds
    for edge in model.edges:
        edges.setdefault(root(edge.source), []).append(edge)
    return [
        Timed(own, tuple(edges.get(name, ())), {node: model.actors[node] for node in own})
        for name, own in nodes.items()
    ]
