"""Where a result returns to: what ``eprune profile --latency`` puts into a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from checks import whole_number

from eprune.runtime import Actor, EndOfStream


class Feedback(Actor):
    """Copies each input ``NAME`` to its outputs ``NAME_1``, ``NAME_2`` and so on, and zeros to any other output.

    Parameters:
        frames: the number of firings after which the run ends; 0 never ends it.
    """

    def __init__(self, frames: str = "0") -> None:
        self.left = whole_number("frames", frames) or -1

    def initialize(self) -> None:
        """Find the input of each output."""
        self.origins = {name: name.rpartition("_")[0] for name in self.outputs}

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Copy a result."""
        if self.left == 0:
            raise EndOfStream
        self.left -= 1
        for name, tokens in outputs.items():
            origin = inputs.get(self.origins[name], np.uint8(0))
            for place, token in enumerate(tokens if isinstance(tokens, list) else [tokens]):
                token[...] = origin[place] if isinstance(origin, list) else origin
