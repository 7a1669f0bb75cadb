"""A control source that looks how large its input is."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import number, only_port

from eprune.runtime import Actor


class LevelGate(Actor):
    """The control value is how many thresholds its input's largest magnitude reaches: a CA.

    Parameters:
        thresholds: rising numbers, separated by commas.
    """

    def __init__(self, thresholds: str) -> None:
        self.thresholds = [number("thresholds", text) for text in thresholds.split(",")]
        if self.thresholds != sorted(set(self.thresholds)):
            raise ValueError(f"thresholds={thresholds}: expected rising numbers")

    def initialize(self) -> None:
        """Raise ValueError where there is not one input."""
        self.port, _ = only_port(self.inputs, "input")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """Count the thresholds that the token reaches."""
        level = float(np.abs(inputs[self.port]).max())
        return sum(level >= threshold for threshold in self.thresholds)
