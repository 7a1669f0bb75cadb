"""Turn a model into a system: slices as actors, a source for each input, one sink for all outputs."""

from __future__ import annotations

import difflib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Optional, Union

from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.models.cuts import balanced, cut_after, divided, label, layers
from eprune.formats.models.cuts import pieces as find_pieces
from eprune.formats.models.errors import model_error
from eprune.formats.models.flow import OperatorFlow, Piece
from eprune.formats.models.flow import flow as find_flow
from eprune.formats.models.parts import Model
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef, default_capacity
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.platform import Platform, Unit
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes.base import Report, Result, carries

SOURCE = PythonBehaviour("tensor_source.py", "TensorSource")
SINK = PythonBehaviour("tensor_sink.py", "TensorSink")
#: The actor that takes the model's outputs.
SINK_NAME = "Output"


@dataclass(frozen=True)
class Options:
    """The model, and where to cut it.

    ``types`` are the token types of tensors whose shape the file leaves open, which only an interpreter knows
    (``measure.probe``). ``file`` is what the application calls the model's file, by default as it is called. ``per`` is
    "operator", "layer", or a number of actors of about equal work; ``cuts`` name the operators to cut behind instead.
    ``feedback`` are texts ``OUTPUT:INPUT``: see ``parse_feedback``. Behind the operators in ``borders`` there is a cut,
    too, whatever ``per`` and ``cuts`` say.
    """

    model: Model
    types: Mapping[int, TokenType] = field(default_factory=dict)
    per: Union[str, int] = "layer"
    cuts: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    file: str = ""
    borders: tuple[str, ...] = ()


@carries
def apply(system: System, options: Options) -> Result:
    """The model as a system on one platform: its slices as actors, a source for each input, one sink for all outputs.

    What was in the system is replaced; the application and the model's file are named after the model. An output that
    is fed back does not go to the sink. Outputs that are constants have no place in a graph: the report names them.
    Raises EpruneError (FILE) for operators and ends that do not exist or do not fit.
    """
    model = options.model
    flow = find_flow(model, dict(options.types))
    pieces = find_pieces(model, flow)
    feedback = parse_feedback(model, flow, options.feedback)
    if options.cuts:
        slices = cut_after(model, flow, pieces, options.cuts)
    elif options.per == "operator":
        slices = pieces
    elif isinstance(options.per, int):
        slices = balanced(model, flow, pieces, options.per)
    else:
        slices = layers(model, flow, pieces)
    if options.borders:
        slices = divided(flow, slices, cut_after(model, flow, pieces, options.borders))
    name = PurePath(options.file or model.path)
    graph, files = graph_of(model, flow, slices, name.stem, name.name, feedback)
    platform = Platform("local", (Unit("cpu"),))
    mapping = PlatformMapping(
        graph.name, platform.name, tuple(Placement(actor.name, unit="cpu") for actor in graph.actors)
    )
    constants = [model.tensors[index].name for index in model.outputs if model.tensors[index].constant]
    count = sum(actor.is_slice for actor in graph.actors)
    figures = {"actors": len(graph.actors), "slices": count, "fifos": len(graph.fifos)}
    lines = tuple(f"output {name!r} is a constant of the model, and left out" for name in constants)
    made = replace(
        system, graph=graph, platforms=(platform,), mappings=(mapping,), files={name.name: model.data, **files}
    )
    return Result(made, Report(lines, figures))


def graph_of(
    model: Model, flow: OperatorFlow, slices: Sequence[Piece], name: str, file: str, feedback: Mapping[int, int]
) -> tuple[Graph, dict[str, bytes]]:
    """The application ``name`` in which each of ``slices`` is an actor, and the files of initial tokens that it names.

    ``slices`` hold all of ``flow.work``, in its order; ``file`` is what the graph calls the model's file.
    ``feedback`` maps tensors: input -> the output that it is in the next iteration.
    """
    return _Importer(model, flow, slices, feedback).graph(name, file)


def parse_feedback(model: Model, flow: OperatorFlow, texts: Iterable[str]) -> dict[int, int]:
    """Input tensor -> output tensor, of texts ``OUTPUT:INPUT``: names of tensors, or positions counted from 0.

    Raises EpruneError (FILE) for ends that do not exist or do not fit.
    """
    pairs: dict[int, int] = {}
    for text in texts:
        output, given = _feedback_ends(model, text)
        if given in pairs:
            raise model_error(model.path, f"--feedback {text}: input {model.tensors[given].name!r} is fed twice")
        if output in model.inputs or output not in flow.outputs:
            nature = "an input of the model" if output in model.inputs else "a constant"
            raise model_error(
                model.path, f"--feedback {text}: output {model.tensors[output].name!r} is {nature}, and never changes"
            )
        if flow.types.get(output) != flow.types.get(given):
            message = f"--feedback {text}: the output is {flow.types.get(output)}, the input {flow.types.get(given)}"
            raise model_error(model.path, message, "an output can be fed back to an input of the same type")
        pairs[given] = output
    return pairs


def end_names(model: Model, tensors: Sequence[int]) -> list[str]:
    """Names for a model's inputs or outputs that can stand in graphs and file names: a different one for each."""
    short = [_legal(re.sub(r":\d+$", "", re.sub("^serving_default_", "", model.name(index)))) for index in tensors]
    full = [_legal(model.name(index)) for index in tensors]
    names: list[str] = []
    for position, candidates in enumerate(zip(short, full)):
        choices = [candidates[0]] if short.count(candidates[0]) == 1 else []
        names.append(_unique([*choices, candidates[1], f"{candidates[1]}_{position}"], names))
    return names


def find_end(model: Model, ends: Sequence[int], text: str) -> Optional[int]:
    """Of a model's inputs or outputs the one of that name (as in the model, or as ``end_names`` has it) or position."""
    for index, name in zip(ends, end_names(model, ends)):
        if text in (model.name(index), model.tensors[index].name, name):
            return index
    return ends[int(text)] if re.fullmatch("[0-9]{1,6}", text) and int(text) < len(ends) else None


@dataclass(frozen=True)
class _Joint:
    """What becomes a FIFO: a tensor on its way to one reader, in the next iteration if ``fed`` back as that input."""

    writer: str
    tensor: int
    reader: PortRef
    fed: Optional[int] = None


class _Importer:
    def __init__(self, model: Model, flow: OperatorFlow, slices: Sequence[Piece], feedback: Mapping[int, int]) -> None:
        self.model = model
        self.flow = flow
        self.feedback = feedback
        self.slices = {_slice_name(model, operators): operators for operators in slices}
        self.sources = self._sources()
        self.writer = {index: source for source, index in self.sources.items()}
        for actor, operators in self.slices.items():
            self.writer.update((index, actor) for operator in operators for index in flow.writes[operator])
        self.joints: list[_Joint] = []

    def graph(self, name: str, file: str) -> tuple[Graph, dict[str, bytes]]:
        """The application graph, and the files of initial tokens that it names."""
        inputs = {actor: self._slice_inputs(operators, actor) for actor, operators in self.slices.items()}
        inputs[SINK_NAME] = self._sink_inputs()
        # The order of the file: by writer, then by tensor.
        place = {actor: position for position, actor in enumerate((*self.sources, *self.slices))}
        self.joints.sort(key=lambda joint: (place[joint.writer], joint.tensor))
        fifos = _fifos(self.joints)
        outputs: dict[str, list[Port]] = {}
        for joint, fifo in zip(self.joints, fifos):
            # A source's ports say it too: that they carry the same is what lets their readers be fused.
            port = Port(fifo.source.port, Direction.OUT, self.flow.types[joint.tensor], tensor=joint.tensor)
            outputs.setdefault(joint.writer, []).append(port)
        files: dict[str, bytes] = {}
        first_names = dict(zip(self.feedback, end_names(self.model, list(self.feedback))))
        for position, (joint, fifo) in enumerate(zip(self.joints, fifos)):
            if joint.fed is None:
                continue
            first = _first_token(self.model, joint.fed, self.flow.types[joint.fed])
            if first is not None:
                # One file for all readers of an input: that they begin with the same is what lets them be fused.
                file = f"{first_names[joint.fed]}.npy"
                files[file] = first
                fifos[position] = replace(fifo, initial=file)
        parameters = (("path", ""),)  # stated, so that one sees what to set
        actors = [
            Actor(source, tuple(outputs[source]), behaviour=SOURCE, parameters=parameters)
            for source in self.sources
            if source in outputs
        ]
        for actor, operators in self.slices.items():
            behaviour = ModelSlice.holding(file, operators)
            actors.append(Actor(actor, (*inputs[actor], *outputs.get(actor, ())), behaviour=behaviour))
        if inputs[SINK_NAME]:
            actors.append(Actor(SINK_NAME, inputs[SINK_NAME], behaviour=SINK, parameters=parameters))
        return Graph(_legal(name), tuple(actors), tuple(fifos)), files

    def _sources(self) -> dict[str, int]:
        """A source's name -> the input that it is for."""
        given = [index for index in dict.fromkeys(self.model.inputs) if index not in self.feedback]
        sources: dict[str, int] = {}
        for name, index in zip(end_names(self.model, given), given):
            sources[_unique([name, f"{name}_input"], {*self.slices, *sources, SINK_NAME})] = index
        return sources

    def _slice_inputs(self, operators: Piece, actor: str) -> tuple[Port, ...]:
        own = {index for operator in operators for index in self.flow.writes[operator]}
        needs = dict.fromkeys(index for operator in operators for index in self.flow.reads[operator])
        tensors = [index for index in needs if index not in own]
        return tuple(
            self._reader(actor, "in" if len(tensors) == 1 else f"in_{index}", index, index) for index in tensors
        )

    def _sink_inputs(self) -> tuple[Port, ...]:
        fed = set(self.feedback.values())
        wanted = [index for index in self.model.outputs if index in self.flow.outputs and index not in fed]
        return tuple(
            self._reader(SINK_NAME, name, index, None) for name, index in zip(end_names(self.model, wanted), wanted)
        )

    def _reader(self, actor: str, port: str, tensor: int, shown: Optional[int]) -> Port:
        """An input port, joined to whoever writes its tensor."""
        origin = self.feedback.get(tensor, tensor)
        fed = tensor if tensor in self.feedback else None
        self.joints.append(_Joint(self.writer[origin], origin, PortRef(actor, port), fed))
        return Port(port, Direction.IN, self.flow.types[tensor], tensor=shown)


def _fifos(joints: Sequence[_Joint]) -> list[Fifo]:
    """A FIFO for each joint, from an output port of its own: both named after the tensor, and the reader if needed."""
    of_writer = Counter(joint.writer for joint in joints)
    of_tensor = Counter(joint.tensor for joint in joints)
    of_reader = Counter((joint.tensor, joint.reader.actor) for joint in joints)
    fifos = []
    for joint in joints:
        reader = joint.reader.actor
        if of_reader[joint.tensor, reader] > 1:
            reader += f"_{joint.reader.port}"
        name = f"t{joint.tensor}" if of_tensor[joint.tensor] == 1 else f"t{joint.tensor}_{reader}"
        port = "out" if of_writer[joint.writer] == 1 else f"out_{name[1:]}"
        delay = int(joint.fed is not None)
        fifos.append(
            Fifo(name, PortRef(joint.writer, port), joint.reader, capacity=default_capacity(1, delay), delay=delay)
        )
    return fifos


def _slice_name(model: Model, operators: Piece) -> str:
    """``conv2d_3``: after its main operator, if there is one; ``conv2d_3-softmax_9`` after the ends of others."""
    chosen = [model.operators[index] for index in operators]
    main = [operator for operator in chosen if operator.name in model.format.main] if len(chosen) > 1 else chosen
    return label(main[0]) if len(main) == 1 else f"{label(chosen[0])}-{label(chosen[-1])}"


def _first_token(model: Model, index: int, token: TokenType) -> Optional[bytes]:
    """The value that stands for zero, as a .npy file of one token; None where that is 0."""
    found = model.format.quantization(model, index)
    if found is None or not found.zero_point:
        return None
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, np.full((1, *token.shape), found.zero_point, np.int64).astype(token.dtype))
    return stream.getvalue()


def _feedback_ends(model: Model, text: str) -> tuple[int, int]:
    """The output and the input that ``OUTPUT:INPUT`` names. Names of tensors may hold colons as well."""
    splits = [(text[:place], text[place + 1 :]) for place, sign in enumerate(text) if sign == ":"]
    if not splits:
        raise model_error(model.path, f"--feedback {text!r} is not of the form OUTPUT:INPUT")
    found = [(find_end(model, model.outputs, out), find_end(model, model.inputs, given)) for out, given in splits]
    for output, given in found:
        if output is not None and given is not None:
            return output, given
    place = next((place for place, ends in enumerate(found) if ends != (None, None)), len(splits) - 1)
    side, ends, name = (
        ("output", model.outputs, splits[place][0])
        if found[place][0] is None
        else ("input", model.inputs, splits[place][1])
    )
    names = {model.name(index): index for index in ends}
    near = difflib.get_close_matches(name, names, 1)
    known = ", ".join(f"{position}: {known}" for position, known in enumerate(names))
    hint = f"did you mean {near[0]!r}?" if near else f"its {side}s are {known}"
    raise model_error(model.path, f"--feedback {text}: the model has no {side} {name!r}", hint)


def _legal(text: str) -> str:
    """Text as a name that graphs allow."""
    return re.sub("[^A-Za-z0-9_-]+", "_", text[:60]).strip("_-") or "model"


def _unique(choices: Sequence[str], taken: Iterable[str]) -> str:
    known = set(taken)
    return next((name for name in choices if name not in known), f"{choices[-1]}_{len(known)}")
