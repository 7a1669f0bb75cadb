"""ONNX's answers to what is asked of a format of models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from eprune.formats.models.parts import Format, Model, Operator
from eprune.formats.onnx import channels, cost, slicing, wire
from eprune.formats.onnx import fused as fusing
from eprune.formats.onnx import model as reading

if TYPE_CHECKING:
    from eprune.formats.models.parts import Left
    from eprune.model.behaviour import Kept
    from eprune.model.token import TokenType


class OnnxFormat(Format):
    """Protocol buffers of ONNX. State and control flow are inside of operators, so nothing holds several together."""

    name = "ONNX"
    suffix = ".onnx"
    engines = ("onnxruntime",)
    main = frozenset(
        (
            *("Attention", "Conv", "ConvInteger", "ConvTranspose", "Einsum", "GRU", "Gemm", "If", "LSTM", "Loop"),
            *("MatMul", "MatMulInteger", "QLinearConv", "QLinearMatMul", "RNN", "Scan"),
        )
    )
    leading = frozenset(("Pad",))
    trailing = frozenset(
        (
            *("Abs", "Add", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div", "Elu", "Erf", "Exp"),
            *("Flatten", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "LogSoftmax", "Max", "Min"),
            *("Mul", "Neg", "PRelu", "Pow", "QuantizeLinear", "Relu", "Reshape", "Selu", "Sigmoid", "Softmax"),
            *("Softplus", "Sqrt", "Squeeze", "Sub", "Tanh", "Unsqueeze"),
        )
    )

    def parse(self, data: bytes, path: str, signature: Optional[str] = None) -> Model:
        """See ``model.parse_model``."""
        return reading.parse_model(self, data, path, signature)

    def early(self, model: Model) -> frozenset[int]:
        """See ``model.early``."""
        return reading.early(model)

    def fixed(self, model: Model) -> Mapping[int, tuple[int, ...]]:
        """See ``model.fixed``."""
        return reading.fixed(model)

    def bonds(self, model: Model) -> tuple[tuple[int, ...], ...]:
        """None: no operator keeps anything from one run to the next."""
        return ()

    def fused(self, model: Model) -> Iterator[tuple[int, int, str]]:
        """See ``fused.fused``."""
        return fusing.fused(model)

    def macs(self, model: Model, operator: Operator, types: Optional[Mapping[int, TokenType]] = None) -> int:
        """See ``cost.macs``."""
        return cost.macs(model, operator, types)

    def write(
        self,
        model: Model,
        operators: Sequence[Operator],
        inputs: Sequence[int],
        outputs: Sequence[int],
        kept: Sequence[Kept] = (),
    ) -> bytes:
        """See ``slicing.write_slice``."""
        return slicing.write_slice(model, operators, inputs, outputs, kept)

    def restated(self, model: Model, types: Mapping[int, TokenType]) -> bytes:
        """See ``slicing.restated``."""
        return slicing.restated(model, types)

    def constant_spans(self, data: bytes) -> list[slice]:
        """See ``wire.constant_spans``."""
        return wire.constant_spans(data)

    def narrowed(self, model: Model, operators: Iterable[int], kept: Sequence[Kept]) -> Left:
        """See ``channels.narrowed``."""
        return channels.narrowed(model, operators, kept)


#: The one there is.
ONNX = OnnxFormat()
