"""The socket on which a program that runs is asked: for its state, and to change to the next generation.

It is a socket in the file system of this machine, open to this user only. Requests and answers are lines of JSON:
``do`` and its arguments, ``done`` or ``problem``. Whoever has started a change stays connected until it is made: when
the connection ends before, so does the change.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from pathlib import Path
from typing import Any, Optional

from eprune.runtime.kernel.errors import RunError
from eprune.runtime.main.succession import Refused, Succession

#: Bytes of a request at most.
REQUEST_BYTES = 1 << 20


class Control:
    """Listens at a path, from ``listen`` to ``close``."""

    def __init__(self, path: str, succession: Succession) -> None:
        self._path = path
        self._succession = succession
        self._socket: Optional[socket.socket] = None

    def listen(self) -> None:
        """Take the place of whoever listened there before. Raises RunError."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        folder, name = Path(self._path).parent, Path(self._path).name
        try:
            # A path of a socket is short: it is named by its folder's descriptor.
            place = os.open(folder, os.O_RDONLY)
            try:
                temporary = f".{name}.{os.getpid()}"
                with contextlib.suppress(OSError):
                    (folder / temporary).unlink()
                self._socket.bind(f"/proc/self/fd/{place}/{temporary}")
                (folder / temporary).chmod(0o600)
                self._socket.listen(8)
                (folder / temporary).replace(folder / name)
            finally:
                os.close(place)
        except OSError as error:
            raise RunError(f"--control {self._path}: {error.strerror or error}") from None
        threading.Thread(target=self._accept, args=(self._socket,), name="control", daemon=True).start()

    def close(self) -> None:
        """Listen no more. The file stays: somebody else may have taken its place."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                end, _ = listening.accept()
                threading.Thread(target=self._serve, args=(end,), name="control", daemon=True).start()

    def _serve(self, end: socket.socket) -> None:
        owns = False
        with end, end.makefile("rb") as file, contextlib.suppress(OSError):
            while (line := file.readline(REQUEST_BYTES)).endswith(b"\n"):
                answer: dict[str, Any]
                try:
                    request = json.loads(line)
                    answer = {"done": self._do(request)}
                    owns = owns or request["do"] == "start"
                except Refused as refused:
                    answer = {"problem": str(refused)}
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    answer = {"problem": f"no request: {type(error).__name__}: {error}"}
                end.sendall(json.dumps(answer).encode() + b"\n")
        if owns:
            self._succession.cancel()

    def _do(self, request: dict[str, Any]) -> Any:
        succession, do = self._succession, request["do"]
        if do == "describe":
            return succession.describe()
        if do == "start":
            reset = [str(name) for name in request.get("reset", ())]
            return succession.start([str(word) for word in request["command"]], reset)
        if do == "hold":
            at = {str(name): int(index) for name, index in request["at"].items()}
            begin = request["begin"]
            return succession.hold(at, None if begin is None else int(begin))
        if do == "release":
            return succession.release()
        if do == "commit":
            return succession.commit()
        raise Refused(f"there is no {do!r}")
