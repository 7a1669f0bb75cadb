"""A source of frames for more than one reader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from image_source import ImageSource
from npy_source import NpySource
from traffic_source import TrafficSource
from video_source import SUFFIXES, VideoSource

from eprune.runtime import Actor


class FrameReader(Actor):
    """Frames from the source that ``path`` names: images, a video, a .npy file or, if it is empty, rendered traffic.

    There may be several outputs of one token type, each of which carries every frame, for example to draw on.

    Parameters:
        path: a folder, a pattern or a file of images (see ``ImageSource``), a video file (see ``VideoSource``), a
            .npy file (see ``NpySource``), or empty.
        seed, count: for rendered traffic, see ``TrafficSource``.
        repeat: for all but rendered traffic: the number of passes; 0 never ends.
        on_error: for images and videos, see ``ImageSource`` and ``VideoSource``.
    """

    copies = True
    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}

    def __init__(
        self, path: str = "", seed: str = "1", count: str = "100", repeat: str = "1", on_error: str = "stop"
    ) -> None:
        self.source: Actor
        if not path:
            self.source = TrafficSource(seed, count)
        elif path.endswith(".npy"):
            self.source = NpySource(path, repeat)
        elif path.lower().endswith(SUFFIXES):
            self.source = VideoSource(path, repeat, on_error)
        else:
            self.source = ImageSource(path, repeat, on_error=on_error)

    def state(self) -> Mapping[str, Any]:
        """That of the chosen source."""
        return self.source.state()

    def resume(self, state: Mapping[str, Any]) -> None:
        """It goes on."""
        self.source.resume(state)

    def initialize(self) -> None:
        """Pass the first port to the chosen source. Raises ValueError if the other ports differ from it."""
        if len(set(self.outputs.values())) != 1:
            raise ValueError("needs one or more output ports, all of the same token type")
        self.first, *self.others = self.outputs
        self.source.name, self.source.outputs = self.name, {self.first: self.outputs[self.first]}
        self.source.most_firings = self.most_firings
        self.source.tell = self.note
        self.source.initialize()

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next frame."""
        self.source.fire(inputs, outputs)
        for other in self.others:
            outputs[other][...] = outputs[self.first]

    def finalize(self) -> None:
        """Close the source."""
        self.source.finalize()
