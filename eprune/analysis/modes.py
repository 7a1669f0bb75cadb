"""Modes: which rates hold together, and how every combination of rows is checked without trying them all.

A dynamic FIFO has no delay (G7) and room for its upper rate limit (G5), so in the precedence graph it draws an edge
from its source to its target in the rows that give it a rate, and nothing in the others. So

1. with every port at its upper rate limit each edge is there that any mode has: if that graph is acyclic, all are live;
2. otherwise each row of each dynamic processing graph is looked at by itself: the sum of the rows, not their product;
3. and then, once, the summary graph, in which a dynamic processing graph is one edge entry -> exit, if in some row the
   one has to fire before the other, and one edge exit -> entry likewise.

That is enough: data goes in and out by those two actors only (D4), and what a control token leads to by way of a
member, it also leads to directly (D2). Rows of different graphs are chosen independently, so a cycle of the summary
graph is one in the mode that its edges were found in. (The one exception is on the safe side: where an entry precedes
its exit in one row only, and follows it in another by way of static FIFOs that lack room, no single row has both.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Optional

from eprune.analysis.dynamic import region
from eprune.analysis.lookup import fifo_rates
from eprune.analysis.precedence import Edge, Precedence, components, fifo_edges, precedence, short_cycle
from eprune.model.graph import Dpg, Fifo, Graph, Row


@dataclass(frozen=True)
class Region:
    """A dynamic processing graph with the FIFOs between its actors, and for each row the rates of its dynamic FIFOs."""

    dpg: Dpg
    actors: tuple[str, ...]
    fifos: tuple[Fifo, ...]
    rates: tuple[dict[str, int], ...]

    def at(self, row: int, rates: Mapping[str, int]) -> Precedence:
        """The precedence graph of the region by itself in a row, counted from 0; ``rates``: those of static FIFOs."""
        own = self.rates[row]
        edges = (edge for fifo in self.fifos for edge in fifo_edges(fifo, own.get(fifo.name, rates[fifo.name])))
        return Precedence(self.actors, tuple(edges))


@dataclass(frozen=True)
class Stuck:
    """Actors that wait for each other: a strongly connected component, and a cycle of it, FIFO by FIFO.

    ``rates`` are those of the mode, FIFO name -> tokens per firing. ``when`` has the rows that make it, one for each of
    the dynamic processing graphs concerned, or several of one; none: it is so in every mode. Edges of the component
    whose FIFO is named in none of the graph's stand for a dynamic processing graph.
    """

    component: Precedence
    cycle: tuple[Edge, ...]
    rates: Mapping[str, int]
    when: tuple[tuple[Dpg, Row], ...] = ()


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


def find_stuck(graph: Graph) -> list[Stuck]:
    """All that deadlocks in some mode; empty if every mode is live. The graph must be sound by all G and D rules."""
    limits = fifo_rates(graph)
    whole = components(precedence(graph))
    if not whole or not graph.dpgs:
        return [Stuck(component, short_cycle(component), limits) for component in whole]
    parts = regions(graph)
    return [*_in_rows(parts, limits), *_across(graph, parts, limits)]


def _in_rows(parts: tuple[Region, ...], limits: Mapping[str, int]) -> Iterator[Stuck]:
    """Step 2. The same cycle in several rows is reported once."""
    for part in parts:
        found: dict[tuple[Edge, ...], tuple[Precedence, list[int]]] = {}
        for index in range(len(part.dpg.rows)):
            for component in components(part.at(index, limits)):
                found.setdefault(short_cycle(component), (component, []))[1].append(index)
        for cycle, (component, rows) in found.items():
            always = not any(edge.fifo in part.rates[rows[0]] for edge in cycle)
            when = () if always else tuple((part.dpg, part.dpg.rows[index]) for index in rows)
            yield Stuck(component, cycle, {**limits, **part.rates[rows[0]]}, when)


def _across(graph: Graph, parts: tuple[Region, ...], limits: Mapping[str, int]) -> Iterator[Stuck]:
    """Step 3: the summary graph's cycles, with each edge that stands for a dynamic processing graph written out."""
    members = {name for dpg in graph.dpgs for name in dpg.members}
    inside = {fifo.name for part in parts for fifo in part.fifos}
    edges: list[Edge] = []
    for fifo in graph.fifos:
        if fifo.name not in inside and fifo.source.actor not in members and fifo.target.actor not in members:
            edges += fifo_edges(fifo, limits[fifo.name])
    ways: dict[Edge, tuple[Region, int, tuple[Edge, ...]]] = {}
    for part in parts:
        entry, exit_ = part.dpg.entry, part.dpg.exit
        forth = _way(part, entry, exit_, limits)
        back = _way(part, exit_, entry, limits)
        if forth is not None:
            ways[Edge(entry, exit_, "rows", f"rows of {part.dpg.name}")] = (part, *forth)
        if back is not None and (forth is None or back[0] != forth[0]):  # else the row by itself has reported it
            ways[Edge(exit_, entry, "rows", f"rows of {part.dpg.name}")] = (part, *back)
    nodes = tuple(actor.name for actor in graph.actors if actor.name not in members)
    for component in components(Precedence(nodes, (*edges, *ways))):
        cycle: list[Edge] = []
        rates = dict(limits)
        when = []
        for edge in short_cycle(component):
            if edge not in ways:
                cycle.append(edge)
                continue
            part, row, way = ways[edge]
            cycle += way
            rates.update(part.rates[row])
            if any(step.fifo in part.rates[row] for step in way):
                when.append((part.dpg, part.dpg.rows[row]))
        yield Stuck(component, tuple(cycle), rates, tuple(when))


def _way(part: Region, begin: str, end: str, limits: Mapping[str, int]) -> Optional[tuple[int, tuple[Edge, ...]]]:
    """The first row in which one actor of a region has to fire before another, and the shortest chain of reasons."""
    for index in range(len(part.dpg.rows)):
        outgoing = part.at(index, limits).outgoing()
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
            return index, tuple(reversed(way))
    return None
