"""Rendered vehicles as data, for commands that take ``--data``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tests.kit.programs import ROOT


def write(path: Path, count: int, pixels: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Pictures [count,96,96,3] and their classes, into an .npz file: float32 from 0 to 1, or uint8 as ``pixels``."""
    sys.path.insert(0, str(ROOT / "actors"))
    try:
        from vehicle_renderer import render_vehicle, vehicle_class
    finally:
        sys.path.pop(0)
    pictures = np.stack([render_vehicle(2001, index) for index in range(count)])
    if pixels:
        pictures = np.rint(255 * pictures).astype(np.uint8)
    classes = np.array([vehicle_class(2001, index) for index in range(count)])
    np.savez(path, x=pictures, y=classes)
    return pictures, classes
