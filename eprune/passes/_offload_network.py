"""The network that an offloading pass shares out: its blocks, and how long they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from eprune.analysis.precedence import firing_order
from eprune.model.graph import ActorType, Fifo, Graph


@dataclass(frozen=True)
class Block:
    """Actors between two cuts, in order of precedence; the FIFO that leads in, and the one that leads on."""

    actors: tuple[str, ...]
    into: Fifo
    out: Fifo


@dataclass(frozen=True)
class Network:
    """The blocks one after the other, and the FIFOs within them."""

    blocks: tuple[Block, ...]
    inner: tuple[Fifo, ...]

    @property
    def actors(self) -> frozenset[str]:
        """All actors of the blocks."""
        return frozenset(name for block in self.blocks for name in block.actors)

    def behind(self, fifo: str) -> Optional[int]:
        """How many blocks are before the cut at a FIFO; None if it is not one between two blocks."""
        return next((number for number, block in enumerate(self.blocks[:-1], 1) if block.out.name == fifo), None)


def network_of(graph: Graph, cuts: Sequence[str]) -> Network:
    """The graph's slices, cut behind the actors ``cuts``, or wherever one tensor leads on. Raises ValueError."""
    slices = {actor.name for actor in graph.actors if actor.behaviour is not None and actor.behaviour.operators}
    order = [name for name in firing_order(graph) if name in slices]
    if not order:
        raise ValueError(f"{graph.name} has no slices of a model, which two platforms could share")
    for name in cuts:
        if name not in order:
            raise ValueError(f"--cut {name}: the network consists of {', '.join(order)}")
    if any(actor.type is not ActorType.SPA for actor in graph.actors if actor.name in slices):
        raise ValueError(
            "the network is part of a dynamic processing graph; offloading begins with one that is not (for exits, "
            "give the pictures to this pass: --data)"
        )
    ports = dict(graph.ports())
    blocks: list[Block] = []
    begin = 0
    entering = [fifo for fifo in graph.fifos if fifo.target.actor in slices and fifo.source.actor not in slices]
    if len(entering) != 1:
        raise ValueError("more than one FIFO, or none, leads into the network: what is sent would not be one tensor")
    into = entering[0]
    first = into.source.actor
    for end in range(1, len(order) + 1):
        near = set(order[:end])
        crossing = [fifo for fifo in graph.fifos if fifo.source.actor in near and fifo.target.actor not in near]
        back = [fifo for fifo in graph.fifos if fifo.target.actor in near and fifo.source.actor not in near | {first}]
        single = len(crossing) == 1 and not back and not crossing[0].delay and ports[crossing[0].source].url == 1
        last = end == len(order)
        if last and not single:
            raise ValueError(
                "more than one FIFO, or none, leads out of the network: the answer would not be one tensor"
            )
        if single and (last or not cuts or order[end - 1] in cuts):
            blocks.append(Block(tuple(order[begin:end]), into, crossing[0]))
            into, begin = crossing[0], end
        elif order[end - 1] in cuts:
            tensors = {(fifo.source, fifo.delay) for fifo in crossing}
            raise ValueError(f"--cut {order[end - 1]}: {len(tensors)} tensors lead on behind it, and a cut is one")
    cut = {block.into.name for block in blocks} | {blocks[-1].out.name}
    inner = tuple(f for f in graph.fifos if f.source.actor in slices and f.target.actor in slices and f.name not in cut)
    return Network(tuple(blocks), inner)


def times_of(text: str, network: Network, name: str, graph: Graph) -> Optional[tuple[float, ...]]:
    """The seconds of the blocks: those given, or what their actors state; None where nothing says them.

    Raises ValueError, which names the option ``name``, for what is no such list.
    """
    if text:
        try:
            given = tuple(float(each) for each in text.split(","))
        except ValueError:
            raise ValueError(f"--{name} {text}: expected seconds of each block, 0.005,0.01") from None
        if len(given) != len(network.blocks):
            raise ValueError(f"--{name} {text}: the network has {len(network.blocks)} blocks")
        return given
    stated = {actor.name: actor.time for actor in graph.actors}
    blocks = [[stated[member] for member in block.actors] for block in network.blocks]
    if any(None in each for each in blocks):
        return None
    return tuple(float(sum(time or 0 for time in each)) for each in blocks)
