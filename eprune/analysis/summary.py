"""What a user wants to know of a sound graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from eprune.analysis.lookup import buffer_bytes, token_bytes
from eprune.analysis.mapping import memory_use
from eprune.analysis.precedence import firing_order
from eprune.model.graph import Graph
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping


@dataclass(frozen=True)
class Summary:
    """Facts about an application: names in file order but for ``order``, sizes in bytes.

    ``order`` is one in which the actors can fire. ``buffer_bytes`` is the memory of all FIFOs. ``memory_bytes`` is,
    for each platform with a mapping, that of its FIFOs (a crossing one on both platforms) and its slices' weights.
    """

    name: str
    actors: tuple[str, ...]
    fifos: tuple[str, ...]
    sources: tuple[str, ...]
    sinks: tuple[str, ...]
    order: tuple[str, ...]
    token_bytes: dict[str, int]
    buffer_bytes: int
    memory_bytes: dict[str, int]


def summary(
    graph: Graph,
    interfaces: Optional[Mapping[str, Interface]] = None,
    mappings: Sequence[PlatformMapping] = (),
) -> Summary:
    """The facts of a graph that has passed ``check``."""
    return Summary(
        name=graph.name,
        actors=tuple(actor.name for actor in graph.actors),
        fifos=tuple(fifo.name for fifo in graph.fifos),
        sources=tuple(actor.name for actor in graph.actors if not actor.inputs),
        sinks=tuple(actor.name for actor in graph.actors if not actor.outputs),
        order=firing_order(graph),
        token_bytes=token_bytes(graph),
        buffer_bytes=sum(buffer_bytes(graph).values()),
        memory_bytes={
            mapping.platform: sum(memory_use(graph, mapping, interfaces or {}).values()) for mapping in mappings
        },
    )
