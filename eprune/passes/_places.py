"""Places: parts of a graph that one FIFO leads into and one leads out of, around which a choice can be put.

Whatever is in such a part may be choices again: dynamic processing graphs count as one piece. A part may itself lie in
a branch of a choice: its actors are then idle in the same rows of that, and what is put around them is nested in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional, Union

from eprune.analysis.nests import Nests
from eprune.analysis.precedence import firing_order
from eprune.analysis.reach import leaving
from eprune.model.graph import Actor, ActorType, Dpg, FaultPolicy, Fifo, Graph, Port

#: What bring every token: a choice cannot do without one.
_SURE = (FaultPolicy.STOP, FaultPolicy.WAIT)


@dataclass(frozen=True)
class Place:
    """A FIFO that is all that leads on: the actors behind it, in order of precedence, and where their answer goes.

    ``inside`` is the dynamic processing graph of whose branch they are; "": of none.
    """

    fifo: Fifo
    behind: tuple[str, ...]
    late: Fifo
    inside: str = ""


def places(graph: Graph) -> list[Place]:
    """Where one tensor of a slice is all that leads on to the answer, the nearest to the source first."""
    return _Places(graph).found()


def nowhere(graph: Graph, what: str) -> str:
    """That there is no place for something, and perhaps why."""
    text = f"there is no place for {what}: none where one tensor of a model is all that leads on to one answer"
    if any(_shares_out(actor) for actor in graph.actors):
        text += (
            "; of what is offloaded none is, so let eprune apply offload share out only what is --behind an actor, "
            "without --retry and without exits of its own"
        )
    return text


class _Places:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.levels = Levels(graph)
        self.ports = dict(graph.ports())
        self.actors = {actor.name: actor for actor in graph.actors}
        self.leaving = leaving(graph)
        self.columns = {dpg.name: dpg.columns for dpg in graph.dpgs}
        self.order = {name: number for number, name in enumerate(firing_order(graph))}
        self.sinks = {
            name for name, actor in self.actors.items() if not any(not port.control for port in actor.outputs)
        }

    def found(self) -> list[Place]:
        """All of them."""
        made = (self._place(fifo) for fifo in self.graph.fifos if self.actors[fifo.source.actor].is_slice)
        return sorted((place for place in made if place is not None), key=lambda place: -len(place.behind))

    def _place(self, fifo: Fifo) -> Optional[Place]:
        level = self.levels.home.get(fifo.source.actor)
        if any(_shares_out(self.actors[dpg.control]) for dpg in self.levels.nests.chain(level)):
            return None  # a copy of what is there is elsewhere
        kind = ActorType.SPA if level is None else ActorType.DPA
        if fifo.target.actor in self.sinks or not self._plain(fifo.source.actor, kind, level):
            return None
        behind = self._behind(fifo.target.actor, level)
        if behind is None or not all(self._plain(name, kind, level) for name in behind):
            return None
        lead = "" if level is None else level.control
        touching = [
            f
            for f in self.graph.fifos
            if (f.source.actor in behind or f.target.actor in behind) and f.source.actor != lead
        ]
        into = [f for f in touching if f.source.actor not in behind]
        out = [f for f in touching if f.target.actor not in behind]
        if fifo not in into:  # it comes from the control source, or is a loop
            touching, into = [*touching, fifo], [*into, fifo]
        if into != [fifo] or len(out) != 1 or _computes(self.actors[out[0].target.actor]):
            return None
        between = [f for f in touching if not self.levels.within(f, level)]
        if len({self._rates(f, level) for f in between}) > 1 or self._rates(fifo, level) is None:
            return None
        if not all(self._at_border(f, level) for f in between):
            return None
        ordered = tuple(sorted(behind, key=self.order.__getitem__))
        return Place(fifo, ordered, out[0], "" if level is None else level.name)

    def _behind(self, first: str, level: Optional[Dpg]) -> Optional[set[str]]:
        """All actors of the pieces that tokens reach at a level, but for sinks; None where that is not clear."""
        found: set[str] = set()
        waiting = [first]
        while waiting:
            piece = self.levels.piece(waiting.pop(), level)
            own = self.levels.actors(piece)
            if not own or own & self.sinks:
                return None
            if own <= found:
                continue
            found |= own
            for fifo in (fifo for name in own for fifo in self.leaving[name]):
                target = fifo.target.actor
                if target not in found | self.sinks and self.levels.piece(target, level) is not None:
                    waiting.append(target)
        return found

    def _plain(self, name: str, kind: ActorType, level: Optional[Dpg]) -> bool:
        """Whether it is a part of a choice as a whole, or an actor that a choice can make idle."""
        return isinstance(self.levels.piece(name, level), Dpg) or (
            self.actors[name].type is kind and self.levels.piece(name, level) == name
        )

    def _at_border(self, fifo: Fifo, level: Optional[Dpg]) -> bool:
        """Whether it leads out of choices at their exits only, and into them at their entries."""
        source, target = (self.levels.piece(ref.actor, level) for ref in (fifo.source, fifo.target))
        out = not isinstance(source, Dpg) or fifo.source.actor == source.exit
        return out and (not isinstance(target, Dpg) or fifo.target.actor in (target.entry, target.control))

    def _rates(self, fifo: Fifo, level: Optional[Dpg]) -> Optional[tuple[int, ...]]:
        """Of a FIFO with one token per firing, and none to begin with, in the rows of the level; None of others."""
        port = self.ports[fifo.source]
        if fifo.delay or fifo.policy not in _SURE or port.url != 1 or port.control:
            return None
        if level is None:
            return (1,) if port.static else None
        return self.columns[level.name].get(fifo.source)


class Levels:
    """Which piece of a graph an actor belongs to, seen from outside of all choices, or from the branches of one."""

    def __init__(self, graph: Graph) -> None:
        self.nests = Nests(graph)
        #: actor -> the innermost dynamic processing graph of which it is a part, as its control source, too
        self.home: dict[str, Dpg] = {dpg.control: dpg for dpg in graph.dpgs}
        self.home.update(self.nests.home)
        self._actors: dict[str, set[str]] = {}
        for name, dpg in self.home.items():
            for around in self.nests.chain(dpg):
                self._actors.setdefault(around.name, set()).add(name)

    def piece(self, name: str, level: Optional[Dpg]) -> Union[str, Dpg, None]:
        """The actor itself, or the dynamic processing graph that it is in, as far as that is a part of the level.

        None for what is not: also for the two DAs and the control source of the level itself.
        """
        home = self.home.get(name)
        if home is level:
            return None if level is not None and name in (level.control, level.entry, level.exit) else name
        inside = "" if level is None else level.name
        return next((dpg for dpg in self.nests.chain(home) if dpg.inside == inside), None)

    def within(self, fifo: Fifo, level: Optional[Dpg]) -> bool:
        """Whether both its ends are in one dynamic processing graph, which is a piece of the level."""
        source, target = (self.piece(ref.actor, level) for ref in (fifo.source, fifo.target))
        return isinstance(source, Dpg) and source is target

    def actors(self, piece: Union[str, Dpg, None]) -> set[str]:
        """The actors of a piece."""
        if piece is None:
            return set()
        return {piece} if isinstance(piece, str) else self._actors[piece.name]


def _shares_out(actor: Actor) -> bool:
    """Whether it decides on which of several copies of a network a frame is computed."""
    return actor.class_name.startswith(("Offload", "CutOpener", "ServerChoice", "Retry"))


def _computes(actor: Actor) -> bool:
    """Whether it is a slice, or has one of its own: it gets no answer yet."""
    return actor.is_slice or getattr(actor.behaviour, "model", None) is not None


def tensor_of(port: Port, tensors: Mapping[str, int]) -> Optional[int]:
    """The tensor that a slice's port carries, by itself or as its interface says."""
    return port.tensor if port.tensor is not None or port.control else tensors.get(port.name)
