"""What an actor's tokens reach."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from eprune.model.graph import Fifo, Graph


def leaving(graph: Graph) -> dict[str, list[Fifo]]:
    """Actor -> the FIFOs that lead away from it."""
    found: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
    for fifo in graph.fifos:
        found[fifo.source.actor].append(fifo)
    return found


def reached(first: str, ways: Mapping[str, Sequence[Fifo]], without: Collection[str] = ()) -> set[str]:
    """An actor and all that its tokens reach, but for those ``without``."""
    found, waiting = {first}, [first]
    while waiting:
        for fifo in ways[waiting.pop()]:
            target = fifo.target.actor
            if target not in found and target not in without:
                found.add(target)
                waiting.append(target)
    return found
