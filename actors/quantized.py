"""Integers that stand for real numbers, as in quantised models."""

from __future__ import annotations

import re

import numpy as np
from checks import number


class Quantized:
    """An integer q stands for ``scale * (q - zero_point)``. Without a scale, numbers stand for themselves.

    Takes the texts of two parameters; raises ValueError for what cannot be.
    """

    def __init__(self, scale: str, zero_point: str) -> None:
        self.given = bool(scale)
        self.scale = number("scale", scale) if scale else 1.0
        if self.scale <= 0:
            raise ValueError(f"scale={scale!r}: expected a number above 0")
        if not re.fullmatch(r"-?[0-9]{1,9}", zero_point.strip()):
            raise ValueError(f"zero_point={zero_point!r}: expected a whole number")
        self.zero_point = int(zero_point)

    def real(self, token: np.ndarray) -> np.ndarray:
        """What a token's elements stand for: float32, or the token itself where no scale is given."""
        if not self.given:
            return token
        return ((token.astype(np.float64) - self.zero_point) * self.scale).astype(np.float32)

    def stored(self, values: np.ndarray, dtype: str) -> np.ndarray:
        """The nearest numbers of an integer dtype that stand for real ones."""
        limits = np.iinfo(dtype)
        steps = np.rint(np.asarray(values, np.float64) / self.scale) + self.zero_point
        return np.clip(steps, limits.min, limits.max).astype(dtype)
