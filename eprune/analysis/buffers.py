"""Buffer sizes: the least capacities that keep a graph live, with which it has a pace, and with which it is fastest.

Least is in bytes of all buffers together; a FIFO that crosses platforms has a buffer on both. A FIFO of rate r and
delay d has a capacity of d + k r, for nothing else is ever of use, and k is to be found. Over a link that is its
capacity and its window together. Every cycle of the timed graph
(``throughput``) must have tokens enough: more than none to be live, and time / period of them to be fast. Only edges of
room can be given more. A FIFO that divides rate domains is in no cycle; it keeps what it needs by itself: with
``newest`` room for what is read and what is written, and to be fast for what is ready, too.

The problem is NP-hard. One answer comes from any times of the firings that keep to the period: they say how much room
is needed; then each FIFO in turn is given less as long as nothing breaks. The other is a search, cheapest first: take a
cycle with too few tokens, and give more to each of its FIFOs in turn. It proves the first answer the least, or finds a
less one; where it takes too long, its cheapest candidate so far is a bound below which there is no answer.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Optional

from eprune.analysis.cycle_ratio import longest_paths, max_cycle_ratio
from eprune.analysis.domains import dividing
from eprune.analysis.lookup import fifo_rates, slot_bytes
from eprune.analysis.throughput import ALONE, Resources, Transfer, held_over_link, room_of, timed, window_of
from eprune.model.graph import FaultPolicy, Fifo, Graph
from eprune.model.quantity import format_time

#: How many edges the search for the least may look at: some seconds.
BUDGET = 4_000_000


@dataclass(frozen=True)
class Sizes:
    """FIFO name -> capacity in tokens, in file order; the bytes of all; and ``bound``: no answer has less bytes.

    ``windows`` are those of the FIFOs over links: of the tokens that are needed, what is beyond the given capacity.
    """

    capacities: dict[str, int]
    nbytes: int
    bound: int
    windows: dict[str, int] = field(default_factory=dict)

    @property
    def least(self) -> bool:
        """Whether it is proved that no capacities with less bytes will do."""
        return self.nbytes == self.bound

    def applied(self, graph: Graph, resources: Resources = ALONE) -> Graph:
        """The graph with these capacities, and with these windows where it has others."""
        return replace(
            graph, fifos=tuple(self._applied(fifo, resources.transfers.get(fifo.name)) for fifo in graph.fifos)
        )

    def _applied(self, fifo: Fifo, transfer: Optional[Transfer]) -> Fifo:
        window = self.windows.get(fifo.name)
        if transfer is None or window is None or window == window_of(fifo, transfer):
            window = fifo.window
        return replace(fifo, capacity=self.capacities[fifo.name], window=window)


def least_live(graph: Graph, resources: Resources = ALONE, budget: int = BUDGET) -> Sizes:
    """The least capacities with which no iteration blocks, at any rates up to the upper limits.

    The graph must be sound by rules G1 to G7. Raises ValueError where no capacities will do.
    """
    # Who shares a unit or a link decides when actors fire, not whether.
    apart = Resources({}, {name: Transfer(name, Fraction(0)) for name in resources.transfers})
    none = dict.fromkeys((actor.name for actor in graph.actors), Fraction(0))
    return _solve(graph, none, apart, budget, split=False)


def least_fast(
    graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE, budget: int = BUDGET
) -> Sizes:
    """The least capacities with which the throughput is what it is with room for ever.

    ``times``: actor -> seconds per firing. The graph must be sound by rules G1 to G7. Raises ValueError where no
    capacities keep it live, KeyError for an actor without a time.
    """
    return _solve(graph, times, resources, budget, split=True)


def least_for(
    graph: Graph,
    times: Mapping[str, Fraction],
    period: Fraction,
    resources: Resources = ALONE,
    budget: int = BUDGET,
) -> Sizes:
    """The least capacities with which an iteration begins every ``period`` seconds, or more often.

    The rest as least_fast. Raises ValueError, too, where no room makes the graph that fast.
    """
    return _solve(graph, times, resources, budget, split=True, period=period)


def _solve(
    graph: Graph,
    times: Mapping[str, Fraction],
    resources: Resources,
    budget: int,
    split: bool,
    period: Optional[Fraction] = None,
) -> Sizes:
    problem = _Problem(graph, times, resources, period)
    best = problem.descend()
    firings, bound = problem.search(best, budget)
    sizes = slot_bytes(graph)
    rates = fifo_rates(graph)
    rooms = {fifo.name: fifo.delay + count * rates[fifo.name] for fifo, count in zip(graph.fifos, firings)}
    capacities, windows = dict(rooms), dict.fromkeys(resources.transfers, 0)
    for fifo in graph.fifos:
        if split and fifo.name in windows:
            # A window is no room by the rules (G5, C2): the capacity by itself keeps the graph live.
            capacities[fifo.name] = min(rooms[fifo.name], max(fifo.capacity, fifo.delay + rates[fifo.name]))
            windows[fifo.name] = rooms[fifo.name] - capacities[fifo.name]
    delays = sum(fifo.delay * sizes[fifo.name] * problem.copies[index] for index, fifo in enumerate(graph.fifos))
    return Sizes(capacities, delays + problem.cost(firings), delays + bound, windows)


class _Problem:
    """Arcs with weights such that what is wanted holds where no cycle has a positive weight.

    A firing of u on an arc with m tokens weighs time(u) - period * m. So that a cycle without tokens is positive even
    if it takes no time, all of this is multiplied by a large number, and 1 - (nodes + 1) * m added.
    """

    def __init__(
        self,
        graph: Graph,
        times: Mapping[str, Fraction],
        resources: Resources,
        wanted: Optional[Fraction] = None,
    ) -> None:
        """``wanted``: the seconds of an iteration; None: as few as with room for ever. Raises ValueError if fewer."""
        free = timed(graph, times, resources, bounded=False)
        worst = max_cycle_ratio(free.times, free.edges)
        period = Fraction(0) if worst is None else worst.ratio
        if wanted is not None and wanted < period:
            raise ValueError(f"an iteration takes {format_time(float(period))} at least")
        period = period if wanted is None else wanted
        scale = math.lcm(period.denominator, *(time.denominator for time in free.times.values()))
        whole = {node: int(time * scale) for node, time in free.times.items()}
        per_token = int(period * scale)
        numbers = {node: number for number, node in enumerate(free.times)}
        rates, sizes = fifo_rates(graph), slot_bytes(graph)
        count = len(numbers)
        tokens = sum(edge.tokens for edge in free.edges) + sum(fifo.delay for fifo in graph.fifos)
        # No FIFO is ever of use with room for more firings than take this long, or than there are nodes.
        most = (sum(whole.values()) // per_token if per_token else 0) + count + 1
        factor = (count + 1) * (tokens + len(graph.fifos) * 2 * most + 1)

        def weight(node: str, tokens: int) -> int:
            return factor * (whole[node] - per_token * tokens) + 1 - (count + 1) * tokens

        self.count = count
        self.step = factor * per_token + count + 1
        #: (source, target, weight, FIFO or -1): the weight is less by one step for each of a FIFO's firings
        self.arcs = [(numbers[e.source], numbers[e.target], weight(e.source, e.tokens), -1) for e in free.edges]
        self.copies: list[int] = []
        self.price: list[int] = []
        self.least: list[int] = []
        between = set(dividing(graph))
        for index, fifo in enumerate(graph.fifos):
            transfer = resources.transfers.get(fifo.name)
            rate = rates[fifo.name]
            ahead = fifo.delay // rate
            self.copies.append(1 if transfer is None else 2)
            self.price.append(rate * sizes[fifo.name] * self.copies[-1])
            held = fifo in between and fifo.policy is not FaultPolicy.NEWEST
            if held:
                self.least.append(1 if ahead else 2)
            elif fifo in between:
                self.least.append(3 if per_token else 2)
            else:
                self.least.append(0 if ahead and fifo.source.actor != fifo.target.actor else 1)
            if fifo not in between or held_over_link(fifo, transfer):
                source, target = room_of(fifo, transfer, held)
                self.arcs.append((numbers[source], numbers[target], weight(source, ahead - 1 if held else 0), index))
        self.leaving: list[list[int]] = [[] for _ in range(count)]
        for number, arc in enumerate(self.arcs):
            self.leaving[arc[0]].append(number)
        self.rooms: list[list[int]] = [[] for _ in graph.fifos]
        for number, arc in enumerate(self.arcs):
            if arc[3] >= 0:
                self.rooms[arc[3]].append(number)

    def cost(self, firings: list[int]) -> int:
        """Bytes beyond the delays."""
        return sum(price * count for price, count in zip(self.price, firings))

    def descend(self) -> list[int]:
        """Enough room for each FIFO, so that none can be given less alone; the dearest are tried first."""
        fixed = [arc[:3] for arc in self.arcs if arc[3] < 0]
        value = longest_paths(self.count, fixed).potentials
        assert value is not None  # the period is that of the fixed arcs
        firings = list(self.least)
        for source, target, weight, index in self.arcs:
            if index >= 0:
                firings[index] = max(firings[index], -(-(value[source] + weight - value[target]) // self.step))
        current = [weight - (self.step * firings[index] if index >= 0 else 0) for _, _, weight, index in self.arcs]
        for index in sorted(range(len(firings)), key=lambda each: -self.price[each]):
            while firings[index] > self.least[index] and self._lower(index, current, value):
                firings[index] -= 1
        return firings

    def _lower(self, index: int, current: list[int], value: list[int]) -> bool:
        """Take one firing's room from a FIFO if that makes no cycle positive: then weights and potentials change."""
        raised: dict[int, int] = {}
        for done, number in enumerate(self.rooms[index]):
            current[number] += self.step
            if not self._settle(number, current, value, raised):
                for other in self.rooms[index][: done + 1]:
                    current[other] -= self.step
                for node, old in raised.items():
                    value[node] = old
                return False
        return True

    def _settle(self, number: int, current: list[int], value: list[int], old: dict[int, int]) -> bool:
        """Raise potentials until an arc that has become heavier is content; False if it would have to raise itself.

        Dijkstra's search by the slack of the arcs finds by how much each node must rise.
        """
        source, root, *_ = self.arcs[number]
        lack = value[source] + current[number] - value[root]
        if lack <= 0:
            return True
        nearest = {root: 0}
        heap = [(0, root)]
        final: dict[int, int] = {}
        while heap:
            slack, node = heapq.heappop(heap)
            if node in final:
                continue
            if node == source:
                return False
            final[node] = slack
            for leaving in self.leaving[node]:
                target = self.arcs[leaving][1]
                distance = slack + value[target] - value[node] - current[leaving]
                if distance < min(lack, nearest.get(target, lack)):
                    nearest[target] = distance
                    heapq.heappush(heap, (distance, target))
        for node, slack in final.items():
            old.setdefault(node, value[node])
            value[node] += lack - slack
        return True

    def search(self, best: list[int], budget: int) -> tuple[list[int], int]:
        """The cheapest firings of room, and a bound on their cost: equal to it unless the budget ran out."""
        limit = self.cost(best)
        start = tuple(self._bounds())
        heap = [(self.cost(list(start)), start)]
        seen = {start}
        while heap:
            cost, firings = heapq.heappop(heap)
            if cost >= limit:
                break
            arcs = [
                (source, target, weight - (self.step * firings[index] if index >= 0 else 0))
                for source, target, weight, index in self.arcs
            ]
            found = longest_paths(self.count, arcs)
            if not found.cycles:
                return list(firings), cost
            budget -= found.looks + len(arcs)
            if budget < 0:
                return best, cost
            for following in self._more(firings, arcs, found.cycles):
                price = self.cost(list(following))
                if following not in seen and price < limit:
                    seen.add(following)
                    heapq.heappush(heap, (price, following))
        return best, limit

    def _bounds(self) -> Iterator[int]:
        """What each FIFO needs for the cycle of its own two directions."""
        ahead: dict[tuple[int, int], int] = {}
        for source, target, weight, index in self.arcs:
            if index < 0:
                ahead[source, target] = max(weight, ahead.get((source, target), weight))
        for index, least in enumerate(self.least):
            ends = [self.arcs[number] for number in self.rooms[index]]
            lacks = [weight + ahead[v, u] for u, v, weight, _ in ends if (v, u) in ahead]
            yield max(least, *(-(-lack // self.step) for lack in lacks)) if lacks else least

    def _more(
        self, firings: tuple[int, ...], arcs: list[tuple[int, int, int]], cycles: list[list[int]]
    ) -> Iterator[tuple[int, ...]]:
        """What may come after these firings: all cycles that one FIFO alone can mend are, else one FIFO of a cycle."""
        own = [[self.arcs[number][3] for number in cycle if self.arcs[number][3] >= 0] for cycle in cycles]
        forced: dict[int, int] = {}
        for cycle, indices in zip(cycles, own):
            if len(set(indices)) == 1:
                lack = sum(arcs[number][2] for number in cycle)
                more = -(-lack // (self.step * len(indices)))
                forced[indices[0]] = max(forced.get(indices[0], 0), more)
        if forced:
            yield tuple(count + forced.get(index, 0) for index, count in enumerate(firings))
            return
        for index in sorted(set(min(own, key=lambda each: len(set(each))))):
            yield (*firings[:index], firings[index] + 1, *firings[index + 1 :])
