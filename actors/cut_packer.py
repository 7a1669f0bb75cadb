"""A cut of which the block is decided at run time, as one token."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from cut_token import HEADER_BYTES, block_number, expect_cut, opened

from eprune.runtime import Actor


class CutPacker(Actor):
    """Copies the active input to its output, with the number of the block that is next: a DPA, or an exit DA.

    Inputs are named ``block0``, ``block1``, ...: the tensor that this block takes; or ``exit1``, ...: the answer of
    that exit. An input of the output's type is copied as it is. The output is uint8[<=n] for the largest of them: the
    number as int64, little-endian, and then the tensor's bytes. The output ``sent``, float64[3], if there is one, says
    when that was (time.perf_counter), the number, and the token's bytes.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        outputs = {name: port for name, port in self.outputs.items() if name != "sent"}
        if len(outputs) != 1:
            raise ValueError("needs exactly one output port")
        [(self.out, port)] = outputs.items()
        tensors = {name: each for name, each in self.inputs.items() if each != port}
        self.numbers = {name: block_number(name) for name in tensors}
        expect_cut(port, tensors, self.out)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Pack the tensor. Raises ValueError if several inputs are active."""
        if len(inputs) != 1:
            raise ValueError(f"inputs {', '.join(sorted(inputs))} are active at once")
        [(port, tensor)] = inputs.items()
        out = outputs[self.out]
        if port in self.numbers:
            number, end = self.numbers[port], HEADER_BYTES + tensor.nbytes
            out[:HEADER_BYTES].view("<i8")[0] = number
            out[HEADER_BYTES:end].view(tensor.dtype)[...] = tensor.ravel()
        else:
            (number, _), end = opened(tensor), len(tensor)
            out[:end] = tensor
        out.used = end
        if "sent" in outputs:
            outputs["sent"][...] = time.perf_counter(), number, end
