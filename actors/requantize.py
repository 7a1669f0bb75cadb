"""An actor that states a quantised token in another quantisation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port
from quantized import Quantized

from eprune.runtime import Actor


class Requantize(Actor):
    """Makes integers that stand for the nearest numbers in another quantisation: q stands for scale * (q - zero_point).

    Parameters:
        scale, zero_point: of the input.
        to_scale, to_zero_point: of the output.
    """

    def __init__(self, scale: str, to_scale: str, zero_point: str = "0", to_zero_point: str = "0") -> None:
        self.given, self.wanted = Quantized(scale, zero_point), Quantized(to_scale, to_zero_point)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        if target.shape != source.shape or np.dtype(source.dtype).kind not in "iu" or source.dtype != target.dtype:
            raise ValueError(f"needs an output of the type of its input {self.source!r}, integers")
        self.dtype = target.dtype
        limits = np.iinfo(source.dtype)
        every = np.arange(limits.min, limits.max + 1) if limits.bits == 8 else None
        #: of 8 bits: what each of the numbers becomes, from the least one on
        self.table = None if every is None else self.wanted.stored(self.given.real(every), self.dtype)
        self.least = int(limits.min)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Convert one token."""
        token = inputs[self.source]
        if self.table is None:
            outputs[self.target][...] = self.wanted.stored(self.given.real(token), self.dtype)
        else:
            outputs[self.target][...] = self.table[token.astype(np.int16) - self.least]
