"""Buffer sizes of multi-rate graphs: the least capacities with which an iteration completes, or takes no longer.

Each answer is sought as in Stuijk, Geilen, Basten 2008: where capacities do not do, the actors that wait for each
other, or the slowest cycle, name the FIFOs of which one must be larger. Cheapest first, that finds the least, with
proof; each FIFO begins with the least that does while all others have room for ever. Before that, one answer is found
quickly: FIFOs grow until all is well, and then each is given less as long as it is. Where the search takes too long,
its cheapest candidate so far is a bound below which there is no answer.

A FIFO over a link has one capacity, and a buffer at each end; with it counts its window, where speed is asked for.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Optional

from eprune.analysis.buffers import Sizes
from eprune.analysis.cycle_ratio import longest_paths, max_cycle_ratio
from eprune.analysis.lookup import slot_bytes
from eprune.analysis.precedence import Precedence, components, short_cycle
from eprune.analysis.sdf.execution import Net, least_capacity, least_loop
from eprune.analysis.sdf.timing import Unfolded
from eprune.analysis.throughput import ALONE, Resources, Timed
from eprune.model.graph import Graph
from eprune.model.quantity import format_time

#: How many firings, or edges, a search may look at: some seconds.
BUDGET = 4_000_000
#: FIFO -> by how many tokens it must grow at least, of those of which one has to; empty: the capacities do
Blame = dict[int, int]


def least_live(graph: Graph, resources: Resources = ALONE, budget: int = BUDGET) -> Sizes:
    """The least capacities with which an iteration completes. The graph must be consistent, and live with room."""
    net = Net(graph)
    names = [str(number) for number in range(len(graph.fifos))]

    def blame(capacities: Sequence[int]) -> Blame:
        return waiting(net, names, capacities)

    return _Search(graph, net, resources, blame, sum(net.due)).sizes(budget, split=False)


def least_fast(
    graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE, budget: int = BUDGET
) -> Sizes:
    """The least capacities with which the throughput is what it is with room for ever.

    ``times``: actor -> seconds per firing. The rest as least_live; KeyError for an actor without a time.
    """
    return _least_timed(graph, times, resources, budget, None)


def least_for(
    graph: Graph,
    times: Mapping[str, Fraction],
    period: Fraction,
    resources: Resources = ALONE,
    budget: int = BUDGET,
) -> Sizes:
    """The least capacities with which an iteration begins every ``period`` seconds, or more often.

    The rest as least_fast. Raises ValueError where no room makes the graph that fast.
    """
    return _least_timed(graph, times, resources, budget, period)


def _least_timed(
    graph: Graph, times: Mapping[str, Fraction], resources: Resources, budget: int, wanted: Optional[Fraction]
) -> Sizes:
    # What is sought over a link is capacity and window together.
    bare = replace(graph, fifos=tuple(replace(fifo, window=0) for fifo in graph.fifos))
    unfolded = Unfolded(bare, times, resources)
    free = unfolded.at(None)
    worst = max_cycle_ratio(free.times, free.edges)
    period = Fraction(0) if worst is None else worst.ratio
    if wanted is not None and wanted < period:
        raise ValueError(f"an iteration takes {format_time(float(period))} at least")
    net, goal = unfolded.net, period if wanted is None else wanted
    names = [str(number) for number in range(len(graph.fifos))]
    number = {fifo.name: index for index, fifo in enumerate(graph.fifos)}
    steps = [step_of(rates, through) for rates, through in zip(net.rates, net.through)]

    def blame(capacities: Sequence[int]) -> Blame:
        stuck = waiting(net, names, capacities)
        if stuck:
            return stuck
        slow = slowest(unfolded.at(capacities), goal)
        return {number[name]: steps[number[name]] for name in slow}

    search = _Search(graph, net, resources, blame, 2 * (len(free.edges) + sum(net.due)))
    if any(len(cluster) > 1 for parts in resources.units.values() for cluster in parts):
        search.ordered = True
    return search.sizes(budget, split=True)


def waiting(net: Net, names: Sequence[str], capacities: Sequence[int]) -> Blame:
    """FIFOs of a ring of actors that wait for each other: with one of them larger it may be none."""
    obstacles = net.run(capacities).obstacles
    if not obstacles:
        return {}
    edges = net.edges(names, obstacles)
    stuck = Precedence(tuple(dict.fromkeys(each.actor for each in obstacles)), edges)
    ring = {(edge.target, edge.fifo) for edge in short_cycle(components(stuck)[0]) if edge.kind == "room"}
    return {
        each.fifo: each.needed - each.there
        for each in obstacles
        if each.kind == "room" and (each.actor, names[each.fifo]) in ring
    }


def slowest(model: Timed, period: Fraction) -> list[str]:
    """The FIFOs whose room is in a cycle that takes longer than the period for each of its tokens: one such cycle's."""
    numbers = {node: number for number, node in enumerate(model.times)}
    scale = math.lcm(period.denominator, *(time.denominator for time in model.times.values()))
    per_token = int(period * scale)
    whole = {node: int(time * scale) for node, time in model.times.items()}
    arcs = [(numbers[e.source], numbers[e.target], whole[e.source] - per_token * e.tokens) for e in model.edges]
    found = longest_paths(len(numbers), arcs).cycles
    rooms = [
        list(dict.fromkeys(model.edges[at].about for at in cycle if model.edges[at].kind == "room")) for cycle in found
    ]
    return min((each for each in rooms if each), key=len, default=[])


def step_of(rates: tuple[tuple[int, ...], tuple[int, ...]], through: int) -> int:
    """Only capacities that differ by a multiple of this differ in what they allow."""
    return math.gcd(*rates[0], *rates[1]) or through


class _Search:
    """Capacities for which nobody is to blame."""

    #: whether more room may change the order in a thread: then only what each FIFO needs by itself is proved
    ordered = False

    def __init__(
        self,
        graph: Graph,
        net: Net,
        resources: Resources,
        blame: Callable[[Sequence[int]], Blame],
        effort: int,
    ) -> None:
        """``effort``: what one question takes, in the unit of a budget."""
        self._graph, self._net, self._blame, self._effort = graph, net, blame, max(effort, 1)
        self._left = 0
        self._transfers = resources.transfers
        sizes = slot_bytes(graph)
        self._prices = [sizes[f.name] * (2 if f.name in resources.transfers else 1) for f in graph.fifos]
        self._steps = [step_of(rates, through) for rates, through in zip(net.rates, net.through)]

    def cost(self, capacities: Sequence[int]) -> int:
        """Bytes."""
        return sum(capacity * price for capacity, price in zip(capacities, self._prices))

    def sizes(self, budget: int, split: bool) -> Sizes:
        """The answer. ``split``: over a link, what is beyond the given capacity is window."""
        self._left = budget
        lower = [self._by_itself(index) for index in range(len(self._steps))]
        if self._blame(lower):
            ample = self._ample()
            lower = [self._alone(index, ample) for index in range(len(ample))]
            best = self._descend(lower, ample)
            rooms, bound = self._least(lower, best, budget)
        else:
            rooms, bound = lower, self.cost(lower)
        fifos = self._graph.fifos
        capacities = {fifo.name: room for fifo, room in zip(fifos, rooms)}
        windows = dict.fromkeys(self._transfers, 0)
        for number, fifo in enumerate(fifos):
            if split and fifo.name in windows:
                least = least_capacity(self._net.rates[number], fifo.delay)
                capacities[fifo.name] = min(rooms[number], max(fifo.capacity, least))
                windows[fifo.name] = rooms[number] - capacities[fifo.name]
        if self.ordered:
            bound = min(bound, self.cost(lower))
        return Sizes(capacities, self.cost(rooms), bound, windows)

    def _ample(self) -> list[int]:
        """Capacities that are enough, whatever is asked: doubled until nobody is to blame."""
        net = self._net
        capacities = [
            max(delay + 2 * through, least_capacity(rates, delay))
            for rates, delay, through in zip(net.rates, net.delays, net.through)
        ]
        while blamed := self._blame(capacities):
            for index, more in blamed.items():
                capacities[index] += max(more, capacities[index])
        return capacities

    def _by_itself(self, index: int) -> int:
        """The least capacity of a FIFO as if there were no others."""
        source, target = self._net.ends[index]
        delay, rates = self._net.delays[index], self._net.rates[index]
        return least_loop(rates, delay)[1] if source == target else least_capacity(rates, delay)

    def _alone(self, index: int, ample: Sequence[int]) -> int:
        """The least capacity of one FIFO while the others have ample room."""
        least = self._by_itself(index)
        return least if self._left < 0 else self._halve(list(ample), index, least, least)

    def _halve(self, capacities: list[int], index: int, least: int, otherwise: int) -> int:
        """The least capacity of a FIFO, of those from ``least`` on in steps, with which these still do; ``otherwise``
        where there is no time left to find it.
        """
        step = self._steps[index]
        low, high = 0, -(-(capacities[index] - least) // step)
        while low < high:
            self._left -= self._effort
            if self._left < 0:
                return otherwise
            middle = (low + high) // 2
            capacities[index] = least + middle * step
            if self._blame(capacities):
                low = middle + 1
            else:
                high = middle
        return least + high * step

    def _descend(self, lower: Sequence[int], ample: Sequence[int]) -> list[int]:
        """An answer: what is to blame grows, cheapest first; then each is given less, dearest first.

        Where that takes too long, all grow, to twice as much, and none is given less.
        """
        capacities = list(lower)
        while blamed := self._blame(capacities):
            self._left -= self._effort
            if self._left < 0:
                capacities = [min(2 * each, most) for each, most in zip(capacities, ample)]
                continue
            index = min(blamed, key=lambda each: (blamed[each] * self._prices[each], each))
            capacities[index] += max(blamed[index], (ample[index] - capacities[index]) // 8)
        order = sorted(range(len(capacities)), key=lambda each: -self._prices[each])
        for index in order:
            if capacities[index] > lower[index]:
                capacities[index] = self._halve(list(capacities), index, lower[index], capacities[index])
        return capacities

    def _least(self, lower: Sequence[int], best: list[int], budget: int) -> tuple[list[int], int]:
        """The least capacities, or ``best`` and a bound below which there are none."""
        limit = self.cost(best)
        start = tuple(lower)
        heap, seen = [(self.cost(start), start)], {start}
        while heap:
            cost, capacities = heapq.heappop(heap)
            if cost >= limit:
                return best, limit
            budget -= self._effort
            if budget < 0:
                return best, cost
            blamed = self._blame(capacities)
            if not blamed:
                return list(capacities), cost
            for index, more in blamed.items():
                following = (*capacities[:index], capacities[index] + more, *capacities[index + 1 :])
                price = self.cost(following)
                if price < limit and following not in seen:
                    seen.add(following)
                    heapq.heappush(heap, (price, following))
        return best, limit
