"""A partitioned model with devices dead, in one process: what no living device has is put to zero where parts meet.

On real devices, every layer of the plan is followed by an exchange, where each device gathers the channels that the
living ones have computed, and puts zeros (the zero point, in quantised tensors) in the place of the others. So the
model is run in stages, from exchange to exchange, and the tensors are masked in between. Many sets of dead devices are
run at once: they share the stages up to the first tensor in which they differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

import numpy as np

from eprune.formats.models.errors import model_error
from eprune.formats.models.flow import OperatorFlow, flow
from eprune.formats.models.parts import Model
from eprune.formats.models.slices import slice_model
from eprune.formats.tflite.channels import Layer
from eprune.measure.engines import plain_engine
from eprune.model.partition import Plan
from eprune.model.token import TokenType

#: First operator of a layer -> what each of its channels is multiplied by; layers that are not named are as they are.
Factors = Mapping[int, np.ndarray]
#: tensor, its masked value, which of its channels are there -> its value
Refill = Callable[[int, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """What is done to the exchanged tensors: channels are multiplied, and what is missing may be refilled.

    ``refill`` may put something better than zeros where channels are missing (``measure.recovery``).
    """

    factors: Factors = field(default_factory=dict)
    refill: Optional[Refill] = None

    def mark(self, first: int) -> object:
        """Equal for cases that do the same to the tensors of a layer."""
        return (self.factors[first].tobytes(), id(self.refill)) if first in self.factors else None


INTACT = Case()


def alive(plan: Plan, dead: Collection[int]) -> Factors:
    """What is left of a plan's layers when these devices are dead: 1 for a channel that another one has, else 0."""
    found = {}
    for layer in plan.layers:
        kept = np.zeros(max((max(part, default=-1) for part in layer.parts), default=-1) + 1, np.float32)
        for device, part in enumerate(layer.parts):
            if device not in dead:
                kept[list(part)] = 1
        if not kept.all():
            found[layer.first] = kept
    return found


@dataclass(frozen=True)
class Stage:
    """Operators that run without an exchange in between.

    ``inputs`` and ``outputs`` are tensors, and their numbers in the interpreter; ``gathered`` are the inputs that come
    from exchanges; ``zeros`` has the zero points of all of these.
    """

    interpreter: Any
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]
    gathered: Mapping[int, Layer]
    zeros: Mapping[int, float]


class Stages:
    """A model of one input, and its first output, cut at the exchanges behind ``layers``.

    Raises EpruneError for a model of several inputs.
    """

    def __init__(self, model: Model, layers: Iterable[Layer], interpreter: str) -> None:
        if len(model.inputs) != 1 or not model.outputs:
            raise model_error(model.path, f"has {len(model.inputs)} inputs, and one picture is given at a time")
        self.model = model
        self.layers = tuple(layers)
        self.exchanged = {tensor: layer for layer in self.layers for tensor in layer.outputs}
        flows = flow(model)
        numbers = self._numbers(flows)
        self.stages = [
            self._stage(interpreter, flows, [index for index in flows.work if numbers[index] == number])
            for number in sorted(set(numbers.values()))
        ]
        self.input, self.output = model.inputs[0], model.outputs[0]
        self.token = flows.types.get(self.input) or TokenType("float32", model.tensors[self.input].shape)
        self._zeros = {tensor: zero for stage in self.stages for tensor, zero in stage.zeros.items()}

    def __call__(self, token: np.ndarray, cases: Sequence[Case] = (INTACT,)) -> list[np.ndarray]:
        """The model's output for a token, in each of the cases."""
        found: dict[int, np.ndarray] = {}
        self._run(0, {self.input: token}, range(len(cases)), cases, found)
        return [found[number] for number in range(len(cases))]

    def invoke(self, stage: Stage, values: Mapping[int, np.ndarray], case: Case = INTACT) -> dict[int, np.ndarray]:
        """What a stage makes of the ``values`` of tensors, which are masked where they have been exchanged."""
        for tensor, place in stage.inputs:
            stage.interpreter.set_tensor(place, self.masked(tensor, values[tensor], case))
        stage.interpreter.invoke()
        return {tensor: stage.interpreter.get_tensor(place) for tensor, place in stage.outputs}

    def masked(self, tensor: int, value: np.ndarray, case: Case) -> np.ndarray:
        """A tensor after its exchange: its channels, the last axis, multiplied; or refilled where some are missing."""
        layer = self.exchanged.get(tensor)
        if layer is None or layer.first not in case.factors:
            return value
        factors, zero = self.factors(tensor, case), self._zeros[tensor]
        if np.isin(factors, (0, 1)).all():
            masked = np.where(factors == 0, np.asarray(zero, value.dtype), value)
            return masked if case.refill is None else case.refill(tensor, masked, factors == 1)
        return cast_to((value.astype(np.float32) - zero) * factors + zero, value.dtype)

    def factors(self, tensor: int, case: Case) -> np.ndarray:
        """What each channel of an exchanged tensor is multiplied by."""
        layer = self.exchanged[tensor]
        # A plan may not know of a layer's last channels: of those that no device has.
        given = np.zeros(layer.channels, np.float32)
        given[: len(case.factors[layer.first])] = case.factors[layer.first]
        return np.repeat(given, self.model.tensors[tensor].shape[-1] // layer.channels)

    def _numbers(self, flows: OperatorFlow) -> dict[int, int]:
        """Operator -> the number of exchanges that lie before it, on the longest way."""
        made: dict[int, int] = {}
        found: dict[int, int] = {}
        for index in flows.work:
            number = 0
            for tensor in flows.reads[index]:
                layer = self.exchanged.get(tensor)
                behind = layer is not None and index not in layer.operators
                number = max(number, made.get(tensor, 0) + behind)
            found[index] = number
            made.update(dict.fromkeys(flows.writes[index], number))
        return found

    def _stage(self, interpreter: str, flows: OperatorFlow, inside: Sequence[int]) -> Stage:
        made = dict.fromkeys(tensor for index in inside for tensor in flows.writes[index])
        needed = dict.fromkeys(tensor for index in inside for tensor in flows.reads[index])
        others = {tensor for index in set(flows.work).difference(inside) for tensor in flows.reads[index]}
        inputs = tuple(tensor for tensor in needed if tensor not in made)
        outputs = tuple(tensor for tensor in made if tensor in others or tensor == self.model.outputs[0])
        loaded = plain_engine(self.model, interpreter).load(slice_model(self.model, inside, inputs, outputs))
        ends = [*zip(inputs, loaded.get_input_details())], [*zip(outputs, loaded.get_output_details())]
        return Stage(
            loaded,
            tuple((tensor, detail["index"]) for tensor, detail in ends[0]),
            tuple((tensor, detail["index"]) for tensor, detail in ends[1]),
            {tensor: self.exchanged[tensor] for tensor in inputs if tensor in self.exchanged},
            {tensor: detail["quantization"][1] for end in ends for tensor, detail in end},
        )

    def _run(
        self,
        number: int,
        values: Mapping[int, np.ndarray],
        chosen: Iterable[int],
        cases: Sequence[Case],
        found: dict[int, np.ndarray],
    ) -> None:
        if number == len(self.stages):
            for place in chosen:
                found[place] = self.masked(self.output, values[self.output], cases[place])
            return
        stage = self.stages[number]
        alike: dict[tuple[object, ...], list[int]] = {}
        for place in chosen:
            mark = tuple(cases[place].mark(layer.first) for layer in stage.gathered.values())
            alike.setdefault(mark, []).append(place)
        for group in alike.values():
            made = self.invoke(stage, values, cases[group[0]])
            self._run(number + 1, {**values, **made}, group, cases, found)


def cast_to(values: np.ndarray, dtype: np.dtype[Any]) -> np.ndarray:
    """Real numbers as a tensor's elements: rounded, and kept within the range, where these are whole numbers."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)
