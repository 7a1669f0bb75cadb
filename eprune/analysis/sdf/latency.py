"""Latency in multi-rate graphs: how old the oldest token is on which a sink begins to fire, as in ``latency``.

Each firing of an iteration is a node (``timing``). A firing of a sink reads tokens of several firings of a source; the
first of these counts. It is exact where each unit has one thread and each link is written to by one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import accumulate
from typing import Optional

from eprune.analysis.component import Component, Part, connected
from eprune.analysis.cycle_ratio import Cycle
from eprune.analysis.latency import Latency, contended, kind_of, unsettled
from eprune.analysis.sdf.execution import Net
from eprune.analysis.sdf.timing import Unfolded, numbered, slowest_cycle
from eprune.analysis.throughput import ALONE, Resources
from eprune.analysis.timeline import paces
from eprune.model.graph import Graph


class Latencies:
    """The latencies of a live multi-rate graph, each on demand. ``times``: actor -> seconds per firing."""

    def __init__(self, graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE) -> None:
        self.graph, self.resources = graph, resources
        self._net = Net(graph)
        self._model = Unfolded(graph, times, resources).at([fifo.capacity for fifo in graph.fifos])
        self._firings = {name: numbered(name, count) for name, count in zip(self._net.names, self._net.due)}
        stated = {
            node: (pace * number, pace * len(self._firings[name]))
            for name, pace in paces(graph).items()
            for number, node in enumerate(self._firings[name])
        }
        self._components = [Component(model, stated, {}) for model in connected(self._model)]
        self._component = {node: each for each in self._components for node in each.model.times}
        self._carrying = {fifo.name for fifo in graph.fifos if not fifo.delay}

    def __call__(self, source: str, sink: str) -> Latency:
        """That from a source to a sink. Raises ValueError where no tokens get there without a delay."""
        begins = self._origins(source)
        pairs = [(begins[node], node) for node in self._firings[sink] if node in begins]
        if not pairs:
            raise ValueError(f"no tokens get from '{source}' to '{sink}' without a delay")
        component = self._component[pairs[0][1]]
        all_ages = {pair: component.ages(*pair) for pair in pairs}
        oldest = max(pairs, key=lambda pair: all_ages[pair].steady)
        ages = all_ages[oldest]
        first = next(all_ages[pair].first for pair in pairs)
        most = max(each.most for each in all_ages.values())
        parts = _by_actor(component.way(*oldest, ages.oldest, self._carrying))
        why = [*self._why(component), *unsettled(ages.unsettled)]
        period = self.pace(sink)[0]
        return Latency(source, sink, first, ages.steady, most, period, parts, *kind_of(why), component.keeps_up)

    def ways(self) -> list[tuple[str, str]]:
        """All pairs of a source and a sink that its tokens get to, in file order."""
        sources = [actor.name for actor in self.graph.actors if not actor.inputs]
        sinks = [actor.name for actor in self.graph.actors if actor.inputs and not actor.outputs]
        reached = {source: self._origins(source) for source in sources}
        return [
            (source, sink)
            for source in sources
            for sink in sinks
            if any(node in reached[source] for node in self._firings[sink])
        ]

    def pace(self, actor: str) -> tuple[Fraction, Optional[Cycle]]:
        """Seconds between two firings on average, and the cycle that is why; None where a source's pace is."""
        nodes = self._firings[actor]
        component = self._component[nodes[0]]
        cycle = component.cycle if component.cycle and component.cycle.ratio == component.period else None
        if cycle is not None:
            cycle = slowest_cycle(component.whole)
        return component.period / len(nodes), cycle

    def seconds(self, node: str) -> Fraction:
        """Of a firing, a transfer or another node of the graph."""
        return self._model.times[node]

    def _origins(self, source: str) -> dict[str, str]:
        """Firing -> the first firing of a source in an iteration whose tokens, or what is made of them, it reads."""
        place = {node: number for number, node in enumerate(self._firings[source])}
        found = {node: node for node in place}
        net, fifos = self._net, self.graph.fifos
        into: dict[int, list[int]] = {}
        for number, fifo in enumerate(fifos):
            if not fifo.delay:
                into.setdefault(net.ends[number][1], []).append(number)
        count = [0] * len(net.names)
        for actor in net.run([fifo.capacity for fifo in fifos]).order:
            firing = count[actor]
            count[actor] += 1
            node = self._firings[net.names[actor]][firing]
            for number in into.get(actor, ()):
                first = self._first_writer(number, firing)
                if first is not None:
                    writer = self._firings[net.names[net.ends[number][0]]][first]
                    own = found.get(writer)
                    if own is not None and (node not in found or place[own] < place[found[node]]):
                        found[node] = own
        return found

    def _first_writer(self, fifo: int, firing: int) -> Optional[int]:
        """The firing that writes the first token which the reader's firing takes; None if it takes none."""
        produced, consumed = self._net.rates[fifo]
        sums = list(accumulate(consumed))
        rounds, phase = divmod(firing, len(consumed))
        token = rounds * sums[-1] + (sums[phase - 1] if phase else 0)
        if not consumed[phase]:
            return None
        written = list(accumulate(produced))
        rounds, within = divmod(token, written[-1])
        return rounds * len(produced) + bisect_right(written, within)

    def _why(self, component: Component) -> list[tuple[str, str]]:
        """Why a latency is not exact: what it is instead, and a line."""
        actors = set(component.model.actors.values())
        reasons = [
            ("estimate", f"threads that share {unit} are taken as if each had one of its own")
            for unit, parts in self.resources.units.items()
            if sum(not actors.isdisjoint(part) for part in parts) > 1
        ]
        return reasons + contended(self.graph, self.resources, self._firings)


def _by_actor(parts: Iterable[Part]) -> tuple[Part, ...]:
    """The parts of a way, in which successive firings of one actor are one part."""
    found: list[Part] = []
    for part in parts:
        own = part._replace(about=part.about.partition("#")[0])
        if found and found[-1]._replace(seconds=own.seconds) == own:
            own = own._replace(seconds=own.seconds + found.pop().seconds)
        found.append(own)
    return tuple(found)
