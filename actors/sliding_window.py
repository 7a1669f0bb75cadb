"""Windows of a signal that overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from checks import only_port

from eprune.runtime import Actor


class SlidingWindow(Actor):
    """The last N samples of a signal that comes in pieces: each firing's samples push the oldest ones out.

    The input has one token or several per firing, which together are the hop: rate 2 of float32[80] is a hop of 160
    samples. The output is a window of at least so many, float32[400]. Before the first samples there is silence.
    """

    STATE: ClassVar[tuple[str, ...]] = ("window",)

    def __init__(self) -> None:
        self.window: Any = None

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if a hop is longer than a window."""
        if len(self.inputs) != 1:
            raise ValueError(f"needs exactly one input port, has {', '.join(self.inputs) or 'none'}")
        [(self.source, source)] = self.inputs.items()
        self.target, target = only_port(self.outputs, "output")
        hop, length = int(np.prod(source.shape)) * source.rate, int(np.prod(target.shape))
        if source.dtype != target.dtype or hop > length:
            raise ValueError(
                f"port {self.target!r}: a window of {target.dtype}[{length}] cannot hop by {source.dtype}[{hop}]"
            )
        self.hop = hop
        if self.window is None:
            self.window = np.zeros(length, target.dtype)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> None:
        """Take a hop's samples, and write the window that they end."""
        tokens = inputs[self.source]
        kept = self.window.size - self.hop
        self.window[:kept] = self.window[self.hop :].copy()
        pieces = tokens if isinstance(tokens, list) else [tokens]
        np.concatenate([piece.reshape(-1) for piece in pieces], out=self.window[kept:])
        outputs[self.target].reshape(-1)[:] = self.window
