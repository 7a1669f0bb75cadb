"""How the two ends of a connection find and accept each other: dialling, listening, exchanging greetings."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Sequence
from typing import Any, Callable, Optional

from eprune.runtime.kernel.errors import LinkError, OutOfDescriptors, ProtocolError, Refused, unexpected
from eprune.runtime.net import wire
from eprune.runtime.net.greeting import ACCEPTED, LATER, REFUSED, Greeting, judge, unpack
from eprune.runtime.net.loop import READ, WRITE, Loop, Wanted
from eprune.runtime.net.tls import Keys, NotTls, Stream, TlsSocket

#: Seconds that the dialling side has for its greeting, and the listening side for its answer.
GREETING_TIMEOUT = 5.0
#: Seconds that a connection may take to come about.
CONNECT_TIMEOUT = 2.0
#: Connections without a greeting that a process holds.
MAX_PENDING = 64
#: Seconds until a process that had no descriptor left for a connection tries again.
OUT_OF_FILES = 1.0
#: Connections that wait in the kernel until the listener takes them.
BACKLOG = 128
#: Seconds that a connection that was turned away has for reading the reason.
_READ_REASON = 1.0
#: Peers that have ended their part of a stream that a service remembers.
_FORMER = 1000
#: What a peer is told that comes before the others of the last stream have ended.
_NOT_YET = "the stream before has not ended there"
_REST = 64 * 1024
_NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)


class Busy(OSError):
    """The peer answers but cannot accept the connection now."""


Dialling = Generator[Wanted, bool, tuple[Stream, Greeting]]


def dial(
    address: tuple[str, int], greeting: Greeting, deadline: float, peer: str, keys: Optional[Keys] = None
) -> Dialling:
    """Connect and shake hands, over TLS if there are keys: a sequence for the loop (`Loop.run`).

    Its result is the connection, which does not wait, and the peer's greeting. Raises OSError if nobody answers (Busy:
    try again later), Refused if one side refuses the other, ProtocolError if the other side is not an eprune program.
    """
    with contextlib.ExitStack() as cleanup:
        plain = yield from _connect(address, min(deadline, time.monotonic() + CONNECT_TIMEOUT))
        cleanup.callback(plain.close)
        if plain.getsockname() == plain.getpeername():
            raise ConnectionRefusedError("connected to itself")
        connection: Stream = plain if keys is None else keys.dialling(plain, peer)
        connection.settimeout(0)
        deadline = min(deadline, time.monotonic() + GREETING_TIMEOUT)
        yield from _greet(connection, greeting, deadline)
        theirs = unpack((yield from _read_greeting(connection, deadline)))
        if theirs.verdict == LATER:
            raise Busy(0, theirs.reason or "the peer is busy")
        if theirs.verdict != ACCEPTED:
            raise Refused(f"refused by {peer}: {theirs.reason or 'no reason given'}")
        cleanup.pop_all()
        return connection, theirs


def _connect(address: tuple[str, int], deadline: float) -> Generator[Wanted, bool, socket.socket]:
    """A TCP connection. Raises OSError if there is none in time, Refused if the address is malformed."""
    host, port = address
    try:
        found = yield from _resolve(host, port, deadline)
    except (OverflowError, UnicodeError) as error:
        raise Refused(f"{host}:{port} is not an address: {error}") from None
    last: OSError = TimeoutError("timed out")
    for family, kind, number, _, target in found:
        try:
            plain = socket.socket(family, kind, number)
        except OSError as error:
            last = error
            continue
        plain.setblocking(False)
        try:
            code = plain.connect_ex(target)
            if code in (errno.EINPROGRESS, errno.EWOULDBLOCK):
                if not (yield plain, WRITE, deadline):
                    raise TimeoutError("timed out")
                code = plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            return plain
        except (OSError, OverflowError) as error:
            plain.close()
            if isinstance(error, OverflowError):
                raise Refused(f"{host}:{port} is not an address: {error}") from None
            last = error
        except BaseException:
            plain.close()
            raise
    raise last


Addresses = Sequence[tuple[Any, ...]]


def _resolve(host: str, port: int, deadline: float) -> Generator[Wanted, bool, Addresses]:
    """The addresses of a host. A name server may take long, and is therefore asked in a thread."""
    with contextlib.suppress(socket.gaierror):
        return socket.getaddrinfo(host or "localhost", port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    if host == "localhost":
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    near, far = socket.socketpair()
    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answer.append(error)
        far.close()

    with near:
        threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
        if not (yield near, READ, deadline):
            raise TimeoutError("timed out")
    if isinstance(answer[0], Exception):
        raise answer[0]
    found: Addresses = answer[0]
    return found


def _greet(connection: Stream, greeting: Greeting, deadline: float) -> Generator[Wanted, bool, None]:
    """Send a greeting. If TLS shows that the peer is another platform, inform the peer and raise Refused."""
    try:
        yield from _send(connection, greeting.pack(), deadline)
    except (BrokenPipeError, ConnectionResetError):
        pass  # a peer that has gone may have sent its reason, which is read afterwards
    except NotTls:
        raise
    except Refused as refusal:
        with contextlib.suppress(OSError, LinkError):
            text = dataclasses.replace(greeting, verdict=REFUSED, reason=str(refusal)).pack()
            yield from _send(connection, text, deadline)
        raise


def _send(connection: Stream, data: bytes, deadline: float) -> Generator[Wanted, bool, None]:
    while data:
        try:
            data = data[connection.sendmsg([data], (), socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            shaking = isinstance(connection, TlsSocket) and not connection.shaken
            if not (yield connection, READ if shaking else WRITE, deadline):
                raise TimeoutError("timed out") from None


def listen(who: object, peer: str, address: tuple[str, int]) -> socket.socket:
    """A listening socket: on ``::`` for IPv4, too.

    Raises LinkError if the address is not available, OutOfDescriptors.
    """
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
        if number in _NO_MORE_FILES:
            raise unexpected(error) from None
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
    """The message when dialling was in vain; ``tunnel``: what to ask about the one of this link, if any."""
    if isinstance(error, OSError) and error.errno in _NO_MORE_FILES:
        return f"{who}: {OutOfDescriptors()}"
    reason = getattr(error, "strerror", None) or error
    message = f"{who}: nobody answered at {address[0]}:{address[1]} in time ({reason}); is {peer} running there"
    return message + (f", and is {tunnel.format('to')}" if tunnel else " and listening on that address (--bind)?")


def nobody_came(who: object, peer: str, address: tuple[str, int], refusal: str, tunnel: str) -> str:
    """The message when listening was in vain; ``refusal``: why somebody was refused in the meantime, or ''."""
    host, port = address
    message = f"{who}: {peer} did not connect to {host}:{port} in time"
    if refusal:
        message += f" (refused in the meantime: {refusal})"
    elif tunnel:
        message += f"; is {tunnel.format('from')}"
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
        #: whether it was turned away; it is kept until the other side has had time to read the reason
        self.turned_away = False


class Lobby:
    """The connections of one process that have not been accepted yet: how many there are is bounded.

    Each listening end's peer has a place, and ``MAX_PENDING`` others. When there is one more, the network with the most
    of them loses its oldest one: strangers keep out neither a peer that greets at once nor a slow one with another
    address.
    """

    def __init__(self) -> None:
        self._callers: dict[_Caller, Acceptor] = {}  # the oldest first
        #: connections that are listened for
        self.doors = 0

    def enter(self, caller: _Caller, acceptor: Acceptor) -> None:
        """One more, at the door of ``acceptor``."""
        self._callers[caller] = acceptor
        if len(self._callers) > MAX_PENDING + self.doors:
            most = Counter(each.network for each in self._callers).most_common(1)[0][0]
            oldest = next(each for each in self._callers if each.network == most)
            self._callers[oldest].send_off(oldest, "too many connections without a greeting")

    def leave(self, caller: _Caller) -> None:
        """One less."""
        self._callers.pop(caller, None)


class Listeners:
    """What outlives the connections of one stream of a service: its listening sockets, so that nobody who comes between
    two streams finds them closed, and who has ended.
    """

    def __init__(self) -> None:
        self._sockets: dict[tuple[str, int], socket.socket] = {}
        #: the incarnations of peers that have said that nothing more comes
        self.former: deque[str] = deque(maxlen=_FORMER)

    def open(self, who: object, peer: str, address: tuple[str, int]) -> socket.socket:
        """A listening socket that may be closed. Raises LinkError if the address is not available."""
        if address not in self._sockets:
            self._sockets[address] = listen(who, peer, address)
        return self._sockets[address].dup()

    def close(self) -> None:
        """Listen no more."""
        for each in self._sockets.values():
            each.close()


class Acceptor:
    """Accepts or refuses whoever connects to a listening socket, as long as the run lasts.

    ``greeting()`` identifies this program. ``busy(greeting)`` is why the right peer must try again later,
    or ''. ``accept`` gets a connection that was accepted, with its greeting; ``refused`` gets the reason for each
    refusal, the last of which is ``refusal``. With ``keys`` everything is over TLS, with platform ``peer``. In a
    service, which has ``listeners``, peers that come before all others have ended are asked to try again.
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
        loop: Loop,
        lobby: Lobby,
        listeners: Optional[Listeners] = None,
    ) -> None:
        self.refusal = ""
        self._listener = listener
        self._greeting = greeting
        self._busy = busy
        self._accept = accept
        self._refused = refused
        self._peer = peer
        self._keys = keys
        self._loop = loop
        self._lobby = lobby
        lobby.doors += 1
        self._listeners = listeners
        self._callers: dict[_Caller, None] = {}
        self._closed = self._over = False

    def begin(self) -> None:
        """Accept from now on."""
        if not self._closed:
            self._loop.watch(self._listener, READ, lambda _: self._admit())

    def rest(self) -> None:
        """Accept nobody any more in this stream."""
        self._over = True
        if self._listeners is None:
            self.close()

    def close(self) -> None:
        """Close the socket."""
        if self._closed:
            return
        self._closed = True
        self._loop.unwatch(self._listener)
        self._listener.close()
        self._loop.ask(self._send_all_off)

    def release(self) -> None:
        """Close whatever is open here; the loop has ended."""
        self.close()
        self._send_all_off()

    def _send_all_off(self) -> None:
        for caller in list(self._callers):
            self._forget(caller)
            caller.connection.close()

    def _admit(self) -> None:
        try:
            plain, address = self._listener.accept()
        except OSError as error:
            if error.errno in _NO_MORE_FILES:
                self._refuse(f"{error.strerror}: this process may have no more descriptors (ulimit -n)")
                self._loop.unwatch(self._listener)
                self._loop.later(OUT_OF_FILES, self.begin)
            return
        plain.setblocking(False)
        connection = plain if self._keys is None else self._keys.answering(plain, self._peer)
        caller = _Caller(connection, _network(plain.family, address[0]))
        self._callers[caller] = None
        self._loop.watch(connection, READ, lambda _: self._serve(caller))
        self._loop.later(GREETING_TIMEOUT, lambda: self._expire(caller))
        self._lobby.enter(caller, self)

    def _expire(self, caller: _Caller) -> None:
        if caller in self._callers and not caller.turned_away:
            self.send_off(caller, "a connection without a greeting")

    def send_off(self, caller: _Caller, reason: str) -> None:
        """Close a connection that has not been accepted."""
        self._forget(caller)
        caller.connection.close()
        if not caller.turned_away:
            self._refuse(reason)

    def _forget(self, caller: _Caller) -> None:
        self._loop.unwatch(caller.connection)
        self._callers.pop(caller, None)
        self._lobby.leave(caller)

    def _serve(self, caller: _Caller) -> None:
        if caller in self._callers:
            self._settle(caller)

    def _settle(self, caller: _Caller) -> None:
        """Read more from a caller, until it is accepted or has gone."""
        try:
            while not caller.turned_away:
                if self._read(caller):
                    return
            if _transport(caller.connection).recv(_REST, socket.MSG_DONTWAIT):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._forget(caller)
        caller.connection.close()

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
            if self._listeners is not None and greeting.incarnation in self._listeners.former:
                raise Refused("the stream that it takes part in has ended here")
            reason = _NOT_YET if self._over else self._busy(greeting)
            if _has_gone(_transport(connection)):
                raise ProtocolError("a connection closed before it was answered")
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
        self._forget(caller)
        self._accept(connection, greeting)
        return True

    def _refuse(self, reason: str) -> None:
        self.refusal = reason
        self._refused(reason)

    def _turn_away(self, caller: _Caller, way: Stream, verdict: str, reason: str) -> None:
        """Send the reason. Closing with unread bytes would reset the connection, and the reason would be lost."""
        caller.turned_away = True
        self._loop.later(_READ_REASON, lambda: self.send_off(caller, "") if caller in self._callers else None)
        with contextlib.suppress(OSError, LinkError):
            way.sendall(Greeting(verdict=verdict, reason=reason).pack())
        with contextlib.suppress(OSError):
            caller.connection.shutdown(socket.SHUT_WR)


def _has_gone(connection: socket.socket) -> bool:
    """Whether the other side has closed, perhaps long ago: it may have waited in the kernel for the next stream."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False


def _transport(connection: Stream) -> socket.socket:
    return connection.transport if isinstance(connection, TlsSocket) else connection


def _read_greeting(connection: Stream, deadline: float) -> Generator[Wanted, bool, bytes]:
    """A whole greeting. Raises OSError if the connection ends or is slow, ProtocolError or Refused if malformed."""
    data = b""
    want = wire.GREETING_BYTES
    while len(data) < want:
        try:
            more = connection.recv(want - len(data))
        except BlockingIOError:
            if not (yield connection, READ, deadline):
                raise TimeoutError("timed out") from None
            continue
        if not more:
            raise ConnectionResetError("the peer closed the connection during the handshake")
        data += more
        if len(data) == wire.GREETING_BYTES:
            want = wire.greeting_size(data)
        if time.monotonic() > deadline:
            raise TimeoutError("timed out")
    return data
