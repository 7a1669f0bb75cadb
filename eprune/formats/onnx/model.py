"""Models as ONNX files: read what is in one.

A file is a graph of nodes that refer to tensors by name. Nodes that give a constant are constants here, and no
operators; If, Loop and Scan are one operator each, with the tensors of the outer graph that their subgraphs use among
its inputs. Nothing of a file is run, and no shape is computed: what the file does not state, an engine tells
(``measure.probe``). Weights may lie in other files of the model's folder, and nowhere else.

The accessors come from the package onnx, imported on first use.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Format, Model, Operator, Tensor
from eprune.formats.onnx import wire
from eprune.model.token import TokenType

#: ONNX's element types that can be tokens -> numpy's names
_DTYPES = {
    "FLOAT": "float32",
    "FLOAT16": "float16",
    "DOUBLE": "float64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "BOOL": "bool",
    "COMPLEX64": "complex64",
    "COMPLEX128": "complex128",
}
#: Bytes that an element takes at least where numpy has no such type.
_LEAST = {"INT4": 0.5, "UINT4": 0.5, "FLOAT4E2M1": 0.5, "INT2": 0.25, "UINT2": 0.25}
#: Domains of operators that ONNX itself defines.
_OWN = ("", "ai.onnx")
#: Graphs inside graphs deeper than this are not followed.
_DEEPEST = 20


def parse_model(form: Format, data: bytes, path: str, signature: Optional[str] = None) -> Model:
    """See ``Format.parse``; ``form`` is what the model is said to be of. ONNX knows no signatures."""
    if signature is not None:
        raise model_error(path, f"has no signature {signature!r}: models as ONNX have none")
    proto = proto_of(data, path)
    if not proto.ir_version or not proto.graph.output:
        raise model_error(path, "is not an ONNX model: it has no graph", "is it the right file, and complete?")
    try:
        return _Reader(form, proto, data, path).model()
    except (ValueError, OverflowError) as error:
        raise model_error(path, f"is corrupt: {error}", "copy or export it again") from None


@lru_cache(maxsize=4)
def proto_of(data: bytes, path: str) -> Any:
    """The file as a ModelProto, which nobody may change. Raises EpruneError (FILE) for what is none."""
    onnx = library(path)
    proto = onnx.ModelProto()
    try:
        wire.check(data)
        proto.ParseFromString(data)
    except Exception as error:  # of google.protobuf, which several packages bring
        raise model_error(
            path, f"is not an ONNX model, or cut short: {str(error).rstrip('.')}", "is it the right file, and complete?"
        ) from None
    return proto


def library(path: str) -> Any:
    """The package onnx, imported when the model ``path`` is read: nothing else needs it."""
    try:
        import onnx
    except ImportError:
        raise model_error(
            path,
            "to read .onnx models takes the package onnx, which is not installed here",
            'pip install "eprune[onnx]"; generated programs run without it',
        ) from None
    return onnx


def is_constant(node: Any) -> bool:
    """Whether a node gives a constant that the file holds."""
    return node.op_type == "Constant" and node.domain in _OWN


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """An attribute's number or list of numbers."""
    for each in node.attribute:
        if each.name == name:
            return list(each.ints) if each.type == each.INTS else each.i if each.type == each.INT else each.f
    return default


def subgraphs(node: Any) -> list[Any]:
    """The graphs that a node calls."""
    return [graph for each in node.attribute for graph in ([each.g] if each.type == each.GRAPH else each.graphs)]


def captured(node: Any, depth: int = 0) -> Iterator[str]:
    """The names of outer graphs that a node's subgraphs use, perhaps several times."""
    if depth > _DEEPEST:
        raise ValueError(f"it has graphs inside graphs, more than {_DEEPEST} deep")
    for graph in subgraphs(node):
        own = {each.name for each in (*graph.input, *graph.initializer)}
        own.update(each.values.name for each in graph.sparse_initializer)
        for inner in graph.node:
            yield from (name for name in (*inner.input, *captured(inner, depth + 1)) if name and name not in own)
            own.update(inner.output)
        yield from (each.name for each in graph.output if each.name not in own)


def external_bytes(tensor: Any, path: str) -> bytes:
    """The bytes of a constant that lies in another file. Raises EpruneError (FILE) for one outside the model's folder.

    ``location``, ``offset`` and ``length`` are as in onnx.proto.
    """
    stated = {each.key: each.value for each in tensor.external_data}
    folder = os.path.realpath(Path(path).parent)
    place = os.path.realpath(Path(folder, stated.get("location", "")))
    if os.path.commonpath([place, folder]) != folder or place == folder:
        raise model_error(
            path, f"has the weights {tensor.name!r} in {stated.get('location')!r}, which is outside of its folder"
        )
    try:
        offset, length = int(stated.get("offset") or 0), int(stated.get("length") or -1)
        size = Path(place).stat().st_size
        length = size - offset if length < 0 else length
        if offset < 0 or offset + length > size:
            raise ValueError(f"{size} bytes are there, bytes {offset} to {offset + length} are asked for")
        with Path(place).open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise model_error(path, f"has the weights {tensor.name!r} in {place!r}: {reason}") from None


class _Reader:
    """Reads one graph, numbering its tensors: inputs, constants that are no nodes, what nodes give."""

    def __init__(self, form: Format, proto: Any, data: bytes, path: str) -> None:
        self.form = form
        self.proto = proto
        self.graph = proto.graph
        self.data = data
        self.path = path
        self.types = library(path).TensorProto.DataType
        self.stated = {each.name: each for each in (*self.graph.value_info, *self.graph.output, *self.graph.input)}
        self.numbers: dict[str, int] = {}
        self.tensors: list[Tensor] = []

    def model(self) -> Model:
        graph = self.graph
        constants = {each.name for each in graph.initializer}
        constants.update(each.values.name for each in graph.sparse_initializer)
        inputs = tuple(self._add(each.name) for each in graph.input if each.name not in constants)
        for each in graph.initializer:
            self._constant(each.name, each)
        for each in graph.sparse_initializer:
            self._add(each.values.name, constant=True, nbytes=len(each.values.raw_data) + len(each.indices.raw_data))
        operators = tuple(self._operators())
        outputs = tuple(self._known(each.name, "its outputs name") for each in graph.output)
        tensors = tuple(self.tensors)
        return Model(self.path, operators, tensors, inputs, outputs, 1, self.data, self.form)

    def _operators(self) -> Iterator[Operator]:
        count = 0
        for node in self.graph.node:
            if is_constant(node):
                self._constant_node(node)
                continue
            who = f"operator {count} ({node.op_type})"
            inputs = [self._known(name, f"{who} reads") if name else -1 for name in node.input]
            inner = (self._known(name, f"{who} reads") for name in dict.fromkeys(captured(node)))
            inputs += [index for index in inner if index not in inputs]
            outputs = tuple(self._add(name) for name in node.output if name)
            own = node.domain in _OWN
            name = node.op_type if own else f"{node.domain}.{node.op_type}"
            yield Operator(count, name, own, tuple(inputs), outputs)
            count += 1

    def _known(self, name: str, who: str) -> int:
        if name not in self.numbers:
            raise ValueError(f"{who} tensor {name!r}, which is not there, or written later")
        return self.numbers[name]

    def _add(self, name: str, constant: bool = False, nbytes: int = 0, held: Optional[TokenType] = None) -> int:
        if name in self.numbers:
            raise ValueError(f"two things give tensor {name!r}")
        number = self.numbers[name] = len(self.tensors)
        kind, shape, unknown = self._type(name) if held is None else (held.dtype, held.shape, ())
        dtype = _DTYPES.get(kind) if held is None else held.dtype
        fixed = shape is not None and not unknown and min(shape, default=1) > 0
        token = TokenType(dtype, shape) if fixed and dtype and shape is not None else None
        sizes = tuple(1 if place in unknown else size for place, size in enumerate(shape or ()))
        self.tensors.append(
            Tensor(number, name, kind, dtype, sizes, token, constant, False, number, nbytes, (), unknown)
        )
        return number

    def _type(self, name: str) -> tuple[str, Optional[tuple[int, ...]], tuple[int, ...]]:
        """What the file states of a tensor: its type, its shape if it has one, and the open dimensions of that."""
        value = self.stated.get(name)
        if value is None:
            return "unknown", None, ()
        if value.type.WhichOneof("value") != "tensor_type":
            return (value.type.WhichOneof("value") or "unknown").replace("_type", "").upper(), None, ()
        tensor = value.type.tensor_type
        kind = self.types.Name(tensor.elem_type) if tensor.elem_type in self.types.values() else "unknown"
        if not tensor.HasField("shape"):
            return kind, None, ()
        dims = [each.dim_value if each.HasField("dim_value") else -1 for each in tensor.shape.dim]
        unknown = tuple(place for place, size in enumerate(dims) if size < 0)
        return kind, tuple(dims), unknown

    def _constant(self, name: str, tensor: Any) -> None:
        kind = self.types.Name(tensor.data_type) if tensor.data_type in self.types.values() else "unknown"
        shape = tuple(tensor.dims)
        if min(shape, default=0) < 0:
            raise ValueError(f"constant {name!r} has the shape {list(shape)}")
        nbytes = _stored(tensor)
        if tensor.data_location == tensor.EXTERNAL:
            nbytes = next((int(e.value) for e in tensor.external_data if e.key == "length" and e.value.isdigit()), 0)
            external_bytes(tensor, self.path)
        elif tensor.raw_data and nbytes < math.prod(shape) * _size(kind):
            raise ValueError(f"constant {name!r} has {nbytes} bytes for the shape {list(shape)}")
        dtype = _DTYPES.get(kind)
        held = TokenType(dtype, shape) if dtype and min(shape, default=1) > 0 else None
        number = self._add(name, True, nbytes, held)
        made = self.tensors[number]
        self.tensors[number] = Tensor(number, name, kind, dtype, shape, made.token, True, False, number, nbytes)

    def _constant_node(self, node: Any) -> None:
        if len(node.output) != 1 or len(node.attribute) != 1:
            raise ValueError(f"constant {node.name!r} has {len(node.attribute)} values")
        value = node.attribute[0]
        if value.type == value.TENSOR:
            self._constant(node.output[0], value.t)
        else:
            self._add(node.output[0], constant=True, nbytes=value.ByteSize())


def _size(kind: str) -> float:
    """Bytes of an element that is stored as raw bytes."""
    return TokenType(_DTYPES[kind], ()).nbytes if kind in _DTYPES else _LEAST.get(kind, 1)


def _stored(tensor: Any) -> int:
    """Bytes that a constant takes in the file."""
    if tensor.raw_data:
        return len(tensor.raw_data)
    fields = (("float_data", 4), ("int32_data", 4), ("int64_data", 8), ("double_data", 8), ("uint64_data", 8))
    numbers = sum(size * len(getattr(tensor, name)) for name, size in fields)
    return numbers + sum(len(text) for text in tensor.string_data)


def nodes_of(graph: Any) -> list[Any]:
    """A graph's nodes that are operators, in their order: of a model's graph node K is operator K."""
    return [node for node in graph.node if not is_constant(node)]


def early(model: Model) -> frozenset[int]:
    """The operators whose results are known before the run, and those that only unpack what an integer kernel takes.

    An engine joins DequantizeLinear to the operator that reads it, so each slice that has such a reader brings its own.
    Operators that draw random numbers, and those with graphs inside, are never among them.
    """
    known = {tensor.index for tensor in model.tensors if tensor.constant} | {-1}
    asked = model.fixed
    found: set[int] = set()
    for operator, node in zip(model.operators, nodes_of(proto_of(model.data, model.path).graph)):
        if not operator.builtin or operator.name in _RANDOM or subgraphs(node):
            continue
        unpacks = operator.name == "DequantizeLinear" and known.issuperset(operator.inputs[1:])
        if unpacks or known.issuperset(operator.inputs) or any(index in asked for index in operator.outputs):
            found.add(operator.index)
            if not unpacks or known.issuperset(operator.inputs):
                known.update(operator.outputs)
    return frozenset(found)


_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


def fixed(model: Model) -> dict[int, tuple[int, ...]]:
    """Result of a Shape or Size of a tensor whose shape the file states -> its values.

    Outputs of the model are left out: they have to be written.
    """
    found = {}
    for operator, node in zip(model.operators, nodes_of(proto_of(model.data, model.path).graph)):
        if operator.name not in ("Shape", "Size") or len(operator.inputs) != 1 or len(operator.outputs) != 1:
            continue
        token = model.tensors[operator.inputs[0]].token
        if token is not None and operator.outputs[0] not in model.outputs:
            start, end = attribute(node, "start", 0), attribute(node, "end", None)
            sizes = token.shape[start:end] if operator.name == "Shape" else (math.prod(token.shape),)
            found[operator.outputs[0]] = sizes
    return found
