"""What can be said of a sample: percentiles, and how sure a share is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: Of the normal distribution, for an interval that holds the true share in 95 of 100 cases.
_Z = 1.959963984540054


def percentile(ordered: Sequence[float], percent: float) -> float:
    """What so many percent of the values, in rising order and at least one, do not exceed."""
    return ordered[math.ceil(percent / 100 * len(ordered)) - 1]


@dataclass(frozen=True)
class Share:
    """So many ``right`` ``of`` all, and Wilson's 95 % confidence interval of the share, ``low`` to ``high``.

    Where answers can be right in part, ``right`` is the sum of the parts, and the interval is wider than it need be.
    """

    right: float
    of: int

    @property
    def value(self) -> float:
        """The share, from 0 to 1."""
        return self.right / self.of

    @property
    def low(self) -> float:
        """The lower bound."""
        return self._bound(-1)

    @property
    def high(self) -> float:
        """The upper bound."""
        return self._bound(1)

    def _bound(self, sign: int) -> float:
        if self.right == (self.of if sign > 0 else 0):
            return self.value  # which rounding would miss
        square = _Z * _Z / self.of
        spread = math.sqrt(square * (self.value * (1 - self.value) + square / 4))
        return (self.value + square / 2 + sign * spread) / (1 + square)
