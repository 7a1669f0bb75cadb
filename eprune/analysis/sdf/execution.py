"""One iteration, firing by firing: whether it completes in the room that there is, in which order, and where it stops.

A firing takes its tokens and needs its room before it gives either back, as everywhere here. Firings disable none: a
FIFO has one writer and one reader. So any order in which actors fire as long as they can gets equally far, and a graph
is live exactly if one iteration completes (Lee, Messerschmitt 1987): after it, every FIFO is as full as before.

The order that is chosen fires the actor that is furthest behind the sources, so that a token is on its way through
before the next one is made: little room is used, and results come early.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Optional

from eprune.analysis.precedence import Edge, Precedence, components, order
from eprune.analysis.sdf.repetition import Rates, rates_at_ends, repetition
from eprune.model.graph import Graph

#: Firings of an iteration, at most: what is proved and scheduled firing by firing takes time for each.
MAX_FIRINGS = 100_000


@dataclass(frozen=True)
class Obstacle:
    """Why firing number ``firing`` (from 0) of ``actor`` cannot begin: ``fifo`` holds ``there`` tokens, or has room for
    so many, of the ``needed`` ones. ``kind``: "token" or "room".
    """

    actor: str
    firing: int
    fifo: int
    kind: str
    there: int
    needed: int


@dataclass(frozen=True)
class Iteration:
    """The actors in the order in which they fired, by number; ``obstacles``: of all that did not fire as often as due.

    ``peaks``: FIFO -> the most tokens that were in it, those included that a firing was just writing.
    """

    order: tuple[int, ...]
    obstacles: tuple[Obstacle, ...]
    peaks: tuple[int, ...]


class Net:
    """A consistent graph as numbers: actors and FIFOs by their places in the file."""

    def __init__(self, graph: Graph) -> None:
        """Raises ValueError for an iteration of more than MAX_FIRINGS firings."""
        self.names = [actor.name for actor in graph.actors]
        self.place = {name: number for number, name in enumerate(self.names)}
        self.repetition = repetition(graph)
        self.due = [self.repetition.firings[name] for name in self.names]
        if sum(self.due) > MAX_FIRINGS:
            raise ValueError(f"an iteration has {sum(self.due)} firings; the limit is {MAX_FIRINGS}")
        self.rates: list[Rates] = rates_at_ends(graph)
        self.ends = [(self.place[fifo.source.actor], self.place[fifo.target.actor]) for fifo in graph.fifos]
        self.delays = [fifo.delay for fifo in graph.fifos]
        self.capacities = [fifo.capacity for fifo in graph.fifos]
        #: tokens through each FIFO in an iteration
        self.through = [self.repetition.tokens(fifo, rates) for fifo, rates in zip(graph.fifos, self.rates)]
        self.inputs: list[list[int]] = [[] for _ in self.names]
        self.outputs: list[list[int]] = [[] for _ in self.names]
        for number, (source, target) in enumerate(self.ends):
            self.outputs[source].append(number)
            self.inputs[target].append(number)
        self._rank = self._ranks()

    def _ranks(self) -> list[int]:
        """Actor -> its place in an order of the edges over which an iteration needs tokens of the same one."""
        whole = needs(self)
        stuck = {name: part.nodes[0] for part in components(whole) for name in part.nodes}
        edges = tuple(edge for edge in whole.edges if stuck.get(edge.source) != stuck.get(edge.target, ""))
        rank = {name: number for number, name in enumerate(order(Precedence(whole.nodes, edges)))}
        return [rank[name] for name in self.names]

    def run(self, capacities: Optional[Sequence[int]] = None, delays: Optional[Sequence[int]] = None) -> Iteration:
        """One iteration with these capacities and delays, else with the graph's own."""
        room = list(self.capacities if capacities is None else capacities)
        tokens = list(self.delays if delays is None else delays)
        peaks = list(tokens)
        fired = [0] * len(self.names)
        due, rates, rank = self.due, self.rates, self._rank
        beside = [
            {self.ends[f][0] for f in self.inputs[a]} | {self.ends[f][1] for f in self.outputs[a]} | {a}
            for a in range(len(self.names))
        ]

        def able(actor: int) -> bool:
            count = fired[actor]
            if count == due[actor]:
                return False
            for number in self.inputs[actor]:
                consumed = rates[number][1]
                if tokens[number] < consumed[count % len(consumed)]:
                    return False
            for number in self.outputs[actor]:
                produced = rates[number][0]
                if room[number] - tokens[number] < produced[count % len(produced)]:
                    return False
            return True

        waiting = [able(actor) for actor in range(len(self.names))]
        heap = [(-rank[actor], actor) for actor, ready in enumerate(waiting) if ready]
        heapq.heapify(heap)
        sequence = []
        while heap:
            _, actor = heapq.heappop(heap)
            waiting[actor] = False
            count = fired[actor]
            for number in self.outputs[actor]:
                produced = rates[number][0]
                tokens[number] += produced[count % len(produced)]
                peaks[number] = max(peaks[number], tokens[number])
            for number in self.inputs[actor]:
                consumed = rates[number][1]
                tokens[number] -= consumed[count % len(consumed)]
            fired[actor] += 1
            sequence.append(actor)
            for other in beside[actor]:
                if not waiting[other] and able(other):
                    waiting[other] = True
                    heapq.heappush(heap, (-rank[other], other))
        obstacles = []
        for actor, count in enumerate(fired):
            if count < due[actor]:
                for number in self.inputs[actor]:
                    needed = rates[number][1][count % len(rates[number][1])]
                    if tokens[number] < needed:
                        obstacles.append(Obstacle(self.names[actor], count, number, "token", tokens[number], needed))
                for number in self.outputs[actor]:
                    needed = rates[number][0][count % len(rates[number][0])]
                    if room[number] - tokens[number] < needed:
                        free = room[number] - tokens[number]
                        obstacles.append(Obstacle(self.names[actor], count, number, "room", free, needed))
        return Iteration(tuple(sequence), tuple(obstacles), tuple(peaks))

    def live(self, capacities: Optional[Sequence[int]] = None, delays: Optional[Sequence[int]] = None) -> bool:
        """Whether an iteration completes."""
        return len(self.run(capacities, delays).order) == sum(self.due)

    def edges(self, fifos: Sequence[str], obstacles: Iterable[Obstacle]) -> tuple[Edge, ...]:
        """Who waits for whom, because of which FIFO (its name)."""
        made = []
        for each in obstacles:
            source, target = self.ends[each.fifo]
            other = self.names[source if each.kind == "token" else target]
            made.append(Edge(other, each.actor, each.kind, fifos[each.fifo]))
        return tuple(made)


def needs(net: Net) -> Precedence:
    """Which actors need, in an iteration, tokens that others make in the same one, however much room there is."""
    return Precedence(
        tuple(net.names),
        tuple(
            Edge(net.names[source], net.names[target], "token", str(number))
            for number, (source, target) in enumerate(net.ends)
            if source != target and net.delays[number] < net.through[number]
        ),
    )


@lru_cache(maxsize=8)
def schedule(graph: Graph) -> tuple[str, ...]:
    """The firings of an iteration, each by its actor's name, of a live graph: a periodic admissible schedule.

    Threads that each fire their own actors as it has them, over and over, never wait for each other in a ring: of what
    is still to be done, the first firing has its tokens and its room, and is the next one of its thread.
    """
    net = Net(graph)
    return tuple(net.names[actor] for actor in net.run().order)


def firing_order(graph: Graph) -> tuple[str, ...]:
    """The actors in the order in which they fire for the first time."""
    return tuple(dict.fromkeys(schedule(graph)))


def least_capacity(rates: Rates, delay: int) -> int:
    """The least capacity with which a FIFO between two actors does not make them wait for each other for ever.

    The reader takes what it can before more is written; what is there then at the most is needed. Of constant rates p
    and c it is p + c - g + d mod g with g = gcd(p, c), or d if that is more (Bhattacharyya, Murthy, Lee 1996).
    """
    produced, consumed = rates
    if len(produced) == len(consumed) == 1:
        common = math.gcd(produced[0], consumed[0])
        return max(produced[0] + consumed[0] - common + delay % common, delay)
    left = math.lcm(sum(produced), sum(consumed))
    written = read = taken = 0
    tokens = peak = delay
    while taken < left:
        wanted = consumed[read % len(consumed)]
        if tokens >= wanted:
            tokens -= wanted
            taken += wanted
            read += 1
        else:
            tokens += produced[written % len(produced)]
            peak = max(peak, tokens)
            written += 1
    return peak


def least_loop(rates: Rates, delay: int) -> tuple[int, int]:
    """The least delay of a FIFO from an actor to itself, and the least capacity with that delay, or the given one if
    that is more.
    """
    produced, consumed = rates
    least = tokens = 0
    for firing in range(len(produced) * len(consumed)):
        least = max(least, consumed[firing % len(consumed)] - tokens)
        tokens += produced[firing % len(produced)] - consumed[firing % len(consumed)]
    tokens = peak = max(least, delay)
    for firing in range(len(produced) * len(consumed)):
        tokens += produced[firing % len(produced)]
        peak = max(peak, tokens)
        tokens -= consumed[firing % len(consumed)]
    return least, peak
