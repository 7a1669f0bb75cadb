"""What is left of a frame when the device has decided: it goes to a server, or it is the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from checks import put, whole_number
from cut_token import expect_cut, opened

from eprune.runtime import Actor


class OffloadSender(Actor):
    """Copies the tensor in a cut to ``answer`` if that is what it is, and else the cut to ``onwards``: an entry DA.

    It is also the control source: 0 for an answer, 1 for a cut that goes on. An answer is a cut before the block behind
    the last one, or what an exit gave. The output ``sent``, float64[3], says when a cut went (time.perf_counter; 0 for
    an answer), its number and its bytes.

    Parameters:
        blocks: how many blocks the network has.
    """

    def __init__(self, blocks: str) -> None:
        self.blocks = whole_number("blocks", blocks)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        if set(self.inputs) != {"cut"} or set(self.outputs) != {"answer", "onwards", "sent"}:
            raise ValueError("needs the input 'cut', and the outputs 'answer', 'onwards' and 'sent'")
        expect_cut(self.inputs["cut"], {"answer": self.outputs["answer"]}, "cut")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """0 for an answer, 1 for what goes on. Raises ValueError for a token without a block."""
        number, _ = opened(inputs["cut"])
        return int(0 <= number < self.blocks)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the tensor or the token. Raises ValueError for an answer of another size."""
        token = inputs["cut"]
        number, _ = opened(token)
        if "onwards" in outputs:
            put(outputs["onwards"], token)
            outputs["sent"][...] = time.perf_counter(), number, len(token)
        else:
            opened(token, "answer", outputs["answer"])
            outputs["sent"][...] = 0, number, 0
