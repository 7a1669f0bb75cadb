"""A sink that tells how often a classifier is right."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import numpy as np

from eprune.runtime import Actor


class Accuracy(Actor):
    """Compares the best of the ``scores`` with the true ``class``; at the end a line of JSON.

    That is ``{"frames": 500, "accuracy": 0.966}``, the share of frames of which the best score is the true class's.
    """

    def __init__(self) -> None:
        self.frames = self.right = 0

    def initialize(self) -> None:
        """Raise ValueError where the ports do not fit."""
        if set(self.inputs) != {"scores", "class"} or {port.rate for port in self.inputs.values()} != {1}:
            raise ValueError("needs the inputs 'scores' and 'class', at rate 1")
        if (self.inputs["class"].dtype, self.inputs["class"].shape) != ("int32", ()):
            raise ValueError("port 'class': a class is token=\"int32\"")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Compare."""
        self.right += int(inputs["scores"].argmax()) == int(inputs["class"])
        self.frames += 1

    def finalize(self) -> None:
        """Write the line."""
        accuracy = round(self.right / self.frames, 6) if self.frames else None
        sys.stdout.write(json.dumps({"frames": self.frames, "accuracy": accuracy}) + "\n")
