"""The entry to branches of which a control token chooses some."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port

from eprune.runtime import Actor


class Switch(Actor):
    """Copies its input to every output that is active: the entry DA of a dynamic processing graph.

    All ports have one token type and at most one token a firing.
    """

    def initialize(self) -> None:
        """Compare the ports. Raises ValueError where they do not fit."""
        name, port = only_port(self.inputs, "input")
        if {*self.outputs.values()} != {port}:
            raise ValueError(f"needs outputs of the type and rate of its input {name!r}")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the token."""
        (token,) = inputs.values()
        for out in outputs.values():
            out[...] = token
