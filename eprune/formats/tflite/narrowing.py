"""Leave only some channels of operators in a graph that is about to be written: weights, shapes, quantization."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model, Operator
from eprune.formats.tflite.channels import HEADS, Channels, Narrowed, narrow, stored
from eprune.formats.tflite.model import DETAILS, enum_names
from eprune.model.behaviour import Kept

_NIBBLES = ("INT4", "UINT4")


def narrowed(model: Model, operators: Iterable[int], kept: Sequence[Kept]) -> dict[int, Narrowed]:
    """What is left of operators in a slice of ``operators``, of which some keep channels only.

    Raises EpruneError (FILE) where ``narrow`` does, and where a tensor would have some channels for one operator of
    the slice and others for another.
    """
    found: dict[int, Narrowed] = {}
    for members, channels in kept:
        found.update(narrow(model, members, channels))
    made: dict[int, Channels] = {}
    for one in found.values():
        for tensor, channels in one.tensors.items():
            if made.setdefault(tensor, channels) != channels:
                raise _mixed(model, tensor)
    for index in operators:
        own = found[index].tensors if index in found else {}
        for tensor in model.operators[index].tensors:
            if tensor in made and tensor not in own:
                raise _mixed(model, tensor)
    return found


def tensor_channels(found: Mapping[int, Narrowed]) -> dict[int, Channels]:
    """Tensor -> the channels that are left of it, where some are not."""
    return {tensor: channels for one in found.values() for tensor, channels in one.tensors.items()}


class Narrower:
    """Narrows the operators of ``graph``, a SubGraphT; ``index_of`` maps the model's tensors to its tensors.

    ``buffers`` are the file's; narrowed constants are added, made by ``constant``.
    """

    def __init__(self, schema: Any, model: Model, graph: Any, index_of: Mapping[int, int], buffers: list[Any]) -> None:
        self.schema = schema
        self.model = model
        self.graph = graph
        self.index_of = index_of
        self.buffers = buffers
        self.known: dict[Any, int] = {}

    def apply(self, operators: Sequence[Operator], found: Mapping[int, Narrowed], constant: Any) -> None:
        """``operators`` are those of the graph, in its order; ``constant`` makes a buffer of a uint8 array."""
        self.constant = constant
        self.before: dict[int, list[Any]] = {}
        for place, operator in enumerate(operators):
            if operator.index in found:
                self._operator(place, operator, found[operator.index])
        for tensor, channels in tensor_channels(found).items():
            self._narrow_data(self.graph.tensors[self.index_of[tensor]], len(channels), tensor)
        self.graph.operators = [
            each for place, own in enumerate(self.graph.operators) for each in (*self.before.get(place, ()), own)
        ]
        self._drop_unused()

    def _operator(self, place: int, operator: Operator, one: Narrowed) -> None:
        made = self.graph.operators[place]
        for position, (axis, channels) in one.constants.items():
            made.inputs[position] = self._constant(place, operator.inputs[position], axis, channels)
        if operator.name == "TRANSPOSE_CONV":
            size = len(one.tensors[operator.outputs[0]])
            made.inputs[0] = self._with_last(operator.inputs[0], size)
        if operator.name == "DEPTHWISE_CONV_2D":
            data = operator.inputs[HEADS[operator.name][0]]
            depth = len(one.tensors[data]) if data in one.tensors else self.model.tensors[data].shape[-1]
            made.builtinOptions.depthMultiplier = len(one.tensors[operator.outputs[0]]) // depth

    def _constant(self, place: int, index: int, axis: int, channels: Channels) -> int:
        """The graph's tensor that has these entries only of a constant of the model."""
        key = (index, axis, channels)
        if key not in self.known:
            chain = stored(self.model, index)
            last = self._narrowed(chain[-1], axis, channels)
            self.known[key] = last
            if len(chain) > 1:
                self.known[key] = self._unpacked(place, index, axis, channels, last)
        return self.known[key]

    def _unpacked(self, place: int, index: int, axis: int, channels: Channels, source: int) -> int:
        """The result of a DEQUANTIZE of ``source``, in the place of the model's tensor ``index``."""
        tensor = copy.copy(self.graph.tensors[self.index_of[index]])
        tensor.shape = _with(tensor.shape, axis, len(channels))
        tensor.shapeSignature = None
        number = self._add(tensor)
        old = self.index_of[index]
        unpack = copy.copy(next(each for each in self.graph.operators if old in list(each.outputs)))
        unpack.inputs, unpack.outputs = [source], [number]
        self.before.setdefault(place, []).append(unpack)
        return number

    def _narrowed(self, index: int, axis: int, channels: Channels) -> int:
        tensor = copy.copy(self.graph.tensors[self.index_of[index]])
        source = self.model.tensors[index]
        data = _taken(self.buffers[tensor.buffer].data, source.shape, source.type, axis, channels)
        tensor.buffer = len(self.buffers)
        self.buffers.append(self.constant(data))
        tensor.quantization = _quantization(tensor.quantization, source.shape[axis], axis, channels)
        tensor.shape = _with(tensor.shape, axis, len(channels))
        tensor.shapeSignature = None
        return self._add(tensor)

    def _with_last(self, index: int, size: int) -> int:
        """A constant shape that ends in ``size``."""
        import numpy as np

        tensor = copy.copy(self.graph.tensors[self.index_of[index]])
        wanted = np.array(self.buffers[tensor.buffer].data).view(self.model.tensors[index].dtype)
        wanted[-1] = size
        tensor.buffer = len(self.buffers)
        self.buffers.append(self.constant(wanted.view(np.uint8)))
        return self._add(tensor)

    def _narrow_data(self, tensor: Any, size: int, index: int) -> None:
        quantization = tensor.quantization
        scales = quantization.scale if quantization is not None else None
        if scales is not None and len(scales) > 1:
            message = f"tensor {index} ({self.model.tensors[index].name}) has a scale for each channel"
            raise model_error(self.model.path, f"{message}, and is no constant", "keep it whole")
        tensor.shape = _with(tensor.shape, len(tensor.shape) - 1, size)
        tensor.shapeSignature = None

    def _add(self, tensor: Any) -> int:
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _drop_unused(self) -> None:
        """Leave out operators whose results nobody reads now, and tensors that nothing names."""
        graph = self.graph
        read = {int(index) for operator in graph.operators for index in operator.inputs}.union(graph.outputs)
        dequantize = {number for number, operator in enumerate(graph.operators) if self._is_unread(operator, read)}
        graph.operators = [each for number, each in enumerate(graph.operators) if number not in dequantize]
        roles = ("inputs", "outputs", "intermediates")
        used = {int(index) for each in graph.operators for role in roles for index in _list(getattr(each, role))}
        used.update((*graph.inputs, *graph.outputs))
        used.update(*(self._details(graph.tensors[index]) for index in used if index >= 0))
        new = {old: number for number, old in enumerate(sorted(used - {-1}))}
        new[-1] = -1
        graph.tensors = [graph.tensors[index] for index in sorted(used - {-1})]
        for tensor in graph.tensors:
            for field in self._fields(tensor):
                details = tensor.quantization.details
                setattr(details, field, new.get(getattr(details, field), getattr(details, field)))
        graph.inputs = [new[index] for index in graph.inputs]
        graph.outputs = [new[index] for index in graph.outputs]
        for operator in graph.operators:
            for role in roles:
                if getattr(operator, role) is not None:
                    setattr(operator, role, [new[int(index)] for index in getattr(operator, role)])

    def _is_unread(self, operator: Any, read: set[int]) -> bool:
        return operator in self._originals() and read.isdisjoint(map(int, operator.outputs))

    def _originals(self) -> list[Any]:
        """The operators that unpacked constants of which only narrowed ones are left."""
        unpacked = {self.index_of[index] for index, _, _ in self.known if len(stored(self.model, index)) > 1}
        return [each for each in self.graph.operators if not unpacked.isdisjoint(map(int, each.outputs))]

    def _fields(self, tensor: Any) -> tuple[str, ...]:
        quantization = tensor.quantization
        if quantization is None or not quantization.detailsType:
            return ()
        return DETAILS[enum_names(self.schema.QuantizationDetails)[quantization.detailsType]]

    def _details(self, tensor: Any) -> list[int]:
        found = [getattr(tensor.quantization.details, field) for field in self._fields(tensor)]
        return [index for index in found if index >= 0]


def compacted(buffers: Sequence[Any], graphs: Sequence[Any], metadata: Sequence[Any]) -> list[Any]:
    """The buffers that tensors and metadata name, which are numbered anew; buffer 0 is kept."""
    named = [each for graph in graphs for each in graph.tensors]
    used = sorted({0}.union(each.buffer for each in (*named, *metadata)))
    new = {old: number for number, old in enumerate(used)}
    for each in (*named, *metadata):
        each.buffer = new[each.buffer]
    return [buffers[index] for index in used]


def _taken(data: Any, shape: Sequence[int], kind: str, axis: int, channels: Channels) -> Any:
    """The entries ``channels`` on ``axis`` of a constant's bytes."""
    import numpy as np

    raw = np.asarray(data)
    count = int(np.prod(shape))
    if kind in _NIBBLES:
        halves = np.stack([raw & 15, raw >> 4], axis=-1).reshape(-1)[:count]
        taken = halves.reshape(shape).take(channels, axis).reshape(-1)
        padded = np.append(taken, np.zeros(len(taken) % 2, np.uint8)).reshape(-1, 2)
        return padded[:, 0] | padded[:, 1] << 4
    if not count or len(raw) % count:
        raise ValueError("the constants of a weight are not of its shape")
    return np.ascontiguousarray(raw.reshape(*shape, len(raw) // count).take(channels, axis)).reshape(-1)


def _quantization(quantization: Any, count: int, axis: int, channels: Channels) -> Any:
    """The quantization of a constant with these entries only of ``count`` on its ``axis``; one for all stays."""
    if quantization is None or quantization.quantizedDimension != axis:
        return quantization
    made = copy.copy(quantization)
    for field in ("scale", "zeroPoint", "min", "max"):
        old = getattr(quantization, field)
        if old is not None and len(old) == count and count > 1:
            setattr(made, field, [old[channel] for channel in channels])
    return made


def _with(shape: Sequence[int], axis: int, size: int) -> list[int]:
    return [*map(int, shape[:axis]), size, *map(int, shape[axis + 1 :])]


def _list(vector: Any) -> Iterable[int]:
    return () if vector is None else vector


def _mixed(model: Model, tensor: int) -> Exception:
    name = f"tensor {tensor} ({model.tensors[tensor].name})"
    hint = "an exchange has to be in between: put them into different slices"
    return model_error(model.path, f"operators of one slice have different channels of {name}", hint)
