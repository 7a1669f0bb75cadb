"""An actor that gives each of its readers a copy of a token."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from eprune.runtime import Actor


class Fork(Actor):
    """Copies the token at its only input to every output.

    The pass ``fork`` puts it on a platform on which several actors read what comes from another one.
    """

    copies = True

    def initialize(self) -> None:
        """Raises ValueError if the ports do not carry the same tokens."""
        if len(self.inputs) != 1 or {*self.inputs.values()} != {*self.outputs.values()}:
            raise ValueError("needs one input port, and output ports of its token type")
        (self.source,) = self.inputs

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy one token."""
        for out in outputs.values():
            out[...] = inputs[self.source]
