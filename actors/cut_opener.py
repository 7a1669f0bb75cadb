"""The server's half of a network of which the cut is decided at run time: it takes the tensor where it was left."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from checks import only_port
from cut_token import block_number, expect_cut, opened

from eprune.runtime import Actor


class CutOpener(Actor):
    """Copies the tensor in a cut to the block that is next: the entry DA of a server's graph, and control source.

    The control value is the number of that block. Outputs, which may vary in size if there is a ``Decompressor`` behind
    them, are named ``block0``, ``block1``, ...; the last one may be
    the network's answer, if nothing remains to be computed. The output ``begun``, float64[1], if there is one, says
    when the token was there (time.perf_counter). It keeps nothing from one frame to the next, so a server may serve any
    number of devices.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.source, port = only_port(self.inputs, "input")
        blocks = {name: each for name, each in self.outputs.items() if name != "begun"}
        self.numbers = {block_number(name): name for name in blocks}
        expect_cut(port, blocks, self.source)

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """The number of the block that is next. Raises ValueError for a token without one."""
        self.begun = time.perf_counter()
        return opened(inputs[self.source])[0]

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the tensor. Raises ValueError if it has another size than the block's input."""
        for name, out in outputs.items():
            if name == "begun":
                out[0] = self.begun
            else:
                opened(inputs[self.source], name, out)
