"""What is done with frames to which no answer came."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eprune.runtime import Actor


class Retry(Actor):
    """Passes an answer on, or the frame where there is none: the entry DA of a graph that computes it, and its source.

    Inputs ``frame``, ``answer``, and ``missing``, int32[1]: whether there is no answer. The control value 0 activates
    the output ``past``, of the answer's type, 1 the output ``again``, of the frame's.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        types = {"past": self.inputs.get("answer"), "again": self.inputs.get("frame")}
        if set(self.inputs) != {"frame", "answer", "missing"} or dict(self.outputs) != types:
            raise ValueError("needs inputs 'frame', 'answer' and 'missing', outputs 'past' like the answer and 'again'")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """Whether there is no answer."""
        return int(inputs["missing"][0] != 0)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the answer, or the frame."""
        for name, out in outputs.items():
            out[...] = inputs["answer" if name == "past" else "frame"]
