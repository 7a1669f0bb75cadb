"""A proxy in the middle of a connection, which resets or holds it when a test says so."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading


class Proxy:
    """Passes on what comes to ``port`` to ``target``, both on loopback, until told otherwise."""

    def __init__(self, port: int, target: int) -> None:
        self.target = target
        self.cuts = 0
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

    def hold(self) -> None:
        """Let nothing pass, as a pulled cable does."""
        self._open.clear()

    def resume(self) -> None:
        """Let everything pass again."""
        self._open.set()

    def close(self) -> None:
        """End."""
        self._listener.close()
        self.cut()
        self.resume()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._open.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
