"""A small server for somebody's own browser: a page, its parts, and a stream of events, behind a token in the URL."""

from __future__ import annotations

import hmac
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable

from eprune.model.exit_codes import USAGE
from eprune.model.finding import Failure

#: Streams at the same time at most, seconds between signs of life in one, and those that a reader may take.
STREAMS, ALIVE, PATIENCE = 16, 10.0, 20.0
#: A page says itself what it may load; nobody may show it within another one.
_POLICY = "frame-ancestors 'none'"


@dataclass(frozen=True)
class Part:
    """What is behind a path: its type, and its contents at the moment."""

    kind: str
    content: Callable[[], str]


class Broadcast:
    """The latest text, for all who wait for the next one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._text, self._number, self._over = "", 0, False
        self._first: Callable[[], str] = str

    def put(self, text: str, first: Callable[[], str]) -> None:
        """There is a new one; ``first`` makes the one for a reader who has had none before."""
        with self._changed:
            self._text, self._first, self._number = text, first, self._number + 1
            self._changed.notify_all()

    def close(self) -> None:
        """There will be no more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def after(self, number: int, patience: float) -> tuple[int, str, bool]:
        """The latest text and its number, once it is another one or the patience is over; whether all is over.

        ``number`` is that of the last text that was read, 0 at first.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._number != number or self._over, patience)
            return self._number, self._text if number or not self._number else self._first(), self._over


class Server:
    """Serves parts by their paths, ``""`` the page, and ``events``, each below the token, from entering to leaving."""

    def __init__(self, host: str, port: int, token: str, parts: Mapping[str, Part], events: Broadcast) -> None:
        """Listen. Raises Failure where nothing can listen there."""
        said = {"token": token, "parts": parts, "events": events, "streams": threading.BoundedSemaphore(STREAMS)}
        handler = type("Handler", (_Handler,), said)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = type("Server", (ThreadingHTTPServer,), {"address_family": family, "daemon_threads": True})
        try:
            self._server = made((host, port), handler)
        except (OSError, OverflowError) as error:
            raise Failure(f"{host}:{port}: {getattr(error, 'strerror', None) or error}", USAGE) from None
        self._events = events
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}/{token}/"

    def __enter__(self) -> Server:
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    token: str
    parts: Mapping[str, Part]
    events: Broadcast
    streams: threading.BoundedSemaphore
    timeout = PATIENCE
    server_version, sys_version = "eprune", ""

    def do_GET(self) -> None:
        token, slash, name = self.path.partition("?")[0].lstrip("/").partition("/")
        if not (slash and hmac.compare_digest(token.encode(), self.token.encode())):
            self.send_error(404)
        elif name == "events":
            self._stream()
        elif name in self.parts:
            self._send(self.parts[name].kind, self.parts[name].content().encode())
        else:
            self.send_error(404)

    def _head(self, kind: str) -> None:
        self.send_response(200)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Security-Policy", _POLICY),
            ("Cache-Control", "no-store"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Content-Type-Options", "nosniff"),
        ):
            self.send_header(name, value)

    def _send(self, kind: str, data: bytes) -> None:
        self._head(kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self) -> None:
        if not self.streams.acquire(blocking=False):
            self.send_error(503)
            return
        try:
            self._head("text/event-stream")
            self.end_headers()
            number, over = 0, False
            while not over:
                before = number
                number, text, over = self.events.after(number, ALIVE)
                said = f"data: {text}\n\n" if number != before and text else ": alive\n\n"
                self.wfile.write(said.encode())
        except OSError:
            pass  # the reader has gone
        finally:
            self.streams.release()

    def log_message(self, *_: Any) -> None:
        """What is asked is nobody's business: the URL has the token."""
