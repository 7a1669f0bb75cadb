"""Small ONNX models, made here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 15


class Builder:
    """Adds nodes and constants one by one; tensors are float32 unless said otherwise."""

    def __init__(self, seed: int = 0) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.random = np.random.default_rng(seed)
        self.count = 0

    def name(self, stem: str = "t") -> str:
        """A name that nobody has."""
        self.count += 1
        return f"{stem}{self.count}"

    def constant(self, values: Any, node: bool = False) -> str:
        """An initializer, or a node that gives the constant."""
        name = self.name("c")
        tensor = numpy_helper.from_array(np.array(values, order="C"), name)
        if node:
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.constants.append(tensor)
        return name

    def normal(self, *shape: int) -> str:
        """An initializer of random numbers."""
        return self.constant(self.random.standard_normal(shape).astype(np.float32))

    def node(self, kind: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> Any:
        """The name of the result, or names."""
        names = [self.name() for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, data: str, given: int, made: int, kernel: int = 3, **attributes: Any) -> str:
        """A convolution with as much padding as keeps the size."""
        group = attributes.get("group", 1)
        weights, bias = self.normal(made, given // group, kernel, kernel), self.normal(made)
        return str(self.node("Conv", [data, weights, bias], pads=[kernel // 2] * 4, **attributes))

    def normalization(self, data: str, channels: int) -> str:
        """A BatchNormalization."""
        variance = self.constant(self.random.uniform(0.5, 2, channels).astype(np.float32))
        return str(self.node("BatchNormalization", [data, *(self.normal(channels) for _ in range(3)), variance]))

    def build(
        self,
        inputs: Sequence[tuple[str, Sequence[Any]]],
        outputs: Sequence[tuple[str, Optional[Sequence[Any]]]],
        dtype: int = TensorProto.FLOAT,
        states: bool = True,
    ) -> bytes:
        """The file. ``states``: with the types of all tensors, as inference finds them."""
        ends = [
            [helper.make_tensor_value_info(name, dtype, shape) for name, shape in side] for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "made by eprune's tests", *ends, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        if states:
            model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
        data: bytes = model.SerializeToString()
        return data


def network(states: bool = True, seed: int = 0) -> bytes:
    """A small classifier: convolutions, a normalisation, a residual sum, pooling, a product of matrices, softmax."""
    b = Builder(seed)
    first = b.node("Relu", [b.normalization(b.conv("x", 3, 8), 8)])
    second = b.conv(first, 8, 8)
    joined = b.node("Relu", [b.node("Add", [second, first])])
    deep = b.node("Clip", [b.conv(joined, 8, 8, group=8), b.constant(np.float32(0)), b.constant(np.float32(6))])
    pooled = b.node("MaxPool", [deep], kernel_shape=[2, 2], strides=[2, 2])
    flat = b.node("Reshape", [pooled, b.constant(np.array([1, -1], np.int64), node=True)])
    dense = b.node("Add", [b.node("MatMul", [flat, b.normal(8 * 16, 4)]), b.normal(4)])
    b.nodes.append(helper.make_node("Softmax", [dense], ["y"]))
    return b.build([("x", [1, 3, 8, 8])], [("y", [1, 4])], states=states)


def quantized() -> bytes:
    """Two convolutions between QuantizeLinear and DequantizeLinear, as quantising tools write them."""
    b = Builder()

    def scale(value: float) -> tuple[str, str]:
        return b.constant(np.float32(value)), b.constant(np.int8(0))

    def both(data: str, value: float) -> str:
        ends = scale(value)
        return str(b.node("DequantizeLinear", [b.node("QuantizeLinear", [data, *ends]), *ends]))

    def weights(made: int, given: int) -> str:
        values = b.random.integers(-127, 128, (made, given, 3, 3)).astype(np.int8)
        return str(b.node("DequantizeLinear", [b.constant(values), *scale(0.01)]))

    data = both("x", 0.02)
    data = both(b.node("Relu", [b.node("Conv", [data, weights(8, 3)], pads=[1] * 4)]), 0.05)
    data = both(b.node("Conv", [data, weights(4, 8)], pads=[1] * 4), 0.2)
    b.nodes.append(helper.make_node("Identity", [data], ["y"]))
    return b.build([("x", [1, 3, 8, 8])], [("y", [1, 4, 8, 8])])


def branching() -> bytes:
    """An If whose branches use tensors of the outer graph, a constant among them, behind a sum and before another."""
    b = Builder()
    factor = b.normal(1, 4)
    moved = b.node("Add", ["x", b.normal(1, 4)])
    total = b.node("ReduceSum", [moved], keepdims=0)
    positive = b.node("Greater", [total, b.constant(np.float32(0))])
    then = helper.make_graph(
        [helper.make_node("Mul", [moved, factor], ["then_y"])],
        "then",
        [],
        [helper.make_tensor_value_info("then_y", TensorProto.FLOAT, [1, 4])],
    )
    other = helper.make_graph(
        [helper.make_node("Neg", [moved], ["else_y"])],
        "else",
        [],
        [helper.make_tensor_value_info("else_y", TensorProto.FLOAT, [1, 4])],
    )
    chosen = b.node("If", [positive], then_branch=then, else_branch=other)
    b.nodes.append(helper.make_node("Exp", [chosen], ["y"]))
    return b.build([("x", [1, 4])], [("y", [1, 4])])


def looping() -> bytes:
    """A Loop that multiplies its state by weights of the outer graph, three times, and adds a tensor of it."""
    b = Builder()
    weights = b.normal(4, 4)
    moved = b.node("Tanh", ["x"])
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", weights], ["product"]),
            helper.make_node("Add", ["product", moved], ["next"]),
            helper.make_node("Identity", ["condition"], ["again"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("condition", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1, 4]),
        ],
    )
    start = b.node("Neg", [moved])
    last = b.node("Loop", [b.constant(np.int64(3)), b.constant(np.bool_(True)), start], body=body)
    b.nodes.append(helper.make_node("Exp", [last], ["y"]))
    return b.build([("x", [1, 4])], [("y", [1, 4])])


def asking() -> bytes:
    """A Reshape to what a Shape, sliced and joined, tells, with an open batch."""
    b = Builder()
    shape = b.node("Shape", ["x"])
    batch = b.node("Slice", [shape, *(b.constant(np.array([n], np.int64)) for n in (0, 1))])
    target = b.node("Concat", [batch, b.constant(np.array([-1], np.int64))], axis=0)
    flat = b.node("Reshape", [b.node("Relu", [b.conv("x", 3, 4)]), target])
    b.nodes.append(helper.make_node("Gemm", [flat, b.normal(2, 4 * 16), b.normal(2)], ["y"], transB=1))
    return b.build([("x", ["batch", 3, 4, 4])], [("y", None)], states=False)
