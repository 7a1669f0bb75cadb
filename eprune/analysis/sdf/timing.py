"""How often a multi-rate graph whose firings take known times completes an iteration, and what keeps it from more.

Each firing of an iteration is a node, and a FIFO becomes edges: firing j of the reader needs the firing of the writer
that makes its last token, which is so many iterations before (Lee, Messerschmitt 1987; Sriram, Bhattacharyya 2000). The
room of a FIFO is a FIFO the other way round, from the firings that give slots back to those that take them, with as
many tokens as there are slots that are empty at the start: so the room is that of the FIFO itself, for all its tokens.
The maximum cycle ratio of these nodes is the time of an iteration, exactly, if actors fire as soon as they can.

Who shares a thread, a unit or a link stands in rings, as in ``throughput``; the order in a thread is its schedule's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Optional

from eprune.analysis.cycle_ratio import Cycle, TimedEdge, max_cycle_ratio
from eprune.analysis.lookup import some
from eprune.analysis.sdf.execution import Net
from eprune.analysis.sdf.repetition import Rates
from eprune.analysis.throughput import (
    ALONE,
    Resources,
    Timed,
    Transfer,
    on,
    rings,
    subject,
    transfer_node,
    window_of,
)
from eprune.model.graph import Fifo, Graph


def timed(graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE, bounded: bool = True) -> Timed:
    """The graph to find the maximum cycle ratio of: the time of an iteration.

    ``times``: actor -> seconds per firing. Not ``bounded``: as if every FIFO had room for ever. The graph must be live.
    Raises KeyError for an actor without a time.
    """
    return Unfolded(graph, times, resources).at([fifo.capacity for fifo in graph.fifos] if bounded else None)


class Unfolded:
    """The firings of an iteration, with their times; the edges follow when capacities are given."""

    def __init__(self, graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE) -> None:
        self.net = net = Net(graph)
        self._fifos = graph.fifos
        self._times = times
        self._resources = resources
        self._firings = [numbered(name, count) for name, count in zip(net.names, net.due)]
        self._crossing = {
            number: resources.transfers[fifo.name]
            for number, fifo in enumerate(graph.fifos)
            if fifo.name in resources.transfers
        }
        self.times: dict[str, Fraction] = {}
        self.actors: dict[str, str] = {}
        self._edges: list[TimedEdge] = []
        for name, nodes in zip(net.names, self._firings):
            for node, after in zip(nodes, [*nodes[1:], nodes[0]]):
                self._node(node, times[name], name)
                self._edges.append(TimedEdge(node, after, int(after == nodes[0]), "self", name))
        #: FIFO -> for each firing of its writer what its reader waits for, and of its reader what its writer waits for
        self._sent = [list(self._firings[source]) for source, _ in net.ends]
        self._released = [list(self._firings[target]) for _, target in net.ends]
        for number, transfer in self._crossing.items():
            self._cross(number, graph.fifos[number], transfer)
        for number, rates in enumerate(net.rates):
            self._edges += self._needed(number, rates, net.delays[number], "token")

    def _node(self, node: str, time: Fraction, actor: str) -> str:
        self.times[node], self.actors[node] = time, actor
        return node

    def _cross(self, number: int, fifo: Fifo, transfer: Transfer) -> None:
        """The nodes of a transfer: each firing's tokens, on the link and beyond, and the news of room going back."""
        source, target = fifo.source.actor, fifo.target.actor
        produced, name = self.net.rates[number][0], transfer_node(fifo, transfer)
        per_token = transfer.busy / max(produced)
        for index, (firing, node) in enumerate(zip(self._sent[number], numbered(name, len(self._sent[number])))):
            self._node(node, per_token * produced[index % len(produced)], source)
            self._edges.append(TimedEdge(firing, node, 0, "token", fifo.name))
            last = node
            if transfer.latency:
                last = self._node(f"latency of {node}", transfer.latency, source)
                self._edges.append(TimedEdge(node, last, 0, "token", fifo.name))
            self._sent[number][index] = last
        if transfer.back:
            back = numbered(f"room in {name}", len(self._released[number]))
            for index, (firing, node) in enumerate(zip(self._released[number], back)):
                self._node(node, transfer.back, target)
                self._edges.append(TimedEdge(firing, node, 0, "room", fifo.name))
                self._released[number][index] = node

    def _needed(self, number: int, rates: Rates, ahead: int, kind: str) -> Iterator[TimedEdge]:
        """For each firing that takes tokens (or room), the firing that gives the last of them; ``ahead`` are there."""
        (given, taken), (source, target) = rates, self.net.ends[number]
        givers, takers = self._sent[number], self._firings[target]
        if kind == "room":
            (taken, given), givers, takers = rates, self._released[number], self._firings[source]
        sums, total = list(accumulate(given)), 0
        for index, taker in enumerate(takers):
            count = taken[index % len(taken)]
            total += count
            if count:
                rounds, within = divmod(total - 1 - ahead, sums[-1])
                firing = rounds * len(given) + bisect_right(sums, within)
                before, giver = divmod(firing, len(givers))
                yield TimedEdge(givers[giver], taker, -before, kind, self._fifos[number].name)

    def at(self, capacities: Optional[Sequence[int]]) -> Timed:
        """With these capacities, or with room for ever. Windows of FIFOs over links come on top of it."""
        nodes, actors, edges = dict(self.times), dict(self.actors), list(self._edges)
        if capacities is not None:
            for number, capacity in enumerate(capacities):
                transfer = self._crossing.get(number)
                room = capacity + (0 if transfer is None else window_of(self._fifos[number], transfer))
                edges += self._needed(number, self.net.rates[number], room - self.net.delays[number], "room")
        if self._resources.units or self._crossing:
            edges = [*self._turns(capacities, nodes, actors), *edges]
        return Timed(nodes, tuple(edges), actors)

    def _turns(
        self, capacities: Optional[Sequence[int]], nodes: dict[str, Fraction], actors: dict[str, str]
    ) -> Iterator[TimedEdge]:
        """The rings of threads, units and links."""
        net = self.net
        room = [delay + through for delay, through in zip(net.delays, net.through)]
        sequence = net.run(room if capacities is None else capacities).order
        count = [0] * len(net.names)
        fired: list[tuple[int, int]] = []
        for actor in sequence:
            fired.append((actor, count[actor]))
            count[actor] += 1
        turns: list[tuple[str, Sequence[str]]] = []
        for unit, parts in self._resources.units.items():
            for cluster in parts:
                members = {net.place[name] for name in cluster}
                if len(cluster) > 1:
                    turns.append((unit, [self._firings[a][firing] for a, firing in fired if a in members]))
            if len(parts) > 1:
                load = []
                for name in (name for cluster in parts for name in cluster):
                    node = on(name, unit)
                    nodes[node] = self._times[name] * net.repetition.firings[name]
                    actors[node] = name
                    load.append(node)
                turns.append((unit, load))
        yield from rings("unit", turns)
        links: dict[str, list[str]] = {}
        for actor, firing in fired:
            for number in net.outputs[actor]:
                produced = net.rates[number][0]
                if number in self._crossing and produced[firing % len(produced)]:
                    transfer = self._crossing[number]
                    name = numbered(transfer_node(self._fifos[number], transfer), net.due[actor])[firing]
                    links.setdefault(transfer.link, []).append(name)
        yield from rings("link", list(links.items()))


def slowest_cycle(model: Timed) -> Optional[Cycle]:
    """A cycle of the greatest ratio, that of one actor's firings if there is such a one; None if none takes time."""
    cycle = max_cycle_ratio(model.times, model.edges)
    if cycle is None:
        return None
    own: dict[str, list[TimedEdge]] = {}
    for edge in model.edges:
        if edge.kind == "self":
            own.setdefault(edge.about, []).append(edge)
    for edges in own.values():
        time = sum((model.times[edge.source] for edge in edges), Fraction(0))
        if time == cycle.ratio:
            return Cycle(tuple(edges), time, 1)
    return cycle


def numbered(name: str, count: int) -> list[str]:
    """``NAME#1``, ``NAME#2``, ... for the firings of an iteration; the name alone where there is one. No actor or FIFO
    has a name with that sign.
    """
    return [name] if count == 1 else [f"{name}#{number}" for number in range(1, count + 1)]


def advice(cycle: Cycle, graph: Graph, resources: Resources = ALONE) -> list[str]:
    """What would make a cycle faster, a line each."""
    known = {actor.name for actor in graph.actors}
    nodes = dict.fromkeys(edge.source.partition("#")[0] for edge in cycle.edges)
    actors = [node for node in nodes if node in known]
    loads = [edge.source for edge in cycle.edges if edge.kind == "unit" and edge.source.partition("#")[0] not in known]
    shared = dict.fromkeys(subject(load) for load in loads)
    about = {kind: list(dict.fromkeys(e.about for e in cycle.edges if e.kind == kind)) for kind in ("room", "unit")}
    lines = []
    if actors or shared:
        slow = list(dict.fromkeys([*actors, *shared]))
        lines.append(f"make {'' if len(slow) == 1 else 'one of '}{some(slow)} faster")
    for name in about["room"]:
        lines.append(f"give {name} a greater {'window' if name in resources.transfers else 'capacity'}")
    lines += [f"move an actor from {unit} to another unit" for unit in about["unit"]]
    sent = dict.fromkeys(e.about for e in cycle.edges if e.kind == "link")
    lines += [f"make the tokens over {link} fewer or smaller, or the link faster" for link in sent]
    return lines
