"""An intermediate classifier, or a gate, as a .tflite file of its own: pooling, a fully connected layer, softmax.

Quantised features are pooled as they are, and scores are quantised as the answer of the whole model is, so that the one
can stand in the place of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from eprune.formats.models.quantization import Quantization
from eprune.formats.tflite.model import load_schema
from eprune.formats.tflite.slicing import packed_model
from eprune.model.token import TokenType

#: Element types of features, and of scores, that heads can be made for.
DTYPES = ("float32", "uint8", "int8")


def pool_of(shape: Sequence[int], places: int) -> tuple[int, int]:
    """Rows and columns over which features [1,H,W,C] are averaged, so that about ``places`` each way remain."""
    return max(1, shape[1] // places), max(1, shape[2] // places)


def pool_within(shape: Sequence[int], most: int) -> Optional[tuple[int, int]]:
    """The pool by which about ``most`` values of a token remain at most; None for one that is not [1,H,W,C]."""
    if len(shape) != 4:
        return None
    return pool_of(shape, min(max(1, int((most / shape[3]) ** 0.5)), *shape[1:3]))


def pooled(
    features: np.ndarray, pool: Optional[tuple[int, int]], quantized: Optional[Quantization] = None
) -> np.ndarray:
    """What the layer of a head gets: float32 [n] of features [1,H,W,C], or as they are without ``pool``."""
    values = features.astype(np.float32)
    if quantized is not None:
        values = (values - quantized.zero_point) * np.float32(quantized.scale)
    if pool is None:
        return values.reshape(-1)
    rows, columns = (values.shape[axis + 1] // pool[axis] for axis in (0, 1))
    values = values[0, : rows * pool[0], : columns * pool[1]]
    averaged: np.ndarray = values.reshape(rows, pool[0], columns, pool[1], -1).mean(axis=(1, 3))
    return averaged.reshape(-1)


def head_model(
    features: TokenType,
    pool: Optional[tuple[int, int]],
    weights: np.ndarray,
    biases: np.ndarray,
    answer: TokenType,
    quantized: Optional[Quantization] = None,
    answer_quantized: Optional[Quantization] = None,
) -> bytes:
    """The file of a head: features in, scores of ``answer``'s type out.

    ``weights`` are [classes, values], of what ``pooled`` gives; ``quantized`` says how features are, and
    ``answer_quantized`` how scores are to be, where they are no float32.
    """
    writer = _Writer("intermediate classifier")
    given, x = _logits(writer, features, pool, weights, biases, quantized)
    flat = (1, len(biases))
    scores = flat if answer_quantized is not None else answer.shape
    if scores != flat:
        x = writer.operator("RESHAPE", [x, writer.shape(scores)], writer.tensor("shaped", scores))
    x = writer.operator("SOFTMAX", [x], writer.tensor("scores", scores), "SoftmaxOptions", beta=1.0)
    if answer_quantized is not None:
        made = writer.tensor("quantized", answer.shape, answer.dtype, quantized=answer_quantized)
        x = writer.operator("QUANTIZE", [x], made, "QuantizeOptions")
    return writer.finish(given, x)


def gate_model(
    features: TokenType,
    pool: Optional[tuple[int, int]],
    weights: np.ndarray,
    biases: np.ndarray,
    quantized: Optional[Quantization] = None,
) -> bytes:
    """The file of a gate: features in, numbers from 0 to 1 out, float32[1,n]: logistic regressions of ``pooled``
    features with ``weights`` [n, values] and ``biases`` [n], float32.
    """
    writer = _Writer("gate")
    given, x = _logits(writer, features, pool, weights, biases, quantized)
    return writer.finish(given, writer.operator("LOGISTIC", [x], writer.tensor("score", (1, len(biases)))))


def _logits(
    writer: _Writer,
    features: TokenType,
    pool: Optional[tuple[int, int]],
    weights: np.ndarray,
    biases: np.ndarray,
    quantized: Optional[Quantization],
) -> tuple[int, int]:
    """The tensors of the features, and of what pooling and a fully connected layer make of them."""
    x = given = writer.tensor("features", features.shape, features.dtype, quantized=quantized)
    shape: tuple[int, ...] = features.shape
    if pool is not None:
        shape = (1, features.shape[1] // pool[0], features.shape[2] // pool[1], features.shape[3])
        window = {"filterHeight": pool[0], "filterWidth": pool[1], "strideH": pool[0], "strideW": pool[1]}
        window["padding"] = writer.schema.Padding.VALID
        pooled_tensor = writer.tensor("pooled", shape, features.dtype, quantized=quantized)
        x = writer.operator("AVERAGE_POOL_2D", [x], pooled_tensor, "Pool2DOptions", **window)
    if quantized is not None:
        x = writer.operator("DEQUANTIZE", [x], writer.tensor("values", shape), "DequantizeOptions", version=2)
    constants = [
        writer.tensor("weights", weights.shape, values=weights),
        writer.tensor("biases", biases.shape, values=biases),
    ]
    made = writer.tensor("logits", (1, len(biases)))
    return given, writer.operator("FULLY_CONNECTED", [x, *constants], made, "FullyConnectedOptions")


class _Writer:
    """Builds a file, operator by operator."""

    def __init__(self, description: str) -> None:
        self.schema = load_schema("head")
        self.model = self.schema.ModelT()
        self.model.version, self.model.description = 3, description
        self.model.operatorCodes = []
        self.graph = self.schema.SubGraphT()
        self.graph.tensors, self.graph.operators = [], []
        self.data: list[np.ndarray] = [np.empty(0, np.uint8)]  # buffer 0 is the empty one, by convention

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        values: Optional[np.ndarray] = None,
        quantized: Optional[Quantization] = None,
    ) -> int:
        """Add a tensor, a constant one if it has values. Returns its index."""
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape = name, list(shape)
        tensor.type = getattr(self.schema.TensorType, dtype.upper())
        tensor.buffer = 0
        if values is not None:
            tensor.buffer = len(self.data)
            stored = np.ascontiguousarray(values, np.dtype(dtype).newbyteorder("<"))
            self.data.append(np.frombuffer(stored.tobytes(), np.uint8))
        if quantized is not None:
            tensor.quantization = self.schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [quantized.scale], [quantized.zero_point]
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def shape(self, sizes: Sequence[int]) -> int:
        """A constant that states a shape."""
        return self.tensor("shape", (len(sizes),), "int32", np.array(sizes, np.int32))

    def operator(
        self, name: str, inputs: Sequence[int], output: int, options: str = "", version: int = 1, **fields: Any
    ) -> int:
        """Add an operator. Returns its output."""
        code = self.schema.OperatorCodeT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        operator = self.schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes)
        self.model.operatorCodes.append(code)
        operator.inputs, operator.outputs = list(inputs), [output]
        if options:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self.schema, f"{options}T")()
            for field, value in fields.items():
                setattr(operator.builtinOptions, field, value)
        self.graph.operators.append(operator)
        return output

    def finish(self, given: int, made: int) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = [given], [made]
        self.model.subgraphs = [self.graph]
        return packed_model(self.schema, self.model, self.data)
