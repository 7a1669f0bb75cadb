"""An application's slices, run one after the other, against the whole model: which actor's tokens differ first?"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Optional

import numpy as np

from eprune.analysis.precedence import firing_order
from eprune.cli.inputs import Inputs
from eprune.codegen.digest import initial_path
from eprune.formats.tflite.model import Model, model_error, read_model
from eprune.formats.tflite.slicing import slice_model
from eprune.model.finding import EpruneError, Finding
from eprune.model.graph import Actor, Fifo, ModelSlice, PortRef
from eprune.runtime.fire.tflite import describe, load


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


class Slices:
    """The slices of one model in an application, in precedence order, and what feeds them.

    Raises EpruneError for an application that is no cut of the model: other operators, or inner tensors that come from
    elsewhere.
    """

    def __init__(self, inputs: Inputs, model: Model) -> None:
        self.model = model
        self.graph = inputs.graph
        self._read = lru_cache(maxsize=None)(read_model)
        self.tensors = {
            PortRef(name, port): tensor
            for name, facts in inputs.interfaces.items()
            for port, tensor in facts.tensors.items()
        }
        actors = {actor.name: actor for actor in inputs.graph.actors}
        found = [actors[name] for name in firing_order(inputs.graph)]
        self.actors = [actor for actor in found if isinstance(actor.behaviour, ModelSlice) and self._fits(actor)]
        if not self.actors:
            message = f"no actor is a slice of a model like {model.path!r}"
            raise EpruneError(Finding("FILE", inputs.graph.where, message, "is it the model that was imported?"))
        names = {actor.name for actor in self.actors}
        self.feeds: dict[PortRef, Fifo] = {fifo.target: fifo for fifo in self.graph.fifos if fifo.target.actor in names}
        #: model input -> the FIFO that brings what the model computed in an earlier frame
        self.feedback: dict[int, Fifo] = {}
        #: model input -> the actor that it comes from
        self.sources: dict[int, str] = {}
        for port, fifo in self.feeds.items():
            tensor = self.tensors[port]
            if fifo.source.actor not in names:
                self._check_input(port, fifo, tensor)
                self.sources[tensor] = fifo.source.actor
            elif tensor in model.inputs:
                self.feedback[tensor] = fifo

    def _fits(self, actor: Actor) -> bool:
        assert isinstance(actor.behaviour, ModelSlice)
        own = self._read(actor.behaviour.path)
        return own.operators == self.model.operators and own.inputs == self.model.inputs

    def _check_input(self, port: PortRef, fifo: Fifo, tensor: int) -> None:
        if tensor not in self.model.inputs:
            name = self.model.tensors[tensor].name
            message = f"{port} takes tensor {tensor} ({name}), which is inside the model, from {fifo.source.actor!r}"
            raise EpruneError(Finding("FILE", fifo.where, message, "only slices of the model can be compared with it"))
        if fifo.delay:
            message = f"FIFO {fifo.name!r} delays an input of the model, which the model by itself does not"
            raise EpruneError(Finding("FILE", fifo.where, message, "compare without the delay"))

    def compare(self, interpreter: str, frames: Sequence[Mapping[int, Any]]) -> Optional[Difference]:
        """The first difference in these frames, each a map from the model's inputs to tokens; None if all is equal."""
        outputs = list(dict.fromkeys(self.tensors[port] for port in self._ports()))
        ends = self.model.outputs
        whole = _Runner(interpreter, self.model.data, self.model.inputs, ends, self.model.path)
        every = [operator.index for operator in self.model.operators]
        shown = [*dict.fromkeys([*ends, *outputs])]
        inner = _Runner(
            interpreter,
            slice_model(self.model, every, self.model.inputs, shown),
            self.model.inputs,
            shown,
            self.model.path,
        )
        slices = [self._runner(interpreter, actor) for actor in self.actors]
        late = {fifo.name: deque(self._initial(fifo)) for fifo in self.feeds.values() if fifo.delay}
        state = {tensor: deque(self._initial(fifo)) for tensor, fifo in self.feedback.items()}
        for frame, given in enumerate(frames):
            values = {**given, **{tensor: waiting.popleft() for tensor, waiting in state.items()}}
            values = {tensor: values.get(tensor, self._zeros(tensor)) for tensor in self.model.inputs}
            right, expected = whole.run(values), inner.run(values)
            for tensor in ends:
                if found := _difference(None, "", tensor, frame, right[tensor], expected[tensor]):
                    return found
            for tensor, waiting in state.items():
                waiting.append(expected[self.tensors[self.feedback[tensor].source]])
            tokens: dict[PortRef, Any] = {}
            for actor, runner in zip(self.actors, slices):
                taken = {}
                for port in actor.inputs:
                    reference = PortRef(actor.name, port.name)
                    fifo = self.feeds[reference]
                    tensor = self.tensors[reference]
                    if fifo.name in late:
                        taken[tensor] = late[fifo.name].popleft()
                    else:
                        taken[tensor] = tokens[fifo.source] if fifo.source in tokens else given[tensor]
                made = runner.run(taken)
                for port in actor.outputs:
                    tensor = self.tensors[PortRef(actor.name, port.name)]
                    tokens[PortRef(actor.name, port.name)] = made[tensor]
                    if found := _difference(actor, port.name, tensor, frame, expected[tensor], made[tensor]):
                        return found
            for fifo in self.feeds.values():
                if fifo.delay:
                    late[fifo.name].append(tokens[fifo.source])
        return None

    def _ports(self) -> list[PortRef]:
        return [PortRef(actor.name, port.name) for actor in self.actors for port in actor.outputs]

    def _runner(self, interpreter: str, actor: Actor) -> _Runner:
        assert isinstance(actor.behaviour, ModelSlice)
        inputs, outputs = (
            list(dict.fromkeys(self.tensors[PortRef(actor.name, port.name)] for port in ports))
            for ports in (actor.inputs, actor.outputs)
        )
        data = slice_model(self._read(actor.behaviour.path), actor.behaviour.operators, inputs, outputs)
        return _Runner(interpreter, data, inputs, outputs, actor.behaviour.path)

    def _initial(self, fifo: Fifo) -> list[Any]:
        path = initial_path(fifo)
        if path is None:
            return [self._zeros(self.tensors[fifo.target])] * fifo.delay
        try:
            return list(np.load(path, allow_pickle=False))
        except (OSError, ValueError) as error:
            raise model_error(path, f"cannot be read: {error}") from None

    def _zeros(self, tensor: int) -> Any:
        token = self.model.tensors[tensor].token
        assert token is not None  # an input of the model
        return np.zeros(token.shape, token.dtype)


class _Runner:
    """A model in an interpreter: tensors in, tensors out, by their index in the whole model."""

    def __init__(self, interpreter: str, data: bytes, inputs: Sequence[int], outputs: Sequence[int], path: str) -> None:
        try:
            self.interpreter = load(interpreter, data)
        except (ValueError, RuntimeError) as error:
            raise model_error(path, f"refused by {describe(interpreter)}: {' '.join(str(error).split())}") from None
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
