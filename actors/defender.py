"""An actor in front of a cut that hides what tokens show, at the price of accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checks import only_port
from disturbance import Disturbance

from eprune.runtime import Actor


class Defender(Actor):
    """Gives each token on with noise on its numbers, or without some of them; one input and one output of one type.

    Parameters:
        noise: standard deviation of what is added, in units of the token; a number, or one per channel.
        drop: the share of numbers that become 0; the others are divided by what is left of 1.
        draw: frame or scene: when noise and gaps are drawn anew.
        change: of draw=scene: how far a token must be from the scene's first one, in parts of its length.
        seed: a whole number by which the same is drawn in each run; without, what is drawn cannot be foreseen.
    """

    def __init__(
        self, noise: str = "0", drop: str = "0", draw: str = "frame", change: str = "0.5", seed: str = ""
    ) -> None:
        self.given = (noise, drop, draw, change, seed)

    def initialize(self) -> None:
        """Check ports and parameters. Raises ValueError if they do not fit."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        if (source.dtype, source.shape) != (target.dtype, target.shape) or not source.dtype.startswith("float"):
            raise ValueError(
                f"expected an input and an output of one type of floats, not {source.dtype} and {target.dtype}"
            )
        self.disturbance = Disturbance(source.shape, *self.given)

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Disturb one token."""
        outputs[self.target][...] = self.disturbance(inputs[self.source])
