"""How a tensor's integers stand for real numbers."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from eprune.formats.tflite.model import load_schema
from eprune.formats.tflite.parts import Model


class Quantization(NamedTuple):
    """An integer q stands for ``scale * (q - zero_point)``."""

    scale: float
    zero_point: int


def quantization(model: Model, index: int) -> Optional[Quantization]:
    """That of a tensor; None where it has none, or one for each channel."""
    schema = load_schema(model.path)
    found: Any = schema.Model.GetRootAs(model.data).Subgraphs(model.graph).Tensors(index).Quantization()
    if found is None or {found.ScaleLength(), found.ZeroPointLength()} not in ({1}, {0, 1}):
        return None
    scale = float(found.Scale(0)) if found.ScaleLength() else 1.0
    zero_point = int(found.ZeroPoint(0)) if found.ZeroPointLength() else 0
    return Quantization(scale, zero_point) if 0 < scale < float("inf") else None
