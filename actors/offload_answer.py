"""The answer of a network of which each frame is computed in one of several places, and a report of when it came."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from cut_token import nbytes

from eprune.runtime import Actor, PortType

#: bytes of the seconds that a server took, before an answer
SECONDS_BYTES = 8
#: Inputs that are no answers.
BESIDE = ("remote", "sent", "begun")


class OffloadAnswer(Actor):
    """Copies the active answer to its output ``out``: the exit DA of an offloading graph.

    Inputs are answers, of which one is active, and ``remote``, uint8[8+n]: the seconds that a server took (float64;
    below 0: none has answered), and the answer's bytes. With an input ``begun``, float64[1], it is a server's exit, and
    ``out`` is of that kind.

    ``report``, float64[6], goes back to the decider: how many answers there have been; when this one was there
    (time.perf_counter, which means something on the decider's platform only); and, from the input ``sent``, float64[3],
    when it was sent (0 if it was not), the number of the block before which it was cut (minus that of the exit at which
    it left; without ``sent``, a large one), and the bytes; and the seconds that the server took, -1 if it did not
    answer. The output ``missing``, int32[1], says whether that is so; ``out`` is zeros then.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.count = 0
        answers = {name: port for name, port in self.inputs.items() if name not in BESIDE}
        if len(set(answers.values())) != 1 or set(self.outputs) - {"report", "missing"} != {"out"}:
            raise ValueError("needs answers of one type as its inputs, and an output 'out'")
        self.answer: PortType = next(iter(answers.values()))
        timed = PortType("uint8", (SECONDS_BYTES + nbytes(self.answer),), 1)
        if self.outputs["out"] != (timed if "begun" in self.inputs else self.answer):
            raise ValueError("needs the output 'out' of the type and rate of the answers, or uint8 with 8 bytes more")
        if self.inputs.get("remote", timed) != timed:
            raise ValueError(f"port 'remote': expected uint8[{timed.shape[0]}]")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the answer, and report it. Raises ValueError unless one is active."""
        found = [name for name in inputs if name not in ("sent", "begun")]
        if len(found) != 1 and (found or "missing" not in outputs):
            raise ValueError(f"{', '.join(sorted(found)) or 'no inputs'} are active; exactly one must be")
        out = outputs["out"]
        answer, there = (inputs[found[0]], 0.0) if found else (out, -1.0)
        if found == ["remote"]:
            there, answer = float(answer[:SECONDS_BYTES].view("<f8")[0]), answer[SECONDS_BYTES:]
        lost = there < 0
        now = time.perf_counter()
        if "missing" in outputs:
            outputs["missing"][0] = lost
        if lost:
            out[...] = 0
        if "begun" in inputs:
            out[:SECONDS_BYTES].view("<f8")[0] = now - float(inputs["begun"][0])
            out = out[SECONDS_BYTES:]
        out.reshape(-1).view(np.uint8)[...] = answer.reshape(-1).view(np.uint8)
        self.count += 1
        if "report" in outputs:
            sent = inputs["sent"] if "sent" in inputs else (0.0, float(2**31), 0.0)
            outputs["report"][...] = self.count, now, *sent, there
