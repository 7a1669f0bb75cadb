"""Anchors of the SSD-MobileNet detector: the boxes that its heads correct, and the code of the corrections.

Boxes are rows of (ymin, xmin, ymax, xmax), in fractions of the picture, as in TFLite's own detection operators.
Wei Liu et al., "SSD: Single Shot MultiBox Detector", 2016, section 2.
"""

from __future__ import annotations

import numpy as np

#: Rows and columns of the six feature maps, and the anchors (height, width) at each of their cells: those that fit
#: rendered traffic best (k-means over 4,000 vehicles, by size one map after the other).
MAPS: tuple[tuple[int, tuple[tuple[float, float], ...]], ...] = (
    (19, ((0.08, 0.09), (0.09, 0.14), (0.14, 0.10))),
    (10, ((0.11, 0.19), (0.14, 0.15), (0.20, 0.12), (0.13, 0.24), (0.21, 0.17), (0.16, 0.23))),
    (5, ((0.17, 0.31), (0.21, 0.26), (0.30, 0.19), (0.19, 0.43), (0.24, 0.36), (0.29, 0.30))),
    (3, ((0.29, 0.43), (0.24, 0.52), (0.44, 0.31), (0.38, 0.41), (0.34, 0.52), (0.29, 0.63))),
    (2, ((0.51, 0.45), (0.38, 0.62), (0.46, 0.53), (0.33, 0.76), (0.50, 0.62), (0.41, 0.78))),
    (1, ((0.42, 0.92), (0.52, 0.76), (0.48, 0.87), (0.50, 0.95), (0.57, 0.83), (0.60, 0.96))),
)
#: The divisors of the four numbers of a head (y, x, height, width), which make them about equally large.
SCALES = np.array((10.0, 10.0, 5.0, 5.0), np.float32)


def anchors() -> np.ndarray:
    """All anchors, float32 (1917, 4): centre y, centre x, height, width; map by map, row by row, cell by cell."""
    found = []
    for size, shapes in MAPS:
        middles = (np.arange(size) + 0.5) / size
        grid = np.stack(np.meshgrid(middles, middles, indexing="ij"), -1)[:, :, None, :]
        centres = np.broadcast_to(grid, (size, size, len(shapes), 2))
        extents = np.broadcast_to(np.array(shapes), centres.shape)
        found.append(np.concatenate([centres, extents], -1).reshape(-1, 4))
    return np.concatenate(found).astype(np.float32)


def encode(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The wanted outputs of the heads for these boxes (n, 4), each at its own anchor (n, 4): float32 (n, 4)."""
    extents = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    shifts = (centres - anchors[:, :2]) / anchors[:, 2:]
    return (np.concatenate([shifts, np.log(extents / anchors[:, 2:])], 1) * SCALES).astype(np.float32)


def decode(codes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """The boxes that outputs of the heads stand for, the inverse of ``encode``: float32 (n, 4)."""
    codes = codes / SCALES
    centres = codes[:, :2] * anchors[:, 2:] + anchors[:, :2]
    halves = np.exp(np.minimum(codes[:, 2:], 5)) * anchors[:, 2:] / 2
    return np.concatenate([centres - halves, centres + halves], 1).astype(np.float32)
