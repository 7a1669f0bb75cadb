"""Modes: which rates hold together, and how every combination of rows is checked without trying them all.

A dynamic FIFO has no delay (G7) and room for its upper rate limit (G5), so in the precedence graph it draws an edge
from its source to its target in the rows that give it a rate, whichever that is, and nothing in the others. No edge
leads from a later iteration to an earlier one, so an application blocks exactly if the edges of one iteration, in one
combination of rows, form a cycle: it does not matter which rows came before. So

1. with every port at its upper rate limit each edge is there that any mode has: if that graph is acyclic, all are live;
2. otherwise each row of each dynamic processing graph is looked at by itself: the sum of the rows, not their product;
   and of those only the rows that use no less than all FIFOs of another one;
3. and then, once, the summary graph, in which a dynamic processing graph is one edge entry -> exit, if in some row the
   one has to fire before the other, and one edge exit -> entry likewise.

That is enough: data goes in and out by those two actors only (D4), and what a control token leads to by way of a
member, it also leads to directly (D2). And it is exact. Rows of different graphs are chosen independently, and a simple
cycle goes through each of them once, so it is one in the mode that its edges were found in; but for the two edges of
one dynamic processing graph, entry -> exit in one row and exit -> entry in another, which no iteration has both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Optional

from eprune.analysis.dynamic import region
from eprune.analysis.lookup import fifo_rates, joined
from eprune.analysis.precedence import Edge, Precedence, components, fifo_edges, short_cycle
from eprune.model.graph import Dpg, Fifo, Graph, Row

#: FIFOs in the place of those with their names
Changes = Mapping[str, Fifo]


@dataclass(frozen=True)
class Region:
    """A dynamic processing graph with the FIFOs between its actors, and for each row the rates of its dynamic FIFOs."""

    dpg: Dpg
    actors: tuple[str, ...]
    fifos: tuple[Fifo, ...]
    rates: tuple[dict[str, int], ...]

    def active(self, row: int) -> frozenset[str]:
        """The dynamic FIFOs that a row, counted from 0, gives a rate."""
        return frozenset(name for name, rate in self.rates[row].items() if rate)

    def at(self, row: Optional[int], rates: Mapping[str, int], changed: Changes) -> Precedence:
        """The precedence graph of the region by itself in a row, or what is in all rows; ``rates``: of static FIFOs."""
        own = dict.fromkeys(self.rates[0] if self.rates else (), 0) if row is None else self.rates[row]
        edges = (
            edge
            for fifo in self.fifos
            for edge in fifo_edges(changed.get(fifo.name, fifo), own.get(fifo.name, rates[fifo.name]))
        )
        return Precedence(self.actors, tuple(edges))

    def within(self, nodes: Collection[str]) -> Region:
        """The part of it between some actors."""
        fifos = tuple(fifo for fifo in self.fifos if fifo.source.actor in nodes and fifo.target.actor in nodes)
        names = {fifo.name for fifo in fifos}
        rates = tuple({name: rate for name, rate in row.items() if name in names} for row in self.rates)
        return replace(self, actors=tuple(name for name in self.actors if name in nodes), fifos=fifos, rates=rates)


@dataclass(frozen=True)
class Stuck:
    """Actors that wait for each other in some mode, and a cycle of them, FIFO by FIFO.

    ``nodes``: the strongly connected component, with what the cycle passes inside of dynamic processing graphs.
    ``rates`` are those of the mode, FIFO name -> tokens per firing. ``when`` has, of each dynamic processing graph
    concerned, all rows that close the cycle; none: it is closed in every mode.
    """

    nodes: frozenset[str]
    cycle: tuple[Edge, ...]
    rates: Mapping[str, int]
    when: tuple[tuple[Dpg, tuple[Row, ...]], ...] = ()


def regions(graph: Graph) -> tuple[Region, ...]:
    """The dynamic processing graphs of an application, in file order."""
    home = {name: dpg.name for dpg in graph.dpgs for name in region(dpg)}
    inside: dict[str, list[Fifo]] = {dpg.name: [] for dpg in graph.dpgs}
    for fifo in graph.fifos:
        name = home.get(fifo.source.actor)
        if name is not None and home.get(fifo.target.actor) == name:
            inside[name].append(fifo)
    result = []
    for dpg in graph.dpgs:
        fifos = inside[dpg.name]
        column = {ref: index for index, ref in enumerate(dpg.ports)}
        dynamic = [(fifo.name, column[fifo.source]) for fifo in fifos if fifo.source in column]
        rates = tuple({name: row.rates[index] for name, index in dynamic} for row in dpg.rows)
        result.append(Region(dpg, region(dpg), tuple(fifos), rates))
    return tuple(result)


class Modes:
    """All modes of an application, or of some of its actors, asked what deadlocks; FIFOs may be changed.

    The graph must be sound by all rules of the families G and D. A mode in which one of its rows is among ``without``
    (dynamic processing graph, row counted from 0) is not asked what deadlocks in it.
    """

    def __init__(
        self,
        graph: Graph,
        nodes: Optional[Collection[str]] = None,
        without: Collection[tuple[str, int]] = (),
    ) -> None:
        chosen = {actor.name for actor in graph.actors} if nodes is None else set(nodes)
        self.nodes = tuple(actor.name for actor in graph.actors if actor.name in chosen)
        self.limits = fifo_rates(graph)
        self.fifos = tuple(f for f in graph.fifos if f.source.actor in chosen and f.target.actor in chosen)
        #: the FIFOs into inputs on hold
        self.held = frozenset(fifo.name for fifo, _, target in joined(graph) if target.hold)
        parts = regions(graph) if graph.dpgs else ()
        self.parts = tuple(part if nodes is None else part.within(chosen) for part in parts)
        self._without = without
        self._widest = {part.dpg.name: self._widest_of(part) for part in self.parts}
        self._members = {name for dpg in graph.dpgs for name in dpg.members}
        self._inside = {fifo.name for part in self.parts for fifo in part.fifos}
        #: how many FIFOs one look at all modes asks
        looks = sum(len(part.fifos) * (2 + len(self._widest[part.dpg.name])) for part in self.parts)
        self.size = 2 * len(self.fifos) + looks

    def _widest_of(self, part: Region) -> list[int]:
        """The rows that matter: one for each set of FIFOs in use that is part of no other row's."""
        first: dict[frozenset[str], int] = {}
        for row in range(len(part.rates)):
            if (part.dpg.name, row) not in self._without:
                first.setdefault(part.active(row), row)
        return [row for used, row in first.items() if not any(used < other for other in first)]

    def at_limits(self, changed: Changes) -> Precedence:
        """The precedence graph with every port at its upper rate limit."""
        edges = (
            edge for fifo in self.fifos for edge in fifo_edges(changed.get(fifo.name, fifo), self.limits[fifo.name])
        )
        return Precedence(self.nodes, tuple(edges))

    def live(self, changed: Changes) -> bool:
        """Whether no mode deadlocks."""
        return next(self.stuck(changed), None) is None

    def stuck(self, changed: Changes = {}) -> Iterator[Stuck]:  # noqa: B006 (never written to)
        """What deadlocks in some mode: for each cyclic component, of a row or across, a cycle; the same one once."""
        seen: set[tuple[Edge, ...]] = set()
        whole = components(self.at_limits(changed))
        if not whole:
            return
        if not self.parts:
            for component in whole:
                yield self._found(component.nodes, short_cycle(component))
            return
        for nodes, cycle in (*self._in_rows(changed), *self._across(changed)):
            if cycle not in seen:
                seen.add(cycle)
                yield self._found(nodes, cycle)

    def _found(self, nodes: tuple[str, ...], cycle: tuple[Edge, ...]) -> Stuck:
        rates = dict(self.limits)
        when = []
        for part in self.parts:
            own = {edge.fifo for edge in cycle if part.rates and edge.fifo in part.rates[0]}
            if own:
                closing = [row for row in range(len(part.rates)) if own <= part.active(row)]
                rates.update(part.rates[closing[0]])
                when.append((part.dpg, tuple(part.dpg.rows[row] for row in closing)))
        return Stuck(frozenset(nodes).union(edge.source for edge in cycle), cycle, rates, tuple(when))

    def _in_rows(self, changed: Changes) -> Iterator[tuple[tuple[str, ...], tuple[Edge, ...]]]:
        """Step 2."""
        for part in self.parts:
            for row in (None, *self._widest[part.dpg.name]):
                for component in components(part.at(row, self.limits, changed)):
                    yield component.nodes, short_cycle(component)

    def _across(self, changed: Changes) -> Iterator[tuple[tuple[str, ...], tuple[Edge, ...]]]:
        """Step 3: the summary graph's cycles, with each edge that stands for a dynamic processing graph written out."""
        edges: list[Edge] = []
        for fifo in self.fifos:
            ends = {fifo.source.actor, fifo.target.actor}
            if fifo.name not in self._inside and not ends & self._members:
                edges += fifo_edges(changed.get(fifo.name, fifo), self.limits[fifo.name])
        ways: dict[Edge, tuple[Edge, ...]] = {}
        for part in self.parts:
            entry, exit_ = part.dpg.entry, part.dpg.exit
            for begin, end in ((entry, exit_), (exit_, entry)):
                way = self._way(part, begin, end, changed)
                if way:
                    ways[Edge(begin, end, "rows", f"rows of {part.dpg.name}")] = way
        nodes = tuple(name for name in self.nodes if name not in self._members)
        for component in _real(Precedence(nodes, (*edges, *ways))):
            cycle = short_cycle(component)
            yield component.nodes, tuple(step for edge in cycle for step in ways.get(edge, (edge,)))

    def _way(self, part: Region, begin: str, end: str, changed: Changes) -> tuple[Edge, ...]:
        """The shortest chain of reasons for which one actor of a region fires before another in the first such row."""
        for row in self._widest[part.dpg.name] if {begin, end} <= set(part.actors) else ():
            outgoing = part.at(row, self.limits, changed).outgoing()
            came_by: dict[str, Edge] = {}
            queue = deque([begin])
            while queue:
                for edge in outgoing[queue.popleft()]:
                    if edge.target not in came_by and edge.target != begin:
                        came_by[edge.target] = edge
                        queue.append(edge.target)
            if end in came_by:
                way = [came_by[end]]
                while way[-1].source != begin:
                    way.append(came_by[way[-1].source])
                return tuple(reversed(way))
        return ()


def _real(summary: Precedence) -> list[Precedence]:
    """The cyclic components of a summary graph, without edges whose only cycle is that of two rows of one graph.

    The two edges of a dynamic processing graph belong to rows of its own, or the row by itself is cyclic. A component
    of these two edges alone is no cycle; any other has one that uses at most one of them.
    """
    found = []
    for component in components(summary):
        ways: dict[str, list[Edge]] = {}
        for edge in component.edges:
            if edge.kind == "rows":
                ways.setdefault(edge.fifo, []).append(edge)
        for pair in ways.values():
            if len(pair) == 2:
                less = [_less(component, edge) for edge in pair]
                component = next((part for part in less if _cyclic(part)), component)
        if _cyclic(component):
            found += [part for part in components(component) if not _only_rows(part)]
    return found


def _less(component: Precedence, edge: Edge) -> Precedence:
    return Precedence(component.nodes, tuple(other for other in component.edges if other is not edge))


def _cyclic(precedence: Precedence) -> bool:
    return any(not _only_rows(part) for part in components(precedence))


def _only_rows(part: Precedence) -> bool:
    return len(part.edges) == 2 and all(edge.kind == "rows" for edge in part.edges) and len(part.nodes) == 2
