"""How a tensor's integers stand for real numbers."""

from __future__ import annotations

from typing import NamedTuple


class Quantization(NamedTuple):
    """An integer q stands for ``scale * (q - zero_point)``."""

    scale: float
    zero_point: int
