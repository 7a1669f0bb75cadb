"""The entry to a branch that is taken only if a score of the data is high enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from checks import number
from switch import Switch


class SkipGate(Switch):
    """Takes the branch if the score that its ``model`` gives the input reaches the threshold: a leading entry DA.

    The control value is 1 if the branch is taken, and 0 if it is skipped. The input is copied to every active output.
    The model, a slice that is named beside the class, has one input, and one number as its output.

    Parameters:
        threshold: the least score, a number.
    """

    def __init__(self, threshold: str) -> None:
        self.threshold = number("threshold", threshold)

    def initialize(self) -> None:
        """Check the ports, and run the model once. Raises ValueError if they do not fit."""
        super().initialize()
        if self.model is None:
            raise ValueError('needs a model: write model="..." and operators="..." beside the class')
        [(_, port)] = self.inputs.items()
        self._score(np.zeros(port.shape, port.dtype))

    def control(self, inputs: Mapping[str, Any]) -> int:
        """1 to take the branch, 0 to skip it."""
        (token,) = inputs.values()
        return int(self._score(token) >= self.threshold)

    def _score(self, token: np.ndarray) -> float:
        scores = self.model(token)
        if len(scores) != 1 or scores[0].size != 1:
            raise ValueError("the model must have one output of one number")
        return float(scores[0].reshape(-1)[0])
