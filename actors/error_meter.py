"""A sink that reports how far a signal is from the wanted one."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping

import numpy as np
from checks import number

from eprune.runtime import Actor


class ErrorMeter(Actor):
    """Compares the blocks at ``in`` with those at ``wanted``, and writes a line of JSON at the end.

    ``error_db`` is the power of the difference relative to that of the wanted signal, in decibels.

    Parameters:
        gain: the factor that is applied to the wanted signal.
    """

    def __init__(self, gain: str = "1") -> None:
        self.gain = number("gain", gain)
        self.blocks = 0
        self.error = self.power = 0.0

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        if set(self.inputs) != {"in", "wanted"} or len(set(self.inputs.values())) != 1 or self.inputs["in"].rate != 1:
            raise ValueError("needs the inputs 'in' and 'wanted' of one type, at rate 1")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Add up the powers."""
        wanted = self.gain * inputs["wanted"].astype(np.float64)
        self.error += float(np.square(inputs["in"] - wanted).sum())
        self.power += float(np.square(wanted).sum())
        self.blocks += 1

    def finalize(self) -> None:
        """Write the line."""
        error_db = round(10 * math.log10(self.error / self.power), 1) if self.error and self.power else None
        sys.stdout.write(json.dumps({"blocks": self.blocks, "error_db": error_db}) + "\n")
