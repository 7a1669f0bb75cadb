"""TFLite's answers to what is asked of a format of models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Optional

from eprune.formats.models.parts import Format, Left, Model, Operator
from eprune.formats.tflite import channels, cost, metadata, narrowing, quantization, resources, shapes, slicing
from eprune.formats.tflite import fused as fusing
from eprune.formats.tflite import model as reading

if TYPE_CHECKING:
    from eprune.formats.models.metadata import Metadata
    from eprune.formats.models.quantization import Quantization
    from eprune.model.behaviour import Kept
    from eprune.model.token import TokenType


class TfliteFormat(Format):
    """Flatbuffers of TFLite. Channels are the last dimension."""

    name = "TFLite"
    suffix = ".tflite"
    engines = ("tflite", "openvino")
    main = frozenset(
        (
            *("BATCH_MATMUL", "CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
            *("BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "LSTM", "RNN", "SVDF", "TRANSPOSE_CONV"),
            *("UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"),
        )
    )
    leading = frozenset(("MIRROR_PAD", "PAD", "PADV2", "SPACE_TO_BATCH_ND"))
    trailing = frozenset(
        (
            *("ABS", "ADD", "BATCH_TO_SPACE_ND", "DEQUANTIZE", "DIV", "ELU", "EXP", "GELU", "HARD_SWISH", "LOGISTIC"),
            *("L2_NORMALIZATION", "LEAKY_RELU", "LOG_SOFTMAX", "MAXIMUM", "MINIMUM", "MUL", "NEG", "PRELU", "QUANTIZE"),
            *("RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "RESHAPE", "RSQRT", "SOFTMAX", "SQRT", "SQUEEZE", "SUB"),
            "TANH",
        )
    )

    def parse(self, data: bytes, path: str, signature: Optional[str] = None) -> Model:
        """See ``model.parse_model``."""
        return reading.parse_model(self, data, path, signature)

    def early(self, model: Model) -> frozenset[int]:
        """See ``model.preparatory``."""
        return reading.preparatory(model)

    def fixed(self, model: Model) -> Mapping[int, tuple[int, ...]]:
        """See ``shapes.fixed``."""
        return shapes.fixed(model)

    def open_questions(self, model: Model, types: Mapping[int, TokenType]) -> bool:
        """See ``shapes.open_questions``."""
        return shapes.open_questions(model, types)

    def bonds(self, model: Model) -> tuple[tuple[int, ...], ...]:
        """See ``model.bonds``."""
        return reading.bonds(model)

    def fused(self, model: Model) -> Iterator[tuple[int, int, str]]:
        """See ``fused.fused_pairs``."""
        for first, second in fusing.fused_pairs(model):
            yield first, second, "are one kernel in XNNPACK, and cut apart round otherwise"

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
        """See ``slicing.constant_spans``."""
        return slicing.constant_spans(data)

    def narrowed(self, model: Model, operators: Iterable[int], kept: Sequence[Kept]) -> Left:
        """See ``narrowing.narrowed``."""
        found = narrowing.narrowed(model, operators, kept)
        whole, left = channels.narrowed_bytes(model, found)
        return Left(narrowing.tensor_channels(found), whole - left)

    def quantization(self, model: Model, tensor: int) -> Optional[Quantization]:
        """See ``quantization.quantization``."""
        return quantization.quantization(model, tensor)

    def metadata(self, model: Model) -> Metadata:
        """See ``metadata.read_metadata``."""
        return metadata.read_metadata(model)

    def starters(self, model: Model, operators: Sequence[Operator]) -> Sequence[Operator]:
        """See ``resources.starters``."""
        return resources.starters(model.operators, operators)


#: The one there is.
TFLITE = TfliteFormat()
