"""Operators that onnxruntime computes as one, with other rounding than one after the other.

Which there are was found by trying, with onnxruntime 1.32 at its level "extended": all pairs of 57 operators, the
patterns of transformers, and QuantizeLinear around operators, cut at every place. Import keeps such operators in one
actor. ``tests/formats/test_onnx_fused.py`` tries them again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Optional

from eprune.formats.models.parts import Model, Operator

_FOLDED = "are one operator in onnxruntime, and cut apart round otherwise"
_INTEGERS = "are one operator on integers in onnxruntime, and cut apart compute with real numbers"

#: Operators with weights, into which those behind them are multiplied: a normalisation, and constants for each channel.
_HEADS: Mapping[str, tuple[str, ...]] = {
    "Conv": ("BatchNormalization", "Mul", "Add"),
    "ConvTranspose": ("BatchNormalization",),
    "Gemm": ("BatchNormalization",),
    "MatMul": ("BatchNormalization", "Add"),
}
#: Sums whose order follows the layout, which Transpose in front of them changes.
_SUMS = {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd", "ReduceSum"}
_SUMS.add("ReduceSumSquare")
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")
_CLIPPING = ("Relu", "Clip")
#: Operators that a Transpose is moved behind.
_PASSED = ("Abs", "Cast", "Clip", "Exp", "LeakyRelu", "Neg", "Relu", "Sigmoid", "Sqrt", "Tanh")


def fused(model: Model) -> Iterator[tuple[int, int, str]]:
    """See ``Format.fused``."""
    return _Finder(model).all()


class _Finder:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.writers = {index: operator for operator in model.operators for index in operator.outputs}
        self.readers: dict[int, list[Operator]] = {}
        for operator in model.operators:
            for index in operator.inputs:
                self.readers.setdefault(index, []).append(operator)

    def all(self) -> Iterator[tuple[int, int, str]]:
        """First, last, and why."""
        for operator in self.model.operators:
            if operator.name in _HEADS:
                yield from self._folded(operator)
            if operator.name == "MatMul":
                yield from self._scaled(operator)
            if operator.name == "Mul":
                yield from self._inverse(operator)
            if operator.name in _SUMS:
                yield from self._turned(operator)
            if operator.name == "Sqrt":
                yield from self._normalised(operator)
            if operator.name == "Erf":
                yield from self._gelu(operator)
            if operator.name not in _QUANTISING and any(self._unpacks(index) for index in operator.inputs):
                yield from self._quantised(operator)

    def _behind(self, operator: Operator) -> list[Operator]:
        return [reader for index in operator.outputs for reader in self.readers.get(index, ())]

    def _before(self, operator: Operator, place: int = 0) -> Optional[Operator]:
        return self.writers.get(operator.inputs[place]) if place < len(operator.inputs) else None

    def _known(self, index: int) -> bool:
        """Whether a tensor is a constant, or is computed from constants alone by one operator."""
        writer = self.writers.get(index)
        inputs = (index,) if writer is None else writer.inputs
        return all(each < 0 or self.model.tensors[each].constant for each in inputs)

    def _with_constant(self, operator: Operator, size: Optional[int] = None) -> bool:
        """Whether the other operand of an operator with two is a constant, of so many elements."""
        others = [index for index in operator.inputs if self._known(index)]
        if len(operator.inputs) != 2 or len(others) != 1:
            return False
        return size is None or math.prod(self.model.tensors[others[0]].shape) == size

    def _folded(self, head: Operator) -> Iterator[tuple[int, int, str]]:
        """What follows an operator with weights and is computed into these."""
        weights = self.model.tensors[head.inputs[1]].shape if len(head.inputs) > 1 else ()
        channels = next(iter(weights), 0) if head.name == "Conv" else None
        last = head
        while True:
            behind = self._behind(last)
            if len(behind) != 1 or behind[0].name not in _HEADS[head.name]:
                break
            number = behind[0].name == "Mul" and self._with_constant(behind[0], 1)
            if behind[0].name != "BatchNormalization" and not (number or self._with_constant(behind[0], channels)):
                break
            last = behind[0]
        if last is not head:
            yield head.index, last.index, _FOLDED

    def _scaled(self, product: Operator) -> Iterator[tuple[int, int, str]]:
        """A number that an operand of a product of matrices, or its result, is multiplied by."""
        for place in range(2):
            before = self._before(product, place)
            if before is not None and before.name == "Transpose":
                before = self._before(before)
            if before is not None and before.name in ("Mul", "Div") and self._with_constant(before, 1):
                yield before.index, product.index, _FOLDED
        for reader in self._behind(product):
            if reader.name in ("Mul", "Div") and self._with_constant(reader, 1):
                yield product.index, reader.index, _FOLDED

    def _inverse(self, product: Operator) -> Iterator[tuple[int, int, str]]:
        """1 / x times something, which becomes something / x."""
        for place in range(2):
            before = self._before(product, place)
            if before is not None and before.name == "Div" and self._known(before.inputs[0]):
                yield before.index, product.index, _FOLDED

    def _turned(self, total: Operator) -> Iterator[tuple[int, int, str]]:
        """A sum of what was transposed."""
        before = self._before(total)
        while before is not None and before.name in _PASSED:
            before = self._before(before)
        if before is not None and before.name == "Transpose":
            yield before.index, total.index, "change places in onnxruntime, and cut apart add up in another order"

    def _normalised(self, root: Operator) -> Iterator[tuple[int, int, str]]:
        """(x - mean) / sqrt(variance + e) * g + b, or without the mean, and a sum that x is."""
        divided = next((each for each in self._behind(root) if each.name == "Div"), None)
        scaled = None if divided is None else next(iter(self._behind(divided)), None)
        if divided is None or scaled is None or scaled.name != "Mul":
            return
        found = {root.index, divided.index, scaled.index}
        waiting = [*root.inputs, divided.inputs[0]]
        entries = set()
        while waiting:
            writer = self.writers.get(waiting.pop())
            if writer is None or writer.index in found:
                continue
            if writer.name in ("ReduceMean", "Pow", "Sub", "Cast") or (
                writer.name == "Add" and root.inputs[0] in writer.outputs
            ):
                found.add(writer.index)
                waiting += writer.inputs
            else:
                entries.add(writer.index)
        if not any(self.model.operators[index].name == "ReduceMean" for index in found):
            return
        found.update(index for index in entries if self.model.operators[index].name == "Add")
        shifted = next(iter(self._behind(scaled)), None)
        if shifted is not None and shifted.name == "Add" and self._with_constant(shifted):
            found.add(shifted.index)
        yield min(found), max(found), _FOLDED

    def _gelu(self, erf: Operator) -> Iterator[tuple[int, int, str]]:
        """x / 2 * (1 + erf(x / sqrt(2))), in any order of its factors."""
        before = self._before(erf)
        found = {erf.index} | ({before.index} if before is not None and before.name in ("Mul", "Div") else set())
        last = erf
        for name in ("Add", "Mul", "Mul"):
            behind = self._behind(last)
            if len(behind) != 1 or behind[0].name != name:
                break
            last = behind[0]
            found.add(last.index)
            if name == "Mul":
                halves = (self._before(last, place) for place in range(2))
                found.update(e.index for e in halves if e is not None and e.name == "Mul" and self._with_constant(e, 1))
        if len(found) > 3:
            yield min(found), max(found), _FOLDED

    def _unpacks(self, index: int) -> bool:
        writer = self.writers.get(index)
        return writer is not None and writer.name == "DequantizeLinear"

    def _quantised(self, operator: Operator) -> Iterator[tuple[int, int, str]]:
        """An operator between DequantizeLinear and QuantizeLinear."""
        for reader in self._behind(operator):
            last = [reader] if reader.name == "QuantizeLinear" else []
            if reader.name in _CLIPPING:
                last = [each for each in self._behind(reader) if each.name == "QuantizeLinear"]
            for each in last:
                yield operator.index, each.index, _INTEGERS
