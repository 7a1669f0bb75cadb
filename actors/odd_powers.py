"""The entry to a polynomial filter: as many powers of a signal as the control token states."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port, tokens_of

from eprune.runtime import Actor


class OddPowers(Actor):
    """The first, third, fifth, ... power of blocks of samples, as many as the active rate of the output: an entry DA.

    The tokens of the output are longer than a block: they begin with the preceding samples that a filter looks back to,
    which are zeros before the first block.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.port, block = only_port(self.inputs, "input")
        if len(self.outputs) != 1 or len(block.shape) != 1:
            raise ValueError("needs one output, and blocks of samples such as float32[1024]")
        [(self.out, self.type)] = self.outputs.items()
        self.history = (self.type.shape[0] if len(self.type.shape) == 1 else -1) - block.shape[0]
        if self.history < 0 or self.type.dtype != block.dtype:
            raise ValueError(f"port {self.out!r}: needs the {block.shape[0]} samples of a block, and those before it")
        self.signal = np.zeros(self.type.shape, block.dtype)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, list[np.ndarray]]) -> None:
        """Advance by a block, and write the powers."""
        signal = self.signal
        signal[: self.history] = signal[len(signal) - self.history :].copy()
        signal[self.history :] = inputs[self.port]
        square = signal * signal
        power = signal
        for token in tokens_of(outputs.get(self.out)):
            token[...] = power
            power = power * square
