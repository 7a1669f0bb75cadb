"""A cut of which the block is decided at run time, as one token."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from cut_token import HEADER_BYTES, block_number, expect_cut

from eprune.runtime import Actor


class CutPacker(Actor):
    """Copies the active input to its output, with the number of the block that is next: a DPA.

    Inputs are named ``block0``, ``block1``, ...: the tensor that this block takes. The output is uint8[<=n] for the
    largest of them: the number as int64, little-endian, and then the tensor's bytes.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.numbers = {port: block_number(port) for port in self.inputs}
        if len(self.outputs) != 1:
            raise ValueError("needs exactly one output port")
        [(name, port)] = self.outputs.items()
        expect_cut(port, self.inputs, name)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Pack the tensor. Raises ValueError if several inputs are active."""
        if len(inputs) != 1:
            raise ValueError(f"inputs {', '.join(sorted(inputs))} are active at once")
        [(port, tensor)] = inputs.items()
        (out,) = outputs.values()
        end = HEADER_BYTES + tensor.nbytes
        out[:HEADER_BYTES].view("<i8")[0] = self.numbers[port]
        out[HEADER_BYTES:end].view(tensor.dtype)[...] = tensor.ravel()
        out.used = end
