"""An exit of a network that is offloaded: a frame leaves, goes on, or is sent to a server."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from checks import whole_number
from exit_gate import EXIT, ExitGate

#: The control value of a frame that leaves.
LEAVE = 0


class OffloadGate(ExitGate):
    """Copies ``scores`` to ``early`` if they are sure enough, or if nothing else would be in time: an entry DA.

    It is also the control source: 0 to leave, and otherwise how many blocks run before the frame is sent, or comes to
    the next exit: what the input ``given``, the plan of an OffloadDecider, says. ``features`` go to ``deep``, the next
    block, or to ``cut``. The plan goes on to the output ``plan``, if there is a next exit; ``passed``, if there is such
    an output, is a copy of ``scores`` for every frame.

    Parameters:
        number: which exit this is, from 1.
        most: the number of blocks before the next exit, or of all.
        threshold: a frame whose confidence is at least this leaves.
        measure, scale, zero: as of ExitGate.
    """

    clock = staticmethod(time.perf_counter)

    def __init__(
        self, number: str, most: str, threshold: str, measure: str = "probability", scale: str = "1", zero: str = "0"
    ) -> None:
        super().__init__(threshold, measure, scale, zero)
        self.number, self.most = whole_number("number", number), whole_number("most", most)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        inputs, outputs = self.inputs, self.outputs
        if set(inputs) != {"scores", "features", "given"} or set(outputs) - {"plan", "passed"} != {
            "early",
            "deep",
            "cut",
        }:
            raise ValueError("needs the inputs 'scores', 'features', 'given', the outputs 'early', 'deep', 'cut'")
        if inputs["scores"] != outputs["early"] or {outputs["deep"], outputs["cut"]} != {inputs["features"]}:
            raise ValueError("needs 'early' of the type of 'scores', and 'deep' and 'cut' of that of 'features'")
        if len(inputs["given"].shape) != 1 or inputs["given"].shape[0] < 2 + self.number:
            raise ValueError(f"port 'given': the plan has no number for exit {self.number}")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """0 to leave, or how many blocks run at most before what is next."""
        cut, deadline, onwards = (float(inputs["given"][place]) for place in (0, 1, 1 + self.number))
        if super().control(inputs) == EXIT or self.clock() + onwards > deadline:
            return LEAVE
        return min(int(cut), self.most)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy what is active."""
        sources = {"early": "scores", "passed": "scores", "deep": "features", "cut": "features", "plan": "given"}
        for name, out in outputs.items():
            out[...] = inputs[sources[name]]
