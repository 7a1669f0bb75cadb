"""The exit from branches that a control token chooses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_type, put

from eprune.runtime import Actor


class Merge(Actor):
    """Copies the active input to its outputs: the exit DA of a dynamic processing graph.

    If no input is active, they are zeros. All ports have the same token type and at most one token per firing.

    Parameters:
        default: an input that counts only if no other one is active, for example one that is always active.
    """

    def __init__(self, default: str = "") -> None:
        self.default = default

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        name, port = only_type(self.outputs, "output")
        if {*self.inputs.values()} != {port}:
            raise ValueError(f"needs inputs of the type and rate of its output {name!r}")
        if self.default and self.default not in self.inputs:
            raise ValueError(f"default={self.default}: there is no such input; known: {', '.join(self.inputs)}")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the token. Raises ValueError if several inputs are active."""
        chosen = [port for port in inputs if port != self.default] or list(inputs)
        if len(chosen) > 1:
            raise ValueError(f"inputs {', '.join(sorted(chosen))} are active at once")
        for out in outputs.values():
            if chosen:
                put(out, inputs[chosen[0]])
            else:
                out[...] = 0
