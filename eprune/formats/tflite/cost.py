"""What operators cost, estimated from the file alone: multiplications that are added up (MACs)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Optional

from eprune.formats.models.parts import Model, Operator
from eprune.model.token import TokenType

#: Operators that apply all weights of two or more dimensions to the input at every step of a sequence.
_RECURRENT = {
    "BIDIRECTIONAL_SEQUENCE_LSTM",
    "BIDIRECTIONAL_SEQUENCE_RNN",
    "LSTM",
    "RNN",
    "SVDF",
    "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "UNIDIRECTIONAL_SEQUENCE_RNN",
}


def macs(model: Model, operator: Operator, types: Optional[Mapping[int, TokenType]] = None) -> int:
    """MACs of one run of an operator; 0 for those that multiply no matrices, and where shapes are not known.

    ``types`` are those of tensors whose type the file does not state.
    """

    def shape(index: int) -> tuple[int, ...]:
        token = model.tensors[index].token or (types or {}).get(index)
        return token.shape if token else model.tensors[index].shape

    inputs = [shape(index) if index >= 0 else () for index in operator.inputs]
    outputs = [shape(index) for index in operator.outputs]
    if not inputs or not outputs:
        return 0
    result = math.prod(outputs[0])
    if operator.name in ("CONV_2D", "CONV_3D") and len(inputs) > 1:
        # Weights of CONV_2D are (out, height, width, in), of CONV_3D (depth, height, width, in, out).
        return result * math.prod(inputs[1][1:] if operator.name == "CONV_2D" else inputs[1][:-1])
    if operator.name == "DEPTHWISE_CONV_2D" and len(inputs) > 1:
        return result * math.prod(inputs[1][1:3])
    if operator.name == "TRANSPOSE_CONV" and len(inputs) > 2:
        return math.prod(inputs[2]) * math.prod(inputs[1][:3])
    if operator.name == "FULLY_CONNECTED" and len(inputs) > 1:
        return result * (inputs[1][-1] if inputs[1] else 1)
    if operator.name == "BATCH_MATMUL":
        # (..., rows, inner) by (..., inner, columns), the first perhaps stored as (inner, rows); either may be one for
        # a whole batch of the other, so it is each element of the result that takes as many as the inner dimension.
        rows = outputs[0][-2] if len(outputs[0]) > 1 else 1
        return result * math.prod(inputs[0][-2:]) // max(rows, 1)
    if operator.name in _RECURRENT:
        weights = (index for index in operator.inputs if index >= 0 and model.tensors[index].constant)
        return math.prod(inputs[0][:-1]) * sum(math.prod(shape(index)) for index in weights if len(shape(index)) > 1)
    return 0
