"""How the two ends of a connection find and accept one another: dialling, listening, greetings."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from typing import Callable

from eprune.runtime import wire
from eprune.runtime.errors import LinkError, ProtocolError, Refused

#: Seconds that a connection has for its hello, and the peer for its answer.
HELLO_TIMEOUT = 5.0
#: Connections without a hello yet that a listener holds; further ones wait in the kernel's backlog.
MAX_PENDING = 8
_POLL = 0.05
_REST = 256 * 1024

Facts = dict[str, str]


class Later(OSError):
    """The peer answers, but cannot take the connection now."""


def dial(address: tuple[str, int], facts: Facts, deadline: float, peer: str) -> tuple[socket.socket, Facts]:
    """Connect and shake hands; the connection, and the verdict with what the peer says of itself.

    Raises OSError if nobody answers (Later: not now), Refused if the peer refuses, ProtocolError if it is no program
    of eprune, LinkError if the address is none.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("timed out")
    with contextlib.ExitStack() as cleanup:
        try:
            connection = socket.create_connection(address, timeout=min(remaining, 2.0))
        except (OverflowError, UnicodeError) as error:
            raise Refused(f"{address[0]}:{address[1]} is no address: {error}") from None
        cleanup.callback(connection.close)
        if connection.getsockname() == connection.getpeername():
            raise ConnectionRefusedError("connected to itself")
        connection.settimeout(max(min(deadline - time.monotonic(), HELLO_TIMEOUT), 0.1))
        connection.sendall(wire.pack_greeting(facts))
        verdict = wire.unpack_greeting(_read_greeting(connection))
        if verdict.get("verdict") == "later":
            raise Later(0, verdict.get("reason", "not now"))
        if verdict.get("verdict") != "accepted":
            raise Refused(f"refused by {peer}: {verdict.get('reason', 'no reason given')}")
        cleanup.pop_all()
        return connection, verdict


def listen(who: object, peer: str, address: tuple[str, int]) -> socket.socket:
    """A listening socket. Raises LinkError where the address cannot be had."""
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server(address, family=family, backlog=MAX_PENDING)
    except (OSError, OverflowError) as error:
        # create_server adds to strerror what the message says anyway.
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise LinkError(
            f"{who}: cannot listen on {host}:{port}: {reason}; "
            f"choose another address with --bind, or other ports with --link {peer}=HOST:PORT"
        ) from None
    listener.setblocking(False)
    return listener


def nobody_answered(who: object, peer: str, address: tuple[str, int], error: Exception) -> str:
    """What to say when dialling was in vain."""
    reason = getattr(error, "strerror", None) or error
    return (
        f"{who}: nobody answered at {address[0]}:{address[1]} in time ({reason}); "
        f"is {peer} running there, and listening on that address (--bind)?"
    )


def nobody_came(who: object, peer: str, address: tuple[str, int], refusal: str) -> str:
    """What to say when listening was in vain; ``refusal``: why somebody was refused meanwhile, or ''."""
    host, port = address
    message = f"{who}: {peer} did not connect to {host}:{port} in time"
    if refusal:
        message += f" (refused meanwhile: {refusal})"
    elif host.startswith("127.") or host == "localhost":
        message += "; this program listens on loopback only: use --bind ADDRESS for a peer on another machine"
    return message


class Answer:
    """Answers whoever connects to a listening socket, for as long as the run lasts.

    ``facts()`` is what we say of ourselves. ``later(hello)`` tells why a right peer must try again later, or ''.
    ``accept`` gets a connection that was accepted, and its hello; ``refused`` the reason for refusing somebody, of whom
    ``refusal`` keeps the last.
    """

    def __init__(
        self,
        listener: socket.socket,
        facts: Callable[[], Facts],
        later: Callable[[Facts], str],
        accept: Callable[[socket.socket, Facts], None],
        refused: Callable[[str], None],
    ) -> None:
        self.refusal = ""
        self._listener = listener
        self._facts = facts
        self._later = later
        self._accept = accept
        self._refused = refused
        self._closed = False

    def close(self) -> None:
        """Stop answering, within moments."""
        self._closed = True

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Answer until closed, or until ``stop()``. The body of a thread."""
        pending: dict[socket.socket, tuple[bytearray, float]] = {}
        with contextlib.closing(self._listener), selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            try:
                while not self._closed and not stop():
                    for key, _ in selector.select(_POLL):
                        if self._closed:
                            break
                        if key.fileobj is self._listener:
                            self._admit(pending, selector)
                            continue
                        connection = key.fileobj
                        assert isinstance(connection, socket.socket)
                        if self._hear(connection, pending[connection][0]):
                            selector.unregister(connection)
                            del pending[connection]
                    self._expire(pending, selector)
            finally:
                for connection in pending:
                    connection.close()

    def _admit(self, pending: dict[socket.socket, tuple[bytearray, float]], selector: selectors.BaseSelector) -> None:
        if len(pending) >= MAX_PENDING:
            return
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            connection.setblocking(False)
            pending[connection] = (bytearray(), time.monotonic() + HELLO_TIMEOUT)
            selector.register(connection, selectors.EVENT_READ)

    def _expire(self, pending: dict[socket.socket, tuple[bytearray, float]], selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        for connection in [late for late, (_, until) in pending.items() if now > until]:
            selector.unregister(connection)
            del pending[connection]
            connection.close()
            self._refuse("a connection said nothing")

    def _hear(self, connection: socket.socket, heard: bytearray) -> bool:
        """Read more of a hello, and answer once it is whole; whether this connection is settled, either way."""
        facts = self._facts()
        try:
            want = wire.GREETING_BYTES if len(heard) < wire.GREETING_BYTES else wire.greeting_size(heard)
            data = connection.recv(want - len(heard))
            if not data:
                raise ProtocolError("a connection closed before its hello")
            heard += data
            if len(heard) < wire.GREETING_BYTES or len(heard) < wire.greeting_size(heard):
                return False
            hello = wire.unpack_greeting(heard)
            reason = wire.judge(hello, facts)
            if reason:
                raise Refused(reason)
            reason = self._later(hello)
            if reason:
                self._turn_away(connection, "later", reason)
                return True
            connection.sendall(wire.pack_greeting({**facts, "verdict": "accepted"}))
        except BlockingIOError:
            return False
        except (LinkError, OSError) as error:
            self._refuse(str(error))
            self._turn_away(connection, "refused", str(error))
            return True
        self._accept(connection, hello)
        return True

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self._refused(reason)

    def _turn_away(self, connection: socket.socket, verdict: str, reason: str) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(wire.pack_greeting({"verdict": verdict, "reason": reason}))
            # Closing with unread bytes would reset the connection, and the reason would be lost.
            connection.recv(_REST)
        connection.close()


def _read_greeting(connection: socket.socket) -> bytes:
    """A whole greeting; raises OSError if the connection ends or is silent, ProtocolError or Refused on nonsense."""
    data = b""
    want = wire.GREETING_BYTES
    while len(data) < want:
        more = connection.recv(want - len(data))
        if not more:
            raise ConnectionResetError("the peer closed the connection during the handshake")
        data += more
        if len(data) == wire.GREETING_BYTES:
            want = wire.greeting_size(data)
    return data
