"""Cutting operators out of an ONNX model: a new graph of the same nodes and constants, under the same names.

Everything that an engine chooses its kernels by travels with a slice: nodes with their attributes, opsets, functions.
Constants that lay in other files are inside of a slice. The types of all tensors are stated, as far as they are known.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model, Operator
from eprune.formats.onnx.channels import Narrower
from eprune.formats.onnx.model import (
    captured,
    external_bytes,
    is_constant,
    library,
    nodes_of,
    proto_of,
    subgraphs,
)
from eprune.model.behaviour import Kept
from eprune.model.token import TokenType

#: A message of more bytes than this cannot be read again.
_LARGEST = 2**31 - 1


def write_slice(
    model: Model,
    operators: Sequence[Operator],
    inputs: Sequence[int],
    outputs: Sequence[int],
    kept: Sequence[Kept] = (),
) -> bytes:
    """See ``Format.write``."""
    with _sound(model.path):
        return _Slicer(model).slice(operators, inputs, outputs, kept)


def restated(model: Model, types: Mapping[int, TokenType]) -> bytes:
    """See ``slices.restated``. All else is as it was, but that weights which lay in other files are inside."""
    made = _Slicer(model)
    proto = library(model.path).ModelProto()
    with _sound(model.path):
        proto.CopyFrom(made.proto)
        for tensor in _tensors(proto.graph):
            made.fill(tensor)
        known = {model.tensors[index].name: (index, token) for index, token in types.items()}
        for value in (*proto.graph.input, *proto.graph.output, *proto.graph.value_info):
            if value.name in known:
                value.CopyFrom(made.value(*known.pop(value.name)))
        proto.graph.value_info.extend(made.value(*each) for each in known.values())
        return _written(proto, model.path)


@contextlib.contextmanager
def _sound(path: str) -> Iterator[None]:
    """Say of a file that it is corrupt where texts of it are none."""
    try:
        yield
    except ValueError as error:
        raise model_error(path, f"is corrupt: {error}", "copy or export it again") from None


def _tensors(graph: Any) -> Iterator[Any]:
    """All constants of a graph, and of those inside of it."""
    yield from graph.initializer
    for node in graph.node:
        yield from (each.t for each in node.attribute if each.type == each.TENSOR)
        for inner in subgraphs(node):
            yield from _tensors(inner)


def _written(proto: Any, path: str) -> bytes:
    data: bytes = proto.SerializeToString(deterministic=True)
    if len(data) > _LARGEST:
        raise model_error(path, "has more weights than one file can hold (2 GiB)", "cut it into more parts")
    return data


class _Slicer:
    """Writes slices of a model."""

    def __init__(self, model: Model) -> None:
        self.source = model
        self.onnx = library(model.path)
        self.proto = proto_of(model.data, model.path)

    def slice(
        self, operators: Sequence[Operator], inputs: Sequence[int], outputs: Sequence[int], kept: Sequence[Kept]
    ) -> bytes:
        """The file: these operators, with these inputs and outputs."""
        source, graph = self.source, self.onnx.GraphProto()
        graph.name = self.proto.graph.name
        nodes = nodes_of(self.proto.graph)
        chosen = [nodes[operator.index] for operator in operators]
        names = {name for node in chosen for name in (*node.input, *captured(node))}
        names.update(source.tensors[index].name for index in outputs)
        made = {name for node in chosen for name in node.output}
        shapes = {source.tensors[index].name: (index, sizes) for index, sizes in source.fixed.items()}
        for each in self.proto.graph.initializer:
            if each.name in names:
                self.fill(graph.initializer.add(), each)
        graph.sparse_initializer.extend(e for e in self.proto.graph.sparse_initializer if e.values.name in names)
        for node in self.proto.graph.node:
            if is_constant(node) and names.intersection(node.output):
                graph.node.add().CopyFrom(node)
        for name in sorted(names & shapes.keys() - made):
            graph.initializer.append(self._shape(name, *shapes[name]))
        for node in chosen:
            graph.node.add().CopyFrom(node)
        for node in graph.node:
            for tensor in _inner_tensors(node):
                self.fill(tensor)
        graph.input.extend(self.value(index) for index in inputs)
        graph.output.extend(self.value(index) for index in outputs)
        ends = {*inputs, *outputs}
        between = [index for operator in operators for index in operator.outputs if index not in ends]
        graph.value_info.extend(self.value(index) for index in between if source.tensors[index].token is not None)
        if kept:
            Narrower(self.onnx, source, graph).apply(operators, kept)
        proto = self.onnx.ModelProto()
        proto.ir_version = max(self.proto.ir_version, 4)  # from 4 on constants are no inputs
        proto.producer_name, proto.producer_version = self.proto.producer_name, self.proto.producer_version
        proto.opset_import.extend(self.proto.opset_import)
        proto.functions.extend(self.proto.functions)
        proto.graph.CopyFrom(graph)
        return _written(proto, source.path)

    def fill(self, tensor: Any, source: Optional[Any] = None) -> None:
        """Make a constant like another, with its bytes inside."""
        if source is not None:
            tensor.CopyFrom(source)
        if tensor.data_location == tensor.EXTERNAL:
            data = external_bytes(tensor, self.source.path)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.raw_data = data

    def value(self, index: int, token: Optional[TokenType] = None) -> Any:
        """What is stated of a tensor."""
        tensor = self.source.tensors[index]
        token = token or tensor.token
        made = self.onnx.ValueInfoProto()
        if token is None:
            stated = (*self.proto.graph.value_info, *self.proto.graph.input, *self.proto.graph.output)
            made.CopyFrom(next((each for each in stated if each.name == tensor.name), made))
            made.name = tensor.name
            return made
        made.name = tensor.name
        kind = made.type.tensor_type
        kind.elem_type = element_type(self.onnx, token.dtype)
        kind.shape.SetInParent()  # a scalar has a shape, too
        for size in token.shape:
            kind.shape.dim.add().dim_value = size
        return made

    def _shape(self, name: str, index: int, sizes: tuple[int, ...]) -> Any:
        """A shape as a constant; the number of elements is a scalar."""
        writer = next(operator for operator in self.source.operators if index in operator.outputs)
        dims = [len(sizes)] if writer.name == "Shape" else []
        return self.onnx.helper.make_tensor(name, self.onnx.TensorProto.INT64, dims, sizes)


def _inner_tensors(node: Any) -> Iterator[Any]:
    yield from (each.t for each in node.attribute if each.type == each.TENSOR)
    for graph in subgraphs(node):
        yield from _tensors(graph)


def element_type(onnx: Any, dtype: str) -> int:
    """ONNX's number of an element type."""
    import numpy as np

    return int(onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
