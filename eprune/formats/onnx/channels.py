"""Output channels of an ONNX model's operators: what keeping some of them leaves of tensors and constants.

Conv, ConvTranspose, Gemm, and MatMul with constant weights compute each output channel from weights of its own. What
follows is channel-local where each channel of its result needs the same channel of its input only. Channels are the
second axis of what a convolution gives, and the last one of a product of matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Left, Model, Operator
from eprune.formats.onnx.model import attribute, external_bytes, is_constant, nodes_of, proto_of
from eprune.model.behaviour import Kept

#: A set of output channels, in the order in which a slice has them.
Channels = tuple[int, ...]

_UNARY = {
    "Abs",
    "Cast",
    "Ceil",
    "Clip",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Identity",
}.union(
    {"LeakyRelu", "Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Sqrt"},
    {"Softsign", "Tanh", "ThresholdedRelu"},
)
_POOLS = {"AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"}
_BINARY = {"Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub"}
_HEADS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Narrowed:
    """What is left of an operator: of the tensors at its ends, by axis, and of constants, by position and axis.

    ``group`` is the attribute of a depthwise convolution, 0 of others.
    """

    tensors: Mapping[int, tuple[int, Channels]]
    constants: Mapping[int, tuple[int, Channels]] = field(default_factory=dict)
    group: int = 0


def narrowed(model: Model, operators: Iterable[int], kept: Sequence[Kept]) -> Left:
    """See ``Format.narrowed``."""
    found = _narrowings(model, kept)
    made = {tensor: left for one in found.values() for tensor, left in one.tensors.items()}
    for index in operators:
        own = found[index].tensors if index in found else {}
        for tensor in model.operators[index].tensors:
            if tensor in made and tensor not in own:
                message = f"tensor {tensor} ({model.tensors[tensor].name}) has some channels only"
                raise model_error(model.path, f"{message}, and {model.operators[index]} needs all", _EXCHANGE)
    saved: dict[tuple[int, Channels], int] = {}
    for index, one in found.items():
        for position, (axis, channels) in one.constants.items():
            constant = model.tensors[model.operators[index].inputs[position]]
            size = max(constant.shape[axis], 1)
            saved[constant.buffer, channels] = constant.nbytes - constant.nbytes * len(channels) // size
    axes = {tensor: axis - len(model.tensors[tensor].shape) for tensor, (axis, _) in made.items()}
    return Left({tensor: channels for tensor, (_, channels) in made.items()}, sum(saved.values()), axes)


_EXCHANGE = "an exchange has to be in between: put it into another slice"


def _narrowings(model: Model, kept: Sequence[Kept]) -> dict[int, Narrowed]:
    found: dict[int, Narrowed] = {}
    nodes = nodes_of(proto_of(model.data, model.path).graph) if kept else []
    for members, channels in kept:
        made: dict[int, tuple[int, Channels]] = {}
        for index in sorted(members):
            one = _Narrowing(model, model.operators[index], nodes[index], made, channels).result()
            found[index] = one
            made.update(one.tensors)
    return found


class _Narrowing:
    """Of one operator: ``made`` are the tensors that have some channels only, ``channels`` those to be kept."""

    def __init__(
        self,
        model: Model,
        operator: Operator,
        node: Any,
        made: Mapping[int, tuple[int, Channels]],
        channels: Channels,
    ) -> None:
        self.model, self.operator, self.node, self.made, self.channels = model, operator, node, made, channels
        self.shapes = [model.tensors[index].shape if index >= 0 else () for index in operator.inputs]

    def result(self) -> Narrowed:
        """The tensors and constants."""
        operator = self.operator
        if len(operator.outputs) != 1 or not operator.builtin:
            raise self._error("does not work channel by channel", "leave it out, or do without channels")
        if operator.name in _HEADS:
            return self._head()
        if operator.name in _UNARY or operator.name in _POOLS:
            return self._local({})
        if operator.name == "BatchNormalization":
            return self._local(dict.fromkeys(range(1, 5), 0))
        if operator.name in _BINARY:
            return self._binary()
        raise self._error("does not work channel by channel", "leave it out, or do without channels")

    def _head(self) -> Narrowed:
        operator = self.operator
        group = attribute(self.node, "group", 1)
        if group > 1:
            return self._depthwise(group)
        data = operator.inputs[0]
        if data in self.made:
            raise self._error("mixes channels, and another of these operators gives it some only", _EXCHANGE)
        axis = {"Conv": 0, "ConvTranspose": 1, "MatMul": len(self.shapes[1]) - 1}.get(operator.name)
        if operator.name == "Gemm":
            axis = 0 if attribute(self.node, "transB", 0) else 1
        if operator.name == "MatMul" and len(self.shapes[1]) != 2:
            raise self._error("cannot be sliced by channels: its weights are no matrix", "leave it whole")
        assert axis is not None
        constants = {1: (axis, self.channels)}
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            shape = self.shapes[2]
            if operator.name != "Gemm" or (shape and shape[-1] > 1):
                constants[2] = (len(shape) - 1, self.channels)
        return self._narrowed(constants, {})

    def _depthwise(self, group: int) -> Narrowed:
        """Each channel of the input gives as many of the output."""
        data, weights = self.operator.inputs[0], self.shapes[1]
        if self.operator.name != "Conv" or len(weights) < 3 or weights[1] != 1:
            raise self._error("cannot be sliced by channels: it has groups of several channels", "leave it whole")
        per = weights[0] // group
        given = self.made[data][1] if data in self.made else tuple(dict.fromkeys(c // per for c in self.channels))
        wanted = tuple(channel * per + place for channel in given for place in range(per))
        if data not in self.made and wanted != self.channels:
            raise self._error("is to keep parts of groups", f"name {per} channels of each group, group by group")
        self.channels = wanted
        constants = {1: (0, wanted)}
        if len(self.operator.inputs) > 2 and self.operator.inputs[2] >= 0:
            constants[2] = (0, wanted)
        return self._narrowed(constants, {data: (1, given)}, len(given))

    def _local(self, constants: Mapping[int, int]) -> Narrowed:
        data = self.operator.inputs[0]
        axis, channels = self.made.get(data, (self._axis(data), self.channels))
        self.channels = channels
        if self.operator.name in _POOLS | {"BatchNormalization"} and axis != 1:
            raise self._error("does not work channel by channel here", "leave it out, or do without channels")
        for index in self.operator.inputs[1:]:
            if index >= 0 and not self.model.tensors[index].constant:
                raise self._error("takes its parameters from other operators", "leave it out")
        return self._narrowed(dict.fromkeys(constants, (0, channels)), {data: (axis, channels)}, axis=axis)

    def _binary(self) -> Narrowed:
        operator = self.operator
        rank = len(self.model.tensors[operator.outputs[0]].shape)
        data = [index for index in operator.inputs if not self.model.tensors[index].constant]
        known = [self.made[index] for index in data if index in self.made]
        if len(set(known)) > 1:
            raise self._error("joins different channels", _EXCHANGE)
        if not data or any(len(self.model.tensors[index].shape) != rank for index in data):
            raise self._error("does not work channel by channel here", "leave it out, or do without channels")
        axis, channels = known[0] if known else (self._axis(data[0]), self.channels)
        self.channels = channels
        size = self.model.tensors[operator.outputs[0]].shape[axis]
        constants = {}
        for position, index in enumerate(operator.inputs):
            shape = self.model.tensors[index].shape
            place = axis - rank + len(shape)
            if index in data and shape[axis] != size:
                raise self._error("gives one channel to all", "leave it out, or do without channels")
            if index not in data and place >= 0 and shape[place] > 1:
                constants[position] = (place, channels)
        return self._narrowed(constants, dict.fromkeys(data, (axis, channels)), axis=axis)

    def _axis(self, tensor: int) -> int:
        """Where channels are of what comes from elsewhere: behind the batch, unless there are but two axes."""
        rank = len(self.model.tensors[tensor].shape)
        return 1 if rank > 2 else rank - 1

    def _narrowed(
        self,
        constants: Mapping[int, tuple[int, Channels]],
        inputs: Mapping[int, tuple[int, Channels]],
        group: int = 0,
        axis: Optional[int] = None,
    ) -> Narrowed:
        output = self.operator.outputs[0]
        shape = self.model.tensors[output].shape
        if axis is None:
            axis = 1 if self.operator.name.startswith("Conv") else len(shape) - 1
        if not self.model.tensors[output].token:
            raise self._error("cannot be sliced by channels: its shape is not known", "leave it whole")
        self._check(self.channels, shape[axis])
        for position in constants:
            if not self.model.tensors[self.operator.inputs[position]].constant:
                raise self._error("cannot be sliced by channels: its weights are computed", "leave it whole")
        return Narrowed({**inputs, output: (axis, self.channels)}, constants, group)

    def _check(self, channels: Channels, count: int) -> None:
        wrong = [channel for channel in channels if not 0 <= channel < count]
        if wrong:
            raise self._error(f"has no channel {wrong[0]}", f"it has channels 0 to {count - 1}")
        if len(set(channels)) < len(channels) or not channels:
            raise self._error("is to keep a channel twice" if channels else "is to keep no channel", "name each once")

    def _error(self, message: str, hint: str) -> Exception:
        return model_error(self.model.path, f"{self.operator} {message}", hint)


class Narrower:
    """Narrows the operators of ``graph``, a GraphProto that a slice is to be."""

    def __init__(self, onnx: Any, model: Model, graph: Any) -> None:
        self.onnx, self.model, self.graph = onnx, model, graph

    def apply(self, operators: Sequence[Operator], kept: Sequence[Kept]) -> None:
        """``operators`` are those of the graph."""
        found = _narrowings(self.model, kept)
        chosen = dict(zip((operator.index for operator in operators), nodes_of(self.graph)))
        made: dict[tuple[str, int, Channels], str] = {}
        for index, one in found.items():
            node = chosen[index]
            for position, (axis, channels) in one.constants.items():
                key = (node.input[position], axis, channels)
                if key not in made:
                    made[key] = self._constant(*key, len(made))
                node.input[position] = made[key]
            for each in node.attribute:
                if each.name == "group" and one.group:
                    each.i = one.group
        sizes = {self.model.tensors[t].name: left for one in found.values() for t, left in one.tensors.items()}
        for value in (*self.graph.input, *self.graph.output, *self.graph.value_info):
            if value.name in sizes:
                axis, channels = sizes[value.name]
                value.type.tensor_type.shape.dim[axis].dim_value = len(channels)
        self._drop_unused()

    def _constant(self, name: str, axis: int, channels: Channels, number: int) -> str:
        """The name of a constant that has these entries only of another."""
        import numpy as np

        source = next((each for each in self.graph.initializer if each.name == name), None)
        if source is None:
            node = next(each for each in self.graph.node if name in each.output and is_constant(each))
            source = node.attribute[0].t
        if source.data_location == source.EXTERNAL:
            source.raw_data = external_bytes(source, self.model.path)
        values = np.ascontiguousarray(self.onnx.numpy_helper.to_array(source).take(channels, axis))
        made = self.onnx.numpy_helper.from_array(values, f"{name}/channels{number}")
        self.graph.initializer.append(made)
        return str(made.name)

    def _drop_unused(self) -> None:
        used = {name for node in nodes_of(self.graph) for name in node.input}
        used.update(each.name for each in self.graph.output)
        for parts, unused in (
            (self.graph.initializer, [each for each in self.graph.initializer if each.name not in used]),
            (self.graph.node, [n for n in self.graph.node if is_constant(n) and used.isdisjoint(n.output)]),
        ):
            for each in unused:
                parts.remove(each)
