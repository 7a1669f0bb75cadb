"""The answer of whichever of several servers had the token."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from eprune.runtime import Actor

#: bytes of the seconds that a server took, before an answer
SECONDS_BYTES = 8


class ServerAnswer(Actor):
    """Copies the answer of the server that had the token: the exit DA behind ``ServerChoice``.

    Inputs ``from0``, ``from1``, ..., uint8[8+n], and ``sent``, float64[2]. Where the answer is missing, the output
    ``out`` begins with seconds below 0. ``report``, float64[2], goes back to the choice.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        answers = {name: port for name, port in self.inputs.items() if name != "sent"}
        if set(self.outputs) != {"out", "report"} or set(answers.values()) != {self.outputs["out"]}:
            raise ValueError("needs outputs 'out' and 'report', inputs 'sent', and 'from0', ... of the type of 'out'")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the answer, and report it."""
        found = [token for name, token in inputs.items() if name != "sent"]
        server, begun = inputs["sent"]
        out = outputs["out"]
        if found:
            out[...] = found[0]
        else:
            out[...] = 0
            out[:SECONDS_BYTES].view("<f8")[0] = -1.0
        outputs["report"][...] = server, max(time.perf_counter() - begun, 1e-9) if found else -1.0
