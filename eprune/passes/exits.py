"""Give a classifier early exits: what an intermediate classifier is sure of goes no further.

Heads are multinomial logistic regressions on pooled features, fitted on your own pictures (scikit-learn; there is no
training framework), and written as .tflite files. Behind each stands an actor that compares the confidence with a
threshold: a frame of which it is sure is answered there, the others go on. Without labels, the heads learn what the
whole model answers. Of the pictures, the calibration part is used, and the report is about the test part.

Reference: Teerapittayanon et al., BranchyNet (ICPR 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from eprune.analysis.precedence import firing_order
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.library import library_folder
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._names import fresh, names_of
from eprune.passes.base import Report, Result, option

#: A .tflite model will do: it becomes an actor for each operator.
MODELS = True
CONTROL, CONFIDENCE, WANTED = TokenType("int32"), TokenType("float32", (1,)), TokenType("int32", (1,))
#: Sinks in whose place one that knows exits is put; before all others, the answers are merged.
_SINKS = ("JsonLines", "TensorSink")
#: Room for frames that leave while an earlier one is further behind.
_ROOM = 8
DPG = "Exits"
ONE_AUDITED = "--audit goes with one exit: the answers of the second would be taken for those of the model"
#: Rates in the rows exit, go on, and audit.
EARLY, DEEP = (1, 0, 1), (0, 1, 1)


@dataclass(frozen=True)
class Exit:
    """An exit on a FIFO: the head's file and how many operators it has, and the threshold of its confidence.

    A score is ``scale`` times (element less ``zero``), from 0 to 1; ``measure`` says how it becomes a confidence. The
    head's input is the FIFO's tensor, or what the actor ``reads`` makes of it, of type ``token``. ``file`` is what the
    head's file is called.
    """

    fifo: str
    data: bytes
    operators: int
    threshold: float
    scale: float = 1.0
    zero: int = 0
    measure: str = ""
    reads: str = ""
    token: Optional[TokenType] = None
    file: str = ""


@dataclass(frozen=True)
class Place:
    """A FIFO on which an exit may be: all that is behind it, in order of precedence, and where its answer goes."""

    fifo: Fifo
    behind: tuple[str, ...]
    late: Fifo


@dataclass(frozen=True)
class Options:
    """On what the heads are fitted, what is wished for, and where exits may be.

    ``made`` are the exits, as they are fitted before (``measure.plans.exits``), ``lines`` and ``figures`` what is known
    of them. Where ``places`` are not given, they are those of all exits that there may be.
    """

    data: str = option(
        help="Pictures, with labels or without: a folder of a folder for each class, or an .npz file.",
        metavar="DIR|FILE",
    )
    wish: str = option(
        "agreement=0.99",
        help="accuracy=0.97, agreement=0.99 with the whole model, or bytes=20KiB per frame over links "
        "(agreement=0.99).",
        metavar="WHAT=VALUE",
    )
    at: tuple[str, ...] = option(
        (), help="An actor behind which an exit is put; without any, where it saves most.", metavar="ACTOR"
    )
    exits: int = option(1, help="At most so many exits, where --at does not name them (1).", metavar="N")
    audit: float = option(
        0.0, help="The share of early answers that are computed in full anyway, and compared (0).", metavar="SHARE"
    )
    frames: int = option(500, help="At most so many pictures of each part (500).", metavar="N")
    made: tuple[Exit, ...] = ()
    places: tuple[Place, ...] = ()
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


def apply(system: System, options: Options) -> Result:
    """The system with these exits, the first one the nearest to the source; each is inside of the one before.

    Raises ValueError where there is no place for them.
    """
    if not options.made:
        raise ValueError("no exits are given")
    known = {place.fifo.name: place for place in options.places or places(system.graph)}
    found = [known[each.fifo] for each in options.made]
    if options.audit and len(found) > 1:
        raise ValueError(ONE_AUDITED)
    wiring = _Wiring(system, found, options)
    files = {name: each.data for name, each in zip(wiring.files, options.made)}
    made = replace(
        system,
        graph=wiring.graph(),
        mappings=tuple(map(wiring.placed, system.mappings)),
        interfaces={},
        problems=(),
        files={**system.files, **files},
    )
    return Result(made, Report(options.lines, dict(options.figures)))


def places(graph: Graph) -> list[Place]:
    """Where one tensor of a slice is all that leads on to the answer, from the source to the sink."""
    order = {name: number for number, name in enumerate(firing_order(graph))}
    ports = dict(graph.ports())
    leaving: dict[str, list[Fifo]] = {}
    for fifo in graph.fifos:
        leaving.setdefault(fifo.source.actor, []).append(fifo)
    slices = {actor.name for actor in graph.actors if actor.behaviour is not None and actor.behaviour.operators}
    computing = {actor.name for actor in graph.actors if getattr(actor.behaviour, "model", None) is not None}
    fixed = {actor.name for actor in graph.actors if actor.type is ActorType.SPA}
    found = []
    for fifo in graph.fifos:
        if fifo.source.actor not in slices or not leaving.get(fifo.target.actor):
            continue
        behind = _reached(fifo.target.actor, leaving)
        touching = [f for f in graph.fifos if f.source.actor in behind or f.target.actor in behind]
        into = [f for f in touching if f.source.actor not in behind]
        out = [f for f in touching if f.target.actor not in behind]
        plain = all(not f.delay and ports[f.source].static and ports[f.source].url == 1 for f in touching)
        # A sink that computes with a slice of its own gets no answer yet.
        single = into == [fifo] and len(out) == 1 and out[0].target.actor not in computing
        if single and plain and behind | {fifo.source.actor} <= fixed:
            found.append(Place(fifo, tuple(sorted(behind, key=order.__getitem__)), out[0]))
    return sorted(found, key=lambda place: -len(place.behind))


def _reached(first: str, leaving: Mapping[str, Sequence[Fifo]]) -> set[str]:
    """The actors behind, this one included, but for sinks."""
    found, waiting = {first}, [first]
    while waiting:
        for fifo in leaving.get(waiting.pop(), ()):
            target = fifo.target.actor
            if target not in found and leaving.get(target):
                found.add(target)
                waiting.append(target)
    return found


class _Wiring:
    """The new actors, FIFOs and tables."""

    def __init__(self, system: System, found: Sequence[Place], options: Options) -> None:
        self.system, self.places, self.options = system, found, options
        self.old = system.graph
        self.taken = names_of(self.old)
        self.types = dict(self.old.ports())
        self.answer = self.types[found[0].late.source].token
        self.made: dict[str, Actor] = {}
        #: actor -> ports, of those that change
        self.ports: dict[str, list[Port]] = {}
        self.fifos: dict[str, Fifo] = {fifo.name: fifo for fifo in self.old.fifos}
        self.dpgs: list[Dpg] = []
        self.beside: dict[str, str] = {}  # new actor -> the one that it is mapped beside
        number = range(1, len(found) + 1)
        self.gates = [fresh("Exit" if len(found) == 1 else f"Exit{each}", self.taken) for each in number]
        self.heads = [fresh("Head" if len(found) == 1 else f"Head{each}", self.taken) for each in number]
        named = [each.file for each in options.made]
        self.files = [own or f"{name.lower()}_{self._stem()}.tflite" for own, name in zip(named, self.heads)]
        self.columns: list[dict[PortRef, tuple[int, int, int]]] = [{} for _ in found]
        self.lines = self._replaces_sink()
        self._wire()

    def _stem(self) -> str:
        return "".join(each if each.isalnum() or each in "_-" else "_" for each in self.old.name)

    def _replaces_sink(self) -> bool:
        """Whether the sink is one in whose place another can be put."""
        sink = self.old.actor(self.places[0].late.target.actor)
        assert sink is not None
        beside = [port for port in sink.inputs if port.name != self.places[0].late.target.port]
        known = getattr(sink.behaviour, "class_name", "") in _SINKS and sink.type is ActorType.SPA
        return known and all((port.name, port.token) == ("wanted", WANTED) for port in beside)

    # Pieces

    def _class(self, name: str, file: str, class_name: str, parameters: Mapping[str, str], beside: str) -> None:
        behaviour = PythonBehaviour(file, class_name, str(Path(library_folder(), file)))
        self.made[name] = Actor(name, (), ActorType.DA, behaviour, tuple(parameters.items()))
        self.ports[name] = []
        self.beside[name] = beside

    def _join(
        self,
        source: PortRef,
        target: PortRef,
        token: TokenType,
        active: Sequence[tuple[int, tuple[int, int, int]]] = (),
        capacity: int = 2,
        control: bool = False,
    ) -> None:
        """A FIFO, and the ports at its ends; ``active``: its rate in the rows of a table."""
        for ref, direction in ((source, Direction.OUT), (target, Direction.IN)):
            self.ports[ref.actor].append(Port(ref.port, direction, token, 0 if active else 1, 1, 1, control=control))
        self._activate((source, target), active)
        name = fresh(f"{source.actor}-{target.actor if control else source.port}", self.taken)
        self.fifos[name] = Fifo(name, source, target, capacity)

    def _activate(self, refs: Sequence[PortRef], active: Sequence[tuple[int, tuple[int, int, int]]]) -> None:
        for level, rates in active:
            self.columns[level].update(dict.fromkeys(refs, rates))

    # Wiring

    def _wire(self) -> None:
        levels = range(len(self.places))
        for actor in self.old.actors:
            self.ports[actor.name] = list(actor.ports)
        leaves = [self._sink(self.places[0].late)]
        for level in levels[1:]:
            leaves.append(fresh(f"Merge{level + 1}", self.taken))
            self._class(leaves[-1], "merge.py", "Merge", {}, self.places[level].late.source.actor)
        members = [self._members(level) for level in levels]
        for level in levels:
            self._exit(level)
        for level in levels:
            self._leave(level, leaves)
            inner = [*members[level], *self.heads[level + 1 : level + 2]]
            for follower in (*inner, leaves[level]):
                source = PortRef(self.gates[level], f"to_{follower}")
                self._join(source, PortRef(follower, "mode"), CONTROL, capacity=_ROOM, control=True)
            columns, gate = self.columns[level], self.gates[level]
            values = range(3 if self.options.audit else 2)
            rows = tuple(Row(value, tuple(rates[value] for rates in columns.values())) for value in values)
            name = fresh(f"{DPG}{level + 1}" if level else DPG, self.taken)
            inside = self.dpgs[-1].name if level else ""
            self.dpgs.append(Dpg(name, gate, gate, leaves[level], tuple(inner), tuple(columns), rows, inside))

    def _sink(self, late: Fifo) -> str:
        """The actor that takes the answers of the outermost exit: the exit DA."""
        sink = self.old.actor(late.target.actor)
        assert sink is not None
        if not self.lines:
            merge = fresh("Answer", self.taken)
            self._class(merge, "merge.py", "Merge", {}, sink.name)
            self.fifos[late.name] = replace(late, source=PortRef(merge, "out"))
            self.ports[merge].append(Port("out", Direction.OUT, self.answer))
            return merge
        kept = {name: text for name, text in sink.parameters if name in ("labels", "path") and text}
        if self.options.audit and self.options.wish.startswith("agreement="):
            kept["wish"] = self.options.wish.partition("=")[2]
        behaviour = PythonBehaviour("exit_lines.py", "ExitLines", str(Path(library_folder(), "exit_lines.py")))
        self.made[sink.name] = replace(sink, type=ActorType.DA, behaviour=behaviour, parameters=tuple(kept.items()))
        self.ports[sink.name] = [port for port in sink.ports if port.name != late.target.port]
        del self.fifos[late.name]
        for name, fifo in self.fifos.items():
            if fifo.target.actor == sink.name:
                self.fifos[name] = replace(fifo, capacity=max(fifo.capacity, 2 * _ROOM))
        return sink.name

    def _members(self, level: int) -> list[str]:
        """The actors between an exit and the next one, which become dynamic."""
        deeper = self.places[level + 1].behind if level + 1 < len(self.places) else ()
        members = [name for name in self.places[level].behind if name not in deeper]
        for name in members:
            old = self.old.actor(name)
            assert old is not None
            self.made[name] = replace(old, type=ActorType.DPA)
            self.ports[name] = [replace(port, lrl=0, tensor=self._tensor(name, port)) for port in old.ports]
        for fifo in self.old.fifos:
            if fifo.source.actor in members and fifo.target.actor in members:
                self._activate((fifo.source, fifo.target), [(level, DEEP)])
        return members

    def _exit(self, level: int) -> None:
        """Head and gate on a FIFO; to the exit around them, they are dynamic."""
        gate, head, made, fifo = self.gates[level], self.heads[level], self.options.made[level], self.places[level].fifo
        source, writer = fifo.source, fifo.source.actor
        token, tensor = self.types[source].token, self._tensor(writer, self.types[source])
        outer = [(level - 1, DEEP)] if level else []
        parameters = {"threshold": f"{made.threshold:.7g}"}
        if (made.scale, made.zero) != (1.0, 0):
            parameters.update(scale=f"{made.scale:.9g}", zero=str(made.zero))
        if made.measure:
            parameters["measure"] = made.measure
        if self.options.audit:
            parameters["audit"] = f"{self.options.audit:g}"
        self._class(gate, "exit_gate.py", "ExitGate", parameters, writer)
        behaviour = ModelSlice(self.files[level], 0, made.operators - 1)
        self.made[head] = Actor(head, (), ActorType.DPA if level else ActorType.SPA, behaviour)
        self.ports[head], self.beside[head] = [], writer
        reads = made.reads or writer
        self._join(PortRef(reads, self._port(reads, "head")), PortRef(head, "in"), made.token or token, outer)
        if reads == writer:  # two ports carry one tensor, and both say which
            both = source.port, self.ports[writer][-1].name
            self.ports[writer] = [
                replace(each, tensor=tensor) if each.name in both else each for each in self.ports[writer]
            ]
        self._join(PortRef(head, "out"), PortRef(gate, "scores"), self.answer, outer)
        self._divert(fifo, PortRef(gate, "features"), outer)
        deep = PortRef(gate, "deep")
        self.ports[gate].append(Port("deep", Direction.OUT, token, 0))
        self._activate((deep, fifo.target), [(level, DEEP)])
        self.fifos[fifo.name] = replace(fifo, source=deep)

    def _divert(self, fifo: Fifo, target: PortRef, active: Sequence[tuple[int, tuple[int, int, int]]]) -> None:
        """A FIFO from where this one begins, to a new port."""
        token = self.types[fifo.source].token
        self.ports[target.actor].append(Port(target.port, Direction.IN, token, 0 if active else 1))
        self._activate((fifo.source, target), active)
        name = fresh(f"{fifo.name}-{target.port}", self.taken)
        self.fifos[name] = Fifo(name, fifo.source, target)

    def _leave(self, level: int, leaves: Sequence[str]) -> None:
        """The early answer, and the late one, which may be that of the exit inside."""
        gate, leave = self.gates[level], leaves[level]
        # The late one first: where a frame has both, it is the answer.
        late = PortRef(leave, "late")
        if level + 1 < len(leaves):
            self._join(PortRef(leaves[level + 1], "out"), late, self.answer, [(level, DEEP)])
        else:
            self._divert(self.places[level].late, late, [(level, DEEP)])
        self._join(PortRef(gate, "early"), PortRef(leave, "early"), self.answer, [(level, EARLY)], _ROOM)
        if level == 0 and self.lines:
            self._join(PortRef(gate, "confidence"), PortRef(leave, "confidence"), CONFIDENCE, capacity=_ROOM)

    def _port(self, actor: str, name: str) -> str:
        return fresh(name, {port.name for port in self.ports[actor]})

    def _tensor(self, actor: str, port: Port) -> Optional[int]:
        """The tensor that a slice's port carries."""
        if port.tensor is not None or port.control:
            return port.tensor
        interface = self.system.interfaces.get(actor)
        return interface.tensors.get(port.name) if interface is not None else None

    def graph(self) -> Graph:
        """The application's graph."""
        every = {**{each.name: each for each in self.old.actors}, **self.made}
        actors = [replace(actor, ports=tuple(self.ports[name])) for name, actor in every.items()]
        return replace(
            self.old,
            name=f"{self.old.name}-exits",
            actors=tuple(actors),
            fifos=tuple(self.fifos.values()),
            dpgs=(*self.old.dpgs, *self.dpgs),
        )

    def placed(self, mapping: PlatformMapping) -> PlatformMapping:
        """New actors on the platform, and the unit, of those that they are beside."""
        known = {placement.actor: placement for placement in mapping.placements}
        more: list[Placement] = []
        for name, beside in self.beside.items():
            if beside in known:
                more.append(replace(known[beside], actor=name, segment=None))
        return replace(mapping, application=f"{mapping.application}-exits", placements=(*mapping.placements, *more))
