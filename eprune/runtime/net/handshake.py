"""How the two ends of a connection find and accept each other: dialling, listening, exchanging greetings."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import os
import selectors
import socket
import time
from collections import Counter
from typing import Callable, Optional

from eprune.runtime.kernel.errors import LinkError, ProtocolError, Refused
from eprune.runtime.net import wire
from eprune.runtime.net.greeting import ACCEPTED, LATER, REFUSED, Greeting, judge, unpack
from eprune.runtime.net.tls import Keys, NotTls, Stream, TlsSocket

#: Seconds that the dialling side has for its greeting, and the listening side for its answer.
GREETING_TIMEOUT = 5.0
#: Connections without a greeting that a listener holds. When there is one more, the network with the most of them loses
#: its oldest one: strangers keep out neither a peer that greets at once nor a slow one with another address.
MAX_PENDING = 64
#: Connections that wait in the kernel until the listener takes them.
BACKLOG = 128
#: Seconds that a connection that was turned away has for reading the reason.
_READ_REASON = 1.0
_POLL = 0.05
_REST = 64 * 1024


class Busy(OSError):
    """The peer answers but cannot accept the connection now."""


def dial(
    address: tuple[str, int], greeting: Greeting, deadline: float, peer: str, keys: Optional[Keys] = None
) -> tuple[Stream, Greeting]:
    """Connect and shake hands, over TLS if there are keys. Returns the connection and the peer's greeting.

    Raises OSError if nobody answers (Busy: try again later), Refused if one side refuses the other, ProtocolError if
    the other side is not an eprune program, LinkError if the address is malformed.
    """
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError("timed out")
    with contextlib.ExitStack() as cleanup:
        try:
            plain = socket.create_connection(address, timeout=min(remaining, 2.0))
        except (OverflowError, UnicodeError) as error:
            raise Refused(f"{address[0]}:{address[1]} is not an address: {error}") from None
        cleanup.callback(plain.close)
        if plain.getsockname() == plain.getpeername():
            raise ConnectionRefusedError("connected to itself")
        connection: Stream = plain if keys is None else keys.dialling(plain, peer)
        connection.settimeout(max(min(deadline - time.monotonic(), GREETING_TIMEOUT), 0.1))
        deadline = min(deadline, time.monotonic() + GREETING_TIMEOUT)
        _greet(connection, greeting, deadline)
        theirs = unpack(_read_greeting(connection, deadline))
        if theirs.verdict == LATER:
            raise Busy(0, theirs.reason or "the peer is busy")
        if theirs.verdict != ACCEPTED:
            raise Refused(f"refused by {peer}: {theirs.reason or 'no reason given'}")
        cleanup.pop_all()
        return connection, theirs


def _greet(connection: Stream, greeting: Greeting, deadline: float) -> None:
    """Send a greeting. If TLS shows that the peer is another platform, inform the peer and raise Refused."""
    try:
        # A peer that has gone may have sent its reason, which is read afterwards.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            if isinstance(connection, TlsSocket):
                connection.shake(deadline)
            connection.sendall(greeting.pack())
    except NotTls:
        raise
    except Refused as refusal:
        with contextlib.suppress(OSError, LinkError):
            connection.sendall(dataclasses.replace(greeting, verdict=REFUSED, reason=str(refusal)).pack())
        raise


def listen(who: object, peer: str, address: tuple[str, int]) -> socket.socket:
    """A listening socket: on ``::`` for IPv4, too. Raises LinkError if the address is not available."""
    host, port = address
    try:
        family = _family(host)
        listener = socket.create_server(
            address, family=family, backlog=BACKLOG, dualstack_ipv6=_every(host) and socket.has_dualstack_ipv6()
        )
    except socket.gaierror as error:
        reason: object = error.strerror
    except (OSError, OverflowError, UnicodeError) as error:
        # create_server adds the address to strerror, which the message has anyway.
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else error
    else:
        listener.setblocking(False)
        return listener
    raise LinkError(
        f"{who}: cannot listen on {host}:{port}: {reason}; "
        f"choose another address with --bind, or other ports with --link {peer}=HOST:PORT"
    )


def _every(host: str) -> bool:
    """Whether it is IPv6's address for every address."""
    try:
        return ipaddress.IPv6Address(host) == ipaddress.IPv6Address("::")
    except ValueError:
        return False


def _family(host: str) -> socket.AddressFamily:
    """The family of an address, or of the addresses that a name has: IPv4 if it has both. Raises OSError."""
    if ":" in host:
        return socket.AF_INET6
    if not host:
        return socket.AF_INET
    families = {family for family, *_ in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    return socket.AF_INET if socket.AF_INET in families or not families else socket.AF_INET6


def _network(family: int, address: str) -> bytes:
    """Where a caller comes from: a host, which in IPv6 has a whole network to itself."""
    packed = socket.inet_pton(family, address.partition("%")[0])
    mapped = packed[:12] == bytes(10) + b"\xff\xff"  # IPv4, at a socket for both
    return packed[12:] if mapped else packed[:8]


def nobody_answered(who: object, peer: str, address: tuple[str, int], error: Exception, tunnel: str) -> str:
    """The message when dialling was in vain; ``tunnel``: the script that opens an SSH tunnel for this link, or ''."""
    reason = getattr(error, "strerror", None) or error
    message = f"{who}: nobody answered at {address[0]}:{address[1]} in time ({reason}); is {peer} running there"
    return message + (
        f", and is an SSH tunnel to it open? {tunnel} runs this program with one"
        if tunnel
        else " and listening on that address (--bind)?"
    )


def nobody_came(who: object, peer: str, address: tuple[str, int], refusal: str, tunnel: str) -> str:
    """The message when listening was in vain; ``refusal``: why somebody was refused in the meantime, or ''."""
    host, port = address
    message = f"{who}: {peer} did not connect to {host}:{port} in time"
    if refusal:
        message += f" (refused in the meantime: {refusal})"
    elif tunnel:
        message += f"; is an SSH tunnel from it open? {tunnel} runs this program with one"
    elif host.startswith("127.") or host == "localhost":
        message += "; this program listens on loopback only: use --bind ADDRESS if the peer is on another machine"
    return message


class _Caller:
    """A connection that has not been accepted yet."""

    def __init__(self, connection: Stream, network: bytes) -> None:
        self.connection = connection
        #: where it comes from: the addresses of one host, which in IPv6 has a whole network
        self.network = network
        self.received = bytearray()
        self.until = time.monotonic() + GREETING_TIMEOUT
        #: whether it was turned away; it is kept until the other side has had time to read the reason
        self.turned_away = False


class Acceptor:
    """Accepts or refuses whoever connects to a listening socket, as long as the run lasts.

    ``greeting()`` identifies this program. ``busy(greeting)`` is why the right peer must try again later,
    or ''. ``accept`` gets a connection that was accepted, with its greeting; ``refused`` gets the reason for each
    refusal, the last of which is ``refusal``. With ``keys`` everything is over TLS, with platform ``peer``.
    """

    def __init__(
        self,
        listener: socket.socket,
        greeting: Callable[[], Greeting],
        busy: Callable[[Greeting], str],
        accept: Callable[[Stream, Greeting], None],
        refused: Callable[[str], None],
        peer: str,
        keys: Optional[Keys],
    ) -> None:
        self.refusal = ""
        self._listener = listener
        self._greeting = greeting
        self._busy = busy
        self._accept = accept
        self._refused = refused
        self._peer = peer
        self._keys = keys
        self._closed = False

    def close(self) -> None:
        """Stop accepting, within moments."""
        self._closed = True

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Acceptor until closed, or until ``stop()``. The body of a thread."""
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
            caller = _Caller(connection, _network(plain.family, address[0]))
            callers[caller] = None
            selector.register(connection, selectors.EVENT_READ, caller)
            if len(callers) > MAX_PENDING:
                most = Counter(each.network for each in callers).most_common(1)[0][0]
                oldest = next(each for each in callers if each.network == most)
                self._send_off(oldest, callers, selector, "too many connections without a greeting")

    def _expire(self, callers: dict[_Caller, None], selector: selectors.BaseSelector) -> None:
        now = time.monotonic()
        for caller in [caller for caller in callers if now > caller.until]:
            self._send_off(caller, callers, selector, "a connection without a greeting")

    def _send_off(
        self, caller: _Caller, callers: dict[_Caller, None], selector: selectors.BaseSelector, reason: str
    ) -> None:
        selector.unregister(caller.connection)
        del callers[caller]
        caller.connection.close()
        if not caller.turned_away:
            self._refuse(reason)

    def _settled(self, caller: _Caller) -> bool:
        """Read more from a caller; whether it is finished: it was accepted or has gone."""
        try:
            while not caller.turned_away:
                if self._read(caller):
                    return True
            if _transport(caller.connection).recv(_REST, socket.MSG_DONTWAIT):
                return False
        except BlockingIOError:
            return False
        except OSError:
            pass
        caller.connection.close()
        return True

    def _read(self, caller: _Caller) -> bool:
        """Read more of a greeting and answer once it is whole; whether it was accepted. Raises BlockingIOError."""
        connection, received = caller.connection, caller.received
        try:
            want = wire.GREETING_BYTES if len(received) < wire.GREETING_BYTES else wire.greeting_size(received)
            data = connection.recv(want - len(received))
            if not data:
                raise ProtocolError("a connection closed before its greeting")
            received += data
            if len(received) < wire.GREETING_BYTES or len(received) < wire.greeting_size(received):
                return False
            greeting, own = unpack(received), self._greeting()
            reason = judge(greeting, own)
            if reason:
                raise Refused(reason)
            reason = self._busy(greeting)
            if reason:
                self._turn_away(caller, connection, LATER, reason)
                return False
            connection.sendall(dataclasses.replace(own, verdict=ACCEPTED).pack())
        except BlockingIOError:
            raise
        except (LinkError, OSError) as error:
            self._refuse(str(error))
            # Unencrypted only to a peer that spoke so.
            way = _transport(connection) if isinstance(error, NotTls) else connection
            self._turn_away(caller, way, REFUSED, str(error))
            return False
        self._accept(connection, greeting)
        return True

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self._refused(reason)

    def _turn_away(self, caller: _Caller, way: Stream, verdict: str, reason: str) -> None:
        """Send the reason. Closing with unread bytes would reset the connection, and the reason would be lost."""
        caller.turned_away = True
        caller.until = time.monotonic() + _READ_REASON
        with contextlib.suppress(OSError, LinkError):
            way.sendall(Greeting(verdict=verdict, reason=reason).pack())
        with contextlib.suppress(OSError):
            caller.connection.shutdown(socket.SHUT_WR)


def _transport(connection: Stream) -> socket.socket:
    return connection.transport if isinstance(connection, TlsSocket) else connection


def _read_greeting(connection: Stream, deadline: float) -> bytes:
    """A whole greeting. Raises OSError if the connection ends or is slow, ProtocolError or Refused if malformed."""
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
