"""A sink that reports how often a classifier is right."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import numpy as np

from eprune.runtime import Actor, PortType


class Accuracy(Actor):
    """Compares the best of the ``scores`` with the class ``wanted``, and writes a line of JSON at the end.

    The line is ``{"frames": 500, "accuracy": 0.966}``, with the share of frames that are classified correctly.
    """

    def __init__(self) -> None:
        self.frames = self.right = 0

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        if set(self.inputs) != {"scores", "wanted"} or {port.rate for port in self.inputs.values()} != {1}:
            raise ValueError("needs the inputs 'scores' and 'wanted', at rate 1")
        if self.inputs["wanted"] != PortType("int32", (1,), 1):
            raise ValueError("port 'wanted': the number of a class is int32[1]")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Compare one frame."""
        self.right += int(inputs["scores"].argmax()) == int(inputs["wanted"][0])
        self.frames += 1

    def finalize(self) -> None:
        """Write the line."""
        accuracy = round(self.right / self.frames, 6) if self.frames else None
        sys.stdout.write(json.dumps({"frames": self.frames, "accuracy": accuracy}) + "\n")
