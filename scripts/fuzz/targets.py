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
from queue import Empty, SimpleQueue
from typing import Any, Callable, NamedTuple
from unittest import mock

from eprune.runtime.kernel.errors import LinkError, ProtocolError, RunError
from eprune.runtime.kernel.fifo import GONE, LOST, Fifo
from eprune.runtime.net import ends, handshake, wire
from eprune.runtime.net.connection import Connection
from eprune.runtime.net.ends import RxFifo, TxFifo
from eprune.runtime.net.faults import Feedback, ReceiverState, SenderState
from eprune.runtime.net.greeting import Greeting, judge, unpack, warn
from eprune.runtime.net.plain import RxConnection, TxConnection
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
        for read in (
            lambda: wire.unpack_shared(data, {0: _TOKEN_BYTES, 7: 0}),
            lambda: wire.unpack_header(data, 0, _TOKEN_BYTES),
        ):
            with contextlib.suppress(ProtocolError):
                header = read()
                assert header.nbytes <= max(_TOKEN_BYTES, wire.MAX_ERROR)
                assert header.firing < wire.MAX_INDEX
                again = bytearray(wire.HEADER_BYTES)
                wire.pack_header(again, *header)
                assert wire.unpack_shared(again, {header.fifo: header.nbytes}) == header
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
    """A sending end that gets any feedback, and a receiving end that gets any tokens."""
    draw = Bytes(data)
    policy = POLICIES[draw.below(3)]
    sending, slots = SenderState(policy, bool(draw.below(2))), draw.below(6) + 1
    receiving = ReceiverState(policy, slots, 0, bool(draw.below(2)))
    free = list(range(slots))
    held: set[int] = set()

    def release(numbers: list[int]) -> None:
        for slot in numbers:
            assert slot in held, "a slot is let go of that was not held"
            held.remove(slot)
            free.append(slot)

    while draw:
        step = draw.below(10)
        with contextlib.suppress(LinkError):
            if step < 3 and free:
                slot = free.pop()
                held.add(slot)
                release(sending.put(slot))
            elif step == 3:
                slot = sending.take()
                assert slot is None or slot in held
                if slot is not None:
                    release(sending.sent())
            elif step == 4:
                release(sending.feedback(Feedback(*(draw.number() for _ in range(4)))))
            elif step == 5:
                release(sending.lost())
                release(sending.resume("abc"[draw.below(3)], Feedback(*(draw.number() for _ in range(4)))))
            elif step == 6:
                release(sending.lost())
            elif step == 7:
                receiving.resume("abc"[draw.below(3)])
                receiving.report()
            elif step == 8:
                receiving.expect()
                receiving.arrived()
                assert receiving.received - receiving.fired <= slots, "more tokens than slots"
            elif receiving.fired < receiving.received:
                receiving.fired += 1
                if receiving.due:
                    wire.credit_frame(0, receiving.report())
        assert 0 <= sending.confirmed <= sending.made
        assert 0 <= sending.given_up <= sending.made
        assert 0 <= receiving.count <= receiving.received
        assert len(held) + len(free) == slots


# ---- Greetings ----


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
        )
        near.setblocking(False)
        caller = handshake._Caller(near, b"")
        far.sendall(data[:65536])
        for _ in range(8):
            if acceptor._settled(caller):
                break
        if len(data) < 65536:
            far.shutdown(socket.SHUT_WR)
        for _ in range(8):
            if acceptor._settled(caller):
                break
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

    def recv_into(self, target: memoryview) -> int:
        """What has come; the actors run before that."""
        return self.recvmsg_into([target])[0]

    def recvmsg_into(self, targets: list[memoryview]) -> tuple[int, None, None, None]:
        """The same, into several buffers, one after the other."""
        self._before()
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


def _drain(fifo: Fifo, got: list[bytes]) -> None:
    """The consumer fires on what there is."""
    with contextlib.suppress(Empty):
        while (slot := fifo.full.get_nowait()) != GONE:
            if slot == LOST:
                continue
            got.append(bytes(fifo.raw[slot]))
            if isinstance(fifo, RxFifo):
                fifo.receiving.firing = fifo.firings[slot] + 1
            fifo.release(slot)
        if isinstance(fifo, RxFifo) and not fifo.left:
            fifo.leave()


def fuzz_connection(data: bytes) -> None:
    """Up to three strangers after one another, at a connection with a FIFO in each direction."""
    draw = Bytes(data)
    policy = POLICIES[draw.below(4)]
    with mock.patch.object(ends, "window", lambda capacity, token_bytes: 2 * capacity):  # soon full
        tx = TxFifo("f", "uint8", (_TOKEN_BYTES,), 2, policy, bool(draw.below(2)))
        rx = RxFifo("g", "uint8", (_TOKEN_BYTES,), 2, policy, bool(draw.below(2)))
    journal, failures, got = Quiet(), SimpleQueue(), []
    end = Connection("c", "there", OWN, {0: tx, 1: rx}, ("", 0), True, 1.0, 1.0, failures.put, journal)
    busy = draw.below(4)
    turn = [0]

    def act() -> None:
        turn[0] += 1
        if busy == 0 or turn[0] % (busy * 8) == 0:
            _drain(rx, got)
        for slot in tx.reserve_free(1):
            tx.commit(slot, tx.tokens)

    for _ in range(3):
        if not draw or end._over.is_set():
            break
        stranger = Stranger(_speech(draw), draw.below(8) == 0, act)
        try:
            fields = {"incarnation": "abc"[draw.below(3)], "firing": str(draw.number())}
            end._adopt(stranger, unpack(wire.pack_greeting(fields)))  # type: ignore[arg-type]
            reason = end._serve()
            assert reason.isprintable() and len(reason) < 5000, reason
            if end._over.is_set() or end._lose(reason):
                break
        except LinkError as error:
            assert str(error).isprintable() and len(str(error)) < 5000, str(error)
            break
        sending = tx.sending
        assert 0 <= sending.confirmed <= sending.made
        assert 0 <= sending.given_up <= sending.made
    for fifo in (tx, rx):
        assert fifo.full.qsize() + fifo.free.qsize() <= 2 * fifo.capacity + 20, "a queue grows"
    assert len(journal.events) <= MAX_EVENTS
    assert not end._send_queue._control or len(end._send_queue._control) < 100


class _Drained(Fifo):
    """Its consumer takes what is there before the producer waits for room, which it would do for ever: no threads."""

    def reserve(self) -> int:
        """An empty slot."""
        _drain(self, [])
        return super().reserve()


def fuzz_link(data: bytes) -> None:
    """A stranger at a plain link, sending or receiving."""
    draw = Bytes(data)
    fifo, journal, failures = _Drained("f", "uint8", (_TOKEN_BYTES,), 3), Quiet(), SimpleQueue()
    end = (RxConnection, TxConnection)[draw.below(2)](fifo, 0, "there", OWN, failures.put, journal, ("", 0), 1.0)
    drip = draw.below(8) == 0
    end._socket = Stranger(_speech(draw), drip, lambda: None)  # type: ignore[assignment]
    if isinstance(end, RxConnection):
        with contextlib.suppress(LinkError, OSError):
            end._receive_tokens()
    else:
        end.watch()
    while not failures.empty():
        error = failures.get()
        assert isinstance(error, RunError)
        assert str(error).isprintable() and len(str(error)) < 5000, str(error)
    assert fifo.full.qsize() + fifo.free.qsize() <= 2 * fifo.capacity + 4, "a queue grows"


def _speech(draw: Bytes) -> bytes:
    """Some frames, most of them well formed."""
    sent = b""
    for _ in range(draw.below(24)):
        kind, number = draw.below(9), draw.below(3)
        if kind == 0:
            sent += draw.take(draw.below(64))
        elif kind == wire.CREDIT:
            sent += struct.pack("!BBHIQQ", kind, 0, number, 0, 0, 32)
            sent += struct.pack("!4Q", *(draw.number() for _ in range(4)))
        else:
            size = {wire.DATA: _TOKEN_BYTES, wire.ERROR: draw.below(40)}.get(kind, 0)
            lie = draw.number() if draw.below(16) == 15 else size
            sent += struct.pack("!BBHIQQ", kind, 0, number, 0, draw.number(), lie) + draw.take(size)
    return sent


class Target(NamedTuple):
    """What is fuzzed, and inputs to begin with."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


def _frames() -> Iterator[bytes]:
    header = struct.Struct("!BBHIQQ")
    for kind, size in ((1, _TOKEN_BYTES), (2, 32), (3, 0), (4, 0), (5, 7), (6, 0)):
        yield header.pack(kind, 0, 0, 0, 3, size) + bytes(range(size))


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
    "link": Target(fuzz_link, _noise),
}
