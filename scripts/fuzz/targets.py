"""What is fuzzed: each target takes bytes that a stranger may send, and raises AssertionError on what must not be.

Everything but LinkError and OSError that the code under test raises is a finding, too. There are no threads, clocks or
real connections here, so that a finding happens again each time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

from eprune.runtime.kernel.errors import LinkError, ProtocolError
from eprune.runtime.net import handshake, wire
from eprune.runtime.net.connection import Connection
from eprune.runtime.net.counters import Credit, Receiving, Sending
from eprune.runtime.net.ends import RxFifo, TxFifo
from eprune.runtime.net.greeting import Greeting, judge, unpack, warn
from eprune.runtime.net.protocol import State
from eprune.runtime.tell.journal import MAX_EVENTS, Journal

GREETING = {"application": "app", "platform": "near", "digest": "d", "fifo": "f", "token": "t", "incarnation": "i"}
OWN = Greeting(**GREETING)
POLICIES = ("wait", "drop", "zero", "stop")
_TOKEN_BYTES = 12


class Quiet(Journal):
    """A journal that prints nothing."""

    def __init__(self) -> None:
        super().__init__("near", "json")
        self.errors = 0

    def log(self, event: str, message: str = "", **details: Any) -> None:
        """Keep the event, whose reason must be fit for a terminal."""
        with contextlib.redirect_stderr(_Nowhere()):
            super().log(event, message, **details)
        reason = str(details.get("reason", ""))
        assert reason.isprintable() and len(reason) < 5000, reason


class _Nowhere:
    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        pass


class Bytes:
    """Decisions, drawn from the bytes of an input; zeros after its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._data)

    def take(self, count: int) -> bytes:
        """The next bytes."""
        piece = self._data[self._at : self._at + count]
        self._at += count
        return piece.ljust(count, b"\0")

    def below(self, limit: int) -> int:
        """A number from 0 to ``limit`` - 1."""
        return self.take(1)[0] % limit

    def number(self) -> int:
        """A number that fits into 64 bits: mostly a small one."""
        kind = self.below(8)
        return (
            int.from_bytes(self.take(8), "big")
            if kind == 0
            else (1 << self.below(65)) - 1
            if kind == 1
            else self.below(16)
        )


# ---- The wire ----


def fuzz_wire(data: bytes) -> None:
    """Headers, credits and greetings as bytes."""
    if len(data) >= wire.HEADER_BYTES:
        with contextlib.suppress(ProtocolError):
            header = wire.unpack_header(data, {0: _TOKEN_BYTES, 7: 0})
            assert header.nbytes <= max(_TOKEN_BYTES, wire.MAX_ERROR)
            assert header.firing < wire.MAX_INDEX
            again = bytearray(wire.HEADER_BYTES)
            wire.pack_header(again, *header)
            assert wire.unpack_header(again, {header.fifo: header.nbytes}) == header
    if len(data) >= 32:
        with contextlib.suppress(ProtocolError):
            counters = wire.unpack_credit(data[:32])
            assert wire.credit_frame(0, counters)[wire.HEADER_BYTES :] == data[:32]
    if len(data) >= wire.GREETING_BYTES:
        with contextlib.suppress(LinkError):
            assert wire.greeting_size(data) <= wire.GREETING_BYTES + wire.MAX_GREETING
        with contextlib.suppress(LinkError):
            greeting = unpack(data)
            for text in (judge(greeting, OWN), warn(greeting, dataclasses.replace(OWN, interpreter="i 1"))):
                assert text.isprintable() and len(text) < 1000, text
            assert 0 <= greeting.firing < wire.MAX_INDEX


# ---- The two ends of a FIFO as state machines ----


def fuzz_machines(data: bytes) -> None:
    """A sending end that gets any credits, and a receiving end that gets any tokens."""
    draw = Bytes(data)
    policy = POLICIES[draw.below(3)]
    slots = draw.below(6) + 1
    sending, receiving = Sending(policy, slots, bool(draw.below(2))), Receiving(policy, slots)
    while draw:
        step = draw.below(10)
        with contextlib.suppress(LinkError):
            if step < 3 and sending.written - sending.released < slots:
                sending.put(1)
            elif step == 3:
                sending.take(draw.below(3))
            elif step == 4:
                sending.credit(Credit(*(draw.number() for _ in range(4))))
            elif step == 5:
                sending.part()
                sending.resume("abc"[draw.below(3)], Credit(*(draw.number() for _ in range(4))))
            elif step == 6:
                sending.part()
            elif step == 7:
                receiving.resume("abc"[draw.below(3)])
                receiving.report()
            elif step == 8 and receiving.room > 0:
                receiving.written += 1
                assert receiving.written - receiving.released <= slots, "more tokens than slots"
            elif receiving.released < receiving.written:
                receiving.released += 1
                if receiving.due:
                    wire.credit_frame(0, receiving.report())
        assert 0 <= sending.confirmed <= sending.written
        assert 0 <= sending.given_up <= sending.written
        assert 0 <= receiving.count <= receiving.received
        assert sending.next <= sending.written <= sending._base + slots, "a slot is written again too early"
        assert sending.released <= sending._base


# ---- Greetings ----


class _Loop:
    """The loop of a process in which nothing happens by itself."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_: None


def fuzz_greeting(data: bytes) -> None:
    """Somebody connects to a listening socket, and says this."""
    near, far = socket.socketpair()
    accepted: list[Any] = []
    refused: list[str] = []
    with near, far:
        acceptor = handshake.Acceptor(
            None,  # type: ignore[arg-type]  # nobody else comes
            lambda: OWN,
            lambda greeting: "not now" if greeting.incarnation == "later" else "",
            lambda connection, greeting: accepted.append(connection),
            refused.append,
            "there",
            None,
            _Loop(),  # type: ignore[arg-type]
            handshake.Lobby(),
        )
        near.setblocking(False)
        caller = handshake._Caller(near, b"")
        acceptor._callers[caller] = None
        far.sendall(data[:65536])
        for _ in range(8):
            acceptor._serve(caller)
        if len(data) < 65536:
            far.shutdown(socket.SHUT_WR)
        for _ in range(8):
            acceptor._serve(caller)
    for connection in accepted:
        connection.close()
    assert len(accepted) <= 1
    assert len(caller.received) <= wire.GREETING_BYTES + wire.MAX_GREETING
    for reason in refused:
        assert reason.isprintable() and len(reason) < 1000, reason


# ---- Connections and links, with a stranger at the other end ----


class Stranger:
    """A connection, as a receiving thread sees it: says what it was given, byte by byte if ``drip``, and ends."""

    def __init__(self, data: bytes, drip: bool, before: Callable[[], None]) -> None:
        self._data = memoryview(data)
        self._drip = drip
        self._before = before
        self.sent = 0

    def recvmsg_into(self, targets: list[memoryview]) -> tuple[int, None, None, None]:
        """What has come; the actors run before that."""
        self._before()
        if not self._data:
            raise ConnectionResetError("the stranger has gone")
        done, most = 0, 1 if self._drip else sys.maxsize
        for target in targets:
            count = min(len(target), len(self._data), most - done)
            target[:count] = self._data[:count]
            self._data = self._data[count:]
            done += count
        return done, None, None, None

    def sendmsg(self, buffers: list[memoryview], *_: object) -> int:
        """Takes everything."""
        size = sum(map(len, buffers))
        self.sent += size
        return size

    def sendall(self, data: bytes) -> None:
        """Takes everything."""
        self.sent += len(data)

    def nothing(self, *_: object) -> None:
        """Whatever else is done to a connection does nothing."""

    settimeout = setsockopt = shutdown = close = nothing


def fuzz_connection(data: bytes) -> None:
    """Up to three strangers after one another, at a connection with a FIFO in each direction."""
    draw = Bytes(data)
    policy = POLICIES[draw.below(4)]
    tx = TxFifo("f", "uint8", (_TOKEN_BYTES,), 2, policy, bool(draw.below(2)))
    rx = RxFifo("g", "uint8", (_TOKEN_BYTES,), 2, policy)
    tx.firings = [0, 0]
    journal, reports = Quiet(), []
    end = Connection("c", "there", OWN, {0: tx, 1: rx}, ("", 0), True, 1.0, 1.0, reports.append, journal)
    end._loop = _Loop()  # type: ignore[assignment]
    busy = draw.below(4)
    turn = [0]

    def act() -> None:
        turn[0] += 1
        if busy == 0 or turn[0] % (busy * 8) == 0:
            rx.release(rx.written - rx.released)
            if rx.ended and not rx.left:
                rx.leave()
        if tx.written - tx.released < tx.capacity:
            tx.commit(1, tx.written)

    for _ in range(3):
        if not draw or end._protocol.state is not State.APART:
            break
        stranger = Stranger(_speech(draw), draw.below(8) == 0, act)
        fields = {"incarnation": "abc"[draw.below(3)], "firing": str(draw.number())}
        end._meet(stranger, unpack(wire.pack_greeting(fields)))  # type: ignore[arg-type]
        while end._stream is stranger:  # type: ignore[comparison-overlap]
            end._read()
        assert 0 <= tx.confirmed <= tx.written
        assert 0 <= tx.given_up <= tx.written
    for report in reports:
        assert str(report).isprintable() and len(str(report)) < 5000, str(report)
    assert len(journal.events) <= MAX_EVENTS
    assert len(end._queue._control) < 100


def _speech(draw: Bytes) -> bytes:
    """Some frames, most of them well formed; the first one often says where to go on, or little else is allowed."""
    sent = b""
    if draw.below(2):
        sent += wire.credit_frame(0, (0, 0, draw.below(8), 0))
    for _ in range(draw.below(24)):
        kind, number = draw.below(9), draw.below(3)
        if kind == 0:
            sent += draw.take(draw.below(64))
        elif kind == wire.CREDIT:
            sent += struct.pack("!BBHIQQHH", kind, 0, number, 0, 0, 32, 0, 0)
            sent += struct.pack("!4Q", *(draw.number() for _ in range(4)))
        else:
            size = {wire.DATA: _TOKEN_BYTES, wire.ERROR: draw.below(40)}.get(kind, 0)
            lie = draw.number() if draw.below(16) == 15 else size
            flag, credited, fired = draw.below(2), draw.below(3), draw.below(1 << 16)
            header = (kind, flag, number, 0, draw.number(), lie, credited, fired)
            sent += struct.pack("!BBHIQQHH", *header) + draw.take(size)
    return sent


class Target(NamedTuple):
    """What is fuzzed, and inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


def _frames() -> Iterator[bytes]:
    header = struct.Struct("!BBHIQQHH")
    for kind, size in ((1, _TOKEN_BYTES), (2, 32), (3, 0), (4, 0), (5, 7), (6, 0)):
        yield header.pack(kind, 0, 0, 0, 3, size, 0, 0) + bytes(range(size))


def _greetings() -> Iterator[bytes]:
    for more in (
        {},
        {"incarnation": "later"},
        {"firing": "17"},
        {"digest": "x"},
        {"verdict": "refused", "reason": "no"},
    ):
        yield wire.pack_greeting({**GREETING, **more})
    yield wire.pack_greeting({**GREETING, "latency": "0.01", "bandwidth": "1e6", "running": "1", "interpreter": "i 2"})


def _noise() -> Iterator[bytes]:
    draw = random.Random(1)
    for size in range(10, 400, 10):
        yield bytes(draw.randrange(256) if draw.random() < 0.5 else draw.randrange(8) for _ in range(size))


def _wires() -> Iterator[bytes]:
    yield from _frames()
    yield from _greetings()


TARGETS = {
    "wire": Target(fuzz_wire, _wires),
    "machines": Target(fuzz_machines, _noise),
    "greeting": Target(fuzz_greeting, _greetings),
    "connection": Target(fuzz_connection, _noise),
}
