"""An application's slices, run one after the other, against the whole model: which actor's tokens differ first?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Optional

import numpy as np

from eprune.codegen.lower import lower
from eprune.codegen.program import PlatformProgram
from eprune.explore.space import mapping
from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model
from eprune.formats.models.slices import restated, slice_model
from eprune.measure.engines import plain_engine
from eprune.measure.executor import Executor
from eprune.measure.progress import SILENT, Progress
from eprune.model.behaviour import Reader
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import Actor, Fifo, PortRef
from eprune.model.interface import Interface
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes import fuse
from eprune.runtime.fire.engines import ModelEngine


@dataclass(frozen=True)
class Difference:
    """The first tokens that differ: an actor's, or (None) those of the model itself once inner tensors are shown."""

    actor: Optional[Actor]
    port: str
    tensor: int
    frame: int
    elements: int
    size: int
    largest: float


def whole_model(system: System, path: str) -> Model:
    """The model at ``path``: of several signatures the one that the application was made of."""
    model = read_model(path)
    keys = {signature.key for signature in model.signatures}
    for actor in system.graph.actors:
        if actor.behaviour is not None and actor.behaviour.operators:
            own = read_model(actor.behaviour.path).signature
            return read_model(path, own.key) if own and own.key in keys else model
    return model


class Slices:
    """The slices of one model in an application, in precedence order, and what feeds them.

    An actor that puts a tensor of the model together from what slices give, and says at its output which one that is,
    is taken to do so: slices behind it get what the model has there. Raises EpruneError for an application that is not
    a cut of the model: other operators, or inner tensors that come from elsewhere.
    """

    def __init__(self, system: System, model: Model) -> None:
        self.system = system
        self.model = model
        self.graph = system.graph
        self._read = Reader()
        self._own = model  # as the application has it: perhaps with other shapes
        self.tensors = {
            PortRef(name, port): tensor
            for name, interface in system.interfaces.items()
            for port, tensor in interface.tensors.items()
        }
        self.actors = [actor for actor in system.graph.actors if self._fits(actor)]
        if not self.actors:
            message = f"no actor is a slice of a model like {model.path!r}"
            raise EpruneError(Finding("FILE", system.graph.where, message, "is it the model that was imported?"))
        names = {actor.name for actor in self.actors}
        self.feeds: dict[PortRef, Fifo] = {fifo.target: fifo for fifo in self.graph.fifos if fifo.target.actor in names}
        #: model input -> the FIFO that brings what the model computed in an earlier frame
        self.feedback: dict[int, Fifo] = {}
        #: model input -> the actor that it comes from
        self.sources: dict[int, str] = {}
        for port, fifo in self.feeds.items():
            tensor = self.tensors[port]
            if fifo.source.actor not in names:
                if self.tensors.get(fifo.source) == tensor and tensor not in model.inputs and not fifo.delay:
                    continue
                self._check_input(port, fifo, tensor)
                self.sources[tensor] = fifo.source.actor
            elif tensor in model.inputs:
                self.feedback[tensor] = fifo

    def _fits(self, actor: Actor) -> bool:
        if actor.behaviour is None or not actor.behaviour.operators:
            return False
        own = self._read(read_model, actor.behaviour.path)
        fits: bool = own.operators == self.model.operators and own.inputs == self.model.inputs
        if fits:
            self._own = own
        return fits

    def token(self, tensor: int) -> TokenType:
        """What the application gives to an input of the model."""
        token = self._own.tensors[tensor].token
        assert token is not None  # the graph is sound
        return token

    def _stated(self) -> Model:
        """The model with the shapes that the application has."""
        types = {own.index: own.token for own in self._own.tensors if own.token and not own.constant}
        known = {index: token for index, token in types.items() if self.model.tensors[index].token != token}
        return parse_model(restated(self.model, known), self.model.path) if known else self.model

    def _check_input(self, port: PortRef, fifo: Fifo, tensor: int) -> None:
        if tensor not in self.model.inputs:
            name = self.model.tensors[tensor].name
            message = f"{port} takes tensor {tensor} ({name}), which is inside the model, from {fifo.source.actor!r}"
            raise EpruneError(Finding("FILE", fifo.where, message, "only slices of the model can be compared with it"))
        if fifo.delay:
            message = f"FIFO {fifo.name!r} delays an input of the model, which the model by itself does not"
            raise EpruneError(Finding("FILE", fifo.where, message, "compare without the delay"))

    def compare(
        self,
        interpreter: str,
        frames: Sequence[Mapping[int, Any]],
        progress: Progress = SILENT,
        begun: Callable[[str], None] = lambda actor: None,
    ) -> Optional[Difference]:
        """The first difference in these frames, each a map from the model's inputs to tokens; None if all is equal.

        Interpreters run in this process (``comparison.compare``: in another); ``begun`` is told whose slice comes next.
        """
        whole, inner = self._whole(interpreter), self._inner(interpreter)
        try:
            with Executor(self._program(), interpreter, begun=begun) as executor:
                return self._first_difference(executor, whole, inner, frames, progress)
        except (ValueError, RuntimeError) as error:
            text = " ".join(str(error).split())
            raise model_error(
                self.model.path, f"refused by {plain_engine(self.model, interpreter).describe()}: {text}"
            ) from None

    def _whole(self, interpreter: str) -> _Model:
        """The model as it is: no part of it has been through the slicer."""
        model = self.model
        if model.graph:
            return _SignatureModel(plain_engine(model, interpreter), model)
        shapes = {index: self.token(index).shape for index in model.inputs}
        others = {index: shape for index, shape in shapes.items() if shape != model.tensors[index].shape}
        return _Model(plain_engine(model, interpreter), model.data, model.inputs, model.outputs, model.path, others)

    def _first_difference(
        self,
        executor: Executor,
        whole: _Model,
        inner: _Model,
        frames: Sequence[Mapping[int, Any]],
        progress: Progress,
    ) -> Optional[Difference]:
        actors = {actor.name: actor for actor in self.actors}
        for frame, (given, (values, expected)) in enumerate(zip(frames, self._in_turn(inner, frames))):
            progress.update(frame + 1)
            right = whole.run(values)
            for tensor in self.model.outputs:
                if found := _difference(None, "", tensor, frame, right[tensor], expected[tensor]):
                    return found
            for port, fifo in self.feeds.items():
                if fifo.source.actor not in actors:
                    tensor = self.tensors[port]
                    executor.feed(fifo.name, given[tensor] if tensor in given else expected[tensor])
            for node in executor.nodes:
                for name, value in executor.fire(node.name).outputs.items():
                    port = PortRef(*name.split("."))
                    tensor = self.tensors[port]
                    wanted = kept(self.system.interfaces[port.actor], port.port, expected[tensor])
                    if found := _difference(actors[port.actor], port.port, tensor, frame, wanted, value):
                        return found
        return None

    def values(self, interpreter: str, frames: Sequence[Mapping[int, Any]]) -> Iterator[dict[int, Any]]:
        """For each frame, tensor -> value: the model's inputs, and all that goes into slices and comes out of them."""
        inner = self._inner(interpreter)
        for values, expected in self._in_turn(inner, frames):
            yield {**values, **expected}

    def _inner(self, interpreter: str) -> _Model:
        """The model with the tensors between slices as further outputs."""
        between = [self.tensors[PortRef(actor.name, port.name)] for actor in self.actors for port in actor.outputs]
        # What an actor that is no slice puts together, or computes by itself, is taken from the model.
        between += [self.tensors[port] for port in self.feeds if self.tensors[port] not in self.model.inputs]
        shown = list(dict.fromkeys([*self.model.outputs, *between]))
        every = [operator.index for operator in self.model.operators]
        data = slice_model(self._stated(), every, self.model.inputs, shown)
        return _Model(plain_engine(self.model, interpreter), data, self.model.inputs, shown, self.model.path)

    def _in_turn(
        self, inner: _Model, frames: Sequence[Mapping[int, Any]]
    ) -> Iterator[tuple[dict[int, Any], dict[int, Any]]]:
        """For each frame the model's inputs, with what came of earlier frames, and what it computes of them."""
        state = {tensor: deque(self._initial(fifo)) for tensor, fifo in self.feedback.items()}
        for given in frames:
            known = {**given, **{tensor: waiting.popleft() for tensor, waiting in state.items()}}
            values = {tensor: known.get(tensor, self._zeros(tensor)) for tensor in self.model.inputs}
            expected = inner.run(values)
            for tensor, waiting in state.items():
                waiting.append(expected[self.tensors[self.feedback[tensor].source]])
            yield values, expected

    def _program(self) -> PlatformProgram:
        names = {actor.name for actor in self.actors}
        homes = {actor.name: "near" if actor.name in names else "far" for actor in self.graph.actors}
        near = Platform("near", (Unit("cpu"),), (Link("far"),))
        placed = replace(self.system, platforms=(near,), mappings=(mapping(self.graph, near, homes),))
        (program,) = lower(fuse.apply(placed, fuse.Options(together=False)).system)
        return program

    def _initial(self, fifo: Fifo) -> list[Any]:
        path = fifo.initial_path
        if path is None:
            return [self._zeros(self.tensors[fifo.target])] * fifo.delay
        try:
            return list(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise model_error(path, f"cannot be read: {error}") from None

    def _zeros(self, tensor: int) -> Any:
        token = self.token(tensor)
        return np.zeros(token.shape, token.dtype)


class _Model:
    """A model in an interpreter: tensors in, tensors out, by their index in the whole model."""

    def __init__(
        self,
        engine: ModelEngine,
        data: bytes,
        inputs: Sequence[int],
        outputs: Sequence[int],
        path: str,
        shapes: Mapping[int, tuple[int, ...]] = MappingProxyType({}),
    ) -> None:
        try:
            self.interpreter = engine.load(data, shapes)
        except (ValueError, RuntimeError) as error:
            raise model_error(path, f"refused by {engine.describe()}: {' '.join(str(error).split())}") from None
        self.path = path
        self.inputs = list(zip(inputs, (each["index"] for each in self.interpreter.get_input_details())))
        self.outputs = list(zip(outputs, (each["index"] for each in self.interpreter.get_output_details())))

    def run(self, values: Mapping[int, Any]) -> dict[int, Any]:
        try:
            for tensor, index in self.inputs:
                self.interpreter.set_tensor(index, values[tensor])
            self.interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise model_error(self.path, f"does not run on these inputs: {' '.join(str(error).split())}") from None
        return {tensor: self.interpreter.get_tensor(index) for tensor, index in self.outputs}


class _SignatureModel(_Model):
    """A signature of a model whose graph is not the first, as interpreters run it: by its names."""

    def __init__(self, engine: ModelEngine, model: Model) -> None:
        assert model.signature is not None
        super().__init__(engine, model.data, (), (), model.path)
        self.signature = model.signature
        self.runner = self.interpreter.get_signature_runner(model.signature.key)

    def run(self, values: Mapping[int, Any]) -> dict[int, Any]:
        try:
            found = self.runner(**{name: values[index] for name, index in self.signature.inputs.items()})
        except (ValueError, RuntimeError) as error:
            raise model_error(self.path, f"does not run on these inputs: {' '.join(str(error).split())}") from None
        return {index: np.array(found[name]) for name, index in self.signature.outputs.items()}


def kept(interface: Interface, port: str, value: Any) -> Any:
    """What a port has of a tensor's value: the channels that its slice keeps."""
    channels = interface.channels.get(port)
    return value if channels is None else value.take(channels, interface.axes.get(port, -1))


def _difference(
    actor: Optional[Actor], port: str, tensor: int, frame: int, expected: Any, actual: Any
) -> Optional[Difference]:
    same = expected.shape == actual.shape and expected.dtype == actual.dtype
    if same and expected.tobytes() == actual.tobytes():
        return None
    if not same:
        return Difference(actor, port, tensor, frame, expected.size, expected.size, float("nan"))
    kind = np.complex128 if np.iscomplexobj(expected) else np.float64
    with np.errstate(invalid="ignore"):
        apart = np.abs(expected.astype(kind) - actual.astype(kind))
    width = expected.dtype.itemsize
    raw = [np.frombuffer(side.tobytes(), np.uint8).reshape(-1, width) for side in (expected, actual)]
    elements = int((raw[0] != raw[1]).any(axis=1).sum())
    return Difference(actor, port, tensor, frame, elements, expected.size, float(np.nanmax(apart, initial=0)))
