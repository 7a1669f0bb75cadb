"""A source of frames for more than one reader."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from image_source import ImageSource
from npy_source import NpySource
from traffic_source import TrafficSource
from video_source import SUFFIXES, VideoSource

from eprune.runtime import Actor


class FrameReader(Actor):
    """Frames from wherever ``path`` leads: images, a video, a .npy file, or, where it is empty, rendered traffic.

    May have several outputs of one token type; each gets every frame: one for the network, one to draw on.

    Parameters:
        path: a folder, a pattern or a file of images (see ``ImageSource``), a video file (see ``VideoSource``), a
            .npy file (see ``NpySource``), or empty.
        seed, count: for rendered traffic, see ``TrafficSource``.
        repeat: for all but rendered traffic: how many times to go through them; 0 never ends.
        on_error: for images, see ``ImageSource``.
    """

    def __init__(
        self, path: str = "", seed: str = "1", count: str = "100", repeat: str = "1", on_error: str = "stop"
    ) -> None:
        self.source: Actor
        if not path:
            self.source = TrafficSource(seed, count)
        elif path.endswith(".npy"):
            self.source = NpySource(path, repeat)
        elif path.lower().endswith(SUFFIXES):
            self.source = VideoSource(path, repeat)
        else:
            self.source = ImageSource(path, repeat, on_error=on_error)

    def initialize(self) -> None:
        """Hand the first port over to the source that was chosen. Raise ValueError where the others differ from it."""
        if len(set(self.outputs.values())) != 1:
            raise ValueError("needs one output port or more, all of the same token type")
        self.first, *self.others = self.outputs
        self.source.name, self.source.outputs = self.name, {self.first: self.outputs[self.first]}
        self.source.initialize()

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """The next frame."""
        self.source.fire(inputs, outputs)
        for other in self.others:
            outputs[other][...] = outputs[self.first]

    def finalize(self) -> None:
        """Close what is open."""
        self.source.finalize()
