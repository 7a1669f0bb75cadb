"""A source of rendered traffic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ahead import Ahead, needed
from checks import only_port, whole_number
from resize import picture_shape, resized
from traffic_renderer import FRAMES, TrafficScene

from eprune.runtime import Actor, EndOfStream


class TrafficSource(Actor):
    """Traffic scenes (see ``traffic_renderer``), 100 frames each, one after the other.

    They are rendered before the first firing, as many as are needed and fit into 64 MiB; the others as they are needed.

    Parameters:
        seed: the number of the first scene; equal seeds give equal pictures. The next scene has the next number.
        count: the number of frames; 0 never ends.
    """

    STATE = ("frame",)

    def __init__(self, seed: str = "1", count: str = "100") -> None:
        self.seed = whole_number("seed", seed)
        self.count = whole_number("count", count)
        self.frame = 0

    def initialize(self) -> None:
        """Check the port. Raises ValueError if its token is not a uint8 picture."""
        self.port, port = only_port(self.outputs, "output")
        self.height, self.width = picture_shape(self.port, port, ("uint8",))
        self.pictures = Ahead(self.draw, needed(self.count, self.most_firings))

    def draw(self, index: int) -> np.ndarray:
        """Render a frame."""
        number, frame = divmod(index, FRAMES)
        if frame == 0:
            self.scene = TrafficScene(self.seed + number)
        return resized(self.scene.frame(frame)[0], self.height, self.width)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next frame."""
        if self.count and self.frame == self.count:
            raise EndOfStream
        outputs[self.port][...] = self.pictures[self.frame]
        self.frame += 1
