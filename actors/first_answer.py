"""The reader of several branches that compute the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port, put

from eprune.runtime import Actor


class FirstAnswer(Actor):
    """Copies the token of the first input that has one to its output.

    It reads the answers of branches that compute the same: all of them get each token, or one does (``route`` at the
    FIFOs that lead there). All ports have the same token type and one token per firing.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        name, port = only_port(self.outputs, "output")
        if {*self.inputs.values()} != {port} or port.rate != 1:
            raise ValueError(f"needs inputs of the type of its output {name!r}, and a rate of 1")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the token."""
        (out,) = outputs.values()
        token = next(token for token in inputs.values())
        put(out, token)
