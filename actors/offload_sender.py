"""What is left of a frame when the device has decided: it goes to a server, or it is the answer."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from checks import whole_number
from cut_token import expect_cut, opened, packed

from eprune.runtime import Actor


class OffloadSender(Actor):
    """Copies the tensor in a cut to ``answer`` if that is what it is, and else the cut to ``onwards``: an entry DA.

    It is also the control source: 0 for an answer, 1 for a cut that goes on. An answer is a cut before the block behind
    the last one, or what an exit gave. The input ``padding``, int32[1], says how many bytes more are to be sent with a
    cut that goes on. The output ``sent``, float64[3], says when a cut went (time.perf_counter; 0 for
    an answer), its number and its bytes.

    Parameters:
        blocks: how many blocks the network has.
    """

    def __init__(self, blocks: str) -> None:
        self.blocks = whole_number("blocks", blocks)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        if set(self.inputs) != {"cut", "padding"} or set(self.outputs) != {"answer", "onwards", "sent"}:
            raise ValueError("needs the inputs 'cut' and 'padding', and the outputs 'answer', 'onwards' and 'sent'")
        expect_cut(self.inputs["cut"], {"answer": self.outputs["answer"]}, "cut")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """0 for an answer, 1 for what goes on. Raises ValueError for a token without a block."""
        number, _ = opened(inputs["cut"])
        return int(0 <= number < self.blocks)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the tensor or the token. Raises ValueError for an answer of another size."""
        number, tensor = opened(inputs["cut"])
        if "onwards" in outputs:
            out = outputs["onwards"]
            out.used = packed(out, number, tensor, int(inputs["padding"][0]))
            outputs["sent"][...] = time.perf_counter(), number, out.used
        else:
            opened(inputs["cut"], "answer", outputs["answer"])
            outputs["sent"][...] = 0, number, 0
