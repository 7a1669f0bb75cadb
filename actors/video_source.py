"""A source of frames from a video file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from checks import only_port, whole_number
from resize import picture_shape, resized

from eprune.runtime import Actor, EndOfStream

SUFFIXES = (".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm")


class VideoSource(Actor):
    """The frames of a video file, resized to the port's height and width without keeping their proportions.

    The port's token is uint8, [1,H,W,3] or [H,W,3], RGB. Needs PyAV, which brings FFmpeg, and Pillow.

    Parameters:
        path: the file.
        repeat: the number of passes; 0 never ends.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}

    def __init__(self, path: str, repeat: str = "1") -> None:
        try:
            import av
        except ImportError:
            raise ValueError("reading videos needs PyAV: pip install eprune[video]") from None
        self.av = av
        self.path = path
        self.repeat = whole_number("repeat", repeat)
        self._open()

    def initialize(self) -> None:
        """Check the port. Raises ValueError if its token is not a uint8 picture."""
        self.port, port = only_port(self.outputs, "output")
        self.height, self.width = picture_shape(self.port, port, ("uint8",))
        self.passes = 0

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next frame."""
        pixels = self._next()
        while pixels is None:
            self.passes += 1
            if self.passes == self.repeat:
                raise EndOfStream
            self.video.close()
            self._open()
            pixels = self._next()
            if pixels is None:
                raise ValueError(f"{self.path}: holds no frames")
        outputs[self.port][...] = resized(pixels, self.height, self.width)

    def finalize(self) -> None:
        """Close the file."""
        self.video.close()

    def _open(self) -> None:
        """Open the file at its first frame. Raises FileNotFoundError or ValueError, naming the file."""
        try:
            self.video = self.av.open(self.path)
            self.frames = self.video.decode(video=0)
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.path}: no such file") from None
        except (self.av.FFmpegError, IndexError) as error:
            raise ValueError(f"{self.path}: cannot be read as a video: {error}") from None

    def _next(self) -> np.ndarray | None:
        try:
            frame = next(self.frames, None)
        except self.av.FFmpegError as error:
            raise ValueError(f"{self.path}: cannot be read further: {error}") from None
        return None if frame is None else frame.to_ndarray(format="rgb24")
