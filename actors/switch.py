"""The entry to branches that a control token chooses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port

from eprune.runtime import Actor


class Switch(Actor):
    """Copies its input to every active output: the entry DA of a dynamic processing graph.

    All ports have the same token type and at most one token per firing.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        name, port = only_port(self.inputs, "input")
        if {*self.outputs.values()} != {port}:
            raise ValueError(f"needs outputs of the type and rate of its input {name!r}")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the token."""
        (token,) = inputs.values()
        for out in outputs.values():
            out[...] = token
