"""How the two ends of a connection find and accept one another: dialling, listening, greetings."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections import Counter
from typing import Callable, Optional

from eprune.runtime.kernel.errors import LinkError, ProtocolError, Refused
from eprune.runtime.net import wire
from eprune.runtime.net.tls import Keys, NotTls, Socket, Stream

#: Seconds that a connection has for its hello, and the peer for its answer.
HELLO_TIMEOUT = 5.0
#: Connections without a hello yet that a listener holds. For another one the oldest of whoever has most has to go, so
#: that strangers keep out neither a peer that speaks at once, nor a slow one with another address.
MAX_PENDING = 64
#: Connections that wait in the kernel until the listener takes them.
BACKLOG = 128
#: Seconds that a connection that was turned away has to read why.
_PARTING = 1.0
_POLL = 0.05
_REST = 64 * 1024

Facts = dict[str, str]


class Later(OSError):
    """The peer answers, but cannot take the connection now."""


def dial(
    address: tuple[str, int], facts: Facts, deadline: float, peer: str, keys: Optional[Keys] = None
) -> tuple[Stream, Facts]:
    """Connect and shake hands, over TLS if there are keys; the connection, and the verdict with what the peer says of
    itself.

    Raises OSError if nobody answers (Later: not now), Refused if one side refuses the other, ProtocolError if it is no
    program of eprune, LinkError if the address is none.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("timed out")
    with contextlib.ExitStack() as cleanup:
        try:
            plain = socket.create_connection(address, timeout=min(remaining, 2.0))
        except (OverflowError, UnicodeError) as error:
            raise Refused(f"{address[0]}:{address[1]} is no address: {error}") from None
        cleanup.callback(plain.close)
        if plain.getsockname() == plain.getpeername():
            raise ConnectionRefusedError("connected to itself")
        connection: Stream = plain if keys is None else keys.dialling(plain, peer)
        connection.settimeout(max(min(deadline - time.monotonic(), HELLO_TIMEOUT), 0.1))
        deadline = min(deadline, time.monotonic() + HELLO_TIMEOUT)
        _greet(connection, facts, deadline)
        verdict = wire.unpack_greeting(_read_greeting(connection, deadline))
        reason = wire.brief(verdict.get("reason", ""), wire.MAX_REASON)
        if verdict.get("verdict") == "later":
            raise Later(0, reason or "not now")
        if verdict.get("verdict") != "accepted":
            raise Refused(f"refused by {peer}: {reason or 'no reason given'}")
        cleanup.pop_all()
        return connection, verdict


def _greet(connection: Stream, facts: Facts, deadline: float) -> None:
    """Send our hello. Over TLS the peer may turn out to be another: then it is told so, and Refused is raised."""
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the peer has gone, but may have said why
            if isinstance(connection, Socket):
                connection.shake(deadline)
            connection.sendall(wire.pack_greeting(facts))
    except NotTls:
        raise
    except Refused as refusal:
        with contextlib.suppress(OSError, LinkError):
            connection.sendall(wire.pack_greeting({**facts, "verdict": "refused", "reason": str(refusal)}))
        raise


def listen(who: object, peer: str, address: tuple[str, int]) -> socket.socket:
    """A listening socket. Raises LinkError where the address cannot be had."""
    host, port = address
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server(address, family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        # create_server adds to strerror what the message says anyway.
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else error
        raise LinkError(
            f"{who}: cannot listen on {host}:{port}: {reason}; "
            f"choose another address with --bind, or other ports with --link {peer}=HOST:PORT"
        ) from None
    listener.setblocking(False)
    return listener


def nobody_answered(who: object, peer: str, address: tuple[str, int], error: Exception, tunnel: str) -> str:
    """What to say when dialling was in vain; ``tunnel``: the script that opens an SSH tunnel for this link, or ''."""
    reason = getattr(error, "strerror", None) or error
    message = f"{who}: nobody answered at {address[0]}:{address[1]} in time ({reason}); is {peer} running there, "
    return message + (
        f"and a tunnel to it open? {tunnel} runs this program with one"
        if tunnel
        else "and listening on that address (--bind)?"
    )


def nobody_came(who: object, peer: str, address: tuple[str, int], refusal: str, tunnel: str) -> str:
    """What to say when listening was in vain; ``refusal``: why somebody was refused meanwhile, or ''; ``tunnel`` as
    above.
    """
    host, port = address
    message = f"{who}: {peer} did not connect to {host}:{port} in time"
    if refusal:
        message += f" (refused meanwhile: {refusal})"
    elif tunnel:
        message += f"; is a tunnel from it open? {tunnel} runs this program with one"
    elif host.startswith("127.") or host == "localhost":
        message += "; this program listens on loopback only: use --bind ADDRESS for a peer on another machine"
    return message


class _Caller:
    """Who has connected, but was not accepted yet."""

    def __init__(self, connection: Stream, network: bytes) -> None:
        self.connection = connection
        #: where it is from: what belongs to one host, which in IPv6 has a whole network
        self.network = network
        self.heard = bytearray()
        self.until = time.monotonic() + HELLO_TIMEOUT
        #: turned away; the connection is kept until the other side has had time to read why
        self.parting = False


class Answer:
    """Answers whoever connects to a listening socket, for as long as the run lasts.

    ``facts()`` is what we say of ourselves. ``later(hello)`` tells why a right peer must try again later, or ''.
    ``accept`` gets a connection that was accepted, and its hello; ``refused`` the reason for refusing somebody, of whom
    ``refusal`` keeps the last. With ``keys`` all is over TLS, with platform ``peer``.
    """

    def __init__(
        self,
        listener: socket.socket,
        facts: Callable[[], Facts],
        later: Callable[[Facts], str],
        accept: Callable[[Stream, Facts], None],
        refused: Callable[[str], None],
        peer: str,
        keys: Optional[Keys],
    ) -> None:
        self.refusal = ""
        self._listener = listener
        self._facts = facts
        self._later = later
        self._accept = accept
        self._refused = refused
        self._peer = peer
        self._keys = keys
        self._closed = False

    def close(self) -> None:
        """Stop answering, within moments."""
        self._closed = True

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Answer until closed, or until ``stop()``. The body of a thread."""
        callers: dict[_Caller, None] = {}  # the oldest first
        with contextlib.closing(self._listener), selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            try:
                while not self._closed and not stop():
                    for key, _ in selector.select(_POLL):
                        if self._closed:
                            break
                        if key.fileobj is self._listener:
                            self._admit(callers, selector)
                        elif key.data in callers and self._settled(key.data):
                            selector.unregister(key.fd)
                            del callers[key.data]
                    self._expire(callers, selector)
            finally:
                for caller in callers:
                    caller.connection.close()

    def _admit(self, callers: dict[_Caller, None], selector: selectors.BaseSelector) -> None:
        with contextlib.suppress(OSError):
            plain, address = self._listener.accept()
            plain.setblocking(False)
            connection = plain if self._keys is None else self._keys.answering(plain, self._peer)
            caller = _Caller(connection, socket.inet_pton(plain.family, address[0].partition("%")[0])[:8])
            callers[caller] = None
            selector.register(connection, selectors.EVENT_READ, caller)
            if len(callers) > MAX_PENDING:
                most = Counter(each.network for each in callers).most_common(1)[0][0]
                oldest = next(each for each in callers if each.network == most)
                self._send_off(oldest, callers, selector, "more connections than can be heard said nothing")

    def _expire(self, callers: dict[_Caller, None], selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        for caller in [caller for caller in callers if now > caller.until]:
            self._send_off(caller, callers, selector, "a connection said nothing")

    def _send_off(
        self, caller: _Caller, callers: dict[_Caller, None], selector: selectors.BaseSelector, reason: str
    ) -> None:
        selector.unregister(caller.connection)
        del callers[caller]
        caller.connection.close()
        if not caller.parting:
            self._refuse(reason)

    def _settled(self, caller: _Caller) -> bool:
        """Hear more of a caller; whether nothing more is to be done: it was accepted, or has gone."""
        try:
            while not caller.parting:
                if self._heard(caller):
                    return True
            if _transport(caller.connection).recv(_REST, socket.MSG_DONTWAIT):
                return False
        except BlockingIOError:
            return False
        except OSError:
            pass
        caller.connection.close()
        return True

    def _heard(self, caller: _Caller) -> bool:
        """Read more of a hello, and answer once it is whole; whether it was accepted. Raises BlockingIOError."""
        connection, heard = caller.connection, caller.heard
        try:
            want = wire.GREETING_BYTES if len(heard) < wire.GREETING_BYTES else wire.greeting_size(heard)
            data = connection.recv(want - len(heard))
            if not data:
                raise ProtocolError("a connection closed before its hello")
            heard += data
            if len(heard) < wire.GREETING_BYTES or len(heard) < wire.greeting_size(heard):
                return False
            hello = wire.unpack_greeting(heard)
            facts = self._facts()
            reason = wire.judge(hello, facts)
            if reason:
                raise Refused(reason)
            reason = self._later(hello)
            if reason:
                self._turn_away(caller, connection, "later", reason)
                return False
            connection.sendall(wire.pack_greeting({**facts, "verdict": "accepted"}))
        except BlockingIOError:
            raise
        except (LinkError, OSError) as error:
            self._refuse(str(error))
            # In the clear only to who spoke so.
            way = connection.transport if isinstance(error, NotTls) and isinstance(connection, Socket) else connection
            self._turn_away(caller, way, "refused", str(error))
            return False
        self._accept(connection, hello)
        return True

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self._refused(reason)

    def _turn_away(self, caller: _Caller, way: Stream, verdict: str, reason: str) -> None:
        """Say why. Closing with unread bytes would reset the connection, and the reason would be lost."""
        caller.parting = True
        caller.until = time.monotonic() + _PARTING
        with contextlib.suppress(OSError, LinkError):
            way.sendall(wire.pack_greeting({"verdict": verdict, "reason": reason}))
        with contextlib.suppress(OSError):
            caller.connection.shutdown(socket.SHUT_WR)


def _transport(connection: Stream) -> socket.socket:
    return connection.transport if isinstance(connection, Socket) else connection


def _read_greeting(connection: Stream, deadline: float) -> bytes:
    """A whole greeting; raises OSError if the connection ends or is slow, ProtocolError or Refused on nonsense."""
    data = b""
    want = wire.GREETING_BYTES
    while len(data) < want:
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
        more = connection.recv(want - len(data))
        if not more:
            raise ConnectionResetError("the peer closed the connection during the handshake")
        data += more
        if len(data) == wire.GREETING_BYTES:
            want = wire.greeting_size(data)
    return data
