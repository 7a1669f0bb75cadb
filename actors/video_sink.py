"""A sink that makes a video of its frames."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from checks import only_port, whole_number
from resize import picture_shape

from eprune.runtime import Actor

#: Suffix -> options of the file's format. What was written of such a file can be played, whatever ends the run.
FORMATS: Mapping[str, Mapping[str, str]] = {
    ".mp4": {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"},
    ".mkv": {"cluster_time_limit": "1000", "flush_packets": "1"},
}
#: The first one that PyAV has; H.264 is what everything plays.
CODECS = ("libx264", "h264", "mpeg4")


class VideoSink(Actor):
    """Writes frames, uint8 [1,H,W,3] or [H,W,3], RGB, into a video file. Needs PyAV, which brings FFmpeg.

    Height and width are even. There is a key frame each second, and what was written until then can be played while the
    program runs, and after it was killed. An actor that goes on where another one was (``eprune deploy --live``) begins
    a file of its own: ``film-2.mp4`` after ``film.mp4``.

    Parameters:
        path: the file to write, .mp4 or .mkv.
        rate: frames per second of the video, whatever the graph's are.
        quality: 0 (best, large) to 51 (worst, small).
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "write"}
    STATE = ("part",)

    def __init__(self, path: str, rate: str = "25", quality: str = "23") -> None:
        try:
            import av
        except ImportError:
            raise ValueError("writing videos needs PyAV: pip install eprune[video]") from None
        self.av = av
        self.path = Path(path)
        if self.path.suffix.lower() not in FORMATS:
            raise ValueError(f"path={path!r}: expected a name that ends in {' or '.join(FORMATS)}")
        self.rate, self.quality = whole_number("rate", rate), whole_number("quality", quality)
        if not 1 <= self.rate <= 1000:
            raise ValueError(f"rate={rate!r}: expected 1 to 1000")
        if self.quality > 51:
            raise ValueError(f"quality={quality!r}: expected 0 to 51")
        self.part = 0
        self.frame = 0
        self.video: Any = None

    def initialize(self) -> None:
        """Create the file. Raises ValueError for a port that does not fit, OSError."""
        self.port, port = only_port(self.inputs, "input")
        self.height, self.width = picture_shape(self.port, port, ("uint8",))
        if self.height % 2 or self.width % 2:
            raise ValueError(f"port {self.port!r}: a video's height and width are even, not {self.height}x{self.width}")
        self.part += 1
        path = self.path if self.part == 1 else self.path.with_stem(f"{self.path.stem}-{self.part}")
        options = dict(FORMATS[self.path.suffix.lower()])
        codec = next(name for name in CODECS if name in self.av.codecs_available)
        try:
            self.video = self.av.open(str(path), "w", options=options)
            self.stream = self.video.add_stream(codec, rate=Fraction(self.rate))
            self.stream.height, self.stream.width, self.stream.pix_fmt = self.height, self.width, "yuv420p"
            self.stream.gop_size = self.rate
            if codec == "mpeg4":
                self.stream.options = {"qscale": str(1 + self.quality * 30 // 51)}
            else:
                self.stream.options = {"crf": str(self.quality), "preset": "veryfast", "tune": "zerolatency"}
            self.video.start_encoding()
        except self.av.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one frame. Raises OSError, for a full disk for example."""
        pixels = np.ascontiguousarray(inputs[self.port].reshape(self.height, self.width, 3))
        frame = self.av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = self.frame, Fraction(1, self.rate)
        self.frame += 1
        self._write(frame)

    def finalize(self) -> None:
        """Write what the encoder still has, and close the file."""
        if self.video is not None:
            if self.frame:
                self._write(None)
            self.video.close()

    def _write(self, frame: Any) -> None:
        try:
            self.video.mux(self.stream.encode(frame))
        except self.av.FFmpegError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from None
