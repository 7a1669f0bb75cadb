"""What the explorer needs to know of an application: its actors in precedence order, and the bytes between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Optional

from eprune.analysis.domains import dividing
from eprune.analysis.lookup import slot_bytes, token_bytes
from eprune.analysis.precedence import firing_order
from eprune.analysis.sharing import same_tokens
from eprune.model.graph import Graph
from eprune.model.interface import Interface


@dataclass(frozen=True)
class Stream:
    """A FIFO: the bytes that it carries in a frame, and whether its target first waits for its source.

    ``tokens`` are those of a frame; ``capacity`` and ``window`` (None: not stated) are in tokens, too. Where
    ``newest``, its source never waits for room. ``same`` is the first of several FIFOs that carry the same tokens, of
    which one is enough between two platforms; "" where there are no others. ``slot`` are the bytes that a token takes
    in memory.
    """

    name: str
    source: str
    target: str
    nbytes: int
    waits: bool = True
    tokens: int = 1
    capacity: int = 2
    window: Optional[int] = None
    newest: bool = False
    same: str = ""
    slot: int = 0


@dataclass(frozen=True)
class Flow:
    """An application. ``actors`` are in precedence order; where that is open, the first in the file goes first.

    ``weights``: the bytes of the model's weights that actors hold.
    """

    application: str
    actors: tuple[str, ...]
    streams: tuple[Stream, ...]
    weights: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def sources(self) -> tuple[str, ...]:
        """The actors without inputs."""
        targets = {stream.target for stream in self.streams}
        return tuple(actor for actor in self.actors if actor not in targets)

    @cached_property
    def ends(self) -> frozenset[str]:
        """The sources, and the sinks."""
        return self.sinks | frozenset(self.sources)

    @cached_property
    def sinks(self) -> frozenset[str]:
        """The actors without outputs that have inputs."""
        sources = {stream.source for stream in self.streams}
        return frozenset(stream.target for stream in self.streams if stream.target not in sources)

    def crossing(self, homes: Mapping[str, str]) -> tuple[Stream, ...]:
        """The FIFOs between platforms; of several that carry the same to one platform, the first.

        ``homes`` maps actors to platforms.
        """
        found: dict[tuple[str, str], Stream] = {}
        for stream in self.streams:
            if homes[stream.source] != homes[stream.target]:
                found.setdefault((stream.same or stream.name, homes[stream.target]), stream)
        return tuple(found.values())

    def nbytes(self, homes: Mapping[str, str]) -> int:
        """Bytes per frame between platforms, as the runtime sends them: each tensor once to each platform."""
        return sum(stream.nbytes for stream in self.crossing(homes))

    def before(self, actors: Iterable[str]) -> set[str]:
        """The actors whose tokens reach one of ``actors``; without these, unless they are in a loop."""
        return _reached(actors, self.streams, "target", "source")

    def after(self, actors: Iterable[str]) -> set[str]:
        """The actors that tokens of one of ``actors`` reach; without these, unless they are in a loop."""
        return _reached(actors, self.streams, "source", "target")


def flow(graph: Graph, interfaces: Mapping[str, Interface]) -> Flow:
    """The flow of an application that has passed ``analysis.check``; ``interfaces`` are the System's."""
    same = same_tokens(graph, interfaces)
    sizes, slots = token_bytes(graph), slot_bytes(graph)
    rates = {ref: port.url for ref, port in graph.ports()}
    between = set(dividing(graph))
    streams = tuple(
        Stream(
            name=fifo.name,
            source=fifo.source.actor,
            target=fifo.target.actor,
            nbytes=sizes[fifo.name] * rates[fifo.source],
            waits=fifo.delay < rates[fifo.source],
            tokens=rates[fifo.source],
            capacity=fifo.capacity,
            window=fifo.window,
            newest=fifo in between,
            same=same.get(fifo.name, ""),
            slot=slots[fifo.name],
        )
        for fifo in graph.fifos
    )
    weights = {name: each.weight_bytes for name, each in interfaces.items() if each.weight_bytes}
    return Flow(graph.name, firing_order(graph), streams, weights)


def _reached(actors: Iterable[str], streams: tuple[Stream, ...], near: str, far: str) -> set[str]:
    neighbours: dict[str, list[str]] = {}
    for stream in streams:
        neighbours.setdefault(getattr(stream, near), []).append(getattr(stream, far))
    reached: set[str] = set()
    stack = list(actors)
    while stack:
        for actor in neighbours.get(stack.pop(), ()):
            if actor not in reached:
                reached.add(actor)
                stack.append(actor)
    return reached
