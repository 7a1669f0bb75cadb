"""A source that recognizes the kind of its frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from image_source import ImageSource
from npy_source import NpySource
from vehicle_source import VehicleSource

from eprune.runtime import Actor


class FrameSource(Actor):
    """Frames from the source that ``path`` names: images, a .npy file or, if it is empty, rendered vehicles.

    With rendered vehicles there may be an output ``wanted``, see ``VehicleSource``.

    Parameters:
        path: a folder, a pattern or a file of images (see ``ImageSource``), a .npy file (see ``NpySource``), or empty.
        seed, count, view: for rendered vehicles, see ``VehicleSource``.
        repeat: for images and .npy files: the number of passes; 0 never ends.
        mean, std, on_error: for images, see ``ImageSource``.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}

    def __init__(
        self,
        path: str = "",
        seed: str = "1",
        count: str = "100",
        view: str = "0",
        repeat: str = "1",
        mean: str = "0",
        std: str = "1",
        on_error: str = "stop",
    ) -> None:
        self.source: Actor
        if not path:
            self.source = VehicleSource(seed, count, view)
        elif path.endswith(".npy"):
            self.source = NpySource(path, repeat)
        else:
            self.source = ImageSource(path, repeat, mean, std, on_error)

    def state(self) -> Mapping[str, Any]:
        """That of the chosen source."""
        return self.source.state()

    def resume(self, state: Mapping[str, Any]) -> None:
        """It goes on."""
        self.source.resume(state)

    def initialize(self) -> None:
        """Pass the ports to the chosen source."""
        self.source.name, self.source.inputs, self.source.outputs = self.name, self.inputs, self.outputs
        self.source.most_firings = self.most_firings
        self.source.tell = self.note
        self.source.initialize()

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next frame."""
        self.source.fire(inputs, outputs)

    def finalize(self) -> None:
        """Close the source."""
        self.source.finalize()
