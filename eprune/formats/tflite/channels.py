"""Output channels of a model's operators: which operators can do with some of them, and what that leaves of a tensor.

An operator with weights (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV) computes each output channel from
weights of its own. What follows is often *channel-local*: each channel of its result needs the same channel of its
input only (activations, pools, paddings, additions of equal shapes). So a set of channels can go through all of these
on one device, and an exchange is needed only in front of an operator that mixes channels. Channels are the last axis.

Of a grouped convolution (a depthwise one has as many groups as input channels) each group of output channels needs one
group of input channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model, Operator
from eprune.formats.tflite.model import load_schema, root_of

#: A set of output channels, in the order in which a slice has them.
Channels = tuple[int, ...]

#: Operators with weights -> the position of the data, and constants with an entry for each output channel: their axis.
HEADS: Mapping[str, tuple[int, Mapping[int, int]]] = {
    "CONV_2D": (0, {1: 0, 2: 0}),
    "DEPTHWISE_CONV_2D": (0, {1: 3, 2: 0}),
    "FULLY_CONNECTED": (0, {1: 0, 2: 0}),
    "TRANSPOSE_CONV": (2, {1: 0, 3: 0}),
}
#: Where a convolution's weights have the channels of the input.
_DEPTH = {"CONV_2D": 3, "TRANSPOSE_CONV": 3}

_UNARY = {"ABS", "CAST", "CEIL", "COS", "DEQUANTIZE", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH", "LEAKY_RELU"}.union(
    {"LOG", "LOGISTIC", "NEG", "QUANTIZE", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND", "RSQRT", "SIGN"},
    {"SIN", "SQRT", "SQUARE", "TANH"},
)
_POOLS = {"AVERAGE_POOL_2D", "L2_POOL_2D", "MAX_POOL_2D"}
_RESIZES = {"RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"}
_PADS = {"MIRROR_PAD", "PAD", "PADV2"}
_REDUCTIONS = {"MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"}
_BINARY = {"ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "PRELU", "SQUARED_DIFFERENCE", "SUB"}


@dataclass(frozen=True)
class Layer:
    """What can be dealt to devices by output channels, with what stays partitioned with it.

    ``operators``, in rising order, begin with ``first``, which has weights, and ``channels`` output channels; those
    behind are channel-local. Where two branches are added and nothing else needs them, both are in one layer: ``heads``
    are all its operators with weights that mix channels. ``outputs`` are the tensors that leave it, partitioned on
    their last axis: an exchange stands behind each. ``weight_bytes`` are those of constants with an entry for each
    channel; ``macs`` are multiplications and additions of one run, of all channels.
    """

    first: int
    operators: tuple[int, ...]
    channels: int
    outputs: tuple[int, ...]
    heads: tuple[int, ...]
    weight_bytes: int
    macs: int


@dataclass(frozen=True)
class Role:
    """How an operator treats channels: ``data`` are the positions of operands whose channels are those of the result.

    ``constants``: position of an operand with an entry for each channel of the result -> its axis. ``groups``: 1 for an
    operator that mixes all channels of ``data``, 0 for one that is channel-local.
    """

    data: tuple[int, ...]
    constants: Mapping[int, int] = field(default_factory=dict)
    groups: int = 0


@dataclass(frozen=True)
class Narrowed:
    """What a set of channels leaves of an operator: ``tensors`` of its data and results -> their channels.

    ``constants``: position of a constant operand -> axis and channels.
    """

    tensors: Mapping[int, Channels]
    constants: Mapping[int, tuple[int, Channels]]


def layers(model: Model) -> tuple[Layer, ...]:
    """What can be dealt by output channels, in order of execution.

    A convolution with several groups that is no depthwise one, and an operator whose weights cannot be sliced, are in
    no layer; nor is a depthwise convolution whose input no layer gives, or one that makes several channels of one.
    """
    root_of(model)  # of a model of another format nothing is known
    return _Finder(model).layers()


def role(model: Model, operator: Operator) -> Optional[Role]:
    """How an operator treats channels; None if that is not known, or if it mixes them without weights."""
    if operator.name in HEADS:
        return _head(model, operator)
    if len(operator.outputs) != 1 or not operator.builtin:
        return None
    data = operator.inputs[:1]
    if not data or data[0] < 0 or _size(model, data[0]) < 1 or _known_constant(model, data[0]):
        return _binary(model, operator) if operator.name in _BINARY else None
    if operator.name in _UNARY or (operator.name in _POOLS and len(model.tensors[data[0]].shape) == 4):
        return Role((0,))
    if operator.name in _RESIZES:
        return Role((0,))
    if operator.name in _PADS:
        pads = values(model, operator.inputs[1])
        return Role((0,)) if pads is not None and len(pads) and not any(pads[-2:]) else None
    if operator.name in _REDUCTIONS:
        axes, rank = values(model, operator.inputs[1]), len(model.tensors[data[0]].shape)
        return Role((0,)) if axes is not None and not {-1, rank - 1}.intersection(axes) else None
    return _binary(model, operator) if operator.name in _BINARY else None


def refusal(model: Model, operator: Operator) -> str:
    """Why the weights of an operator of ``HEADS`` cannot be sliced; an empty text if they can."""
    if model.tensors[operator.outputs[0]].shape[-1:] in ((), (0,)):
        return "the number of its channels is not known"
    for position in HEADS[operator.name][1]:
        if position < len(operator.inputs) and operator.inputs[position] >= 0:
            problem = _weights_refusal(model, operator.inputs[position])
            if problem:
                return problem
    if operator.name == "FULLY_CONNECTED" and _shuffled(model, operator):
        return "its weights are shuffled"
    if operator.name == "TRANSPOSE_CONV" and values(model, operator.inputs[0]) is None:
        return "the shape of its result is not a constant"
    return ""


def stored(model: Model, index: int) -> tuple[int, ...]:
    """The tensors by which a constant is stored: itself, or what a DEQUANTIZE makes of another; () if by no such."""
    if model.tensors[index].constant:
        return (index,)
    writer = next((operator for operator in model.operators if index in operator.outputs), None)
    if writer is not None and writer.name == "DEQUANTIZE" and model.tensors[writer.inputs[0]].constant:
        return (index, writer.inputs[0])
    return ()


def values(model: Model, index: int) -> Optional[list[int]]:
    """The flat values of an integer constant; None for another tensor."""
    import numpy as np

    from eprune.formats.tflite.model import buffer_bytes

    tensor = model.tensors[index] if index >= 0 else None
    if tensor is None or not tensor.constant or tensor.type not in ("INT32", "INT64"):
        return None
    root = root_of(model)
    found: list[int] = buffer_bytes(model.data, root, tensor.buffer).view(np.dtype(tensor.dtype)).tolist()
    return found


def zero_point(model: Model, index: int) -> int:
    """What stands for 0 in a tensor: its zero point, or 0."""
    quantization: Any = root_of(model).Subgraphs(model.graph).Tensors(index).Quantization()
    if quantization is None or quantization.ZeroPointLength() != 1 or model.tensors[index].type.startswith("FLOAT"):
        return 0
    return int(quantization.ZeroPoint(0))


def narrow(model: Model, operators: Iterable[int], channels: Channels) -> dict[int, Narrowed]:
    """What the output channels ``channels`` leave of these operators: operator -> Narrowed.

    ``channels`` are those of the results of operators whose data comes from elsewhere; in front of such an operator
    that is channel-local, its data has these channels only, too. Raises EpruneError (FILE) for operators that do not
    take part, channels that are not there, and groups that are not whole.
    """
    chosen = [model.operators[index] for index in sorted(operators)]
    made: dict[int, Channels] = {}
    found: dict[int, Narrowed] = {}
    for operator in chosen:
        found[operator.index] = one = _Narrowing(model, operator, made, channels).result()
        for index in operator.outputs:
            made[index] = one.tensors[index]
    return found


def narrowed_bytes(model: Model, found: Mapping[int, Narrowed]) -> tuple[int, int]:
    """Bytes of the constants with an entry for each channel: of all channels, and of those that are kept."""
    whole: dict[int, int] = {}
    kept: dict[tuple[int, Channels], int] = {}
    for number, narrowed in found.items():
        operator = model.operators[number]
        for position, (axis, channels) in narrowed.constants.items():
            last = model.tensors[stored(model, operator.inputs[position])[-1]]
            whole[last.buffer] = last.nbytes
            kept[last.buffer, channels] = last.nbytes * len(channels) // max(last.shape[axis], 1)
    return sum(whole.values()), sum(kept.values())


def _head(model: Model, operator: Operator) -> Optional[Role]:
    place, axes = HEADS[operator.name]
    if len(operator.inputs) <= max(place, 1) or len(operator.outputs) != 1 or operator.inputs[place] < 0:
        return None
    depth = _size(model, operator.inputs[place])
    constants = {p: axis for p, axis in axes.items() if p < len(operator.inputs) and operator.inputs[p] >= 0}
    groups = 1
    if operator.name == "DEPTHWISE_CONV_2D":
        groups = depth
    elif operator.name in _DEPTH:
        shape = model.tensors[operator.inputs[1]].shape
        groups = depth // shape[3] if len(shape) == 4 and shape[3] > 0 else 1
    return Role((place,), constants, groups) if groups > 0 else None


def _binary(model: Model, operator: Operator) -> Optional[Role]:
    """An operator of two operands, one of which may be a constant."""
    count = _size(model, operator.outputs[0])
    data, constants = [], {}
    for position, index in enumerate(operator.inputs[:2]):
        shape = model.tensors[index].shape if index >= 0 else ()
        if index >= 0 and _known_constant(model, index):
            if shape and shape[-1] == count:
                constants[position] = len(shape) - 1
        elif index < 0 or _size(model, index) != count:
            return None
        else:
            data.append(position)
    return Role(tuple(data), constants) if data and count > 0 else None


def _multiplies(model: Model, operator: Operator) -> bool:
    """Whether it is a depthwise convolution of floats with several output channels for each input channel."""
    depth, count = _size(model, operator.inputs[0]), _size(model, operator.outputs[0])
    floats = model.tensors[operator.outputs[0]].type == "FLOAT32"
    return operator.name == "DEPTHWISE_CONV_2D" and floats and depth != count


def _known_constant(model: Model, index: int) -> bool:
    return bool(stored(model, index))


def _size(model: Model, index: int) -> int:
    """The number of a tensor's channels; 0 if the file does not state it."""
    tensor = model.tensors[index]
    return 0 if not tensor.shape or len(tensor.shape) - 1 in tensor.open else tensor.shape[-1]


def _weights_refusal(model: Model, index: int) -> str:
    tensor = model.tensors[index]
    chain = stored(model, index)
    if not chain:
        writer = next((operator for operator in model.operators if index in operator.outputs), None)
        if writer is not None and writer.name == "DENSIFY":
            return f"its weights, tensor {index} ({tensor.name}), are sparse"
        by = f"computed by {writer}" if writer is not None else "an input of the model"
        return f"its weights, tensor {index} ({tensor.name}), are {by}"
    root = root_of(model)
    for each in chain:
        if model.tensors[each].details:
            return f"its weights, tensor {each} ({model.tensors[each].name}), are quantized by blocks"
        if root.Subgraphs(model.graph).Tensors(each).Sparsity() is not None:
            return f"its weights, tensor {each} ({model.tensors[each].name}), are sparse"
    return ""


def _shuffled(model: Model, operator: Operator) -> bool:
    schema, root = load_schema(model.path), root_of(model)
    raw: Any = root.Subgraphs(model.graph).Operators(operator.index).BuiltinOptions()
    if raw is None:
        return False
    options = schema.FullyConnectedOptions()
    options.Init(raw.Bytes, raw.Pos)
    return bool(options.WeightsFormat() != schema.FullyConnectedOptionsWeightsFormat.DEFAULT)


class _Narrowing:
    """What a set of channels leaves of one operator. ``made``: tensors of the operators before it -> their channels."""

    def __init__(self, model: Model, operator: Operator, made: Mapping[int, Channels], channels: Channels) -> None:
        self.model = model
        self.operator = operator
        self.made = made
        found = role(model, operator)
        if found is None:
            raise self._error("does not work channel by channel", "leave it out, or do without channels")
        self.role = found
        if operator.name in HEADS and (problem := refusal(model, operator)):
            raise self._error(f"cannot be sliced by channels: {problem}", "leave it whole")
        inner = {made[operator.inputs[p]] for p in found.data if operator.inputs[p] in made}
        if len(inner) > 1:
            raise self._error("adds different channels", "an exchange has to be in between")
        self.given = next(iter(inner), None)
        self.channels = channels

    def result(self) -> Narrowed:
        """The tensors and constants."""
        operator, groups = self.operator, self.role.groups
        count = _size(self.model, operator.outputs[0])
        if groups == 0:
            inputs = outputs = self.channels if self.given is None else self.given
        elif groups == 1:
            if self.given is not None:
                raise self._error("mixes channels, and another of these operators gives it some only", _EXCHANGE)
            inputs, outputs = (), self.channels
        elif self.given is not None:
            inputs, outputs = self.given, self._outputs(self.given, count)
        else:
            inputs, outputs = self._inputs(count), self.channels
        self._check(outputs, count)
        if self._alone(outputs, count):
            hint = "XNNPACK rounds otherwise where a group has one: keep two at least"
            raise self._error("is to keep one channel of several of a group", hint)
        tensors = dict.fromkeys((operator.inputs[p] for p in self.role.data if groups != 1), inputs)
        tensors.update(dict.fromkeys(operator.outputs, outputs))
        return Narrowed(tensors, {position: (axis, outputs) for position, axis in self.role.constants.items()})

    def _alone(self, outputs: Channels, count: int) -> bool:
        """Whether a depthwise convolution of floats would be one with a channel for each group, and has not been."""
        if not _multiplies(self.model, self.operator):
            return False
        per = count // self.role.groups
        return len({channel // per for channel in outputs}) == len(outputs)

    def _check(self, channels: Channels, count: int) -> None:
        wrong = [channel for channel in channels if not 0 <= channel < count]
        if wrong:
            raise self._error(f"has no channel {wrong[0]}", f"it has channels 0 to {count - 1}")
        if len(set(channels)) < len(channels) or not channels:
            raise self._error("is to keep a channel twice" if channels else "is to keep no channel", "name each once")

    def _inputs(self, count: int) -> Channels:
        """The channels of the data that these groups of output channels need."""
        groups = self.role.groups
        per = count // groups
        self._check(self.channels, count)
        touched = list(dict.fromkeys(channel // per for channel in self.channels))
        size = len(self.channels) // len(touched)
        blocks = [self.channels[start : start + size] for start in range(0, len(self.channels), size)]
        if len(blocks) != len(touched) or any({c // per for c in block} != {g} for block, g in zip(blocks, touched)):
            hint = f"it has {groups} groups of {per}: name as many channels of each, group by group"
            raise self._error("is to keep parts of groups of different size", hint)
        depth = _size(self.model, self.operator.inputs[self.role.data[0]]) // groups
        return tuple(group * depth + place for group in touched for place in range(depth))

    def _outputs(self, given: Channels, count: int) -> Channels:
        """All output channels of the groups that the given channels are."""
        groups = self.role.groups
        depth = _size(self.model, self.operator.inputs[self.role.data[0]]) // groups
        per = count // groups
        blocks = [given[start : start + depth] for start in range(0, len(given), depth)]
        if any(block != tuple(range(block[0], block[0] + depth)) or block[0] % depth for block in blocks):
            raise self._error("gets parts of groups", f"keep whole groups of {depth} channels in front of it")
        return tuple(block[0] // depth * per + place for block in blocks for place in range(per))

    def _error(self, message: str, hint: str) -> Exception:
        return model_error(self.model.path, f"{self.operator} {message}", hint)


_EXCHANGE = "an exchange has to be in between: put it into another slice"


class _Part:
    """A layer in the making."""

    def __init__(self, head: int, channels: int) -> None:
        self.operators = [head]
        self.heads = [head]
        self.channels = channels


class _Finder:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.owner: dict[int, _Part] = {}  # tensor -> the layer in which it is partitioned
        self.parts: list[_Part] = []
        self.readers: dict[int, list[int]] = {}
        for operator in model.operators:
            for index in operator.inputs:
                self.readers.setdefault(index, []).append(operator.index)
        self.before = _ancestors(model)

    def layers(self) -> tuple[Layer, ...]:
        """All of them."""
        for operator in self.model.operators:
            self._place(operator)
        for part in self.parts:
            self._trim(part)
        found = (self._layer(part) for part in sorted(self.parts, key=lambda part: part.operators[-1]))
        return tuple(sorted(found, key=lambda layer: layer.first))

    def _place(self, operator: Operator) -> None:
        found = role(self.model, operator)
        if found is None or (operator.name in HEADS and refusal(self.model, operator)):
            return
        if found.groups == 1:
            channels = _size(self.model, operator.outputs[0])
            if channels > 1 and not _multiplies(self.model, operator):
                self._join(operator, _Part(operator.index, channels), new=True)
            return
        if found.groups > 1 and operator.name != "DEPTHWISE_CONV_2D":
            return
        owners = [self.owner.get(operator.inputs[position]) for position in found.data]
        first = owners[0]
        if first is None or None in owners:
            return
        other = next((each for each in owners if each is not first), None)
        if other is not None and not self._merge(first, other, operator):
            return
        self._join(operator, self.owner[operator.inputs[found.data[0]]])

    def _join(self, operator: Operator, part: _Part, new: bool = False) -> None:
        if new:
            self.parts.append(part)
        else:
            part.operators.append(operator.index)
        self.owner.update(dict.fromkeys(operator.outputs, part))

    def _merge(self, one: Optional[_Part], other: Optional[_Part], operator: Operator) -> bool:
        """Make two layers one, if only this operator needs what one of them gives, and neither needs the other."""
        if one is None or other is None or one.channels != other.channels:
            return False
        sizes = {_size(self.model, index) for index in operator.inputs[:2]}
        alone = any(
            all(reader in part.operators or reader == operator.index for reader in self._readers(part))
            and not self._shown(part)
            for part in (one, other)
        )
        linked = any(
            not self.before[index].isdisjoint(there.operators)
            for here, there in ((one, other), (other, one))
            for index in here.operators
        )
        if sizes != {one.channels} or not alone or linked:
            return False
        one.operators = sorted(one.operators + other.operators)
        one.heads = sorted(one.heads + other.heads)
        self.parts.remove(other)
        self.owner.update({index: one for index, part in self.owner.items() if part is other})
        return True

    def _readers(self, part: _Part) -> Iterator[int]:
        for index in part.operators:
            for tensor in self.model.operators[index].outputs:
                yield from self.readers.get(tensor, ())

    def _shown(self, part: _Part) -> bool:
        made = {tensor for index in part.operators for tensor in self.model.operators[index].outputs}
        return not made.isdisjoint(self.model.outputs)

    def _outputs(self, part: _Part) -> list[int]:
        inside = set(part.operators)
        made = [tensor for index in part.operators for tensor in self.model.operators[index].outputs]
        ends = self.model.outputs
        return [index for index in made if index in ends or not inside.issuperset(self.readers.get(index, ()))]

    def _trim(self, part: _Part) -> None:
        """Leave out operators at the end that make more bytes than they get: they come behind the exchange."""
        while len(part.operators) > 1:
            last = self.model.operators[part.operators[-1]]
            data = [index for index in last.inputs if index in self.owner]
            if (
                last.index in part.heads
                or len(data) != 1
                or _nbytes(self.model, data[0]) >= _nbytes(self.model, last.outputs[0])
            ):
                return
            part.operators.pop()

    def _layer(self, part: _Part) -> Layer:
        from eprune.formats.tflite.cost import macs

        operators = [self.model.operators[index] for index in part.operators]
        whole = narrow(self.model, part.operators, tuple(range(part.channels)))
        nbytes, _ = narrowed_bytes(self.model, whole)
        work = sum(macs(self.model, operator) for operator in operators)
        outputs = tuple(self._outputs(part))
        ends = (tuple(part.operators), part.channels, outputs, tuple(part.heads))
        return Layer(part.operators[0], *ends, weight_bytes=nbytes, macs=work)


def _nbytes(model: Model, index: int) -> int:
    token = model.tensors[index].token
    return token.nbytes if token is not None else 0


def _ancestors(model: Model) -> list[set[int]]:
    """For each operator those whose results it depends on."""
    writer = {index: operator.index for operator in model.operators for index in operator.outputs}
    found: list[set[int]] = []
    for operator in model.operators:
        direct = {writer[index] for index in operator.inputs if index in writer and writer[index] < operator.index}
        found.append(direct.union(*(found[index] for index in direct)))
    return found


def ranges(channels: Sequence[int]) -> str:
    """``0,4,8-12``: channels in their order, successive ones as a range."""
    parts: list[list[int]] = []
    for channel in channels:
        if parts and channel == parts[-1][1] + 1:
            parts[-1][1] = channel
        else:
            parts.append([channel, channel])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in parts)
