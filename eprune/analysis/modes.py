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

A dynamic processing graph inside of another is in the outer one what those are in the summary graph: its CA, its entry
and its exit, joined by the edges that some row of it gives, and by the FIFOs between these that need no row. In outer
rows in which it is dormant these edges close no cycle, for data comes to it and leaves it by its border alone. So the
rows of each graph are looked at once, from the inside out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Optional

from eprune.analysis.lookup import fifo_rates, joined
from eprune.analysis.nests import Nests, region
from eprune.analysis.precedence import Edge, Precedence, components, fifo_edges, short_cycle
from eprune.model.graph import Dpg, Fifo, Graph, Row

#: FIFOs in the place of those with their names
Changes = Mapping[str, Fifo]


@dataclass(frozen=True)
class Region:
    """A dynamic processing graph with the FIFOs between its actors, and for each row the rates of its dynamic FIFOs.

    Of graphs inside of it, CA, entry and exit are among the actors.
    """

    dpg: Dpg
    actors: tuple[str, ...]
    fifos: tuple[Fifo, ...]
    rates: tuple[dict[str, int], ...]

    def active(self, row: int) -> frozenset[str]:
        """The dynamic FIFOs that a row, counted from 0, gives a rate."""
        return frozenset(name for name, rate in self.rates[row].items() if rate)

    def at(
        self, row: Optional[int], rates: Mapping[str, int], changed: Changes, inner: Iterable[Edge] = ()
    ) -> Precedence:
        """The precedence graph of the region by itself in a row, or what is in all rows; ``rates``: of static FIFOs.

        ``inner``: the edges that rows of graphs inside of it give.
        """
        own = dict.fromkeys(self.rates[0] if self.rates else (), 0) if row is None else self.rates[row]
        edges = (
            edge
            for fifo in self.fifos
            for edge in fifo_edges(changed.get(fifo.name, fifo), own.get(fifo.name, rates[fifo.name]))
        )
        return Precedence(self.actors, (*edges, *inner))

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
    concerned, all rows that close the cycle; none: it is closed in every mode. ``closing`` are those among them,
    counted from 0, that give rates to its FIFOs, and not only let an inner graph work.
    """

    nodes: frozenset[str]
    cycle: tuple[Edge, ...]
    rates: Mapping[str, int]
    when: tuple[tuple[Dpg, tuple[Row, ...]], ...] = ()
    closing: frozenset[tuple[str, int]] = frozenset()


def regions(graph: Graph) -> tuple[Region, ...]:
    """The dynamic processing graphs of an application, in file order."""
    nests = Nests(graph)
    #: actor -> the graphs of which it is among the actors
    places: dict[str, list[str]] = {}
    actors = {dpg.name: _seen_from(dpg, nests) for dpg in graph.dpgs}
    for dpg in graph.dpgs:
        for name in actors[dpg.name]:
            places.setdefault(name, []).append(dpg.name)
    tables = {ref: dpg.name for dpg in graph.dpgs for ref in dpg.ports}
    inside: dict[str, list[Fifo]] = {dpg.name: [] for dpg in graph.dpgs}
    for fifo in graph.fifos:
        shared = [name for name in places.get(fifo.source.actor, ()) if name in places.get(fifo.target.actor, ())]
        for name in shared:
            if tables.get(fifo.source, name) == name:
                inside[name].append(fifo)
    result = []
    for dpg in graph.dpgs:
        fifos = inside[dpg.name]
        column = {ref: index for index, ref in enumerate(dpg.ports)}
        dynamic = [(fifo.name, column[fifo.source]) for fifo in fifos if fifo.source in column]
        rates = tuple({name: row.rates[index] for name, index in dynamic} for row in dpg.rows)
        result.append(Region(dpg, actors[dpg.name], tuple(fifos), rates))
    return tuple(result)


def _seen_from(dpg: Dpg, nests: Nests) -> tuple[str, ...]:
    """The actors of a graph, its CA too if it is inside of another, and CA, entry and exit of each inside of it."""
    names = [*[dpg.control] * bool(dpg.inside), *region(dpg)]
    for inner in nests.children(dpg):
        names += (inner.control, inner.entry, inner.exit)
    return tuple(dict.fromkeys(names))


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
        nests = Nests(graph)
        self._nests = nests
        #: what nobody sees from outside of all graphs
        self._members = {name for dpg in graph.dpgs for name in dpg.members}
        self._members |= {name for name, dpg in nests.home.items() if dpg.inside}
        order = {dpg.name: place for place, dpg in enumerate(nests.inside_out())}
        self._inside_out = sorted(self.parts, key=lambda part: order[part.dpg.name])
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
        ways = self._ways(changed)
        for nodes, cycle in (*self._in_rows(changed, ways), *self._across(changed, ways)):
            if cycle not in seen:
                seen.add(cycle)
                yield self._found(nodes, cycle)

    def _found(self, nodes: tuple[str, ...], cycle: tuple[Edge, ...]) -> Stuck:
        rates = dict(self.limits)
        when = []
        every: set[tuple[str, int]] = set()
        for part in self.parts:
            own = {edge.fifo for edge in cycle if part.rates and edge.fifo in part.rates[0]}
            if own:
                closing = [row for row in range(len(part.rates)) if own <= part.active(row)]
                rates.update(part.rates[closing[0]])
                when.append((part.dpg, tuple(part.dpg.rows[row] for row in closing)))
                every |= {(part.dpg.name, row) for row in closing}
        if any(dpg.inside for dpg, _ in when):
            when = self._activating(when)
        among = frozenset(nodes).union(edge.source for edge in cycle)
        return Stuck(among, cycle, rates, tuple(when), frozenset(every))

    def _activating(self, when: list[tuple[Dpg, tuple[Row, ...]]]) -> list[tuple[Dpg, tuple[Row, ...]]]:
        """The same with the rows of the graphs around inner ones in which those work: the path of rows."""
        found = {dpg.name: list(rows) for dpg, rows in when}
        for dpg in self._nests.inside_out():
            if dpg.name in found and dpg.inside:
                outer = self._nests.dpgs[dpg.inside]
                working = [outer.rows[row] for row in self._nests.activating(dpg)]
                found[outer.name] = [row for row in found.get(outer.name, working) if row in working]
        return [(part.dpg, tuple(found[part.dpg.name])) for part in self.parts if found.get(part.dpg.name)]

    def _ways(self, changed: Changes) -> dict[Edge, tuple[Edge, ...]]:
        """For each dynamic processing graph entry -> exit and exit -> entry, if some row has such a way: the way."""
        ways: dict[Edge, tuple[Edge, ...]] = {}
        for part in self._inside_out:
            entry, exit_ = part.dpg.entry, part.dpg.exit
            for begin, end in ((entry, exit_), (exit_, entry)):
                way = self._way(part, begin, end, changed, ways)
                if way:
                    ways[Edge(begin, end, "rows", f"rows of {part.dpg.name}")] = way
        return ways

    def _inner(self, part: Region, ways: Mapping[Edge, tuple[Edge, ...]]) -> list[Edge]:
        """The edges that rows of graphs inside of a region give."""
        names = {f"rows of {dpg.name}" for dpg in self._nests.children(part.dpg)}
        return [edge for edge in ways if edge.fifo in names]

    def _in_rows(
        self, changed: Changes, ways: Mapping[Edge, tuple[Edge, ...]]
    ) -> Iterator[tuple[tuple[str, ...], tuple[Edge, ...]]]:
        """Step 2."""
        for part in self._inside_out:
            inner = self._inner(part, ways)
            for row in (None, *self._widest[part.dpg.name]):
                for component in _real(part.at(row, self.limits, changed, inner)):
                    yield component.nodes, _written_out(short_cycle(component), ways)

    def _across(
        self, changed: Changes, ways: Mapping[Edge, tuple[Edge, ...]]
    ) -> Iterator[tuple[tuple[str, ...], tuple[Edge, ...]]]:
        """Step 3: the summary graph's cycles, with each edge that stands for a dynamic processing graph written out."""
        edges: list[Edge] = []
        for fifo in self.fifos:
            ends = {fifo.source.actor, fifo.target.actor}
            if fifo.name not in self._inside and not ends & self._members:
                edges += fifo_edges(changed.get(fifo.name, fifo), self.limits[fifo.name])
        nodes = tuple(name for name in self.nodes if name not in self._members)
        outermost = [edge for edge in ways if edge.source in nodes and edge.target in nodes]
        for component in _real(Precedence(nodes, (*edges, *outermost))):
            yield component.nodes, _written_out(short_cycle(component), ways)

    def _way(
        self, part: Region, begin: str, end: str, changed: Changes, ways: Mapping[Edge, tuple[Edge, ...]]
    ) -> tuple[Edge, ...]:
        """The shortest chain of reasons for which one actor of a region fires before another in the first such row."""
        inner = self._inner(part, ways)
        for row in self._widest[part.dpg.name] if {begin, end} <= set(part.actors) else ():
            outgoing = part.at(row, self.limits, changed, inner).outgoing()
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
                return _written_out(reversed(way), ways)
        return ()


def _written_out(cycle: Iterable[Edge], ways: Mapping[Edge, tuple[Edge, ...]]) -> tuple[Edge, ...]:
    """The edges that stand for rows of a graph replaced by the way inside."""
    return tuple(step for edge in cycle for step in ways.get(edge, (edge,)))


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
