"""A source of frames from a video file."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from checks import one_of, only_port, whole_number
from resize import picture_shape, resized

from eprune.runtime import Actor, EndOfStream

SUFFIXES = (".mp4", ".m4v", ".mkv", ".mov", ".avi", ".webm")


class VideoSource(Actor):
    """The frames of a video file, resized to the port's height and width without keeping their proportions.

    The port's token is uint8, [1,H,W,3] or [H,W,3], RGB. Frames are turned as the file says, as phones write it. Needs
    PyAV, which brings FFmpeg, and Pillow.

    Parameters:
        path: the file.
        repeat: the number of passes; 0 never ends.
        on_error: ``stop`` the run where the file is damaged, or ``skip`` what cannot be decoded, with a note.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}

    def __init__(self, path: str, repeat: str = "1", on_error: str = "stop") -> None:
        try:
            import av
        except ImportError:
            raise ValueError("reading videos needs PyAV: pip install eprune[video]") from None
        self.av = av
        self.path = path
        self.repeat = whole_number("repeat", repeat)
        self.on_error = one_of("on_error", on_error, ("stop", "skip"))
        self.passes = 0
        self._open()

    def state(self) -> Mapping[str, Any]:
        """How often the file has been read, and how far."""
        return {"passes": self.passes, "frames": self.frames}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Read on from there."""
        self.passes = state["passes"]
        while self.frames < state["frames"] and self._next() is not None:
            pass

    def initialize(self) -> None:
        """Check the port. Raises ValueError if its token is not a uint8 picture."""
        self.port, port = only_port(self.outputs, "output")
        self.height, self.width = picture_shape(self.port, port, ("uint8",))
        if len(self.video.streams.video) > 1:
            self.note(f"{self.path}: has {len(self.video.streams.video)} video streams; the first one is read")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next frame."""
        pixels = self._next()
        while pixels is None:
            self._end_pass()
            if self.passes == self.repeat:
                raise EndOfStream
            self.video.close()
            self._open()
            pixels = self._next()
        outputs[self.port][...] = resized(pixels, self.height, self.width)

    def finalize(self) -> None:
        """Close the file."""
        self.video.close()

    def _open(self) -> None:
        """Open the file at its first frame. Raises FileNotFoundError or ValueError, naming the file."""
        try:
            self.video = self.av.open(self.path)
            self.stream = self.video.streams.video[0]
        except FileNotFoundError:
            raise FileNotFoundError(f"{self.path}: no such file") from None
        except (self.av.FFmpegError, IndexError) as error:
            raise ValueError(f"{self.path}: cannot be read as a video: {error}") from None
        self.packets = self.video.demux(self.stream)
        self.decoded: deque[Any] = deque()
        self.frames = self.errors = self.damaged = 0

    def _next(self) -> np.ndarray | None:
        """The next frame that can be used, None after the last one."""
        while True:
            while not self.decoded:
                try:
                    packet = next(self.packets, None)
                    if packet is None:
                        return None
                    self.decoded.extend(packet.decode())
                except self.av.FFmpegError as error:
                    if self.on_error == "stop":
                        raise ValueError(f"{self.path}: cannot be read further: {error}") from None
                    self.errors += 1
            frame = self.decoded.popleft()
            self.damaged += bool(frame.is_corrupt)
            if not (frame.is_corrupt and self.on_error == "skip"):
                self.frames += 1
                return turned(frame.to_ndarray(format="rgb24"), frame.side_data.get("DISPLAYMATRIX"))

    def _end_pass(self) -> None:
        """Say, once, what of the file was not there or could not be used. Raises ValueError if nothing could."""
        if not self.frames:
            raise ValueError(f"{self.path}: holds no frames that can be read")
        self.passes += 1
        if self.passes > 1:
            return
        missing = self.stream.frames - self.frames
        if self.errors or (self.damaged and self.on_error == "skip"):
            self.note(f"{self.path}: damaged: {self.frames} frames were read, what could not be decoded was skipped")
        elif missing > 0:
            self.note(f"{self.path}: states {self.stream.frames} frames, but only {self.frames} are there")
        elif self.damaged:
            self.note(f"{self.path}: {self.damaged} of {self.frames} frames are damaged, and were used as they are")


def turned(pixels: np.ndarray, matrix: Any) -> np.ndarray:
    """A frame as it is to be shown, by the ``matrix`` of its file: 3x3 fixed-point numbers, row by row; None: as it is.

    Of the matrix counts where it leads the two axes: right angles and mirrors, which is what cameras write.
    """
    if matrix is None:
        return pixels
    a, b, _, c, d = np.sign(np.frombuffer(bytes(matrix), np.int32)[:5])
    if a and d and not (b or c):
        across, down = a, d
    elif b and c and not (a or d):
        pixels, across, down = pixels.swapaxes(0, 1), c, b
    else:
        return pixels
    return np.ascontiguousarray(pixels[:: int(down), :: int(across)])
