"""A test signal for filters: bursts of a modulated carrier, with silence between."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import whole_number

from eprune.runtime import Actor, EndOfStream

#: Strengths, and for how many blocks one holds.
_STRENGTHS, _BURST = (0.0, 0.1, 0.2, 0.4, 0.6, 1.0), 5
#: Cycles per sample of the two carriers.
_CARRIERS = (0.0213, 0.0897)


class BurstSource(Actor):
    """Blocks of a real signal of changing strength, from silence up to a magnitude of 1.

    All outputs carry the same blocks: two carriers, whose envelope leads from the strength of the last block to that of
    the current one.

    Parameters:
        count: the number of blocks; 0 never ends.
        seed: determines the strengths and the phases of the carriers; the same seed gives the same signal.
    """

    def __init__(self, count: str = "200", seed: str = "1") -> None:
        self.count = whole_number("count", count)
        self.generator = np.random.default_rng(whole_number("seed", seed))
        self.phases = self.generator.uniform(0, 2 * np.pi, len(_CARRIERS))

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not carry blocks of samples."""
        types = set(self.outputs.values())
        if len(types) != 1 or {(port.dtype, len(port.shape), port.rate) for port in types} != {("float32", 1, 1)}:
            raise ValueError("needs outputs of one type, blocks of float32 samples such as float32[1024], at rate 1")
        self.time = np.arange(next(iter(types)).shape[0])
        self.strength = 0.0
        self.block = 0

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next block."""
        if self.count and self.block == self.count:
            raise EndOfStream
        strength = self.strength
        if self.block % _BURST == 0:
            strength = self.generator.choice(_STRENGTHS)
        waves = [np.sin(2 * np.pi * carrier * self.time + phase) for carrier, phase in zip(_CARRIERS, self.phases)]
        envelope = np.linspace(self.strength, strength, len(self.time))
        block = envelope * sum(waves) / len(waves)
        for out in outputs.values():
            out[...] = block
        self.strength = strength
        self.time += len(self.time)
        self.block += 1
