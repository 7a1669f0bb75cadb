"""The smallest change of delays and capacities that mends a deadlock, found by trying and verified in all modes.

A repair takes edges out of the precedence graph: a delay of the rate takes out a token edge, a capacity of
delay + rate a room edge. Every repair must break every cycle of every mode, so it is enough to branch over the FIFOs of
one cycle, then of one that is left, and so on: first all sets of one FIFO, then of two... Cycles that have no FIFO in
common say how many changes, and which costs, are still to come at least. This is exponential in the size of the answer
only, and it has a budget; beyond that, changes are made until nothing deadlocks, and those are taken back that turn out
not to be needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Optional

from eprune.analysis.modes import Modes
from eprune.analysis.precedence import Edge, Precedence, components, order, postorder
from eprune.model.graph import FaultPolicy, Fifo

_Changed = dict[str, Fifo]


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


def find_repair(modes: Modes, free: Mapping[str, Fifo], slot_bytes: Mapping[str, int], budget: Budget) -> Repair:
    """A repair after which no mode deadlocks; the mappings are by FIFO name.

    Only the FIFOs of ``free`` may be changed; each cycle has to have one of them. Changing FIFOs within a cyclic
    component of the graph at its upper rate limits touches no other component, so the repairs of all of these together
    mend the graph.
    """
    search = _Search(modes, free, slot_bytes, budget)
    repair = search.one()
    limit = 2
    while repair is None and budget.edges > 0:
        repair = search.several(limit)
        limit += 1
    return repair or search.enough()


class _Search:
    """The problem of one component; the answers are its methods'."""

    def __init__(self, modes: Modes, free: Mapping[str, Fifo], slot_bytes: Mapping[str, int], budget: Budget) -> None:
        self._modes = modes
        self._fifos = {fifo.name: free[fifo.name] for fifo in modes.fifos if fifo.name in free}
        self._rank = {name: index for index, name in enumerate(self._fifos)}
        self._slot_bytes = slot_bytes
        self._budget = budget
        self._best: tuple[int, tuple[Fifo, ...]] = (0, ())

    def one(self) -> Optional[Repair]:
        """The cheapest change of one FIFO that is enough, and the cheapest of the other kind."""
        stuck = next(self._modes.stuck())
        options = sorted((option for edge in stuck.cycle for option in self._options(edge, {})), key=self._cost)
        found: list[Fifo] = []
        for option in options:
            if found and self._is_delay(option) == self._is_delay(found[0]):
                continue
            if not self._budget.spend(self._modes.size):
                break
            if self._modes.live({option.name: option}):
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

    def _branch(self, changed: _Changed, limit: int) -> None:
        cost = sum(self._cost(fifo)[0] for fifo in changed.values())
        if (self._best[1] and cost >= self._best[0]) or not self._budget.spend(4 * self._modes.size):
            return
        choices = [
            [option for edge in stuck.cycle for option in self._options(edge, changed)]
            for stuck in self._modes.stuck(changed)
        ]
        if not choices:
            self._best = (cost, tuple(changed.values()))
            return
        choices.sort(key=len)
        more, dearer = self._at_least(choices, changed)
        if len(changed) + more > limit or (self._best[1] and cost + dearer >= self._best[0]):
            return
        for option in sorted(choices[0], key=lambda option: self._dearer(option, changed)):
            if len(changed) < limit or option.name in changed:
                self._branch({**changed, option.name: option}, limit)

    def _at_least(self, choices: list[list[Fifo]], changed: _Changed) -> tuple[int, int]:
        """How many FIFOs more, and bytes, cycles that have no FIFO in common ask for."""
        taken: set[str] = set()
        more = dearer = 0
        for options in choices:
            names = {option.name for option in options}
            if not names & taken:
                taken |= names
                more += not names & changed.keys()
                dearer += min(self._dearer(option, changed) for option in options)
        return more, dearer

    def _dearer(self, option: Fifo, changed: _Changed) -> int:
        before = changed.get(option.name)
        return self._cost(option)[0] - (self._cost(before)[0] if before else 0)

    def enough(self) -> Repair:
        """Changes that are enough, less those that turn out not to be needed, dearest first."""
        changed = self._back_edges()
        if changed is None:
            changed = self._one_after_another()
        pruning = Budget()
        for fifo in sorted(changed.values(), key=self._cost, reverse=True):
            if not pruning.spend(self._modes.size):
                break
            fewer = {name: other for name, other in changed.items() if name != fifo.name}
            if self._modes.live(fewer):
                changed = fewer
        return Repair(self._sorted(tuple(changed.values())), smallest=False)

    def _back_edges(self) -> Optional[_Changed]:
        """The back edges of a depth-first search at the upper rate limits.

        Where edges are fixed, an order that they allow is taken for that of the search; None if there is none.
        """
        whole = self._modes.at_limits({})
        fixed = tuple(edge for edge in whole.edges if edge.fifo not in self._fifos)
        successors: dict[str, list[str]] = {node: [] for node in whole.nodes}
        for edge in whole.edges:
            successors[edge.source].append(edge.target)
        visited = postorder(whole.nodes, successors)
        if fixed:
            allowed = Precedence(tuple(reversed(visited)), fixed)
            if components(allowed):
                return None
            visited = list(reversed(order(allowed)))
        finished = {node: index for index, node in enumerate(visited)}
        changed: _Changed = {}
        for edge in whole.edges:
            if finished[edge.source] <= finished[edge.target]:
                changed[edge.fifo] = list(self._options(edge, changed))[-1]
        return changed

    def _one_after_another(self) -> _Changed:
        """A change for each cycle that is found, until none is left; of all FIFOs where that takes too long."""
        changed: _Changed = {}
        budget = Budget()
        while budget.spend(self._modes.size):
            stuck = list(self._modes.stuck(changed))
            if not stuck:
                return changed
            for each in stuck:
                options = [list(self._options(edge, changed))[-1:] for edge in each.cycle if edge.fifo in self._fifos]
                cheapest = min((last for (last,) in options), key=self._cost)
                changed[cheapest.name] = cheapest
        for edge in self._modes.at_limits({}).edges:
            changed.update((option.name, option) for option in self._options(edge, changed))
        return changed

    def _options(self, edge: Edge, changed: Mapping[str, Fifo]) -> Iterator[Fifo]:
        """The changes of its FIFO that take an edge out; the last of them adds no edge.

        A delay needs room (G5); with less than room for another firing beside it, it turns the edge round instead.
        """
        if edge.fifo not in self._fifos:
            return
        fifo, rate = changed.get(edge.fifo, self._fifos[edge.fifo]), self._modes.limits[edge.fifo]
        if edge.kind == "room":
            yield replace(fifo, capacity=fifo.delay + rate)
        elif fifo.policy is FaultPolicy.NEWEST:
            yield replace(fifo, delay=rate, capacity=max(fifo.capacity, 3 * rate))
        else:
            if fifo.capacity < 2 * rate and edge.fifo not in self._modes.held:
                yield replace(fifo, delay=rate, capacity=max(fifo.capacity, rate))
            yield replace(fifo, delay=rate, capacity=max(fifo.capacity, 2 * rate))

    def _cost(self, changed: Fifo) -> tuple[int, int]:
        """Added bytes, of initial tokens and of buffer; then file order."""
        fifo = self._fifos[changed.name]
        tokens = changed.delay - fifo.delay + changed.capacity - fifo.capacity
        return tokens * self._slot_bytes[changed.name], self._rank[changed.name]

    def _is_delay(self, changed: Fifo) -> bool:
        return changed.delay != self._fifos[changed.name].delay

    def _sorted(self, changes: tuple[Fifo, ...]) -> tuple[Fifo, ...]:
        return tuple(sorted(changes, key=lambda fifo: self._rank[fifo.name]))
