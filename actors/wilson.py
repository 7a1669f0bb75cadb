"""Wilson's confidence interval of a share."""

from __future__ import annotations

from typing import Union

import numpy as np

#: Of the normal distribution: what 95 % do not exceed, and within what distance 95 % are.
ONE_SIDED, TWO_SIDED = 1.6448536269514722, 1.959963984540054


def bounds(
    share: Union[float, np.ndarray], count: Union[float, np.ndarray], normal: float
) -> tuple[np.ndarray, np.ndarray]:
    """The lower and the upper bound of a share of so many, numbers or arrays; ``normal`` says how sure they are."""
    square = normal**2 / np.asarray(count, np.float64)
    middle, reach = share + square / 2, np.sqrt(square * (share * (1 - share) + square / 4))
    return (middle - reach) / (1 + square), (middle + reach) / (1 + square)
