"""A source of tokens that others send by HTTP."""

from __future__ import annotations

import base64
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Optional

from checks import put, whole_number
from inbox import Inbox
from login import login_of, loopback
from payload import TYPES, Payload

from eprune.runtime import Actor, EndOfStream

#: Callers that are heard at a time, seconds that each may be silent, and bytes of an answer.
CALLERS, SILENCE, MAX_ANSWER = 32, 10.0, 2**20
#: Where an ``HttpSink`` brings the answer to a request, whose number follows.
ANSWERS = "/answers/"


class HttpSource(Actor):
    """A token for each POST request to ``/``.

    Without a port ``request``, a request is answered with 202 (Accepted) once it waits for the graph. With one,
    ``int64[1]``, which gets the number of the request, the caller waits for its answer: an ``HttpSink`` whose ``url``
    is ``http://ADDRESS:PORT/answers`` brings what the graph has made of the token. What is no token gets 400 and the
    reason, 413 if it is too large; with ``keep`` requests waiting for the graph, the next ones get 503; after
    ``patience`` seconds without an answer, 504. Requests from web pages (with ``Origin``) get 403.

    It speaks plain HTTP and listens on loopback. On another address a login is required; for HTTPS, put a web server in
    front of it.

    Parameters:
        port, address: where to listen.
        form: what a request holds: ``raw``, the bytes of the token, ``picture``, a JPEG, PNG or BMP, or ``json``.
        login: the environment variable that holds ``USER:PASSWORD``, which callers have to give.
        login_file: or the file that does.
        keep: how many requests wait for the graph.
        patience: seconds that a caller waits for its answer.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"login_file": "read"}
    waits = True

    def __init__(
        self,
        port: str = "8080",
        address: str = "127.0.0.1",
        form: str = "raw",
        login: str = "",
        login_file: str = "",
        keep: str = "16",
        patience: str = "30",
    ) -> None:
        self.place = (address, whole_number("port", port))
        if self.place[1] > 65535:
            raise ValueError(f"port={port!r}: expected 0 to 65535")
        self.login = login_of(login, login_file)
        if not self.login and not loopback(address):
            raise ValueError(f"address={address!r}: whoever reaches it could send tokens: give login or login_file")
        self.payload = Payload(form)
        self.inbox = Inbox(max(1, whole_number("keep", keep)))
        self.patience = whole_number("patience", patience)
        self.changed = threading.Condition()
        #: the number of a request -> its answer, None until it is there: (type of contents, bytes)
        self.answers: dict[int, Optional[tuple[str, bytes]]] = {}
        self.counts = dict.fromkeys(("accepted", "refused", "busy", "unanswered"), 0)
        self.stopped = False
        self.server: Optional[_Server] = None

    def initialize(self) -> None:
        """Listen. Raises ValueError for ports that do not fit, OSError if the address cannot be had."""
        ports = {name: port for name, port in self.outputs.items() if name != "request"}
        if len(ports) != 1 or any(port.rate != 1 for port in self.outputs.values()):
            raise ValueError("needs one output port, and perhaps one named 'request', with one token per firing")
        [(self.port, port)] = ports.items()
        self.answered = "request" in self.outputs
        if self.answered and self.outputs["request"] != ("int64", (1,), 1):
            raise ValueError("port 'request': expected int64[1]")
        self.payload.bind(self.port, port)
        try:
            self.server = _Server(self.place, self)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise OSError(f"cannot listen at {self.place[0]}:{self.place[1]}: {reason}") from None
        threading.Thread(target=self.server.serve_forever, args=(0.1,), name=f"http {self.name}", daemon=True).start()

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Wait for the next request."""
        number, token = self.inbox.take()
        self.came()
        put(outputs[self.port], token)
        if self.answered:
            outputs["request"][...] = number
        self.figures = dict(self.counts)

    def interrupt(self) -> None:
        """Nobody waits for requests or answers any more."""
        self.inbox.end()
        with self.changed:
            self.stopped = True
            self.changed.notify_all()

    def finalize(self) -> None:
        """Take no more requests; those that the graph still has are answered first."""
        self.inbox.end()
        while True:  # what was accepted, and no firing will take
            try:
                number, _ = self.inbox.take()
            except EndOfStream:
                break
            with self.changed:
                self.answers.pop(number, None)
                self.changed.notify_all()
        with self.changed:
            self.changed.wait_for(lambda: not self.answers or self.stopped, self.patience)
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()

    def accept(self, data: bytes) -> tuple[HTTPStatus, str, bytes]:
        """What a caller gets for a request: status, type of contents, contents. For any thread."""
        try:
            token = self.payload.token(data)
        except ValueError as error:
            return self.refuse(HTTPStatus.BAD_REQUEST, str(error))
        number = secrets.randbits(63)
        until = time.monotonic() + self.patience
        with self.changed:
            if self.answered:
                self.answers[number] = None
            if not self.inbox.offer((number, token)):
                self.answers.pop(number, None)
                self.counts["busy"] += 1
                return _text(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait; try again later")
            self.counts["accepted"] += 1
            if not self.answered:
                return HTTPStatus.ACCEPTED, TYPES["raw"], b""
            self.changed.wait_for(
                lambda: self.answers.get(number, True) is not None or self.stopped, until - time.monotonic()
            )
            gone = number not in self.answers or self.stopped
            answer = self.answers.pop(number, None)
            self.changed.notify_all()
            if answer is not None:
                return (HTTPStatus.OK, *answer)
            self.counts["unanswered"] += 1
        if gone:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "the application ends")
        return _text(HTTPStatus.GATEWAY_TIMEOUT, f"no answer within {self.patience} s")

    def answer(self, number: int, kind: str, data: bytes) -> tuple[HTTPStatus, str, bytes]:
        """What a sink gets that brings an answer. For any thread."""
        with self.changed:
            if self.answers.get(number, True) is not None:
                return _text(HTTPStatus.NOT_FOUND, "nobody waits for this answer")
            self.answers[number] = (kind if kind in TYPES.values() else TYPES["raw"], data)
            self.changed.notify_all()
        return HTTPStatus.NO_CONTENT, TYPES["raw"], b""

    def refuse(self, status: HTTPStatus, reason: str) -> tuple[HTTPStatus, str, bytes]:
        """What a caller gets for a request that is none. For any thread."""
        with self.changed:
            self.counts["refused"] += 1
        return _text(status, reason)


class _Server(ThreadingHTTPServer):
    """Hears so many callers at a time, a thread each. Those whose requests are in the graph do not count."""

    daemon_threads = True
    request_queue_size = CALLERS

    def __init__(self, place: tuple[str, int], source: HttpSource) -> None:
        self.source = source
        self.heard: set[Any] = set()
        super().__init__(place, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A caller for whom there is no place is disconnected."""
        if len(self.heard) < CALLERS:
            self.heard.add(request)
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """Disconnect a caller."""
        self.heard.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is nobody's trouble."""


class _Handler(BaseHTTPRequestHandler):
    """One request of one caller."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "eprune", ""
    timeout = SILENCE

    def do_POST(self) -> None:
        """A token, or the answer to one."""
        source, path = self.server.source, self.path.partition("?")[0]
        number = path[len(ANSWERS) :] if path.startswith(ANSWERS) else None
        limit = source.payload.limit if number is None else MAX_ANSWER
        length = self.headers.get("Content-Length", "")
        if not self._known():
            self._reply(source.refuse(HTTPStatus.UNAUTHORIZED, "who are you?"))
        elif "Origin" in self.headers:
            self._reply(source.refuse(HTTPStatus.FORBIDDEN, "web pages may not send anything here"))
        elif number is None and path != "/":
            self._reply(source.refuse(HTTPStatus.NOT_FOUND, "tokens go to /"))
        elif not length.isascii() or not length.isdigit():
            self._reply(source.refuse(HTTPStatus.LENGTH_REQUIRED, "Content-Length is required"))
        elif len(length) > 12 or int(length) > limit:
            self._reply(source.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {limit} bytes"))
        else:
            data = self.rfile.read(int(length))
            if len(data) < int(length):
                return  # went away
            self.server.heard.discard(self.request)
            if number is None:
                self._reply(source.accept(data))
            else:
                known = int(number) if number.isascii() and number.isdigit() and len(number) < 20 else -1
                self._reply(source.answer(known, self.headers.get("Content-Type", ""), data))

    def _known(self) -> bool:
        login = self.server.source.login
        if login is None:
            return True
        wanted = b"Basic " + base64.b64encode(":".join(login).encode())
        return hmac.compare_digest(self.headers.get("Authorization", "").encode(), wanted)

    def _reply(self, answer: tuple[HTTPStatus, str, bytes]) -> None:
        status, kind, data = answer
        self.send_response(status)
        self.send_header("Connection", "close")
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", 'Basic realm="eprune"')
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Requests are counted, not logged."""


def _text(status: HTTPStatus, text: str) -> tuple[HTTPStatus, str, bytes]:
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()
