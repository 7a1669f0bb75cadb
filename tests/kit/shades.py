"""Pictures of two shades, for commands that take ``--data``."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write(path: Path, count: int) -> None:
    """Noise [count,8,8,3], dark and bright in turn, of five classes, into an .npz file; it also has ``bright``."""
    random = np.random.default_rng(1)
    bright = np.arange(count) % 2
    pictures = random.integers(0, 100, (count, 8, 8, 3)) + 150 * bright[:, None, None, None]
    np.savez(path, x=pictures.astype(np.uint8), y=np.arange(count) % 5, bright=bright)
