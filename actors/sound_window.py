"""Tokens that are windows of sound."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_type
from quantized import Quantized

from eprune.runtime import PortType


class SoundWindow:
    """The tokens of a source: [N], [1,N], [1,N,1], ... for windows of N samples of -1 to 1.

    Floats are the samples, int16 samples of 16 bits; with ``quantized``, integers stand for the samples.
    """

    def __init__(self, quantized: Quantized) -> None:
        self.quantized = quantized

    def bind(self, outputs: Mapping[str, PortType]) -> int:
        """Set the ports, of one type; N. Raises ValueError if their token is not a window of samples."""
        name, port = only_type(outputs, "output")
        window = int(np.prod(port.shape))
        kinds = ("float32", "float64", "float16", "int16")
        if self.quantized.given:
            kinds += ("int8", "uint8", "int32")
        if max(port.shape, default=1) != window or port.dtype not in kinds:
            raise ValueError(
                f"port {name!r}: {port.dtype}{list(port.shape)} is not a window of samples; expected float or int16, "
                "other integers with scale, and one dimension but for those of 1"
            )
        self.dtype = port.dtype
        if self.dtype.startswith("float") and self.quantized.given:
            raise ValueError(f"port {name!r}: scale is for integer tokens, not {self.dtype}")
        return window

    def write(self, samples: np.ndarray, outputs: Mapping[str, np.ndarray]) -> None:
        """Write a window to all ports; where there are fewer samples, silence follows."""
        if self.dtype.startswith("float"):
            values = samples
        elif self.quantized.given:
            values = self.quantized.stored(samples, self.dtype)
        else:
            values = np.rint(np.clip(samples * 32768, -32768, 32767)).astype(np.int16)
        for token in outputs.values():
            flat = token.reshape(-1)  # a view
            flat[: len(values)] = values
            flat[len(values) :] = self.quantized.zero_point
