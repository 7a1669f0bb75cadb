"""An actor that makes real numbers of those that a quantised model gives."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port
from quantized import Quantized

from eprune.runtime import Actor


class Dequantize(Actor):
    """Makes float32 of integers: q stands for ``scale * (q - zero_point)``.

    Parameters:
        scale: what one step is.
        zero_point: what stands for 0.
    """

    def __init__(self, scale: str, zero_point: str = "0") -> None:
        self.quantized = Quantized(scale, zero_point)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        if target.dtype != "float32" or target.shape != source.shape:
            raise ValueError(f"port {self.target!r}: expected float32{list(source.shape)}")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Convert one token."""
        outputs[self.target][...] = self.quantized.real(inputs[self.source])
