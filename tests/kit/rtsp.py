"""A real RTSP server on loopback, which plays the films of a folder: ``rtsp://127.0.0.1:PORT/film.mp4``."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

_SERVE = """
import asyncio, sys
from aio_rtsp_toolkit.server import serve
asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def film(path: Path, frames: int = 250) -> None:
    """A film of 25 frames a second, each of one grey, which rises by 2."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "5", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            grey = np.full((48, 64, 3), 20 + 2 * (number % 100), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())


class Server:
    """It can be killed, frozen and started again, on the same port."""

    def __init__(self, folder: Path, port: int) -> None:
        pytest.importorskip("aio_rtsp_toolkit", reason="aio-rtsp-toolkit, an RTSP server, is not installed")
        self.folder, self.port = folder, port
        self.url = f"rtsp://127.0.0.1:{port}/film.mp4"
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(self.folder), "127.0.0.1", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        pytest.fail("the RTSP server does not start")

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
