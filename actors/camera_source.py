"""A source of frames from a camera."""

from __future__ import annotations

import re
import threading
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any, ClassVar, Optional

import numpy as np
from checks import one_of, only_type, whole_number
from inbox import Inbox
from login import login_of, web_address
from resize import picture_shape, resized
from video_source import turned

from eprune.runtime import Actor, EndOfStream

#: Seconds that opening a camera and each of its frames may take before it is taken for lost.
OPENING, SILENCE = 10.0, 5.0
#: Microseconds in which FFmpeg guesses what the stream has beyond what the camera says; the frame rate is not needed.
_GUESSING = "500000"
#: Seconds between two tries to open a camera that was lost.
_PAUSE = 1.0


class CameraSource(Actor):
    """The newest frames of a camera, resized to the port's height and width without keeping their proportions.

    The ports' token is uint8, [1,H,W,3] or [H,W,3], RGB; several ports of one type all carry the same. Frames that come
    while one waits displace it: the graph never gets an old one. Needs PyAV, which brings FFmpeg, and Pillow.

    A camera that is lost is opened again, again and again for ``patience`` seconds, after which the run ends with an
    error. The end of a stream cannot be told from its loss; with ``patience`` 0 it is the end.

    Parameters:
        source: ``/dev/video0`` (V4L2), or ``rtsp://HOST:PORT/PATH``, ``rtsps://...``, without a password.
        login: for RTSP, the environment variable that holds ``USER:PASSWORD``.
        login_file: or the file that does.
        transport: for RTSP, ``tcp``, or ``udp``, which loses packets, not time, on a bad network.
        size, rate: for V4L2, what the camera is asked for, ``640x480`` and frames per second. Empty, 0: as it is set.
        patience: seconds for which a camera that was lost is tried again.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"login_file": "read"}
    waits = True
    copies = True

    def __init__(
        self,
        source: str,
        login: str = "",
        login_file: str = "",
        transport: str = "tcp",
        size: str = "",
        rate: str = "0",
        patience: str = "60",
    ) -> None:
        try:
            import av
        except ImportError:
            raise ValueError("reading cameras needs PyAV: pip install eprune[video]") from None
        self.av = av
        self.source = source
        self.patience = whole_number("patience", patience)
        asked, frames = {"video_size": size}, whole_number("rate", rate)
        asked["framerate"] = str(frames) if frames else ""
        self.options = {name: value for name, value in asked.items() if value}
        self.address, self.format = source, "v4l2"
        if not source.startswith("/dev/"):
            parts = web_address("source", source, ("rtsp", "rtsps")) if ":" in source else None
            if parts is None:
                raise ValueError(f"source={source!r}: expected /dev/video0, rtsp://HOST/... or rtsps://HOST/...")
            if self.options:
                raise ValueError("size and rate are for V4L2: an RTSP camera is set up by itself")
            found = login_of(login, login_file)
            who = ":".join(urllib.parse.quote(part, safe="") for part in found) + "@" if found else ""
            self.address = urllib.parse.urlunsplit(parts._replace(netloc=who + parts.netloc))
            self.format, self.options = "rtsp", {"rtsp_transport": one_of("transport", transport, ("tcp", "udp"))}
            self.options["analyzeduration"] = _GUESSING
        elif login or login_file:
            raise ValueError("login and login_file are for RTSP, not for devices")
        elif size and not re.fullmatch(r"[0-9]+x[0-9]+", size):
            raise ValueError(f"size={size!r}: expected for example 640x480")
        self.inbox = Inbox(1)
        self.lost = self.damaged = 0
        self.stopped = threading.Event()
        self.thread: Optional[threading.Thread] = None

    def initialize(self) -> None:
        """Open the camera. Raises ValueError for a port of no pictures, OSError if it is not there."""
        self.port, port = only_type(self.outputs, "output")
        self.height, self.width = picture_shape(self.port, port, ("uint8",))
        video = self._opened()
        self.thread = threading.Thread(target=self._read, args=(video,), name=f"camera {self.name}", daemon=True)
        self.thread.start()

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Wait for the next frame. Raises OSError if the camera was lost and did not come back."""
        frame = self.inbox.take()
        self.came()
        pixels = turned(frame.to_ndarray(format="rgb24"), frame.side_data.get("DISPLAYMATRIX"))
        first = outputs[self.port]
        first[...] = resized(pixels, self.height, self.width)
        for port, token in outputs.items():
            if port != self.port:
                token[...] = first
        self.figures = {"displaced": self.inbox.dropped, "damaged": self.damaged, "lost": self.lost}

    def interrupt(self) -> None:
        """Nobody waits for a frame any more."""
        self.stopped.set()
        self.inbox.end()

    def finalize(self) -> None:
        """Close the camera."""
        self.interrupt()
        if self.thread is not None:
            self.thread.join(SILENCE)

    def _opened(self) -> Any:
        """The camera, open. Raises OSError, which names it, but not its password."""
        try:
            video = self.av.open(
                self.address, format=self.format, options=dict(self.options), timeout=(OPENING, SILENCE)
            )
        except (self.av.FFmpegError, ValueError) as error:
            raise OSError(f"{self.source}: {self._reason(error)}") from None
        if not video.streams.video:
            video.close()
            raise OSError(f"{self.source}: has no video")
        return video

    def _reason(self, error: Exception) -> str:
        """What is wrong, in words that hold nothing of the address."""
        if isinstance(error, self.av.error.ExitError):
            return f"does not answer within {OPENING:g} s"
        if isinstance(error, FileNotFoundError):
            return "no such camera"
        if isinstance(error, OSError) and error.errno == 25:  # no such ioctl
            return "is not a camera"
        return getattr(error, "strerror", None) or str(error)

    def _read(self, video: Any) -> None:
        """The body of the thread: frames into the inbox, until the camera is lost for good."""
        try:
            while not self.stopped.is_set():
                reason = self._drain(video)
                if self.stopped.is_set():
                    return
                if not self.patience:
                    self.inbox.end(EndOfStream())
                    return
                self.lost += 1
                if self.lost == 1:
                    self.note(f"{self.source}: lost ({reason}); is opened again for {self.patience:g} s")
                video = self._again()
        except Exception as error:  # whatever it is, the actor has to hear of it
            self.inbox.end(error)

    def _drain(self, video: Any) -> str:
        """Read until the camera gives nothing more; why."""
        try:
            with video:
                for packet in video.demux(video.streams.video[0]):
                    for frame in self._decoded(packet):
                        self.inbox.put(frame)
                    if self.stopped.is_set():
                        break
        except self.av.FFmpegError as error:
            return self._reason(error)
        return "its stream has ended"

    def _decoded(self, packet: Any) -> list[Any]:
        """The frames of a packet; none of one that is damaged, as the first ones of a stream may be."""
        try:
            return list(packet.decode())
        except self.av.error.InvalidDataError:
            self.damaged += 1
            return []

    def _again(self) -> Any:
        """The camera, open again. Raises OSError if it is not back in time, EndOfStream if nobody wants it any more."""
        until = time.monotonic() + self.patience
        while not self.stopped.wait(_PAUSE):
            try:
                return self._opened()
            except OSError as error:
                if time.monotonic() > until:
                    raise OSError(f"{error}, {self.patience:g} s after it was lost") from None
        raise EndOfStream
