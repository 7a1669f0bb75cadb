"""The answer of a network of which each frame is computed in one of several places, and a report of when it came."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from cut_token import nbytes

from eprune.runtime import Actor, PortType

#: Inputs that are no answers.
BESIDE = ("remote", "sent", "begun")


class OffloadAnswer(Actor):
    """Copies the active answer to its output ``out``: the exit DA of an offloading graph.

    Inputs are answers, of which one is active, and ``remote``, uint8[8m+n]: m numbers of a server (float64), of which
    the first is the seconds that it took, and the answer's bytes. With an input ``begun``, float64[m], it is a server's
    exit, and ``out`` is of that kind: the seconds since the first of these numbers, and the others as they are.
    Seconds below 0 say that no server has answered.

    ``report``, float64[5+m], goes back to the decider: how many answers there have been; when this one was there
    (time.perf_counter, which means something on the decider's platform only); and, from the input ``sent``, float64[3],
    when it was sent (0 if it was not), the number of the block before which it was cut (minus that of the exit at which
    it left; without ``sent``, a large one), and the bytes; and the numbers of the server, or zeros; -1 if there is no
    answer. The output ``missing``, int32[1], says whether that is so; ``out`` is zeros then.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.count = 0
        answers = {name: port for name, port in self.inputs.items() if name not in BESIDE}
        if len(set(answers.values())) != 1 or set(self.outputs) - {"report", "missing"} != {"out"}:
            raise ValueError("needs answers of one type as its inputs, and an output 'out'")
        answer: PortType = next(iter(answers.values()))
        begun = self.inputs["begun"].shape[0] if "begun" in self.inputs else 0
        if self.outputs["out"] != (_with_numbers(answer, begun) if begun else answer):
            raise ValueError(
                "needs an output 'out' of the type and rate of the answers, or with as many numbers as 'begun'"
            )
        remote = self.inputs.get("remote")
        self.numbers = (nbytes(remote) - nbytes(answer)) // 8 if remote is not None else 1
        if remote is not None and (self.numbers < 1 or remote != _with_numbers(answer, self.numbers)):
            raise ValueError(f"port 'remote': expected uint8[{8 + nbytes(answer)}], or some multiple of 8 more")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the answer, and report it. Raises ValueError unless one is active."""
        found = [name for name in inputs if name not in ("sent", "begun")]
        if len(found) != 1 and (found or "missing" not in outputs):
            raise ValueError(f"{', '.join(sorted(found)) or 'no inputs'} are active; exactly one must be")
        out = outputs["out"]
        answer, told = inputs[found[0]] if found else out, np.zeros(self.numbers)
        if found == ["remote"]:
            told, answer = answer[: 8 * self.numbers].view("<f8"), answer[8 * self.numbers :]
        elif not found:
            told[0] = -1.0
        lost = told[0] < 0
        now = time.perf_counter()
        if "missing" in outputs:
            outputs["missing"][0] = lost
        if lost:
            out[...] = 0
        if "begun" in inputs:
            begun = inputs["begun"]
            numbers, out = out[: 8 * len(begun)].view("<f8"), out[8 * len(begun) :]
            numbers[...] = begun
            numbers[0] = now - begun[0]
        out.reshape(-1).view(np.uint8)[...] = answer.reshape(-1).view(np.uint8)
        self.count += 1
        if "report" in outputs:
            sent = inputs["sent"] if "sent" in inputs else (0.0, float(2**31), 0.0)
            outputs["report"][...] = self.count, now, *sent, *told


def _with_numbers(answer: PortType, count: int) -> PortType:
    """The type of an answer behind so many numbers."""
    return PortType("uint8", (8 * count + nbytes(answer),), 1)
