"""The network that an offloading pass shares out: its blocks, and how long they take."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from eprune.analysis.precedence import firing_order
from eprune.analysis.reach import reached
from eprune.model.graph import Actor, ActorType, Dpg, Fifo, Graph
from eprune.passes._places import Levels

#: What codes tokens of a network, and is a part of it.
_CODERS = ("Compressor", "Decompressor")


@dataclass(frozen=True)
class Block:
    """Actors between two cuts, in order of precedence; the FIFO that leads in, and the one that leads on."""

    actors: tuple[str, ...]
    into: Fifo
    out: Fifo


@dataclass(frozen=True)
class Network:
    """The blocks one after the other, and the FIFOs within them.

    ``inside`` is the dynamic processing graph of whose branch they are; "": of none.
    """

    blocks: tuple[Block, ...]
    inner: tuple[Fifo, ...]
    inside: str = ""

    @property
    def actors(self) -> frozenset[str]:
        """All actors of the blocks."""
        return frozenset(name for block in self.blocks for name in block.actors)

    def behind(self, fifo: str) -> Optional[int]:
        """How many blocks are before the cut at a FIFO; None if it is not one between two blocks."""
        return next((number for number, block in enumerate(self.blocks[:-1], 1) if block.out.name == fifo), None)


def network_of(graph: Graph, cuts: Sequence[str], behind: str = "") -> Network:
    """What lies from the first to the last slice of a model, or, with ``behind``, what is behind that one.

    It is cut behind the actors ``cuts``, or wherever one tensor leads on. Where there are choices, it is the last part
    of the model, perhaps in a branch, with no choice in it. Raises ValueError.
    """
    return _Search(graph, behind).network(cuts)


class _Search:
    """For the part of a model that is shared out."""

    def __init__(self, graph: Graph, behind: str) -> None:
        self.graph, self.behind, self.levels = graph, behind, Levels(graph)
        self.order = firing_order(graph)
        self.actors = {actor.name: actor for actor in graph.actors}
        slices = {name for name, actor in self.actors.items() if actor.is_slice}
        known = ", ".join(name for name in self.order if name in slices)
        if not slices:
            raise ValueError(f"{graph.name} has no slices of a model, which two platforms could share")
        if behind and behind not in slices:
            raise ValueError(f"--behind {behind}: the slices of models are {known}")
        self.ahead: dict[str, list[Fifo]] = {name: [] for name in self.actors}
        self.back: dict[str, list[Fifo]] = {name: [] for name in self.actors}
        for fifo in graph.fifos:
            if not fifo.delay:
                self.ahead[fifo.source.actor].append(fifo)
                self.back[fifo.target.actor].append(replace(fifo, source=fifo.target, target=fifo.source))
        self.slices = slices & (self._reached({behind}, self.ahead) - {behind}) if behind else slices

    def network(self, cuts: Sequence[str]) -> Network:
        """The last part of the model."""
        refused = [ValueError(f"--behind {self.behind}: nothing of a model is behind it that could be shared out")]
        for level in (None, *self.graph.dpgs):
            own = {name for name in self.slices if self.levels.piece(name, level) == name}
            if not own:
                continue
            try:
                return _network(self.graph, self._chain(level, own), level, cuts)
            except ValueError as error:
                refused.append(error)
        raise refused[min(1, len(refused) - 1)]

    def _chain(self, level: Optional[Dpg], own: set[str]) -> list[str]:
        """From the beginning of a branch, or from the first of these slices, to the last. Raises ValueError."""
        beyond = {name for name in self.actors if self.levels.piece(name, level) is None}
        begins = own
        if self.behind and self.levels.piece(self.behind, level) == self.behind:
            begins = {self.behind}
        elif level is not None:
            begins = {fifo.target.actor for fifo in self.ahead[level.entry]} - beyond
        far = self._reached(begins, self.ahead, beyond) - {self.behind}
        near = self._reached(own & far, self.back, beyond)
        found = [name for name in self.order if name in far & near]
        whole = self.slices & self._reached(set(found), self.ahead) <= set(found)
        kind = ActorType.SPA if level is None else ActorType.DPA
        if not whole or any(self.actors[name].type is not kind for name in found):
            raise ValueError(
                "a choice (a dynamic processing graph) is within the network: share out only what is behind it "
                "(--behind ACTOR); or begin with offloading, and put the choice around it (early exits also: --data)"
            )
        for name in found:
            if name not in self.slices and self.actors[name].class_name not in _CODERS:
                raise ValueError(
                    f"'{name}' is within the network, and is neither a slice of a model nor codes its tokens"
                )
        return found

    @staticmethod
    def _reached(begins: set[str], ways: Mapping[str, Sequence[Fifo]], without: Collection[str] = ()) -> set[str]:
        return set[str]().union(*(reached(name, ways, without) for name in begins))


def _network(graph: Graph, order: Sequence[str], level: Optional[Dpg], cuts: Sequence[str]) -> Network:
    """The network of these actors. Raises ValueError."""
    actors = {actor.name: actor for actor in graph.actors}
    for name in cuts:
        if name not in order:
            raise ValueError(f"--cut {name}: the network consists of {', '.join(order)}")
        if not _may_end(actors[name]):
            raise ValueError(f"--cut {name}: cuts are behind slices of a model, and behind what codes their tokens")
    far = set(order)
    ports = dict(graph.ports())
    data = [fifo for fifo in graph.fifos if not ports[fifo.source].control]
    blocks: list[Block] = []
    begin = 0
    entering = [fifo for fifo in data if fifo.target.actor in far and fifo.source.actor not in far]
    if len(entering) != 1:
        raise ValueError("more than one FIFO, or none, leads into the network: what is sent would not be one tensor")
    into = entering[0]
    first = into.source.actor
    for end in range(1, len(order) + 1):
        near = set(order[:end])
        crossing = [fifo for fifo in data if fifo.source.actor in near and fifo.target.actor not in near]
        others = [fifo for fifo in data if fifo.target.actor in near and fifo.source.actor not in near | {first}]
        single = len(crossing) == 1 and not others and not crossing[0].delay and ports[crossing[0].source].url == 1
        last = end == len(order)
        if last and not single:
            raise ValueError(
                "more than one FIFO, or none, leads out of the network: the answer would not be one tensor"
            )
        if single and (last or (not cuts and _may_end(actors[order[end - 1]])) or order[end - 1] in cuts):
            blocks.append(Block(tuple(order[begin:end]), into, crossing[0]))
            into, begin = crossing[0], end
        elif order[end - 1] in cuts:
            tensors = {(fifo.source, fifo.delay) for fifo in crossing}
            raise ValueError(f"--cut {order[end - 1]}: {len(tensors)} tensors lead on behind it, and a cut is one")
    cut = {block.into.name for block in blocks} | {blocks[-1].out.name}
    inner = tuple(f for f in data if f.source.actor in far and f.target.actor in far and f.name not in cut)
    return Network(tuple(blocks), inner, "" if level is None else level.name)


def _may_end(actor: Actor) -> bool:
    """Whether a block may end with an actor: it can have two outputs, to the next block and to where a cut is sent."""
    return actor.is_slice or actor.class_name == _CODERS[0]


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
