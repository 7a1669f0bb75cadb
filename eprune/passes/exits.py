"""Give a classifier early exits: what an intermediate classifier is sure of goes no further.

Heads are multinomial logistic regressions on pooled features, fitted on your own pictures (scikit-learn; there is no
training framework), and written as .tflite files. Behind each stands an actor that compares the confidence with a
threshold: a frame of which it is sure is answered there, the others go on. Without labels, the heads learn what the
whole model answers. Of the pictures, the calibration part is used, and the report is about the test part.

Reference: Teerapittayanon et al., BranchyNet (ICPR 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.graph import Actor, ActorType, Direction, Fifo, Port, PortRef
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._draft import Draft, On
from eprune.passes._names import fresh, plain
from eprune.passes._places import Place, places
from eprune.passes.base import Report, Result, carries, option

#: A .tflite model will do: it becomes an actor for each operator.
MODELS = True
CONFIDENCE, WANTED = TokenType("float32", (1,)), TokenType("int32", (1,))
#: Sinks in whose place one that knows exits is put; before all others, the answers are merged.
_SINKS = ("JsonLines", "TensorSink")
#: Room for frames that leave while an earlier one is further behind.
_ROOM = 8
DPG = "Exits"
#: What to say where ``ending_in_one`` has changed anything.
MERGED = "the sink no longer says which exit a frame took: something is put around the exits"
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


@carries
def apply(system: System, options: Options) -> Result:
    """The system with these exits, the first one the nearest to the source; each is inside of the one before.

    Raises ValueError where there is no place for them.
    """
    if not options.made:
        raise ValueError("no exits are given")
    if options.audit and len(options.made) > 1:
        raise ValueError(ONE_AUDITED)
    made = one = ending_in_one(system)
    stem = plain(system.graph.name)
    # The innermost first: what is there then is one piece of what is around it.
    for level in reversed(range(len(options.made))):
        each = options.made[level]
        known = {place.fifo.name: place for place in options.places or places(made.graph)}
        if each.fifo not in known:
            raise ValueError(f"FIFO {each.fifo}: no exit can be there")
        made = _Level(made, known[each.fifo], options, level, stem).system()
    lines = (*options.lines, *([MERGED] if one is not system else []))
    return Result(made, Report(lines, dict(options.figures)))


def ending_in_one(system: System) -> System:
    """The same with one answer at the end: where a sink tells exits apart, a merge is put in front of it.

    A choice can then be put around the exits. The sink no longer says which exit a frame took.
    """
    for dpg in system.graph.dpgs:
        sink = system.graph.actor(dpg.exit)
        beside = {"confidence", "wanted"}
        if sink is None or sink.class_name != "ExitLines" or sink.port("wanted"):
            continue
        draft = Draft(system)
        scores = next(port.token for port in sink.inputs if not port.control and port.name not in beside)
        audited = len(dpg.rows) > 2
        merge = _merge(draft, "Answer", sink.name, audited)
        table = draft.tables[dpg.name]
        table.dpg = replace(dpg, exit=merge)
        table.columns = {_moved(ref, sink.name, merge): rates for ref, rates in table.columns.items()}
        draft.ports[merge] = [port for port in sink.ports if port.name != "confidence"]
        for fifo in [each for each in draft.fifos.values() if each.target.actor == sink.name]:
            draft.fifos[fifo.name] = replace(fifo, target=_moved(fifo.target, sink.name, merge))
            if fifo.target.port == "confidence":
                del draft.fifos[fifo.name]
                source = fifo.source
                draft.ports[source.actor] = [port for port in draft.ports[source.actor] if port.name != source.port]
        lines = PythonBehaviour.of_library("json_lines.py:JsonLines")
        kept = tuple((name, text) for name, text in sink.parameters if name != "wish")
        draft.actors[sink.name] = replace(sink, type=ActorType.SPA, behaviour=lines, parameters=kept)
        draft.ports[sink.name] = []
        draft.join(PortRef(merge, "out"), PortRef(sink.name, "in"), scores)
        system = draft.made("")
    return system


def _moved(ref: PortRef, old: str, new: str) -> PortRef:
    return replace(ref, actor=new) if ref.actor == old else ref


def _merge(draft: Draft, name: str, beside: str, audited: bool) -> str:
    # Where a frame has both answers, the late one counts.
    parameters = {"default": "early"} if audited else {}
    return draft.library(name, ActorType.DA, "merge.py:Merge", beside, parameters)


class _Level:
    """An exit at a place: its head, its gate, and where answers come together again."""

    def __init__(self, system: System, place: Place, options: Options, level: int, stem: str) -> None:
        self.place, self.options, self.level = place, options, level
        self.exit = options.made[level]
        self.draft = draft = Draft(system)
        self.token = draft.port(place.fifo.source).token
        self.answer = draft.port(place.late.source).token
        number = "" if len(options.made) == 1 else str(level + 1)
        values = 3 if options.audit else 2
        self.early, self.deep = EARLY[:values], DEEP[:values]
        self.outer = draft.branch(place.fifo)
        writer = place.fifo.source.actor
        self.gate = draft.library(f"Exit{number}", ActorType.DA, "exit_gate.py:ExitGate", writer, self._parameters())
        name = fresh(f"Head{number}", set(draft.taken))
        self.file = self.exit.file or f"{name.lower()}_{stem}.tflite"
        kind = ActorType.SPA if self.outer is None else ActorType.DPA
        self.head = draft.actor(name, kind, ModelSlice(self.file, 0, self.exit.operators - 1), writer)
        if self.outer is not None:
            self.outer[0].members.append(self.head)
        self._wire()

    def _parameters(self) -> dict[str, str]:
        made = self.exit
        parameters = {"threshold": f"{made.threshold:.7g}"}
        if (made.scale, made.zero) != (1.0, 0):
            parameters.update(scale=f"{made.scale:.9g}", zero=str(made.zero))
        if made.measure:
            parameters["measure"] = made.measure
        if self.options.audit:
            parameters["audit"] = f"{self.options.audit:g}"
        return parameters

    def _wire(self) -> None:
        draft, gate, head, made = self.draft, self.gate, self.head, self.exit
        fifo, late = self.place.fifo, self.place.late
        sink = self._sink() if self.level == 0 and not self.place.inside else None
        leave = sink.name if sink is not None else self._joining()
        table = draft.choice(self.place, f"{DPG}{self.level + 1}" if self.level else DPG, gate, leave, self.deep)
        inside = table, self.deep
        reads = made.reads or fifo.source.actor
        if reads == fifo.source.actor:  # two ports carry one tensor, and both say which
            draft.tell_tensors(reads)
        port = fresh("head", {each.name for each in draft.ports[reads]})
        draft.join(PortRef(reads, port), PortRef(head, "in"), made.token or self.token, self.outer)
        if reads == fifo.source.actor:
            tensor = draft.port(fifo.source).tensor
            draft.ports[reads][-1] = replace(draft.ports[reads][-1], tensor=tensor)
        draft.join(PortRef(head, "out"), PortRef(gate, "scores"), self.answer, self.outer)
        draft.split(fifo, PortRef(gate, "features"), PortRef(gate, "deep"), self.outer, inside, near=True)
        if sink is None:
            near = draft.beside[leave] == late.source.actor
            draft.split(late, PortRef(leave, "late"), PortRef(leave, "out"), inside, self.outer, near=near)
        else:
            self._replace(sink, late, (table, self.deep))
        early = PortRef(gate, "early"), PortRef(leave, "early")
        draft.join(*early, self.answer, (table, self.early), capacity=_ROOM, name=f"{gate}-early")
        if sink is not None:
            told = PortRef(gate, "confidence"), PortRef(leave, "confidence")
            draft.join(*told, CONFIDENCE, capacity=_ROOM, name=f"{gate}-confidence")
        draft.lead(gate, leave, _ROOM)

    def _sink(self) -> Optional[Actor]:
        """The sink, if it is one in whose place another can be put that tells exits apart."""
        late = self.place.late
        sink = self.draft.old.actor(late.target.actor)
        assert sink is not None
        beside = [port for port in sink.inputs if port.name != late.target.port]
        known = sink.class_name in _SINKS and sink.type is ActorType.SPA
        return sink if known and all((port.name, port.token) == ("wanted", WANTED) for port in beside) else None

    def _joining(self) -> str:
        """A merge: of the first exit beside the sink; of others, on the side on which the exit is."""
        homes, late = self.draft.system.homes, self.place.late
        beside, name = late.target.actor, "Answer"
        if self.level:
            name = f"Merge{self.level + 1}"
            if homes.get(self.place.fifo.source.actor) != homes.get(late.target.actor):
                beside = late.source.actor
        return _merge(self.draft, name, beside, bool(self.options.audit))

    def _replace(self, sink: Actor, late: Fifo, inside: On) -> None:
        """Put a sink that tells exits apart in the place of another one. The late answer comes first: where a frame
        has both, it is the answer.
        """
        draft = self.draft
        kept = {name: text for name, text in sink.parameters if name in ("labels", "path") and text}
        if self.options.audit and self.options.wish.startswith("agreement="):
            kept["wish"] = self.options.wish.partition("=")[2]
        behaviour = PythonBehaviour.of_library("exit_lines.py:ExitLines")
        draft.actors[sink.name] = replace(sink, type=ActorType.DA, behaviour=behaviour, parameters=tuple(kept.items()))
        target = PortRef(sink.name, "late")
        others = [port for port in draft.ports[sink.name] if port.name != late.target.port]
        draft.ports[sink.name] = [*others, Port(target.port, Direction.IN, self.answer)]
        draft.fifos[late.name] = replace(late, target=target)
        draft.activate((late.source, target), inside)
        for fifo in self.draft.old.fifos:
            if fifo.target.actor == sink.name and fifo.name != late.name:
                draft.fifos[fifo.name] = replace(fifo, capacity=max(fifo.capacity, 2 * _ROOM))

    def system(self) -> System:
        """The system with this exit."""
        made = self.draft.made("" if self.level else "-exits")
        return replace(made, files={**made.files, self.file: self.exit.data})
