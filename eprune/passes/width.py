"""Compute as many channels of a classifier's layers as a frame needs.

The output channels of each layer are dealt to parts, the most important ones to the first. A gate at the entry, a
logistic regression fitted on the calibration part of your own pictures, says for each frame how many parts compute it.
What is missing is predicted from what is there, as where devices fail (``recover``), and what is not wanted computes
nothing, and sends nothing: it is one dynamic processing graph with a row for each width.

References: Yu et al., slimmable networks (2019); Guo et al., RobustDiCE (2024), for the parts and their predictions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.models.flow import OperatorFlow
from eprune.formats.models.flow import flow as find_flow
from eprune.formats.models.parts import Model
from eprune.formats.tflite.channels import layers, ranges, zero_point
from eprune.formats.tflite.dealing import Piece, pieces
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Port, PortRef, Row
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.partition import Plan
from eprune.model.platform import Platform, Unit
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._mesh import EXCHANGE, Mesh, Settings
from eprune.passes.base import Report, Result, carries, option
from eprune.passes.partition import model_of

MODELS = True
UNMAPPED = True
GATE = "Width"
_CONTROL = TokenType("int32")


@dataclass(frozen=True)
class Gate:
    """The file of the gate's model, the operators in it, and for each width but the last a threshold of its number."""

    data: bytes
    operators: int
    thresholds: tuple[float, ...]


@dataclass(frozen=True)
class Options:
    """How many widths, and what is wished for.

    ``plan`` deals the channels, ``gate`` chooses, ``predictions`` are files by the tensor that is put together: as they
    are measured before (``measure.plans.width``), ``lines`` and ``figures`` what is known of them.
    """

    data: str = option(
        help="Pictures, with labels or without: a folder of a folder for each class, or an .npz file.",
        metavar="DIR|FILE",
    )
    widths: int = option(3, help="How many widths, 2 to 8 (3).", metavar="N")
    wish: str = option(
        "agreement=0.98",
        help="accuracy=0.97, or agreement=0.98 with the whole model (agreement=0.98).",
        metavar="WHAT=VALUE",
    )
    frames: int = option(200, help="At most so many pictures of each part (200).", metavar="N")
    plan: Optional[Plan] = None
    gate: Optional[Gate] = None
    predictions: Mapping[int, bytes] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """The system with ``options.plan`` as its widths. Raises ValueError where there is no single way in and out."""
    if options.plan is None or options.gate is None:
        raise ValueError("no widths are given")
    model, file = model_of(system)
    flow = find_flow(model)
    found = pieces(model, flow, layers(model), options.plan)
    made = _Widths(system, model, file, flow, found, options).result()
    return Result(made, Report(options.lines, dict(options.figures)))


@dataclass(frozen=True)
class Region:
    """The pieces that become dynamic, of these numbers, the tensor at their entry, and the one at their exit."""

    members: range
    entry: int
    exit: int


def region(model: Model, flow: OperatorFlow, found: Sequence[Piece]) -> Region:
    """From the first dealt piece to the last one. Raises ValueError where more than one tensor leads in or out."""
    dealt = [place for place, piece in enumerate(found) if piece.parts]
    if not dealt:
        raise ValueError("no layer has channels to leave out")
    first, last = dealt[0], dealt[-1]
    for begin in (first, 0):
        inside = found[begin : last + 1]
        made = {tensor for piece in inside for tensor in piece.writes}
        into = {tensor for piece in inside for tensor in piece.reads} - made
        after = {tensor for piece in found[last + 1 :] for tensor in piece.reads} | set(flow.outputs)
        out = made & after
        if len(into) == 1 and len(out) == 1 and out <= set(found[last].writes):
            return Region(range(begin, last + 1), into.pop(), out.pop())
    raise ValueError(
        "more than one tensor leads to the layers that have channels to leave out, or away from them: widths are for "
        "networks that begin and end in one"
    )


class _Widths(Mesh):
    """The graph of all parts, in the making. What devices are to a mesh, widths are here."""

    def __init__(
        self,
        system: System,
        model: Model,
        file: str,
        flow: OperatorFlow,
        found: Sequence[Piece],
        options: Options,
    ) -> None:
        assert options.plan is not None and options.gate is not None  # as apply has asked
        self.count, self.gate, self.options = options.plan.devices, options.gate, options
        super().__init__(system, model, file, flow, found, Settings(self.count, 0.0, None, 0))
        self.names = [f"width{number}" for number in range(1, self.count + 1)]
        self.region = region(model, flow, found)
        self.rates: dict[PortRef, tuple[int, ...]] = {}
        self.files: dict[str, bytes] = {f"gate_{Path(file).name}": self.gate.data}
        taken = {actor.name for actor in system.graph.actors}
        self.entry = GATE if GATE not in taken else f"{GATE}_"
        self.exit = self._gathering(self.region.exit)

    def result(self) -> System:
        """The system."""
        graph = self.before.graph
        slices = {a.name for a in graph.actors if a.is_slice}
        for actor in graph.actors:
            if actor.name not in slices:
                self.stated.update({PortRef(actor.name, port.name): port for port in actor.ports})
                self._add(replace(actor, ports=()), 0)
        self._add_entry()
        for place in range(len(self.pieces)):
            self._add_piece(place)
        self._wire()
        return self._placed()

    # Actors

    def _gathering(self, tensor: int) -> str:
        return f"exchange_{tensor}"

    def _part(self, place: int, width: int) -> str:
        piece = self.pieces[place]
        return f"{self.labels[place]}-{width + 1}" if piece.parts else self.labels[place]

    def _add_entry(self) -> None:
        (name,) = self.files
        model = ModelSlice(name, 0, self.gate.operators - 1)
        behaviour = PythonBehaviour.of_library("width_gate.py:WidthGate", model)
        thresholds = ",".join(f"{each:.7g}" for each in self.gate.thresholds)
        self._add(Actor(self.entry, (), ActorType.DA, behaviour, (("thresholds", thresholds),)), 0)

    def _add_piece(self, place: int) -> None:
        piece = self.pieces[place]
        for width, channels in enumerate(piece.parts or ((),)):
            part = ModelSlice.holding(self.file, piece.operators, channels)
            kind = ActorType.DPA if width else ActorType.SPA
            self._add(Actor(self._part(place, width), (), kind, part), 0)
        for tensor in piece.writes if piece.parts else ():
            parts = dict(zip(("own", *self.names[1:]), self._parts(tensor)))
            text = " ".join(f"{port}={ranges(part)}" for port, part in parts.items())
            parameters = {"layer": self.labels[place], "devices": ",".join(self.names), "parts": text}
            parameters.update(zero=str(zero_point(self.model, tensor)), notes="false")
            if tensor in self.options.predictions:
                parameters["recovery"] = f"recovery_{self._gathering(tensor)}.npz"
                self.files[parameters["recovery"]] = self.options.predictions[tensor]
            name = self._gathering(tensor)
            kind = ActorType.DA if name == self.exit else ActorType.DPA
            self._add(Actor(name, (), kind, EXCHANGE, tuple(parameters.items())), 0)

    # FIFOs

    def _wire(self) -> None:
        for place, piece in enumerate(self.pieces):
            for tensor in piece.reads:
                for width in range(len(piece.parts) or 1):
                    self._bring_to(place, width, tensor)
            for tensor in piece.writes if piece.parts else ():
                for width, part in enumerate(self._parts(tensor)):
                    target = PortRef(self._gathering(tensor), "own" if width == 0 else self.names[width])
                    self._fifo(self._part(place, width), target, self._narrow(tensor, part), tensor, width)
        entry = self._writes(self.region.entry)
        self._fifo(entry, PortRef(self.entry, "in"), self.flow.types[self.region.entry], self.region.entry)
        for tensor, ref in self.outputs:
            self._fifo(self._writes(tensor), ref, self.flow.types[tensor], tensor)
        for fifo in self.between:
            self._link(fifo.source, fifo.target, self.stated[fifo.source].token, None, None)
        followers = [self._gathering(t) for t in self.exchanged if self._gathering(t) != self.exit]
        for name in (*followers, self.exit):
            source, target = PortRef(self.entry, f"to_{name}"), PortRef(name, "width")
            for ref, direction in ((source, Direction.OUT), (target, Direction.IN)):
                self._port(ref.actor, Port(ref.port, direction, _CONTROL, control=True))
            self.fifos.append(Fifo(f"f{len(self.fifos)}", source, target))

    def _bring_to(self, place: int, width: int, tensor: int) -> None:
        """A whole tensor to an actor of a piece."""
        inside = place in self.region.members
        writer: object = self.entry if inside and tensor == self.region.entry else self._writes(tensor)
        target = PortRef(self._part(place, width), f"in_{tensor}")
        self._fifo(writer, target, self.flow.types[tensor], tensor, width)

    def _writes(self, tensor: int) -> object:
        """What gives a tensor: an actor, or the port of one that is no slice."""
        if tensor not in self.writer:
            return self.inputs[tensor]
        place = self.writer[tensor]
        return self._gathering(tensor) if self.pieces[place].parts else self.labels[place]

    def _fifo(self, writer: object, target: PortRef, token: TokenType, tensor: int, width: int = 0) -> None:
        """A FIFO that is active from that width on."""
        own = {port.name for port in self.actors[writer if isinstance(writer, str) else self._actor(writer)].ports}
        if isinstance(writer, PortRef):
            name = writer.port if writer.port not in own else f"{writer.port}_to_{target.actor}"
            source = PortRef(writer.actor, name)
            if name != writer.port:
                self.stated[source] = replace(self.stated[writer], name=name)
        else:
            source = PortRef(str(writer), f"to_{target.actor}_{target.port}")
        carries = self.actors[source.actor].behaviour
        known = tensor if isinstance(carries, ModelSlice) else None
        reads = self.actors[target.actor].behaviour
        wanted = tensor if isinstance(reads, ModelSlice) else None
        self._link(source, target, token, known, wanted)
        if width:
            rates = tuple(int(number >= width) for number in range(self.count))
            for ref in (source, target):
                self.rates[ref] = rates
                actor = self.actors[ref.actor]
                ports = tuple(replace(p, lrl=0) if p.name == ref.port else p for p in actor.ports)
                self.actors[ref.actor] = replace(actor, ports=ports)

    def _actor(self, ref: object) -> str:
        assert isinstance(ref, PortRef)
        return ref.actor

    # The system

    def _placed(self) -> System:
        """Everything on one platform, as an imported model is."""
        members = [
            self._part(place, width)
            for place in self.region.members
            for width in range(len(self.pieces[place].parts) or 1)
        ]
        members += [self._gathering(tensor) for tensor in self.exchanged if self._gathering(tensor) != self.exit]
        rows = tuple(Row(value, tuple(rates[value] for rates in self.rates.values())) for value in range(self.count))
        dpg = Dpg("Widths", self.entry, self.entry, self.exit, tuple(members), tuple(self.rates), rows)
        graph = self.before.graph
        made = replace(
            graph,
            name=f"{graph.name}-width",
            actors=tuple(self.actors.values()),
            fifos=tuple(self.fifos),
            dpgs=(dpg,),
        )
        platform = Platform("local", (Unit("cpu"),))
        placements = tuple(Placement(name, unit="cpu") for name in self.actors)
        mapping = PlatformMapping(made.name, platform.name, placements)
        return replace(
            self.before,
            graph=made,
            platforms=(platform,),
            mappings=(mapping,),
            interfaces={},
            problems=(),
            files={**self.before.files, **self.files},
        )
