"""A model with noise on the weights of some operators."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Model
from eprune.formats.tflite.model import buffer_bytes, load_schema


def noisy_weights(model: Model, operators: Iterable[int], strength: float, seed: int) -> bytes:
    """The same file, with normal noise on every float32 constant of more than one element that these operators have.

    ``strength`` is in standard deviations of the constant's own values. Raises EpruneError for operators that have no
    such constants: quantised ones.
    """
    random = np.random.default_rng(seed)
    changed = bytearray(model.data)
    before, after = (load_schema(model.path).Model.GetRootAs(each) for each in (model.data, changed))
    found = 0
    for index in sorted({tensor for each in operators for tensor in model.operators[each].inputs if tensor >= 0}):
        tensor = model.tensors[index]
        if not tensor.constant or str(tensor.dtype) != "float32" or int(np.prod(tensor.shape)) < 2:
            continue
        values = buffer_bytes(model.data, before, tensor.buffer).view(np.float32)
        noise = random.standard_normal(values.shape).astype(np.float32) * np.float32(strength * values.std())
        buffer_bytes(changed, after, tensor.buffer).view(np.float32)[...] = values + noise
        found += 1
    if not found:
        raise model_error(model.path, "has no float32 weights there, so there is nothing to put noise on")
    return bytes(changed)
