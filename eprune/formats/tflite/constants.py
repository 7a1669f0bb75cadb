"""The constants of a model as real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model
from eprune.formats.tflite.channels import stored
from eprune.formats.tflite.model import buffer_bytes, root_of


def constant(model: Model, index: int) -> Any:
    """The values of a constant as real numbers, float64, whatever it is stored as. Raises EpruneError if it is none."""
    import numpy as np

    chain = stored(model, index)
    if not chain:
        raise model_error(model.path, f"tensor {index} ({model.tensors[index].name}) is no constant")
    tensor = model.tensors[chain[-1]]
    root = root_of(model)
    raw = buffer_bytes(model.data, root, tensor.buffer)
    values = _int4(raw, tensor.shape) if tensor.type == "INT4" else raw.view(np.dtype(tensor.dtype))
    real = values.reshape(tensor.shape).astype(np.float64)
    quantization = root.Subgraphs(model.graph).Tensors(tensor.index).Quantization()
    if quantization is None or not quantization.ScaleLength() or values.dtype.kind not in "iu":
        return real
    shape = [1] * real.ndim
    if quantization.ScaleLength() > 1:
        shape[quantization.QuantizedDimension()] = quantization.ScaleLength()
    zero = quantization.ZeroPointAsNumpy() if quantization.ZeroPointLength() else np.zeros(quantization.ScaleLength())
    return (real - np.reshape(zero, shape)) * np.reshape(quantization.ScaleAsNumpy(), shape)


def _int4(raw: Any, shape: Sequence[int]) -> Any:
    """Two values in each byte, the lower one first."""
    import numpy as np

    pairs = np.stack([raw << 4, raw], axis=1).view(np.int8).reshape(-1) >> 4
    return pairs[: int(np.prod(shape))]
