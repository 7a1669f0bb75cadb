"""A model with noise on the weights of some operators."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from eprune.formats.tflite.model import load_schema, model_error
from eprune.formats.tflite.parts import Model


def noisy_weights(model: Model, operators: Iterable[int], strength: float, seed: int) -> bytes:
    """The same file, with normal noise on every float32 constant of more than one element that these operators have.

    ``strength`` is in standard deviations of the constant's own values. Raises EpruneError for operators that have no
    such constants: quantised ones.
    """
    root: Any = load_schema(model.path).Model.GetRootAs(model.data)
    random = np.random.default_rng(seed)
    changed = bytearray(model.data)
    found = 0
    for index in sorted({tensor for each in operators for tensor in model.operators[each].inputs if tensor >= 0}):
        tensor = model.tensors[index]
        if not tensor.constant or str(tensor.dtype) != "float32" or int(np.prod(tensor.shape)) < 2:
            continue
        buffer = root.Buffers(tensor.buffer)
        start = buffer._tab.Vector(buffer._tab.Offset(4))  # Buffer.data, the table's first field
        values = np.frombuffer(model.data, np.float32, int(np.prod(tensor.shape)), start)
        noise = random.standard_normal(values.shape).astype(np.float32) * np.float32(strength * values.std())
        changed[start : start + values.nbytes] = (values + noise).tobytes()
        found += 1
    if not found:
        raise model_error(model.path, "has no float32 weights there, so there is nothing to put noise on")
    return bytes(changed)
