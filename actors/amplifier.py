"""A power amplifier that distorts, as something for a predistorter to mend."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port

from eprune.runtime import Actor

#: The weights with which the newest samples reach the amplifying stage, newest first.
_MEMORY = (1.0, 0.15, -0.05)
#: The coefficients of the first, third and fifth power.
_STAGE = (1.0, -0.2, 0.03)


def amplify(signal: np.ndarray) -> np.ndarray:
    """The amplifier's output for all samples but the first two, which are history."""
    count = len(signal) - len(_MEMORY) + 1
    reached = sum(tap * signal[2 - back : 2 - back + count] for back, tap in enumerate(_MEMORY))
    square = reached * reached
    return reached * (_STAGE[0] + square * (_STAGE[1] + square * _STAGE[2]))


class Amplifier(Actor):
    """The model of an amplifier that compresses strong signals, with a memory of two samples, block by block."""

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.port, block = only_port(self.inputs, "input")
        self.out, out = only_port(self.outputs, "output")
        if block != out or len(block.shape) != 1:
            raise ValueError("needs blocks of samples at both ports, such as float32[1024]")
        self.signal = np.zeros(block.shape[0] + 2)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Amplify a block."""
        self.signal[:2] = self.signal[-2:].copy()
        self.signal[2:] = inputs[self.port]
        outputs[self.out][...] = amplify(self.signal)
