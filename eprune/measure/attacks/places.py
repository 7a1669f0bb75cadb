"""Pictures place by place: the features around each place of a token, and the pixels that belong there.

Every place of every picture is an example, so that few pictures are many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

#: Features around a place at most; with more of them, only those of the place itself.
_PATCH = 1200
#: Examples that an attack is fitted on, at most.
EXAMPLES = 60_000


class Places:
    """The places of tokens [rows,columns,channels], for pictures [H,W,C]."""

    def __init__(self, shape: Sequence[int], picture: Sequence[int]) -> None:
        self.rows, self.columns, self.channels = shape
        self.picture = picture
        self.zoom = max(1, round(picture[0] / self.rows)), max(1, round(picture[1] / self.columns))
        self.size = self.rows * self.zoom[0], self.columns * self.zoom[1]
        self.around = 3 if 9 * self.channels <= _PATCH else 1

    def features(self, tokens: np.ndarray) -> np.ndarray:
        """The features around each place, as rows: [n * places, features]."""
        tokens = tokens.reshape(-1, self.rows, self.columns, self.channels)
        if self.around == 1:
            return tokens.reshape(-1, self.channels)
        view: Any = np.lib.stride_tricks.sliding_window_view
        wide = np.pad(tokens, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        found: np.ndarray = view(wide, (self.around, self.around), axis=(1, 2))
        return found.reshape(-1, self.channels * self.around * self.around)

    def pixels(self, pictures: np.ndarray) -> np.ndarray:
        """The pixels of each place, as rows: [n * places, pixels * colours]."""
        blocks = np.stack([resized(each, *self.size) for each in pictures])
        split = blocks.reshape(len(pictures), self.rows, self.zoom[0], self.columns, self.zoom[1], self.picture[2])
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(len(pictures) * self.rows * self.columns, -1)

    def assembled(self, pixels: np.ndarray) -> np.ndarray:
        """The picture [H,W,C] of the pixels of all its places."""
        made = pixels.reshape(self.rows, self.columns, self.zoom[0], self.zoom[1], self.picture[2])
        return resized(made.transpose(0, 2, 1, 3, 4).reshape(*self.size, self.picture[2]), *self.picture[:2])


def resized(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A picture [H,W,C] of float32 at another size."""
    from PIL import Image

    if picture.shape[:2] == (rows, columns):
        return picture
    size, smooth = (columns, rows), Image.Resampling.BILINEAR
    layers = [Image.fromarray(layer.astype(np.float32)).resize(size, smooth) for layer in np.moveaxis(picture, 2, 0)]
    return np.stack([np.asarray(layer) for layer in layers], axis=2)
