"""The maximum cycle ratio of a graph, exact: the most time that a cycle takes for each token in it.

In a marked graph whose nodes take times and whose edges hold tokens it is the time between two iterations, if every
node fires as soon as it can (Reiter 1968; Dasdan 2004 compares algorithms). The one here is Newton's: with the best
ratio so far, Bellman and Ford's search for longest paths either ends, which proves it the maximum, or comes upon cycles
that are worse, the worst of which is the next guess. All is in whole numbers, so nothing is rounded.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple, Optional

#: The length of a path that there is not; below all others.
UNREACHED = -(2**1000)
#: (source, target, weight), nodes as numbers
Arc = tuple[int, int, int]


class TimedEdge(NamedTuple):
    """The k-th firing of ``target`` begins after firing k - ``tokens`` of ``source`` has ended.

    ``kind`` says why: a FIFO's tokens ("token") or room ("room"), firings of one actor that do not overlap ("self"),
    actors of one unit ("unit"), transfers over one link ("link"). ``about`` names that FIFO, actor, unit or link.
    """

    source: str
    target: str
    tokens: int
    kind: str
    about: str


@dataclass(frozen=True)
class Cycle:
    """Edges that end where the next one begins, the time of their nodes together, and their tokens."""

    edges: tuple[TimedEdge, ...]
    time: Fraction
    tokens: int

    @property
    def ratio(self) -> Fraction:
        """Time a token."""
        return self.time / self.tokens


class PathSearch(NamedTuple):
    """``potentials``: one a node, such that no arc's target is lower than its source and weight; None if there is none.

    ``cycles``: then some cycles of positive weight, as numbers of arcs. ``looks``: how many arcs were looked at.
    ``came_by``: the arc on the longest path to each node, -1 where that begins.
    """

    potentials: Optional[list[int]]
    cycles: list[list[int]]
    looks: int
    came_by: list[int]


def max_cycle_ratio(times: Mapping[str, Fraction], edges: Sequence[TimedEdge]) -> Optional[Cycle]:
    """A cycle of the greatest ratio; None where no cycle takes any time.

    ``times``: node -> time, not below 0. Raises ValueError for a cycle without tokens: a deadlock.
    """
    order = forward(times, edges)
    numbers = {node: number for number, node in enumerate(order)}
    scale = math.lcm(*(time.denominator for time in times.values())) if times else 1
    scaled = [int(times[node] * scale) for node in order]
    ends = [(numbers[edge.source], numbers[edge.target], edge.tokens) for edge in edges]
    best: Optional[Cycle] = None
    for edge in edges:
        if edge.source == edge.target:
            best = _longer(best, Cycle((edge,), times[edge.source], edge.tokens))
    while True:
        ratio = Fraction(0) if best is None else best.ratio * scale
        p, q = ratio.numerator, ratio.denominator
        found = longest_paths(len(order), [(u, v, q * scaled[u] - p * tokens) for u, v, tokens in ends])
        if not found.cycles:
            return best if best is not None and best.time else None
        for cycle in found.cycles:
            path = tuple(edges[number] for number in cycle)
            time = sum((times[edge.source] for edge in path), Fraction(0))
            best = _longer(best, Cycle(path, time, sum(edge.tokens for edge in path)))


def _longer(best: Optional[Cycle], other: Cycle) -> Cycle:
    return other if best is None or other.ratio > best.ratio else best


def forward(times: Mapping[str, Fraction], edges: Sequence[TimedEdge]) -> list[str]:
    """The nodes so that edges without tokens lead forward; the search for longest paths is fast in that order.

    Raises ValueError for a cycle without tokens: a deadlock.
    """
    waiting = dict.fromkeys(times, 0)
    outgoing: dict[str, list[str]] = {node: [] for node in times}
    for edge in edges:
        if edge.tokens == 0:
            waiting[edge.target] += 1
            outgoing[edge.source].append(edge.target)
    order = [node for node, count in waiting.items() if count == 0]
    for node in order:
        for target in outgoing[node]:
            waiting[target] -= 1
            if waiting[target] == 0:
                order.append(target)
    if len(order) < len(times):
        raise ValueError("a cycle without tokens: the graph deadlocks")
    return order


def longest_paths(count: int, arcs: Sequence[Arc], roots: Optional[Mapping[int, int]] = None) -> PathSearch:
    """Potentials of ``count`` nodes, the least that are not negative, or cycles of positive weight.

    With ``roots``: the lengths of the longest paths from these nodes, each of which begins with the length that it is
    mapped to; UNREACHED where there is none.
    """
    outgoing: list[list[tuple[int, int, int]]] = [[] for _ in range(count)]
    for number, (source, target, weight) in enumerate(arcs):
        outgoing[source].append((target, weight, number))
    begin = dict.fromkeys(range(count), 0) if roots is None else roots
    value = [begin.get(node, UNREACHED) for node in range(count)]
    came_by = [-1] * count
    queue = deque(begin)
    queued = [node in begin for node in range(count)]
    raised = looks = 0
    while queue:
        node = queue.popleft()
        queued[node] = False
        looks += len(outgoing[node])
        base = value[node]
        for target, weight, number in outgoing[node]:
            if base + weight > value[target]:
                value[target] = base + weight
                came_by[target] = number
                raised += 1
                if not queued[target]:
                    queued[target] = True
                    queue.append(target)
        if raised >= count:
            raised = 0
            cycles = _cycles(came_by, arcs)
            if cycles:
                return PathSearch(None, cycles, looks, came_by)
    return PathSearch(value, [], looks, came_by)


def _cycles(came_by: Sequence[int], arcs: Sequence[Arc]) -> list[list[int]]:
    """The cycles of the graph in which each node has at most one arc, the one that it came by."""
    seen = [-1] * len(came_by)
    cycles = []
    for root in range(len(came_by)):
        node = root
        while seen[node] < 0 and came_by[node] >= 0:
            seen[node] = root
            node = arcs[came_by[node]][0]
        if seen[node] == root and came_by[node] >= 0:
            cycle = [came_by[node]]
            while arcs[cycle[-1]][0] != node:
                cycle.append(came_by[arcs[cycle[-1]][0]])
            cycles.append(cycle[::-1])
    return cycles
