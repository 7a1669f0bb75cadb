"""The recurrence of firings in the algebra of maximum and addition: when each begins, iteration after iteration.

A firing begins as soon as those have ended that it waits for: see F. Baccelli, G. Cohen, G. J. Olsder, J.-P. Quadrat,
"Synchronization and Linearity", 1992. Times are whole numbers, so nothing is rounded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Optional

from eprune.analysis.cycle_ratio import UNREACHED, TimedEdge, forward
from eprune.analysis.throughput import Timed

#: Iterations that are looked at, at most, and edges in all of them.
ITERATIONS, LOOKS = 2000, 4_000_000
#: Iterations after which a recurrence repeats itself, at most.
ROUND = 24
#: Later than what is not reached, and before all else.
NEVER = UNREACHED // 2


class Recurrence:
    """The beginnings of firings, iteration after iteration, in whole numbers of 1 / ``scale`` seconds.

    ``paced``: node -> when it fires first, at the earliest, and the period before which it does not fire again.
    ``origin``: only what follows from the first
    firing of that node; UNREACHED, or little more, is what does not.
    """

    def __init__(
        self, model: Timed, paced: Mapping[str, tuple[Fraction, Fraction]], period: Fraction, origin: str = ""
    ) -> None:
        times = model.times
        self.nodes = forward(times, model.edges)
        self.number = {node: number for number, node in enumerate(self.nodes)}
        lengths = (*times.values(), *(each for pair in paced.values() for each in pair), period)
        self.scale = math.lcm(*(length.denominator for length in lengths))
        self.seconds = [int(times[node] * self.scale) for node in self.nodes]
        self.edges = model.edges
        self.begins: list[list[int]] = []
        self._paced = {self.number[node]: (int(a * self.scale), int(b * self.scale)) for node, (a, b) in paced.items()}
        self._origin = self.number[origin] if origin else None
        self._period = int(period * self.scale)
        #: node -> the edges that it waits for: (node, tokens, number of the edge)
        self._waits: list[list[tuple[int, int, int]]] = [[] for _ in self.nodes]
        for number, edge in enumerate(model.edges):
            self._waits[self.number[edge.target]].append((self.number[edge.source], edge.tokens, number))

    def step(self) -> None:
        """One more iteration."""
        count = len(self.begins)
        now = [0 if self._origin is None else UNREACHED] * len(self.nodes)
        if self._origin is not None and count == 0:
            now[self._origin] = 0
        self.begins.append(now)
        seconds, begins = self.seconds, self.begins
        for node, waits in enumerate(self._waits):
            begin = now[node]
            for source, tokens, _ in waits:
                if tokens <= count:
                    end = begins[count - tokens][source] + seconds[source]
                    if end > begin:
                        begin = end
            if node in self._paced:
                first, pace = self._paced[node]
                begin = max(begin, first + pace * count)
            now[node] = begin

    def settle(self) -> int:
        """Go on until it repeats itself, or for as long as ITERATIONS and LOOKS allow; the length of a round, or 0."""
        depth = max((edge.tokens for edge in self.edges), default=0) + 1
        rounds = dict.fromkeys(range(1, ROUND + 1), 0)
        for _ in range(max(min(ITERATIONS, LOOKS // max(len(self.edges), 1)), 2)):
            self.step()
            for length in rounds:
                if len(self.begins) > length and self._repeats(length):
                    rounds[length] += 1
                    if rounds[length] >= depth:
                        return length
                else:
                    rounds[length] = 0
        return 0

    def _repeats(self, length: int) -> bool:
        shift = length * self._period
        return all(
            now - before == shift or now <= NEVER for now, before in zip(self.begins[-1], self.begins[-1 - length])
        )

    def begin(self, node: str, iteration: int) -> Fraction:
        """When a firing begins, in seconds."""
        return Fraction(self.begins[iteration][self.number[node]], self.scale)

    def binding(self, node: str, iteration: int) -> Optional[TimedEdge]:
        """What a firing waited for until it began; None for a source's period."""
        number, found = self.number[node], None
        for source, tokens, edge in self._waits[number]:
            if tokens <= iteration:
                end = self.begins[iteration - tokens][source] + self.seconds[source]
                if end == self.begins[iteration][number]:
                    found = self.edges[edge]
        return found
