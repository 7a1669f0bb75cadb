"""The answer of a network, whoever computed it, and a report of when it was there."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from checks import only_port

from eprune.runtime import Actor


class OffloadAnswer(Actor):
    """Copies the active input, ``local`` or ``remote``, to its output: the exit DA of an offloading graph.

    ``report``, float64[2], goes back to the decider: how many answers there have been, and when this one was there
    (time.perf_counter), which means something on the decider's platform only.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.count = 0
        outputs = {name: port for name, port in self.outputs.items() if name != "report"}
        self.out, port = only_port(outputs, "output (beside report)")
        if set(self.inputs) != {"local", "remote"} or {*self.inputs.values()} != {port}:
            raise ValueError("needs the inputs 'local' and 'remote' of the type and rate of its output")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the answer, and report it."""
        (answer,) = inputs.values()
        outputs[self.out][...] = answer
        self.count += 1
        if "report" in outputs:
            outputs["report"][...] = self.count, time.perf_counter()
