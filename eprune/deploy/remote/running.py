"""A program that runs on this machine, asked on its control socket (``runtime/main/control.py``)."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from pathlib import Path
from typing import Any

from eprune.deploy.remote.versions import Problem

#: Seconds that an answer may take.
PATIENCE = 30.0


class Running:
    """The program that listens at ``path``. Whoever starts a change here cancels it by closing this. Raises Problem."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE)
        try:
            place = os.open(path.parent, os.O_RDONLY)
            try:
                self._socket.connect(f"/proc/self/fd/{place}/{path.name}")
            finally:
                os.close(place)
        except OSError as error:
            self._socket.close()
            raise Problem(f"the program cannot be asked on {path}: {error.strerror or error}") from None
        self._file = self._socket.makefile("rb")

    def ask(self, do: str, **arguments: Any) -> Any:
        """The answer to a request."""
        try:
            self._socket.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
            line = self._file.readline()
        except OSError as error:
            raise Problem(f"the program does not answer: {error.strerror or error}") from None
        if not line.endswith(b"\n"):
            raise Problem("the program has gone")
        answer = json.loads(line)
        if "problem" in answer:
            raise Problem(answer["problem"])
        return answer["done"]

    def close(self) -> None:
        """Ask no more."""
        with contextlib.suppress(OSError):
            self._file.close()
            self._socket.close()
