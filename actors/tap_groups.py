"""A bank of filters, of which as many run as tokens arrive."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import number, tokens_of

from eprune.runtime import Actor


class TapGroups(Actor):
    """Filters the first token by the first group of taps, the second by the second, and so on.

    An input token is longer than an output token by the number of samples that a filter looks back. Sums are computed
    tap by tap in the precision of the signal; a result therefore does not depend on the division into blocks.

    Parameters:
        taps: groups, separated by semicolons, of taps, separated by commas, the tap of the newest sample first.
    """

    def __init__(self, taps: str) -> None:
        groups = [[number("taps", text) for text in group.split(",")] for group in taps.split(";")]
        if len(set(map(len, groups))) != 1:
            raise ValueError("taps: needs groups of equal length")
        self.taps = np.array(groups)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit the taps."""
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            raise ValueError("needs one input and one output")
        [(self.port, self.given)], [(self.out, self.made)] = self.inputs.items(), self.outputs.items()
        groups, count = self.taps.shape
        size = self.made.shape[0] if len(self.made.shape) == 1 else 0
        if self.given.shape != (size + count - 1,) or self.given.dtype != self.made.dtype or not size:
            raise ValueError(f"{count} taps need {count - 1} samples more at port {self.port!r} than at {self.out!r}")
        if max(self.given.rate, self.made.rate) > groups:
            raise ValueError(
                f"port {self.port!r}: a rate of up to {self.given.rate}, but there are {groups} groups of taps"
            )
        self.taps = self.taps.astype(self.made.dtype)
        self.term = np.empty(self.made.shape, self.made.dtype)

    def fire(self, inputs: Mapping[str, list[np.ndarray]], outputs: Mapping[str, list[np.ndarray]]) -> None:
        """Filter the tokens that have arrived."""
        tokens = tokens_of(inputs.get(self.port))
        rooms = tokens_of(outputs.get(self.out))
        for taps, signal, out in zip(self.taps, tokens, rooms):
            out[...] = 0
            for back, tap in enumerate(taps):
                start = len(taps) - 1 - back
                out += np.multiply(signal[start : start + len(out)], tap, out=self.term)
