"""A partitioned model with devices dead, in one process: what no living device has is put to zero where parts meet.

On real devices, every layer of the plan is followed by an exchange, where each device gathers the channels that the
living ones have computed, and puts zeros (the zero point, in quantised tensors) in the place of the others. So the
model is run in stages, from exchange to exchange, and the tensors are masked in between. Many sets of dead devices are
run at once: they share the stages up to the first tensor in which they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np

from eprune.formats.tflite.channels import Layer
from eprune.formats.tflite.flow import flow
from eprune.formats.tflite.model import model_error
from eprune.formats.tflite.parts import Model
from eprune.formats.tflite.slicing import slice_model
from eprune.model.partition import Plan
from eprune.model.token import TokenType
from eprune.runtime.fire.tflite import load

#: First operator of a layer -> what each of its channels is multiplied by; layers that are not named are as they are.
Factors = Mapping[int, np.ndarray]
NOTHING: Factors = {}
#: tensor, its masked value, which channels are there -> its value
Refill = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


def alive(plan: Plan, dead: Collection[int]) -> Factors:
    """What is left of a plan's layers when these devices are dead: 1 for a channel that another one has, else 0."""
    found = {}
    for layer in plan.layers:
        every = max((max(part, default=-1) for part in layer.parts), default=-1) + 1
        kept = np.zeros(every, np.float32)
        for device, part in enumerate(layer.parts):
            if device not in dead:
                kept[list(part)] = 1
        if not kept.all():
            found[layer.first] = kept
    return found


@dataclass(frozen=True)
class _Stage:
    """Operators that run without an exchange in between; ``gathered`` are inputs from exchanges -> their layer."""

    interpreter: Any
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]
    gathered: Mapping[int, Layer]
    zeros: Mapping[int, float]


class Stages:
    """A model of one input and one output, cut at the exchanges behind ``layers``.

    ``refill`` may put something better than zeros where channels are missing: it is given the tensor's number, its
    masked value and which of its channels are there, and returns the tensor (``measure.recovery``).

    Raises EpruneError for a model of several inputs.
    """

    def __init__(
        self, model: Model, layers: Iterable[Layer], interpreter: str, refill: Optional[Refill] = None
    ) -> None:
        if len(model.inputs) != 1 or not model.outputs:
            raise model_error(model.path, f"has {len(model.inputs)} inputs, and one picture is given at a time")
        self.model, self.refill = model, refill
        self.layers = tuple(layers)
        self._exchanged = {tensor: layer for layer in self.layers for tensor in layer.outputs}
        flows = flow(model)
        stages = self._numbers(flows.work, flows.reads, flows.writes)
        self._stages = []
        for number in range(max(stages.values(), default=0) + 1):
            inside = [index for index in flows.work if stages[index] == number]
            if inside:
                self._stages.append(self._stage(interpreter, flows, inside))
        self.token = flows.types.get(model.inputs[0]) or TokenType("float32", model.tensors[model.inputs[0]].shape)
        self._zero = self._stages[-1].zeros.get(model.outputs[0], 0)

    def _numbers(
        self, work: Sequence[int], reads: Mapping[int, Sequence[int]], writes: Mapping[int, Sequence[int]]
    ) -> dict[int, int]:
        """Operator -> the number of exchanges that lie before it, on the longest way."""
        made: dict[int, int] = {}
        found: dict[int, int] = {}
        for index in work:
            number = 0
            for tensor in reads[index]:
                layer = self._exchanged.get(tensor)
                behind = layer is not None and index not in layer.operators
                number = max(number, made.get(tensor, 0) + behind)
            found[index] = number
            made.update(dict.fromkeys(writes[index], number))
        return found

    def _stage(self, interpreter: str, flows: Any, inside: Sequence[int]) -> _Stage:
        made = {tensor for index in inside for tensor in flows.writes[index]}
        inputs = tuple(dict.fromkeys(tensor for index in inside for tensor in flows.reads[index] if tensor not in made))
        others = {tensor for index in flows.work if index not in set(inside) for tensor in flows.reads[index]} | {
            self.model.outputs[0]
        }
        outputs = tuple(
            tensor for tensor in dict.fromkeys(t for i in inside for t in flows.writes[i]) if tensor in others
        )
        loaded = load(interpreter, slice_model(self.model, inside, inputs, outputs))
        details = loaded.get_input_details(), loaded.get_output_details()
        zeros = {}
        for tensors, found in zip((inputs, outputs), details):
            zeros.update({tensor: detail["quantization"][1] for tensor, detail in zip(tensors, found)})
        return _Stage(
            loaded,
            tuple((tensor, detail["index"]) for tensor, detail in zip(inputs, details[0])),
            tuple((tensor, detail["index"]) for tensor, detail in zip(outputs, details[1])),
            {tensor: self._exchanged[tensor] for tensor in inputs if tensor in self._exchanged},
            zeros,
        )

    def __call__(self, token: np.ndarray, cases: Sequence[Factors] = (NOTHING,)) -> list[np.ndarray]:
        """The model's output for a token, in each of the cases."""
        found: list[Optional[np.ndarray]] = [None] * len(cases)
        self._run(0, {self.model.inputs[0]: token}, list(range(len(cases))), cases, found)
        return [each for each in found if each is not None]

    def exchanged(self, token: np.ndarray, factors: Factors = NOTHING) -> dict[int, np.ndarray]:
        """The tensors that are exchanged, as they are computed, before anything is masked there."""
        values: dict[int, np.ndarray] = {self.model.inputs[0]: token}
        for stage in self._stages:
            values.update(self._invoke(stage, values, factors))
        return {tensor: value for tensor, value in values.items() if tensor in self._exchanged}

    def _run(
        self,
        number: int,
        values: dict[int, np.ndarray],
        chosen: Sequence[int],
        cases: Sequence[Factors],
        found: list[Optional[np.ndarray]],
    ) -> None:
        if number == len(self._stages):
            for case in chosen:
                answer = values[self.model.outputs[0]]
                found[case] = self._masked(self.model.outputs[0], answer, cases[case], self._zero)
            return
        stage = self._stages[number]
        alike: dict[tuple[bytes, ...], list[int]] = {}
        for case in chosen:
            mark = tuple(
                cases[case][e.first].tobytes() if e.first in cases[case] else b"" for e in stage.gathered.values()
            )
            alike.setdefault(mark, []).append(case)
        for group in alike.values():
            made = self._invoke(stage, values, cases[group[0]])
            self._run(number + 1, {**values, **made}, group, cases, found)

    def _invoke(self, stage: _Stage, values: Mapping[int, np.ndarray], factors: Factors) -> dict[int, np.ndarray]:
        for tensor, place in stage.inputs:
            layer = stage.gathered.get(tensor)
            value = values[tensor]
            if layer is not None:
                value = self._masked(tensor, value, factors, stage.zeros[tensor])
            stage.interpreter.set_tensor(place, value)
        stage.interpreter.invoke()
        return {tensor: stage.interpreter.get_tensor(place) for tensor, place in stage.outputs}

    def _masked(self, tensor: int, value: np.ndarray, factors: Factors, zero: float) -> np.ndarray:
        """A tensor of a layer, its channels multiplied by the factors. Channels are the last axis."""
        layer = self._exchanged.get(tensor)
        if layer is None or layer.first not in factors:
            return value
        wide = np.repeat(spread(factors[layer.first], layer), value.shape[-1] // layer.channels)
        if set(np.unique(wide)) <= {0.0, 1.0}:
            masked = np.where(wide == 0, np.asarray(zero, value.dtype), value)
            return masked if self.refill is None else self.refill(tensor, masked, wide == 1)
        scaled = (value.astype(np.float32) - zero) * wide + zero
        if value.dtype.kind in "iu":
            limits = np.iinfo(value.dtype)
            scaled = np.clip(np.rint(scaled), limits.min, limits.max)
        return scaled.astype(value.dtype)


def spread(factors: np.ndarray, layer: Layer) -> np.ndarray:
    """A factor for each channel of a layer: a plan may not know of the last ones, where no device has them."""
    if len(factors) >= layer.channels:
        return factors
    return np.concatenate([factors, np.zeros(layer.channels - len(factors), factors.dtype)])
