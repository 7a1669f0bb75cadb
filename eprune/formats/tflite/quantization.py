"""The quantization of tensors, read."""

from __future__ import annotations

from typing import Any, Optional

from eprune.formats.models.parts import Model
from eprune.formats.models.quantization import Quantization
from eprune.formats.tflite.model import root_of


def quantization(model: Model, index: int) -> Optional[Quantization]:
    """The quantization of a tensor; None where it has none, or one for each channel."""
    found: Any = root_of(model).Subgraphs(model.graph).Tensors(index).Quantization()
    if found is None or {found.ScaleLength(), found.ZeroPointLength()} not in ({1}, {0, 1}):
        return None
    scale = float(found.Scale(0)) if found.ScaleLength() else 1.0
    zero_point = int(found.ZeroPoint(0)) if found.ZeroPointLength() else 0
    return Quantization(scale, zero_point) if 0 < scale < float("inf") else None
