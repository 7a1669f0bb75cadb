"""How near a reconstructed picture comes to the true one.

Reference: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity"
(2004), for SSIM.
"""

from __future__ import annotations

from typing import Any

import numpy as np

#: PSNR of what is exact, in dB, and windows of SSIM, in pixels.
EXACT, _WINDOW = 60.0, 7


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal to noise ratio of two pictures from 0 to 1, in dB; 60 for equal ones."""
    error = float(((one - other) ** 2).mean())
    return min(EXACT, -10 * np.log10(error)) if error > 0 else EXACT


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two pictures [H,W,C] from 0 to 1: the mean over channels and windows of 7 x 7 pixels."""
    window = min(_WINDOW, *one.shape[:2])
    count = window * window
    view: Any = np.lib.stride_tricks.sliding_window_view
    values = [view(each.astype(np.float64), (window, window), axis=(0, 1)) for each in (one, other)]
    means = [each.mean(axis=(-1, -2)) for each in values]
    unbiased = count / max(count - 1, 1)
    squares = [unbiased * ((each**2).mean(axis=(-1, -2)) - mean**2) for each, mean in zip(values, means)]
    both = unbiased * ((values[0] * values[1]).mean(axis=(-1, -2)) - means[0] * means[1])
    first, second = 0.01**2, 0.03**2
    above = (2 * means[0] * means[1] + first) * (2 * both + second)
    below = (means[0] ** 2 + means[1] ** 2 + first) * (squares[0] + squares[1] + second)
    return float((above / below).mean())
