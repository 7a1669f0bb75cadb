"""The exit from branches whose results add up."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port, tokens_of

from eprune.runtime import Actor


class Adder(Actor):
    """Adds the tokens of all active inputs, one after the other; zeros if there are none. An exit DA.

    Inputs may have any rate. They are added in the order of their names.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if their types differ."""
        self.out, out = only_port(self.outputs, "output")
        if {port._replace(rate=1) for port in self.inputs.values()} != {out}:
            raise ValueError(f"needs inputs of the type of its output {self.out!r}")

    def fire(self, inputs: Mapping[str, list[np.ndarray]], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the sum."""
        out = outputs[self.out]
        out[...] = 0
        for port in sorted(inputs):
            for token in tokens_of(inputs[port]):
                out += token
