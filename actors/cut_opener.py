"""The server's half of a network of which the cut is decided at run time: it takes the tensor where it was left."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port
from cut_token import HEADER_BYTES, block_number, expect_cut

from eprune.runtime import Actor


class CutOpener(Actor):
    """Copies the tensor in a cut to the block that is next: the entry DA of a server's graph, and control source.

    The control value is the number of that block. Outputs are named ``block0``, ``block1``, ...; the last one may be
    the network's answer, if nothing remains to be computed. It keeps nothing from one frame to the next, so a server
    may serve any number of devices.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.source, port = only_port(self.inputs, "input")
        self.numbers = {block_number(name): name for name in self.outputs}
        expect_cut(port, self.outputs, self.source)

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """The number of the block that is next. Raises ValueError for a token without one."""
        token = inputs[self.source]
        if len(token) < HEADER_BYTES:
            raise ValueError(f"a cut of {len(token)} bytes, which names no block")
        return int(token[:HEADER_BYTES].view("<i8")[0])

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the tensor. Raises ValueError if it has another size than the block's input."""
        [(name, out)] = outputs.items()
        tensor = inputs[self.source][HEADER_BYTES:]
        if len(tensor) != out.nbytes:
            raise ValueError(f"a tensor of {len(tensor)} bytes for {name}, which takes {out.nbytes}")
        out.reshape(-1).view(np.uint8)[...] = tensor
