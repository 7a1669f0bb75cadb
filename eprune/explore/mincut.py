"""Minimum cuts: the two sides of a network that cost least, by Dinic's algorithm, exact in whole numbers."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable

#: More than everything else together.
INFINITE = 2**80


class Network:
    """Nodes, by any names, and edges with capacities; ``SOURCE`` and ``SINK`` are the two ends."""

    SOURCE = object()
    SINK = object()

    def __init__(self) -> None:
        self._number: dict[Hashable, int] = {self.SOURCE: 0, self.SINK: 1}
        self._edges: list[list[int]] = [[], []]
        self._to: list[int] = []
        self._room: list[int] = []

    def add(self, source: Hashable, target: Hashable, capacity: int) -> None:
        """An edge: ``capacity`` is paid where the source is on SOURCE's side and the target on SINK's."""
        ends = [self._node(source), self._node(target)]
        for (here, there), room in zip((ends, ends[::-1]), (capacity, 0)):
            self._edges[here].append(len(self._to))
            self._to.append(there)
            self._room.append(room)

    def cut(self) -> tuple[int, set[Hashable]]:
        """The cost of a cheapest cut, and the nodes on SOURCE's side: as few as possible."""
        value = 0
        while True:
            level = self._levels()
            if level[1] < 0:
                side = {name for name, number in self._number.items() if level[number] >= 0 and number > 1}
                return value, side
            value += self._block(level)

    def _node(self, name: Hashable) -> int:
        number = self._number.setdefault(name, len(self._number))
        if number == len(self._edges):
            self._edges.append([])
        return number

    def _levels(self) -> list[int]:
        """Distances from SOURCE over edges with room; -1: not reached."""
        level = [-1] * len(self._edges)
        level[0] = 0
        queue = deque([0])
        while queue:
            node = queue.popleft()
            for edge in self._edges[node]:
                if self._room[edge] and level[self._to[edge]] < 0:
                    level[self._to[edge]] = level[node] + 1
                    queue.append(self._to[edge])
        return level

    def _block(self, level: list[int]) -> int:
        """Fill every shortest path; without recursion, for paths are as long as graphs are deep."""
        following = [0] * len(self._edges)
        value = 0
        path: list[int] = []
        node = 0
        while True:
            if node == 1:
                flow = min(self._room[edge] for edge in path)
                value += flow
                for position in range(len(path) - 1, -1, -1):
                    self._room[path[position]] -= flow
                    self._room[path[position] ^ 1] += flow
                    if not self._room[path[position]]:
                        keep = position
                del path[keep:]
                node = self._to[path[-1]] if path else 0
                continue
            edges = self._edges[node]
            while following[node] < len(edges):
                edge = edges[following[node]]
                if self._room[edge] and level[self._to[edge]] == level[node] + 1:
                    path.append(edge)
                    node = self._to[edge]
                    break
                following[node] += 1
            else:
                if not path:
                    return value
                path.pop()
                node = self._to[path[-1]] if path else 0
                following[node] += 1
