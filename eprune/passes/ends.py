"""Give an imported model sources that read a user's files, and sinks that show what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from types import MappingProxyType

from eprune.formats.ends import OUTPUTS, images
from eprune.formats.ends.base import Choices, End, Ends, InputKind, Sink, picture_of
from eprune.formats.models.errors import model_error
from eprune.formats.models.flow import OperatorFlow
from eprune.formats.models.metadata import Metadata
from eprune.formats.models.parts import Model
from eprune.model.graph import Actor, Fifo, Graph, PortRef
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries
from eprune.passes.import_ import SINK_NAME, SOURCE, end_names

#: Operators behind which the meaning of what another has computed is still the same.
_SAME = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "QUANTIZE", "DEQUANTIZE", "CAST"}.union(
    {"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "QuantizeLinear", "DequantizeLinear", "Cast"}
)
#: The folder for a user's files, in it one for each source.
FOLDER = "inputs"


@dataclass(frozen=True)
class Given:
    """The files for one input: their kind, and their contents by name."""

    kind: InputKind
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Options:
    """``ends`` are those of ``model`` (``ends_of``), ``given`` the files for some of its inputs, by tensor."""

    model: Model
    ends: Ends
    given: Mapping[int, Given] = field(default_factory=lambda: MappingProxyType({}))
    choices: Choices = field(default_factory=Choices)


@carries
def apply(system: System, options: Options) -> Result:
    """The system that the pass ``import`` gives, with other sources for the inputs that files are given for, and sinks.

    Files become files of the system, in ``inputs/SOURCE``, lists of labels ``labels.txt``. Outputs that mean nothing
    that is known keep the sink that they have. Raises EpruneError (FILE) for what does not fit.
    """
    try:
        return _Ends(system, options).result()
    except ValueError as error:
        raise model_error(options.model.path, str(error)) from None


def ends_of(model: Model, flow: OperatorFlow, metadata: Metadata) -> Ends:
    """The inputs and outputs of a model, as far as they are computed or given; ``metadata`` is of the original file."""
    writers = {tensor: operator for operator in model.operators for tensor in operator.outputs}

    def end(name: str, tensor: int, side: str) -> End:
        origin = tensor
        while origin in writers and writers[origin].name in _SAME:
            origin = writers[origin].inputs[0]
        writer = writers.get(origin)
        about = metadata.of(side, getattr(model, side).index(tensor))
        place = writer.outputs.index(origin) if writer else 0
        token = flow.types[tensor]
        return End(
            name, tensor, token, model.format.quantization(model, tensor), about, writer.name if writer else "", place
        )

    def all_of(side: str, tensors: Sequence[int]) -> tuple[End, ...]:
        return tuple(end(name, tensor, side) for name, tensor in zip(end_names(model, tensors), tensors))

    outputs = [tensor for tensor in dict.fromkeys(model.outputs) if tensor in flow.outputs]
    return Ends(all_of("inputs", list(dict.fromkeys(model.inputs))), all_of("outputs", outputs))


class _Ends:
    def __init__(self, system: System, options: Options) -> None:
        self.system, self.options = system, options
        self.notes: list[str] = []
        self.files: dict[str, bytes] = dict(system.files)

    def result(self) -> Result:
        """The system, with notes on what was assumed."""
        graph = self.system.graph
        given = self.options.given
        pictures = [
            picture_of(end.token)
            for end in self.options.ends.inputs
            if end.tensor in given and given[end.tensor].kind is images.KIND
        ]
        own = {port.tensor for actor in graph.actors if actor.behaviour == SOURCE for port in actor.ports}
        ends = replace(
            self.options.ends,
            inputs=tuple(end for end in self.options.ends.inputs if end.tensor in own),
            picture=next(filter(None, pictures), None),
        )
        actors = tuple(self._source(actor, ends) for actor in graph.actors)
        graph = self._with_sinks(replace(graph, actors=actors), ends)
        (platform,) = self.system.platforms
        placements = tuple(Placement(actor.name, unit=platform.units[0].name) for actor in graph.actors)
        mapping = PlatformMapping(graph.name, platform.name, placements)
        made = replace(self.system, graph=graph, mappings=(mapping,), files=self.files)
        return Result(made, Report(tuple(dict.fromkeys(self.notes)), {"actors": len(graph.actors)}))

    def _source(self, actor: Actor, ends: Ends) -> Actor:
        tensor = next((port.tensor for port in actor.ports), None)
        if actor.behaviour != SOURCE or tensor is None or tensor not in self.options.given:
            return actor
        end = next(end for end in ends.inputs if end.tensor == tensor)
        given = self.options.given[tensor]
        source = given.kind.source(end, self.options.choices, ends)
        self.notes.extend(source.notes)
        folder = f"{FOLDER}/{actor.name}"
        self.files.update((f"{folder}/{name}", data) for name, data in given.files.items())
        only = next(iter(given.files)) if len(given.files) == 1 else ""
        path = str(PurePath(folder, only))
        return replace(actor, behaviour=source.behaviour, parameters=(("path", path), *source.parameters))

    def _with_sinks(self, graph: Graph, ends: Ends) -> Graph:
        sink = next((actor for actor in graph.actors if actor.name == SINK_NAME), None)
        if sink is None:
            return graph
        ports_of = dict(graph.ports())
        tensors = {fifo.target: ports_of[fifo.source].tensor for fifo in graph.fifos}
        ports = {tensors[PortRef(SINK_NAME, port.name)]: port for port in sink.ports}
        left = tuple(end for end in ends.outputs if end.tensor in ports)
        made: list[Sink] = []
        for kind in OUTPUTS:
            while (found := kind(replace(ends, outputs=left), self.options.choices)) is not None:
                made.append(found)
                left = tuple(end for end in left if end.tensor not in found.ports)
        names = _unlike([each.name for each in made], {actor.name for actor in graph.actors})
        moved: dict[PortRef, PortRef] = {}
        actors = [actor for actor in graph.actors if actor.name != SINK_NAME]
        for name, each in zip(names, made):
            self.notes.extend(each.notes)
            for tensor, port in each.ports.items():
                moved[PortRef(SINK_NAME, ports[tensor].name)] = PortRef(name, port)
            own = tuple(replace(ports[tensor], name=port) for tensor, port in each.ports.items())
            parameters = (*self._labels(name, each, len(made)), *each.parameters)
            actors.append(Actor(name, own, behaviour=each.behaviour, parameters=parameters))
        rest = tuple(port for port in sink.ports if PortRef(SINK_NAME, port.name) not in moved)
        if rest:
            actors.append(replace(sink, ports=rest))
        fifos = tuple(_led(fifo, moved) for fifo in graph.fifos)
        return replace(graph, actors=tuple(actors), fifos=fifos)

    def _labels(self, name: str, sink: Sink, count: int) -> tuple[tuple[str, str], ...]:
        """The parameter for a sink's labels, for which there is a file then."""
        if not sink.labels:
            return ()
        file = "labels.txt" if count == 1 else f"labels_{name}.txt"
        self.files[file] = "".join(f"{label}\n" for label in sink.labels).encode()
        return (("labels", file),)


def _led(fifo: Fifo, moved: Mapping[PortRef, PortRef]) -> Fifo:
    return replace(fifo, target=moved.get(fifo.target, fifo.target))


def _unlike(names: Sequence[str], taken: set[str]) -> list[str]:
    """The names, with a number behind those that are taken already."""
    found: list[str] = []
    for name in names:
        known = taken.union(found)
        found.append(next(each for each in (name, *(f"{name}-{n}" for n in range(2, 1000))) if each not in known))
    return found
