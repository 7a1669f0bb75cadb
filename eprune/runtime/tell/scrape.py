"""A program's metrics for whoever asks by HTTP. Imported only where that is wanted: it takes a while."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Optional

from eprune.runtime.kernel.errors import RunError, UsageError
from eprune.runtime.tell.metrics import CONTENT_TYPE, families, text

#: Seconds that a reader may take to ask.
_PATIENCE = 10.0
#: Seconds between two tries to listen where somebody else still does.
_AGAIN = 1.0


class MetricsServer:
    """Answers ``GET /metrics`` with what ``tell`` says, from entering to leaving.

    ``address`` is PORT, of loopback, or HOST:PORT. ``waits``: somebody else may still listen there, and will leave.
    Raises UsageError for another address, RunError where nobody can listen.
    """

    def __init__(self, address: str, tell: Callable[[], Optional[Mapping[str, Any]]], waits: bool = False) -> None:
        self._address = address
        self._tell = tell
        self._over = threading.Event()
        self._server: Optional[ThreadingHTTPServer] = None
        if not waits:
            self._server = self._listen()

    def _listen(self) -> ThreadingHTTPServer:
        host, _, port = self._address.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        handler = type("Handler", (_Handler,), {"tell": staticmethod(self._tell)})
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("Server", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True})
        try:
            made: ThreadingHTTPServer = server((host, int(port)), handler)
        except (ValueError, OverflowError):
            raise UsageError(f"--metrics {self._address}: expected PORT or HOST:PORT") from None
        except OSError as error:
            raise RunError(f"--metrics {self._address}: {error.strerror or error}") from None
        return made

    def __enter__(self) -> MetricsServer:
        threading.Thread(target=self._serve, name="metrics", daemon=True).start()
        return self

    def _serve(self) -> None:
        while self._server is None and not self._over.wait(_AGAIN):
            with contextlib.suppress(RunError):
                self._server = self._listen()
        if self._server is not None:
            self._server.serve_forever(0.1)

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    tell: Callable[[], Optional[Mapping[str, Any]]]
    timeout = _PATIENCE
    server_version, sys_version = "eprune", ""

    def do_GET(self) -> None:
        report = self.tell() if self.path == "/metrics" else None
        if report is None:
            self.send_error(404)
            return
        data = text(families(report)).encode()
        self.send_response(200)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """A run's log is about the run."""
