"""The entry to a network whose width differs from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from checks import numbers, only_port, whole_number

from eprune.runtime import Actor


class WidthGate(Actor):
    """Chooses how many parts of a network's layers compute a frame: an entry DA and control source.

    Its ``model``, a slice that is named beside the class, has one input, and a number for each width but the last: how
    likely it is that this width is not enough. The first width of which the number is below its threshold is taken,
    else the last one; the control value is 0 for the first width. The input is copied to every active output.

    Parameters:
        thresholds: a number for each width but the last, separated by commas.
        width: the number of parts, from 1 on, for all frames; the model is then not asked.
    """

    def __init__(self, thresholds: str, width: str = "") -> None:
        self.thresholds = numbers("thresholds", thresholds)
        self.width = whole_number("width", width) if width else 0
        if self.width > len(self.thresholds) + 1:
            raise ValueError(f"width={width}: expected 1 to {len(self.thresholds) + 1}")

    def initialize(self) -> None:
        """Check the ports, and run the model once. Raises ValueError if they do not fit."""
        self.source, source = only_port(self.inputs, "input")
        if {*self.outputs.values()} != {source}:
            raise ValueError(f"needs outputs of the type and rate of its input {self.source!r}")
        if self.model is None:
            raise ValueError('needs a model: write model="..." and operators="..." beside the class')
        self._scores(np.zeros(source.shape, source.dtype))

    def control(self, inputs: Mapping[str, Any]) -> int:
        """The width less 1."""
        if self.width:
            return self.width - 1
        enough = np.flatnonzero(self._scores(inputs[self.source]) < self.thresholds)
        return int(enough[0]) if len(enough) else len(self.thresholds)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Copy the token."""
        for out in outputs.values():
            out[...] = inputs[self.source]

    def _scores(self, token: np.ndarray) -> np.ndarray:
        scores: np.ndarray = self.model(token)[0].reshape(-1)
        if scores.size != len(self.thresholds):
            raise ValueError(f"the model gives {scores.size} numbers, and there are {len(self.thresholds)} thresholds")
        return scores
