"""Reuse answers: a frame that is much like an earlier one is not computed again.

At one place of a classifier stands a cache. What comes by there is made a key; where a key is known that is near
enough, its answer is reused, and nothing behind is computed or sent. How near is near enough is calibrated on the
calibration part of your own pictures, so that no more than the wished share of hits is false (of another class than
the computed answer), and kept by audits: a few hits are computed nevertheless. The report is about the test part.

The pictures must be in the order in which a camera would take them. Where their order means nothing, as in most data
sets for training, there is nothing to reuse.

References: Guo et al., FoggyCache (MobiCom 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Optional

from eprune.analysis.precedence import firing_order
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.library import library_folder
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._names import fresh, names_of
from eprune.passes.base import Report, Result, option
from eprune.passes.exits import Place

#: A .tflite model will do: it becomes an actor for each operator.
MODELS = True
CONTROL = TokenType("int32")
#: Rates in the rows hit, miss and audit.
_KNOWN, _COMPUTED = (1, 0, 1), (0, 1, 1)


class Side(Enum):
    """On which platform the cache is, where it is between two: in front of what travels, or behind."""

    ENDPOINT = "endpoint"
    SERVER = "server"


class Keys(Enum):
    """How keys are kept."""

    FLOAT32 = "float32"
    INT8 = "int8"


@dataclass(frozen=True)
class Cache:
    """A cache on a FIFO: the largest distance of a hit, what the calibration with it has seen
    (``actors/answer_cache.py``), and what the answers are of.
    """

    fifo: str
    evidence: str
    bound: float = 0.5
    model: str = ""


@dataclass(frozen=True)
class Options:
    """On what the cache is calibrated, and where and how large it is.

    ``made`` is the cache, as it is calibrated before (``measure.plans.cache``), ``lines`` and ``figures`` what is known
    of it.
    """

    data: str = option(
        help="Pictures in the order in which they are taken, with labels or without: a folder, or an .npz file whose "
        "array source names their scenes.",
        metavar="DIR|FILE",
    )
    at: str = option("", help="The actor behind which the key is taken; without, where most is saved.", metavar="ACTOR")
    on: Side = option(Side.ENDPOINT, help="Where what the key is made of travels: in front of the link or behind.")
    false_hits: float = option(0.05, help="At most this share of hits may be of another class (0.05).", metavar="SHARE")
    audit: float = option(0.02, help="The share of hits that are computed nevertheless (0.02).", metavar="SHARE")
    entries: int = option(1000, help="At most so many answers are kept (1000).", metavar="N")
    lifetime: int = option(0, help="An answer is forgotten after so many frames; 0 keeps it (0).", metavar="FRAMES")
    nearest: int = option(3, help="So many neighbours are asked (3).", metavar="N")
    share: float = option(0.6, help="At least this share of them must be of one class (0.6).", metavar="SHARE")
    values: int = option(256, help="At most about so many numbers are in a key (256).", metavar="N")
    keys: Keys = option(Keys.FLOAT32, help="How keys are kept; int8 takes a quarter of the memory.")
    frames_under_way: int = option(4, help="So many frames are computed at a time (4).", metavar="N")
    frames: int = option(1000, help="At most so many pictures of each part, the first ones (1000).", metavar="N")
    made: Optional[Cache] = None
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def apply(system: System, options: Options) -> Result:
    """The system with this cache. Raises ValueError where there is no place for it."""
    if options.made is None:
        raise ValueError("no cache is given")
    known = {place.fifo.name: place for place in places(system.graph)}
    if options.made.fifo not in known:
        raise ValueError(f"FIFO {options.made.fifo}: no cache can be there")
    wiring = _Wiring(system.graph, known[options.made.fifo], options)
    made = replace(
        system,
        graph=wiring.graph(),
        mappings=tuple(map(wiring.placed, system.mappings)),
        problems=(),
    )
    return Result(made, Report(options.lines, dict(options.figures)))


def places(graph: Graph) -> list[Place]:
    """Where one tensor of a slice is all that leads on to the answer, from the source to the sink.

    Behind may be dynamic processing graphs, other caches say, if they are there as a whole.
    """
    order = {name: number for number, name in enumerate(firing_order(graph))}
    ports = dict(graph.ports())
    sinks = {actor.name for actor in graph.actors if not any(not port.control for port in actor.outputs)}
    slices = {a.name for a in graph.actors if a.behaviour is not None and a.behaviour.operators}
    inner = {name: dpg for dpg in graph.dpgs for name in dpg.actors}
    fixed = {actor.name for actor in graph.actors if actor.type is ActorType.SPA and actor.name not in inner}
    found = []
    for fifo in graph.fifos:
        if fifo.source.actor not in slices & fixed or fifo.target.actor in sinks:
            continue
        behind = _reached(fifo.target.actor, graph, sinks)
        touching = [f for f in graph.fifos if f.source.actor in behind or f.target.actor in behind]
        into = [f for f in touching if f.source.actor not in behind]
        out = [f for f in touching if f.target.actor not in behind]
        between = [f for f in touching if not _within(inner, f)]
        plain = all(not f.delay and ports[f.source].static and ports[f.source].url == 1 for f in between)
        whole = all(behind.issuperset(dpg.actors) for name, dpg in inner.items() if name in behind)
        single = into == [fifo] and len(out) == 1 and out[0].target.actor not in slices
        if single and plain and whole and behind <= fixed | set(inner) and out[0].target.actor in fixed:
            found.append(Place(fifo, tuple(sorted(behind, key=order.__getitem__)), out[0]))
    return sorted(found, key=lambda place: -len(place.behind))


def _within(inner: Mapping[str, Dpg], fifo: Fifo) -> bool:
    source = inner.get(fifo.source.actor)
    return source is not None and source is inner.get(fifo.target.actor)


def _reached(first: str, graph: Graph, sinks: set[str]) -> set[str]:
    """The actors behind, this one included, but for sinks."""
    found, waiting = {first}, [first]
    while waiting:
        name = waiting.pop()
        for fifo in graph.fifos:
            target = fifo.target.actor
            if fifo.source.actor == name and target not in found | sinks:
                found.add(target)
                waiting.append(target)
    return found


class _Wiring:
    """The new actors, FIFOs and the table."""

    def __init__(self, old: Graph, place: Place, options: Options) -> None:
        self.old, self.place, self.options = old, place, options
        self.taken = names_of(old)
        self.gate, self.answer, self.name = (fresh(each, self.taken) for each in ("Cache", "Answer", "Reuse"))
        self.inner = {name: dpg for dpg in old.dpgs for name in dpg.actors}
        self.types = dict(old.ports())
        self.ports: dict[str, list[Port]] = {self.gate: [], self.answer: []}
        self.fifos: dict[str, Fifo] = {fifo.name: fifo for fifo in old.fifos}
        self.columns: dict[PortRef, tuple[int, int, int]] = {}
        self.members = [name for name in place.behind if name not in self.inner]
        self._wire()

    def _wire(self) -> None:
        fifo, late = self.place.fifo, self.place.late
        room = self.options.frames_under_way + 1
        features, answer = self.types[fifo.source].token, self.types[late.source].token
        known, deep = PortRef(self.gate, "hit"), PortRef(self.gate, "deep")
        self._port(self.gate, "features", Direction.IN, features)
        back = PortRef(self.gate, "answer")
        self._port(self.gate, back.port, Direction.IN, answer)
        self._port(self.gate, known.port, Direction.OUT, answer, _KNOWN)
        self._port(self.gate, deep.port, Direction.OUT, features, _COMPUTED)
        self._port(self.answer, "hit", Direction.IN, answer, _KNOWN)
        self._port(self.answer, "late", Direction.IN, answer, _COMPUTED)
        self._port(self.answer, "out", Direction.OUT, answer)
        self._port(self.answer, "back", Direction.OUT, answer)
        for each in self.old.fifos:
            touching = each.source.actor in self.place.behind or each.target.actor in self.place.behind
            if touching and not _within(self.inner, each):
                self.columns.update(dict.fromkeys((each.source, each.target), _COMPUTED))
        for ref in (fifo.source, late.target):
            del self.columns[ref]
        # What travels keeps its name, and with it its policy and its room.
        into, out = PortRef(self.gate, "features"), PortRef(self.answer, "out")
        if self.options.on is Side.ENDPOINT:
            self._join(fifo.source, into)
            self.fifos[fifo.name] = replace(fifo, source=deep)
            self.fifos[late.name] = replace(late, target=PortRef(self.answer, "late"))
            self._join(out, late.target)
        else:
            self.fifos[fifo.name] = replace(fifo, target=into)
            self._join(deep, fifo.target)
            self._join(late.source, PortRef(self.answer, "late"))
            self.fifos[late.name] = replace(late, source=out)
        self._join(known, PortRef(self.answer, "hit"), room)
        self._join(PortRef(self.answer, "back"), back, room, delay=self.options.frames_under_way)
        told = PortRef(self.gate, f"to_{self.answer}"), PortRef(self.answer, "mode")
        for ref, direction in zip(told, (Direction.OUT, Direction.IN)):
            self.ports[ref.actor].append(Port(ref.port, direction, CONTROL, control=True))
        self._join(*told, room)

    def _port(
        self,
        actor: str,
        name: str,
        direction: Direction,
        token: TokenType,
        rates: Optional[tuple[int, int, int]] = None,
    ) -> None:
        self.ports[actor].append(Port(name, direction, token, 0 if rates else 1))
        if rates:
            self.columns[PortRef(actor, name)] = rates

    def _join(self, source: PortRef, target: PortRef, capacity: int = 2, delay: int = 0) -> None:
        name = fresh(f"{source.actor}-{target.actor}" if not delay else f"{source.actor}-{source.port}", self.taken)
        self.fifos[name] = Fifo(name, source, target, capacity, delay=delay)

    def graph(self) -> Graph:
        """The application's graph."""
        actors = [self._changed(actor) for actor in self.old.actors]
        actors += [
            self._new(self.gate, "cache_gate.py", "CacheGate", self._parameters()),
            self._new(self.answer, "cache_answer.py", "CacheAnswer", {}),
        ]
        rows = tuple(
            Row(value, tuple(rates[value] for rates in self.columns.values()))
            for value in range(3 if self.options.audit else 2)
        )
        made = Dpg(self.name, self.gate, self.gate, self.answer, tuple(self.members), tuple(self.columns), rows)
        nested = [
            replace(dpg, inside=self.name) if dpg.entry in self.place.behind and not dpg.inside else dpg
            for dpg in self.old.dpgs
        ]
        fifos, name = tuple(self.fifos.values()), f"{self.old.name}-cache"
        return replace(self.old, name=name, actors=tuple(actors), fifos=fifos, dpgs=(made, *nested))

    def _changed(self, actor: Actor) -> Actor:
        """An actor with the ports dynamic that the cache may make idle."""
        ports = tuple(
            replace(port, lrl=0) if PortRef(actor.name, port.name) in self.columns else port for port in actor.ports
        )
        return replace(actor, ports=ports, type=ActorType.DPA if actor.name in self.members else actor.type)

    def _new(self, name: str, file: str, class_name: str, parameters: Mapping[str, str]) -> Actor:
        behaviour = PythonBehaviour(file, class_name, str(Path(library_folder(), file)))
        return Actor(name, tuple(self.ports[name]), ActorType.DA, behaviour, tuple(parameters.items()))

    def _parameters(self) -> dict[str, str]:
        options, made = self.options, self.options.made
        assert made is not None
        return {
            "false_hits": f"{options.false_hits:g}",
            "bound": f"{made.bound:.7g}",
            "evidence": made.evidence,
            "audit": f"{options.audit:g}",
            "under_way": str(options.frames_under_way),
            "entries": str(options.entries),
            "lifetime": str(options.lifetime),
            "nearest": str(options.nearest),
            "share": f"{options.share:g}",
            "values": str(options.values),
            "keys": options.keys.value,
            "model": made.model,
        }

    def placed(self, mapping: PlatformMapping) -> PlatformMapping:
        """The new actors on the platform, and the unit, of what is in front of the cache, or behind it."""
        known = {placement.actor: placement for placement in mapping.placements}
        fifo, late = self.place.fifo, self.place.late
        beside = {self.gate: fifo.source.actor, self.answer: late.target.actor}
        if self.options.on is Side.SERVER:
            beside = {self.gate: fifo.target.actor, self.answer: late.source.actor}
        more = [replace(known[old], actor=new, segment=None) for new, old in beside.items() if old in known]
        name = f"{mapping.application}-cache"
        return replace(mapping, application=name, placements=(*mapping.placements, *more))
