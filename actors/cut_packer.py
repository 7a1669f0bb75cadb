"""A cut of which the block is decided at run time, as one token."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from cut_token import block_number, expect_cut, opened, packed

from eprune.runtime import Actor


class CutPacker(Actor):
    """Copies the active input to its output, with the number of the block that is next: a DPA, or an exit DA.

    Inputs are named ``block0``, ``block1``, ...: the tensor that this block takes; or ``exit1``, ...: the answer of
    that exit. An input of the output's type is a cut that is handed on. The output is uint8[<=n] for the largest of
    them: the number, and then the tensor's bytes (``cut_token``). The input ``padding``, int32[1], if there is one,
    says how many bytes more are to be sent. The output ``sent``, float64[3], if there is one, says when that was
    (time.perf_counter), the number, and the token's bytes.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        outputs = {name: port for name, port in self.outputs.items() if name != "sent"}
        if len(outputs) != 1:
            raise ValueError("needs exactly one output port")
        [(self.out, port)] = outputs.items()
        tensors = {name: each for name, each in self.inputs.items() if each != port and name != "padding"}
        self.numbers = {name: block_number(name) for name in tensors}
        expect_cut(port, tensors, self.out)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Pack the tensor. Raises ValueError if several inputs are active."""
        active = [name for name in inputs if name != "padding"]
        if len(active) != 1:
            raise ValueError(f"inputs {', '.join(sorted(active))} are active at once")
        [port] = active
        number, tensor = (self.numbers[port], inputs[port]) if port in self.numbers else opened(inputs[port])
        out = outputs[self.out]
        out.used = packed(out, number, tensor, int(inputs["padding"][0]) if "padding" in inputs else 0)
        if "sent" in outputs:
            outputs["sent"][...] = time.perf_counter(), number, out.used
