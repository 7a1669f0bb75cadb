"""Shapes that a file states: what SHAPE and RANK give of them is a constant, for which nobody needs the tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eprune.formats.models.parts import Model, Operator
from eprune.model.token import TokenType

#: Operators whose result depends on the shape of their input alone.
SHAPES = ("SHAPE", "RANK")


def fixed(model: Model) -> dict[int, tuple[int, ...]]:
    """Result of a SHAPE or RANK of a tensor whose shape the file states -> its values.

    Outputs of the model are left out: they have to be written.
    """
    found = {}
    for operator in model.operators:
        token = model.tensors[operator.inputs[0]].token if _asks(operator) else None
        if token is not None and operator.outputs[0] not in model.outputs:
            found[operator.outputs[0]] = token.shape if operator.name == "SHAPE" else (len(token.shape),)
    return found


def is_fixed(operator: Operator, results: Mapping[int, tuple[int, ...]]) -> bool:
    """Whether an operator gives one of ``fixed``."""
    return operator.name in SHAPES and not results.keys().isdisjoint(operator.outputs)


def open_questions(model: Model, types: Mapping[int, TokenType]) -> bool:
    """Whether a SHAPE or RANK asks for a tensor that the file leaves open, and of which ``types`` knows the shape."""
    asked = (operator.inputs[0] for operator in model.operators if _asks(operator))
    return any(model.tensors[index].token is None and index in types for index in asked)


def as_bytes(values: tuple[int, ...], tensor_type: str) -> Any:
    """The values as a constant: a uint8 array."""
    import numpy as np

    return np.array(values, np.int64 if tensor_type == "INT64" else np.int32).view(np.uint8)


def _asks(operator: Operator) -> bool:
    return operator.name in SHAPES and len(operator.inputs) == len(operator.outputs) == 1 and operator.inputs[0] >= 0
