"""A server between a device and another server: where the rest of each frame is computed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import put
from cut_token import block_number, expect_cut, opened
from offload_decider import OffloadDecider


class OffloadRelay(OffloadDecider):
    """Copies the tensor in a cut to the block that is next, or hands the cut on as it is: the entry DA of its half.

    It decides like OffloadDecider, from the block at which a frame comes in. The control value is that number times
    K + 1, plus that of the block before which the frame is sent on, K for none. Outputs are ``block0``, ..., ``blockK``
    (the answer, if nothing remains to be computed), ``past``, of the cut's type, ``padding``, as of OffloadDecider, and
    ``begun``, float64[1+K]: when the frame came (time.perf_counter), and the seconds expected from each block on.

    Parameters:
        here, rest, bytes, bandwidth, latency, objective, watts, within: as of OffloadDecider.
        exits, shares, heads: there are none.
        probe, margin, patience, fixed, seconds, between: as of OffloadDecider.
        log: a file to write, as of OffloadDecider.
        trace: a file to write, as of OffloadDecider.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        if set(self.inputs) - {"report"} != {"cut"}:
            raise ValueError("needs the input 'cut', and perhaps 'report'")
        blocks = {name: port for name, port in self.outputs.items() if name not in ("past", "begun", "padding")}
        self.numbers = {block_number(name): name for name in blocks}
        expect_cut(self.inputs["cut"], blocks, "cut")
        if "begun" in self.outputs and self.outputs["begun"].shape != (1 + self.blocks,):
            raise ValueError(f"port 'begun': expected float64[{1 + self.blocks}]")

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """From which block to which. Raises ValueError for a token without a block."""
        self.costs.arrived, _ = opened(inputs["cut"])
        if not 0 <= self.costs.arrived <= self.blocks:
            raise ValueError(f"a cut before block {self.costs.arrived}, of {self.blocks}")
        return self.costs.arrived * (self.blocks + 1) + self.choose(inputs)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the tensor, or the token. Raises ValueError if the tensor has another size than the block's input."""
        token = inputs["cut"]
        for name, out in outputs.items():
            if name == "begun":
                out[0] = self.under_way[-1].begun
                out[1:] = self.costs.values()
            elif name == "padding":
                out[0] = self.under_way[-1].padding
            elif name == "past":
                put(out, token)
            else:
                opened(token, name, out)
