"""What is done with frames to which no answer came."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cut_token import opened

from eprune.runtime import Actor

#: The rows of the control table.
PAST, AGAIN = 0, 1


class Retry(Actor):
    """Passes an answer on, or the frame where there is none: the entry DA of a graph that computes it, and its source.

    Inputs ``frame``, ``answer``, and ``missing``, int32[1]: whether there is no answer. The control value 0 activates
    the output ``past``, of the answer's type, 1 the output ``again``, of the frame's. With an input ``last``, as of
    CutPacker, a frame without an answer gets that of the last exit that it has passed, if there is one.

    How many frames got which are figures of the run: ``answered``, ``by_exit``, ``again``.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        types = {"past": self.inputs.get("answer"), "again": self.inputs.get("frame")}
        if set(self.inputs) - {"last"} != {"frame", "answer", "missing"} or dict(self.outputs) != types:
            raise ValueError("needs inputs 'frame', 'answer' and 'missing', outputs 'past' like the answer and 'again'")
        self.counts = {"answered": 0, "by_exit": 0, "again": 0}

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """Whether it is computed again."""
        self.exit = opened(inputs["last"])[0] if "last" in inputs else 0
        return AGAIN if inputs["missing"][0] and not self.exit else PAST

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the answer, or the frame."""
        what = "answered" if not inputs["missing"][0] else "by_exit" if self.exit else "again"
        for name, out in outputs.items():
            if name == "again":
                out[...] = inputs["frame"]
            elif what == "by_exit":
                opened(inputs["last"], name, out)
            else:
                out[...] = inputs["answer"]
        self.counts[what] += 1
        if what != "answered":
            self.figures = dict(self.counts)
