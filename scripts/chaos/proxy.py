"""A proxy in the middle of a connection, which resets, holds, refuses or slows it down when it is told to."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from typing import Optional


class Proxy:
    """Passes on what comes to ``port`` to ``target``, both on loopback, until told otherwise."""

    def __init__(self, port: int, target: int) -> None:
        self.target = target
        self.cuts = 0
        #: bytes that have passed
        self.passed = 0
        #: bytes per second in each direction, None: as many as there are
        self.rate: Optional[float] = None
        self._refusing = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._open = threading.Event()
        self._open.set()
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset all connections: both ends get an error at once."""
        self.cuts += 1
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    end.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Reset all connections, and those that come."""
        self._refusing = True
        self.cut()

    def hold(self) -> None:
        """Let nothing pass, as a pulled cable does."""
        self._open.clear()

    def resume(self) -> None:
        """Let everything pass again."""
        self._refusing = False
        self._open.set()

    def close(self) -> None:
        """End."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # closing alone does not wake who accepts
        self._listener.close()
        self.cut()
        self.resume()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
                far = None if self._refusing else socket.create_connection(("127.0.0.1", self.target))
            except ConnectionRefusedError:
                far = None
            except OSError:
                return
            if far is None:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536 if self.rate is None else 4096):
                if self.rate is not None:
                    time.sleep(len(data) / self.rate)
                self._open.wait()
                sink.sendall(data)
                self.passed += len(data)
            self._open.wait()
            sink.shutdown(socket.SHUT_WR)
