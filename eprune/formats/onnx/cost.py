"""What operators cost, estimated from the file alone: multiplications that are added up (MACs)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Optional

from eprune.formats.models.parts import Model, Operator
from eprune.model.token import TokenType

#: Operators that apply all weights of two or more dimensions to the input at every step of a sequence.
_RECURRENT = {"GRU", "LSTM", "RNN"}
_PRODUCTS = {"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"}


def macs(model: Model, operator: Operator, types: Optional[Mapping[int, TokenType]] = None) -> int:
    """See ``Format.macs``."""

    def shape(index: int) -> tuple[int, ...]:
        token = model.tensors[index].token or (types or {}).get(index)
        return token.shape if token else model.tensors[index].shape

    inputs = [shape(index) if index >= 0 else () for index in operator.inputs]
    outputs = [shape(index) for index in operator.outputs]
    if not inputs or not outputs:
        return 0
    result = math.prod(outputs[0])
    second = 3 if operator.name.startswith("QLinear") else 1
    if len(inputs) <= second:
        return 0
    if operator.name in ("Conv", "ConvInteger", "QLinearConv"):
        # Weights are (out, in of a group, kernel ...).
        return result * math.prod(inputs[second][1:])
    if operator.name == "ConvTranspose":
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    if operator.name in _PRODUCTS:
        # Each element of the result takes as many as the inner dimension, of which the two operands have the product.
        rows = outputs[0][-2] if len(outputs[0]) > 1 else 1
        return result * math.prod(inputs[0][-2:]) // max(rows, 1)
    if operator.name in _RECURRENT:
        steps = math.prod(inputs[0][:2])
        weights = (index for index in operator.inputs[1:3] if index >= 0)
        return steps * sum(math.prod(shape(index)) for index in weights)
    return 0
