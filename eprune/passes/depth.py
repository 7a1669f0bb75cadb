"""Leave out residual blocks of a classifier, frame by frame, where the answer does not need them.

A block y = x + f(x) can be bypassed: y = x. In front of each chosen block stands a gate, a logistic regression on
pooled x, fitted on the calibration part of your own pictures: does bypassing keep the answer? Each block is a dynamic
processing graph with the rows bypass and run; a choice that follows a choice is the next one. What is bypassed computes
nothing, and sends nothing.

References: He et al., residual networks (2016); Wang et al., SkipNet (ECCV 2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.flow import flow as find_flow
from eprune.formats.models.parts import Model
from eprune.formats.models.quantization import Quantization
from eprune.formats.tflite.blocks import residual_blocks
from eprune.model.graph import Actor, ActorType, Direction, Dpg, FaultPolicy, Fifo, Graph, Port, PortRef, Row
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes._names import fresh, names_of, plain
from eprune.passes.base import Report, Result, carries, option

#: A .tflite model will do: it becomes an actor for each operator.
MODELS = True
CONTROL = TokenType("int32")
#: Rates in the rows bypass and run.
BYPASS, RUN = (1, 0), (0, 1)


@dataclass(frozen=True)
class Block:
    """A residual block in the graph: its ``actors``, which have these ``operators`` of a model, and nothing else.

    ``into`` are the FIFOs that bring x, all from one actor, and ``out`` those that take y away. ``quantized`` are the
    quantisations of x and y, None for floats.
    """

    name: str
    file: str
    actors: tuple[str, ...]
    operators: tuple[int, ...]
    x: int
    y: int
    into: tuple[str, ...]
    out: tuple[str, ...]
    quantized: tuple[Optional[Quantization], Optional[Quantization]] = (None, None)


@dataclass(frozen=True)
class Gate:
    """The gate of a block: the file of its model, the operators in it, and the least score at which the block runs."""

    block: str
    data: bytes
    operators: int
    threshold: float


@dataclass(frozen=True)
class Options:
    """On what gates are fitted, and what is wished for.

    ``made`` are the gates, as they are fitted before (``measure.plans.depth``), ``lines`` and ``figures`` what is known
    of them.
    """

    data: str = option(
        help="Pictures, with labels or without: a folder of a folder for each class, or an .npz file.",
        metavar="DIR|FILE",
    )
    wish: str = option(
        "agreement=0.98",
        help="accuracy=0.97, or agreement=0.98 with the whole model (agreement=0.98).",
        metavar="WHAT=VALUE",
    )
    at: tuple[str, ...] = option(
        (), help="A block to put a gate in front of; without any, those that save most.", metavar="BLOCK"
    )
    blocks: int = option(3, help="At most so many blocks, where --at does not name them, 1 to 6 (3).", metavar="N")
    frames: int = option(200, help="At most so many pictures of each part (200).", metavar="N")
    made: tuple[Gate, ...] = ()
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """The system with these gates. Raises ValueError where there are no such blocks."""
    if not options.made:
        raise ValueError("no gates are given")
    known = {block.name: block for block in blocks(system)}
    graph, files, beside = system.graph, dict(system.files), dict[str, str]()
    for number, gate in enumerate(options.made, 1):
        wiring = _Wiring(graph, known[gate.block], gate, number)
        graph = wiring.graph()
        files[wiring.file] = gate.data
        beside.update(wiring.beside)
    graph = replace(graph, name=f"{graph.name}-depth")
    mappings = tuple(_placed(mapping, beside, graph) for mapping in system.mappings)
    made = replace(system, graph=graph, mappings=mappings, interfaces={}, problems=(), files=files)
    return Result(made, Report(options.lines, dict(options.figures)))


def blocks(system: System) -> list[Block]:
    """The residual blocks that can be bypassed, from the source on: each one whole actors of one platform."""
    graph, found = system.graph, []
    slices: dict[str, dict[str, tuple[int, ...]]] = {}
    for actor in graph.actors:
        behaviour = actor.behaviour
        if isinstance(behaviour, ModelSlice) and not behaviour.channel_ranges and actor.type is ActorType.SPA:
            slices.setdefault(behaviour.file, {})[actor.name] = tuple(behaviour.operators)
    for file, parts in slices.items():
        model = model_of(system, file)
        flow = find_flow(model)
        for each in residual_blocks(model, flow):
            own = tuple(name for name, operators in parts.items() if set(operators) <= set(each.operators))
            held = tuple(sorted(index for name in own for index in parts[name]))
            if held != each.operators:
                continue
            into = [f for f in graph.fifos if f.target.actor in own and f.source.actor not in own]
            out = [f for f in graph.fifos if f.source.actor in own and f.target.actor not in own]
            if not _fit(system, own, into, out):
                continue
            name = own[-1]
            kinds = model.format.quantization(model, each.x), model.format.quantization(model, each.y)
            quantized = kinds if flow.types[each.x].dtype in ("uint8", "int8", "int16") else (None, None)
            if None in quantized and flow.types[each.x].dtype != "float32":
                continue
            names = tuple(f.name for f in into), tuple(f.name for f in out)
            found.append(Block(name, file, own, flow.piece(each.operators), each.x, each.y, *names, quantized))
    return found


def model_of(system: System, file: str) -> Model:
    """The model of that file name."""
    if file in system.files:
        return parse_model(system.files[file], file)
    path = next(a.behaviour.path for a in system.graph.actors if a.behaviour is not None and a.behaviour.file == file)
    return read_model(path or file)


def _fit(system: System, own: Sequence[str], into: Sequence[Fifo], out: Sequence[Fifo]) -> bool:
    """Whether a block of these actors can become dynamic."""
    ports = dict(system.graph.ports())
    touching = [f for f in system.graph.fifos if f.source.actor in own or f.target.actor in own]
    plain = all(
        not f.delay and f.policy is FaultPolicy.STOP and ports[f.source].static and ports[f.source].url == 1
        for f in touching
    )
    homes = {system.homes.get(name) for name in own}
    return plain and bool(out) and len(homes) == 1 and len({f.source.actor for f in into}) == 1


def _placed(mapping: PlatformMapping, beside: Mapping[str, str], graph: Graph) -> PlatformMapping:
    """New actors where those are that they are beside; those that are no more are left out."""
    known = {placement.actor: placement for placement in mapping.placements}
    for name, other in beside.items():
        if other in known:
            known[name] = replace(known[other], actor=name, segment=None)
    names = {actor.name for actor in graph.actors}
    placements: tuple[Placement, ...] = tuple(each for name, each in known.items() if name in names)
    return replace(mapping, application=graph.name, placements=placements)


class _Wiring:
    """A gate, a block that is one actor, and where they join again, in the place of a block's actors."""

    def __init__(self, old: Graph, block: Block, gate: Gate, number: int) -> None:
        self.old, self.block = old, block
        self.taken = names_of(old) - set(block.actors)
        self.gate, self.body, self.join = (fresh(f"{stem}{number}", self.taken) for stem in ("Gate", "Block", "Join"))
        self.file = f"gate{number}_{plain(old.name).partition('-depth')[0]}.tflite"
        first = next(fifo for fifo in old.fifos if fifo.name == block.into[0])
        writer = first.source
        self.writer, self.first = writer, first
        self.token = dict(old.ports())[writer].token
        self.ports: dict[str, list[Port]] = {self.gate: [], self.body: [], self.join: []}
        self.columns: dict[PortRef, tuple[int, int]] = {}
        self.fifos: list[Fifo] = []
        self.members = [self.body]
        #: new actor -> the one that it is placed beside
        self.beside = {self.gate: writer.actor, self.body: block.actors[-1], self.join: writer.actor}
        model = ModelSlice(self.file, 0, gate.operators - 1)
        skip = PythonBehaviour.of_library("skip_gate.py:SkipGate", model)
        threshold = (("threshold", f"{gate.threshold:.7g}"),)
        self.actors = {
            self.gate: Actor(self.gate, type=ActorType.DA, behaviour=skip, parameters=threshold),
            self.body: Actor(self.body, type=ActorType.DPA, behaviour=ModelSlice.holding(block.file, block.operators)),
        }
        self._wire()
        merge = PythonBehaviour.of_library("merge.py:Merge")
        self.actors[self.join] = Actor(self.join, type=ActorType.DA, behaviour=merge)

    def _wire(self) -> None:
        block = self.block
        self.ports[self.gate].append(Port("in", Direction.IN, self.token))
        self._connect(PortRef(self.gate, "block"), PortRef(self.body, "in"), RUN, (None, block.x))
        self._connect(PortRef(self.body, "out"), PortRef(self.join, "block"), RUN, (block.y, None))
        given, wanted = block.quantized
        around = PortRef(self.gate, "around")
        if given is not None and wanted is not None and given != wanted:
            match = fresh(f"{self.join}Scale", self.taken)
            parameters = {"scale": repr(given.scale), "zero_point": str(given.zero_point)}
            parameters.update(to_scale=repr(wanted.scale), to_zero_point=str(wanted.zero_point))
            behaviour = PythonBehaviour.of_library("requantize.py:Requantize")
            self.actors[match] = Actor(
                match, type=ActorType.DPA, behaviour=behaviour, parameters=tuple(parameters.items())
            )
            self.ports[match], self.beside[match] = [], self.writer.actor
            self.members.append(match)
            self._connect(around, PortRef(match, "in"), BYPASS)
            around = PortRef(match, "out")
        self._connect(around, PortRef(self.join, "around"), BYPASS)
        for follower in (*self.members, self.join):
            source, target = PortRef(self.gate, f"to_{follower}"), PortRef(follower, "mode")
            for ref, direction in ((source, Direction.OUT), (target, Direction.IN)):
                self.ports[ref.actor].append(Port(ref.port, direction, CONTROL, control=True))
            self.fifos.append(Fifo(fresh(f"{self.gate}-{follower}", self.taken), source, target))

    def _connect(
        self,
        source: PortRef,
        target: PortRef,
        rates: tuple[int, int],
        tensors: tuple[Optional[int], Optional[int]] = (None, None),
    ) -> None:
        """A FIFO that is active in some rows."""
        for ref, direction, tensor in ((source, Direction.OUT, tensors[0]), (target, Direction.IN, tensors[1])):
            self.ports[ref.actor].append(Port(ref.port, direction, self.token, 0, 1, 1, tensor=tensor))
            self.columns[ref] = rates
        self.fifos.append(Fifo(fresh(f"{source.actor}-{target.actor}", self.taken), source, target))

    def graph(self) -> Graph:
        """The graph, with the block's actors replaced."""
        block, old = self.block, self.old
        ports = dict(old.ports())
        gone = {fifo.source for fifo in old.fifos if fifo.name in block.into[1:]}
        kept = []
        for fifo in old.fifos:
            if fifo.name == block.into[0]:
                kept.append(replace(fifo, target=PortRef(self.gate, "in")))
            elif fifo.name in block.out:
                name = fifo.source.port
                port = replace(ports[fifo.source], name=name, tensor=None)
                self.ports[self.join].append(port)
                kept.append(replace(fifo, source=PortRef(self.join, name)))
            elif fifo.name not in block.into and fifo.source.actor not in block.actors:
                kept.append(fifo)
        actors: list[Actor] = []
        for actor in old.actors:
            if actor.name == block.actors[-1]:
                actors += [replace(each, ports=tuple(self.ports[each.name])) for each in self.actors.values()]
            elif actor.name not in block.actors:
                left = tuple(port for port in actor.ports if PortRef(actor.name, port.name) not in gone)
                actors.append(replace(actor, ports=left))
        rows = tuple(Row(value, tuple(rates[value] for rates in self.columns.values())) for value in (0, 1))
        name = fresh(f"Depth-{self.gate}", self.taken)
        dpg = Dpg(name, self.gate, self.gate, self.join, tuple(self.members), tuple(self.columns), rows)
        return replace(old, actors=tuple(actors), fifos=(*kept, *self.fifos), dpgs=(*old.dpgs, dpg))
