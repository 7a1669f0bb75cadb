"""A real MQTT broker on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

#: Debian puts it where few users' paths lead.
MOSQUITTO = shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))


class Broker:
    """It can be killed, and started again on the same port. ``more``: lines of its configuration."""

    def __init__(self, folder: Path, port: int, *more: str) -> None:
        if MOSQUITTO is None:
            pytest.skip("mosquitto, an MQTT broker, is not installed here (apt install mosquitto)")
        pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed")
        self.port, self.file, self.log = port, folder / "mosquitto.conf", folder / "mosquitto.log"
        lines = (f"listener {port} 127.0.0.1", "log_dest stderr", *(more or ("allow_anonymous true",)))
        self.file.write_text("".join(f"{line}\n" for line in lines))
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([str(MOSQUITTO), "-c", str(self.file)], stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.02)
        pytest.fail(f"mosquitto does not start: {self.log.read_text()}")

    def kill(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
