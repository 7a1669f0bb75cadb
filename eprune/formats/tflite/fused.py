"""Pairs of operators that a delegate computes as one, with other rounding than one after the other.

Which there are was found by trying: every pair of 75 float operators, cut in between and not, in ai-edge-litert 2.3.0
and tflite-runtime 2.14.0 (``tests/formats/test_fused_pairs.py``). XNNPACK as of ai-edge-litert has a kernel for the sum
of squares, so that the squares are never rounded; a cut between the two would round them. Import keeps such pairs in
one actor.
"""

from __future__ import annotations

from collections.abc import Iterator

from eprune.formats.models.parts import Model, Operator

#: Operators that a delegate computes together with the squares that they read.
_SUMS = ("MEAN", "SUM")
_FLOATS = ("FLOAT32", "FLOAT16")


def fused_pairs(model: Model) -> Iterator[tuple[int, int]]:
    """The pairs: an operator, and one that reads its result. It does not matter who else reads that (tried, too)."""
    writer = {index: operator for operator in model.operators for index in operator.outputs}
    for operator in model.operators:
        first = writer.get(operator.inputs[0]) if operator.name in _SUMS and operator.inputs else None
        if first is not None and _is_square(model, first):
            yield first.index, operator.index


def _is_square(model: Model, operator: Operator) -> bool:
    if len(operator.outputs) != 1 or model.tensors[operator.outputs[0]].type not in _FLOATS:
        return False
    same = operator.name == "MUL" and len(operator.inputs) == 2 and operator.inputs[0] == operator.inputs[1]
    return operator.name == "SQUARE" or same
