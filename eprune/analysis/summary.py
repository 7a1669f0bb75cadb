"""What a user wants to know of a sound graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eprune.analysis.lookup import buffer_bytes, token_bytes, windows
from eprune.analysis.mapping import memory_use
from eprune.analysis.order import firing_order
from eprune.analysis.sdf.execution import schedule
from eprune.analysis.sdf.loops import looped
from eprune.analysis.sdf.repetition import repetition
from eprune.model.system import System


@dataclass(frozen=True)
class Summary:
    """Facts about an application: names in file order but for ``order``, sizes in bytes.

    ``order`` is one in which the actors can fire. ``buffer_bytes`` is the memory of all FIFOs. ``memory_bytes`` is,
    for each platform with a mapping, that of its FIFOs (a crossing one on both platforms) and its slices' weights.
    Of a multi-rate graph, ``iteration`` has how often each actor fires in one, and ``schedule`` the order of these
    firings as a looped list.
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
    iteration: Mapping[str, int] = field(default_factory=dict)
    schedule: str = ""


def summary(system: System) -> Summary:
    """What there is to know of a system that has passed ``check``."""
    graph, under_way = system.graph, windows(system)
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
            mapping.platform: sum(memory_use(graph, mapping, system.interfaces, under_way).values())
            for mapping in system.mappings
        },
        iteration=repetition(graph).firings if graph.is_sdf else {},
        schedule=looped(schedule(graph)) if graph.is_sdf else "",
    )
