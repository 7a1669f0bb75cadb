"""A control source that measures the magnitude of its input."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import number, only_port

from eprune.runtime import Actor


class LevelGate(Actor):
    """The control value is the number of thresholds that the largest magnitude of the input reaches: a CA.

    Parameters:
        thresholds: ascending numbers, separated by commas.
    """

    def __init__(self, thresholds: str) -> None:
        self.thresholds = [number("thresholds", text) for text in thresholds.split(",")]
        if self.thresholds != sorted(set(self.thresholds)):
            raise ValueError(f"thresholds={thresholds}: expected ascending numbers")

    def initialize(self) -> None:
        """Check the ports. Raises ValueError unless there is exactly one input."""
        self.port, _ = only_port(self.inputs, "input")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """Count the thresholds that the token reaches."""
        level = float(np.abs(inputs[self.port]).max())
        return sum(level >= threshold for threshold in self.thresholds)
