"""How far behind the sources each actor is, and how deep graphs are folded into columns where they are drawn."""

from __future__ import annotations

import math

from eprune.model.graph import Graph

#: Graphs that are deeper than this are folded into columns, which are at least this high.
_DEEPEST = 14


def depths(graph: Graph) -> dict[str, int]:
    """Actor -> the longest way to it from a source, along FIFOs without a delay."""
    waiting = {actor.name: 0 for actor in graph.actors}  # unread inputs
    readers: dict[str, list[str]] = {name: [] for name in waiting}
    for fifo in graph.fifos:
        if fifo.delay == 0 and fifo.source.actor in readers and fifo.target.actor in waiting:
            readers[fifo.source.actor].append(fifo.target.actor)
            waiting[fifo.target.actor] += 1
    depth = dict.fromkeys(waiting, 0)
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:
        for reader in readers[name]:
            depth[reader] = max(depth[reader], depth[name] + 1)
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    return depth


def column_height(count: int) -> int:
    """How many rows a column has, in a drawing of so many actors."""
    # A row is about 0.75 inches high, a column of single actors 3 wide: a picture somewhat wider than high.
    return max(_DEEPEST, math.ceil(math.sqrt(3 * count)))


def columns(graph: Graph) -> dict[str, int]:
    """Actor -> the column that it is drawn in."""
    depth = depths(graph)
    height = column_height(len(depth))
    return {actor: row // height for actor, row in depth.items()}
