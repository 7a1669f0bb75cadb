"""Smaller pictures for a smaller network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port

from eprune.runtime import Actor


class MeanPool(Actor):
    """Shrinks float pictures, [1,H,W,C] or [H,W,C], by whole factors: each number is the mean of a block."""

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if the input is not larger by whole factors."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        if not source.dtype.startswith("float") or target.dtype != source.dtype:
            raise ValueError(f"port {self.target!r}: {source.dtype} to {target.dtype}; expected floats of one kind")
        if min(len(source.shape), len(target.shape)) < 3:
            raise ValueError(f"ports {self.source!r} and {self.target!r}: expected pictures, [1,H,W,C] or [H,W,C]")
        (*batch, height, width, channels), (*_, rows, columns, _) = source.shape, target.shape
        blocks = (height // max(rows, 1), width // max(columns, 1))
        whole = (rows * blocks[0], columns * blocks[1]) == (height, width)
        if target.shape != (*batch, rows, columns, channels) or not whole:
            raise ValueError(f"port {self.target!r}: {list(source.shape)} is not {list(target.shape)} by whole factors")
        self.blocks = (*batch, rows, blocks[0], columns, blocks[1], channels)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the smaller picture."""
        inputs[self.source].reshape(self.blocks).mean((-4, -2), out=outputs[self.target])
