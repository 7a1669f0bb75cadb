"""The smallest change of delays and capacities that mends a deadlock, found by trying and verified by the same graph.

A repair takes edges out of a cyclic component of the precedence graph: a delay of the rate takes out a token edge, a
capacity of delay + rate a room edge. Every repair must break every cycle, so it is enough to branch over the FIFOs of
one short cycle, then of one that is left, and so on: first all sets of one FIFO, then of two... This is exponential in
the size of the answer only, and it has a budget; beyond that, the back edges of one depth-first search are a set that
is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Optional

from eprune.analysis.precedence import Edge, Precedence, components, fifo_edges, order, postorder, short_cycle
from eprune.model.graph import Fifo


@dataclass
class Budget:
    """How many edges the searches of one analysis may still look at."""

    edges: int = 400_000

    def spend(self, edges: int) -> bool:
        """Whether there was enough left."""
        self.edges -= edges
        return self.edges >= 0


@dataclass(frozen=True)
class Repair:
    """FIFOs as they should become, in file order.

    ``smallest``: no repair changes fewer FIFOs, or as few with fewer added bytes (of initial tokens and of buffer
    together). ``alternative`` is the best repair that is as small and changes the other of delay and capacity, where
    the repair is of one FIFO and there is one.
    """

    changes: tuple[Fifo, ...]
    smallest: bool = True
    alternative: Optional[Fifo] = None


def apply(changes: tuple[Fifo, ...], fifos: tuple[Fifo, ...]) -> tuple[Fifo, ...]:
    """The FIFOs with the changed ones in place of those with their names."""
    changed = {fifo.name: fifo for fifo in changes}
    return tuple(changed.get(fifo.name, fifo) for fifo in fifos)


def find_repair(
    component: Precedence,
    cycle: tuple[Edge, ...],
    fifos: Mapping[str, Fifo],
    rates: Mapping[str, int],
    token_bytes: Mapping[str, int],
    budget: Budget,
) -> Optional[Repair]:
    """A repair of one cyclic component, of which ``cycle`` is a cycle; the mappings are by FIFO name.

    Edges of FIFOs that ``fifos`` does not have stay as they are. None if they are a cycle by themselves.
    Changing FIFOs within a component touches no other component, so the repairs of all components together mend the
    graph.
    """
    search = _Search(component, fifos, rates, token_bytes, budget)
    if not search.possible():
        return None
    repair = search.one(cycle)
    limit = 2
    while repair is None and budget.edges > 0:
        repair = search.several(limit)
        limit += 1
    return repair or search.enough()


class _Search:
    """The problem of one component; the answers are its methods'."""

    def __init__(
        self,
        component: Precedence,
        fifos: Mapping[str, Fifo],
        rates: Mapping[str, int],
        token_bytes: Mapping[str, int],
        budget: Budget,
    ) -> None:
        self._component = component
        self._fifos = {edge.fifo: fifos[edge.fifo] for edge in component.edges if edge.fifo in fifos}
        self._fixed = tuple(edge for edge in component.edges if edge.fifo not in fifos)
        self._rank = {name: index for index, name in enumerate(self._fifos)}
        self._rates = rates
        self._token_bytes = token_bytes
        self._budget = budget
        self._best: tuple[int, tuple[Fifo, ...]] = (0, ())

    def possible(self) -> bool:
        """Whether the edges that stay leave any way."""
        return not components(Precedence(self._component.nodes, self._fixed))

    def one(self, cycle: tuple[Edge, ...]) -> Optional[Repair]:
        """The cheapest change of one FIFO that is enough, and the cheapest of the other kind."""
        options = sorted((option for edge in cycle for option in self._options(edge, {})), key=self._cost)
        found: list[Fifo] = []
        for option in options:
            if found and self._is_delay(option) == self._is_delay(found[0]):
                continue
            if not self._budget.spend(len(self._component.edges)):
                break
            if self._live({option.name: option}):
                found.append(option)
            if len(found) == 2:
                break
        return Repair((found[0],), alternative=found[1] if len(found) == 2 else None) if found else None

    def several(self, limit: int) -> Optional[Repair]:
        """The cheapest change of at most ``limit`` FIFOs, if that is enough and the budget lasts to find one."""
        self._best = (0, ())
        self._branch({}, limit)
        changes = self._best[1]
        return Repair(self._sorted(changes), smallest=self._budget.edges >= 0) if changes else None

    def _branch(self, changed: dict[str, Fifo], limit: int) -> None:
        cost = sum(self._cost(fifo)[0] for fifo in changed.values())
        size = len(self._component.edges)
        if (self._best[1] and cost >= self._best[0]) or not self._budget.spend(4 * size):
            return
        parts = self._parts(changed)
        if not parts:
            self._best = (cost, tuple(changed.values()))
            return
        for edge in short_cycle(parts[0], 4 * size):
            if len(changed) < limit or edge.fifo in changed:
                for option in self._options(edge, changed):
                    self._branch({**changed, option.name: option}, limit)

    def enough(self) -> Repair:
        """The back edges of a depth-first search, less those that turn out not to be needed, dearest first.

        Where edges are fixed, an order that they allow is taken for that of the search.
        """
        successors: dict[str, list[str]] = {node: [] for node in self._component.nodes}
        for edge in self._component.edges:
            successors[edge.source].append(edge.target)
        visited = postorder(self._component.nodes, successors)
        if self._fixed:
            visited = list(reversed(order(Precedence(tuple(reversed(visited)), self._fixed))))
        finished = {node: index for index, node in enumerate(visited)}
        changed: dict[str, Fifo] = {}
        for edge in self._component.edges:
            if finished[edge.source] <= finished[edge.target]:
                changed[edge.fifo] = list(self._options(edge, changed))[-1]
        pruning = Budget()
        for fifo in sorted(changed.values(), key=self._cost, reverse=True):
            if not pruning.spend(len(self._component.edges)):
                break
            fewer = {name: other for name, other in changed.items() if name != fifo.name}
            if self._live(fewer):
                changed = fewer
        return Repair(self._sorted(tuple(changed.values())), smallest=False)

    def _live(self, changed: Mapping[str, Fifo]) -> bool:
        return not self._parts(changed)

    def _parts(self, changed: Mapping[str, Fifo]) -> list[Precedence]:
        """What is still cyclic with the FIFOs changed."""
        edges = (
            edge
            for name, fifo in self._fifos.items()
            for edge in fifo_edges(changed.get(name, fifo), self._rates[name])
        )
        return components(Precedence(self._component.nodes, (*self._fixed, *edges)))

    def _options(self, edge: Edge, changed: Mapping[str, Fifo]) -> Iterator[Fifo]:
        """The changes of its FIFO that take an edge out; the last of them adds no edge.

        A delay needs room (G5); with less than room for another firing beside it, it turns the edge round instead.
        """
        if edge.fifo not in self._fifos:
            return
        fifo, rate = changed.get(edge.fifo, self._fifos[edge.fifo]), self._rates[edge.fifo]
        if edge.kind == "room":
            yield replace(fifo, capacity=fifo.delay + rate)
        else:
            if fifo.capacity < 2 * rate:
                yield replace(fifo, delay=rate, capacity=max(fifo.capacity, rate))
            yield replace(fifo, delay=rate, capacity=max(fifo.capacity, 2 * rate))

    def _cost(self, changed: Fifo) -> tuple[int, int]:
        """Added bytes, of initial tokens and of buffer; then file order."""
        fifo = self._fifos[changed.name]
        tokens = changed.delay - fifo.delay + changed.capacity - fifo.capacity
        return tokens * self._token_bytes[changed.name], self._rank[changed.name]

    def _is_delay(self, changed: Fifo) -> bool:
        return changed.delay != self._fifos[changed.name].delay

    def _sorted(self, changes: tuple[Fifo, ...]) -> tuple[Fifo, ...]:
        return tuple(sorted(changes, key=lambda fifo: self._rank[fifo.name]))
