"""A control source with fixed values."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import whole_number

from eprune.runtime import Actor, EndOfStream


class Schedule(Actor):
    """Sends control values in turn, whatever its inputs are: a CA for trying out each row of a control table.

    Parameters:
        values: the control values, separated by commas.
        repeat: the number of passes; 0 never ends.
    """

    def __init__(self, values: str, repeat: str = "0") -> None:
        try:
            self.values = [int(value) for value in values.split(",")]
        except ValueError:
            raise ValueError(f"values={values!r}: expected whole numbers, separated by commas") from None
        self.count = whole_number("repeat", repeat) * len(self.values)
        self.firing = 0

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """Return the next value."""
        if self.count and self.firing == self.count:
            raise EndOfStream
        self.firing += 1
        return self.values[(self.firing - 1) % len(self.values)]
