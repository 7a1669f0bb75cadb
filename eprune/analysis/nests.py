"""Nests: dynamic processing graphs inside of others, and which graph's rows give a port its rate.

An inner graph has data inputs at its entry and its CA, and data outputs at its exit, whose FIFOs' other ends lie
outside: its border. Its own table has no columns for these; the rows of the graph that it is inside of say whether it
works in an iteration or is dormant. It then runs as it would alone, or nothing of it fires.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Optional

from eprune.model.graph import Dpg, Fifo, Graph, PortRef


class Nests:
    """Where the actors and the ports of an application belong. Names must be unique, and references resolve."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.dpgs = {dpg.name: dpg for dpg in graph.dpgs}
        #: actor -> the innermost graph that it is in; of control sources, those of inner graphs are
        self.home: dict[str, Dpg] = {}
        for dpg in graph.dpgs:
            self.home.update(dict.fromkeys(_actors(dpg), dpg))

    @cached_property
    def border(self) -> Mapping[PortRef, Dpg]:
        """The ports of inner graphs that lead outside -> the graph."""
        found: dict[PortRef, Dpg] = {}
        inner = {dpg.name for dpg in self._graph.dpgs if dpg.inside}
        for fifo in self._graph.fifos if inner else ():
            source, target = self.home.get(fifo.source.actor), self.home.get(fifo.target.actor)
            if source is target:
                continue
            if source is not None and source.name in inner and fifo.source.actor == source.exit:
                found[fifo.source] = source
            if target is not None and target.name in inner and fifo.target.actor in (target.entry, target.control):
                found[fifo.target] = target
        return found

    def level(self, ref: PortRef) -> Optional[Dpg]:
        """The graph whose rows give a port its rate, if it is dynamic; None outside of all."""
        inner = self.border.get(ref)
        return self.home.get(ref.actor) if inner is None else self.dpgs.get(inner.inside)

    def chain(self, dpg: Optional[Dpg]) -> tuple[Dpg, ...]:
        """The graph and those around it, the innermost first."""
        found: list[Dpg] = []
        while dpg is not None and dpg not in found:
            found.append(dpg)
            dpg = self.dpgs.get(dpg.inside)
        return tuple(found)

    def crossed(self, fifo: Fifo) -> tuple[tuple[Dpg, ...], tuple[Dpg, ...]]:
        """The graphs that a FIFO leaves, and those that it enters, each the innermost first."""
        ends = (self.home.get(fifo.source.actor), self.home.get(fifo.target.actor))
        source, target = (self.chain(each) for each in ends)
        left = tuple(dpg for dpg in source if dpg not in target)
        return left, tuple(dpg for dpg in target if dpg not in source)

    def children(self, dpg: Dpg) -> Iterator[Dpg]:
        """The graphs directly inside of one."""
        return (each for each in self._graph.dpgs if each.inside == dpg.name)

    def actors(self, dpg: Dpg) -> tuple[str, ...]:
        """The actors of a graph, without those of graphs inside of it."""
        return _actors(dpg)

    def inside_out(self) -> tuple[Dpg, ...]:
        """The graphs in an order in which each comes after all inside of it."""
        return tuple(sorted(self._graph.dpgs, key=lambda dpg: -len(self.chain(dpg))))

    def rates_at_border(self, dpg: Dpg) -> list[tuple[PortRef, tuple[int, ...]]]:
        """Each border port of an inner graph, with its rate in each row of the graph around it."""
        outer = self.dpgs[dpg.inside]
        columns = {ref: index for index, ref in enumerate(outer.ports)}
        refs = [ref for ref, owner in self.border.items() if owner is dpg and ref in columns]
        return [(ref, tuple(row.rates[columns[ref]] for row in outer.rows)) for ref in refs]

    def activating(self, dpg: Dpg) -> tuple[int, ...]:
        """The rows of the graph around an inner one, counted from 0, in which it works."""
        rates = [rates for _, rates in self.rates_at_border(dpg)]
        return tuple(row for row in range(len(self.dpgs[dpg.inside].rows)) if any(each[row] for each in rates))


def region(dpg: Dpg) -> tuple[str, ...]:
    """The actors of a dynamic processing graph that follow its control tokens or lie between those: all but the CA."""
    return tuple(dict.fromkeys((dpg.entry, *dpg.members, dpg.exit)))


def _actors(dpg: Dpg) -> tuple[str, ...]:
    return (dpg.control, *region(dpg)) if dpg.inside else region(dpg)
