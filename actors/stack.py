"""Several tokens as one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from checks import only_port

from eprune.runtime import Actor


class Stack(Actor):
    """The tokens of a firing, the oldest first, as one token: rate 25 of float32[20] becomes float32[25,20].

    The output has as many elements as the inputs of a firing together, whatever its shape: float32[1,25,20,1], say.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if the output does not hold what the input brings."""
        if len(self.inputs) != 1:
            raise ValueError(f"needs exactly one input port, has {', '.join(self.inputs) or 'none'}")
        [(self.source, source)] = self.inputs.items()
        self.target, target = only_port(self.outputs, "output")
        several = int(np.prod(source.shape)) * source.rate
        if source.dtype != target.dtype or several != int(np.prod(target.shape)):
            raise ValueError(
                f"port {self.target!r}: {target.dtype}{list(target.shape)} is not {source.rate} of "
                f"{source.dtype}{list(source.shape)}"
            )

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy them, one behind the other."""
        tokens = inputs[self.source]
        pieces = tokens if isinstance(tokens, list) else [tokens]
        np.concatenate([piece.reshape(-1) for piece in pieces], out=outputs[self.target].reshape(-1))
