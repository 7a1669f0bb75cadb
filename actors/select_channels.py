"""An actor that gives each of its readers those channels of a token that it needs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from channel_sets import channels, index_of, pairs

from eprune.runtime import Actor


class SelectChannels(Actor):
    """Copies some channels, entries of the last axis, of the token at its only input to each output.

    The pass ``partition`` puts it where a device needs a part of what another one has, because it has the rest itself.

    Parameters:
        channels: what each output gets, ``device2=0-7 device3=4,6``: places in the token.
    """

    def __init__(self, channels: str) -> None:
        self.channels = channels

    def initialize(self) -> None:
        """Raises ValueError where ports and channels do not fit."""
        places = {port: channels(port, text) for port, text in pairs(self.channels)}
        if len(self.inputs) != 1 or set(places) != set(self.outputs):
            raise ValueError(f"needs one input, and the outputs that channels names: {', '.join(places)}")
        ((self.source, whole),) = self.inputs.items()
        for port, chosen in places.items():
            out, shape = self.outputs[port], (*whole.shape[:-1], len(chosen))
            if out.shape != shape or out.dtype != whole.dtype or max(chosen) >= whole.shape[-1]:
                raise ValueError(f"port {port!r} is {out.dtype}{list(out.shape)}, its channels are {list(shape)}")
        self.places = {port: index_of(chosen) for port, chosen in places.items()}

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy one token's."""
        for port, out in outputs.items():
            out[...] = inputs[self.source][..., self.places[port]]
