"""Real ends of links, with an actor's thread each, and strangers who send them whatever they like."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Generator
from typing import Any, Callable, Optional

import numpy as np

from eprune.deploy.ports import free_base_port
from eprune.runtime.kernel.errors import LinkError, RunError
from eprune.runtime.net import wire
from eprune.runtime.net.connection import Connection
from eprune.runtime.net.ends import RxFifo, TxFifo
from eprune.runtime.net.greeting import Greeting
from eprune.runtime.net.loop import Wanted
from eprune.runtime.net.network import Network
from eprune.runtime.tell.journal import Journal

TOKEN = ("int32", (3,))
TOKEN_BYTES = 12
#: what all ends say of themselves, besides their platform and incarnation
GREETING = {"application": "app", "digest": "d", "fifo": "f", "token": "int32[3] at rate 1"}
PLAIN = "stop"


#: what was opened since `close_all`
OPEN: list[Any] = []


def close_all() -> None:
    """Close whatever a test left open."""
    while OPEN:
        OPEN.pop().close()


def close_all_but(kept: Any) -> None:
    """Close whatever else a test left open."""
    OPEN.remove(kept)
    close_all()
    OPEN.append(kept)


class End:
    """An honest end of FIFO ``f``: a connection, the thread that serves it, and an actor that sends or takes tokens.

    A sending end dials ``port``,
    a receiving one listens there. ``got`` is what the consumer fired on; ``failed`` is what would end the run. With
    ``shared`` the connection carries a FIFO the other way, too, number 1, of as many tokens.
    """

    def __init__(
        self,
        sends: int,
        policy: str,
        port: int,
        incarnation: str = "honest",
        timeout: float = 5.0,
        dead_after: float = 2.0,
        ack_fired: bool = False,
        start: int = 0,
        busy: bool = False,
        shared: int = 0,
    ) -> None:
        self.got: list[int] = []
        self.failed: list[str] = []
        self.crashes: list[BaseException] = []
        self.journal = Journal("honest")
        self.port = port
        #: until this is set, a consumer that is ``busy`` takes nothing
        self.idle = threading.Event()
        self._opened = threading.Event()
        if not busy:
            self.idle.set()
        name, peer = ("left", "right") if sends else ("right", "left")
        own = Greeting(**GREETING, platform=name, incarnation=incarnation)
        self.fifos: list[Any] = [
            self._end((number == 0) == bool(sends), policy, ack_fired) for number in range(1 + bool(shared))
        ]
        self.connection = Connection(
            "FIFO 'f'",
            peer,
            own,
            dict(enumerate(self.fifos)),
            ("127.0.0.1", port),
            bool(sends),
            dead_after,
            timeout,
            self._hear,
            self.journal,
        )
        self.network = Network([self.connection], self._fail)
        #: number 0
        self.fifo: Any = self.fifos[0]
        self._over = threading.Event()
        OPEN.append(self)
        self._threads: list[threading.Thread] = []
        self.network.listen()
        self.network.open(time.monotonic() + timeout)
        self._threads.append(self._thread(self._over.wait))
        for number, fifo in enumerate(self.fifos):
            if (number == 0) == bool(sends):
                self._threads.append(self._thread(self._send, fifo, start, sends or shared))
            else:
                self._threads.append(self._thread(self._take, fifo))

    @staticmethod
    def _end(sends: bool, policy: str, ack_fired: bool) -> Any:
        return TxFifo("f", *TOKEN, 4, policy, ack_fired) if sends else RxFifo("f", *TOKEN, 4, policy)

    def _hear(self, event: Any) -> None:
        """What the engine does with what a connection reports."""
        if event == "opened":
            self._opened.set()
        elif event == "ended":
            self._over.set()
        else:
            self._fail(event)

    def _thread(self, body: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=self._guard, args=(body, *arguments), daemon=True)
        thread.start()
        return thread

    def _guard(self, body: Callable[..., None], *arguments: Any) -> None:
        try:
            body(*arguments)
        except RunError as error:
            self._fail(error)
        except BaseException as error:
            self.crashes.append(error)
            self._fail(RunError("crashed"))

    def _fail(self, error: RunError) -> None:
        """What the engine does: everything is stopped, the peer is informed."""
        self.failed.append(str(error))
        threading.Thread(target=self._stop, args=(error,), daemon=True).start()

    def _stop(self, error: RunError) -> None:
        self.network.abort(str(error))
        self._release()

    def _release(self) -> None:
        self._opened.set()
        self._over.set()
        for fifo in self.fifos:
            fifo.ended = fifo.left = True
            fifo.reader.ring()
            fifo.writer.ring()

    def _send(self, fifo: Any, start: int, count: int) -> None:
        self._opened.wait()
        for number in range(start, start + count):
            if not fifo.await_room(1):
                break
            fifo.writable[fifo.written % fifo.capacity][...] = number
            fifo.commit(1, number)
        fifo.end()

    def _take(self, fifo: Any) -> None:
        self.idle.wait()
        while fifo.await_tokens(1):
            slot = fifo.released % fifo.capacity
            self.got.append(int(fifo.readable[slot][0]))
            fifo.will_fire(fifo.firings[slot] + 1)
            fifo.release()
        fifo.leave()

    @property
    def done(self) -> bool:
        """Whether all is over."""
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self, timeout: float = 30.0) -> list[str]:
        """Wait until all is over; what would have ended the run. Raises AssertionError where it hangs or crashed."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        stuck = not self.done
        self.close()
        assert not self.crashes, f"crashed: {self.crashes!r}"
        assert not stuck, f"hangs; {list(self.journal.events)}"
        return self.failed

    def close(self) -> None:
        """As SIGKILL does: the connection breaks without a word."""
        self.idle.set()
        self.network.cut()
        self.network.close()
        self._release()
        # Hypothesis minds threads of one example that still run, and draw random numbers, in the next.
        for thread in self._threads:
            thread.join(2)


def finish_alone(sequence: Generator[Wanted, bool, Any]) -> Any:
    """Run a sequence of the loop by itself; its result."""
    came: Optional[bool] = None
    while True:
        try:
            one, events, until = next(sequence) if came is None else sequence.send(came)
        except StopIteration as end:
            return end.value
        poller = select.poll()
        if one is not None:
            poller.register(one.fileno(), events)
        came = bool(poller.poll(max(until - time.monotonic(), 0) * 1000))


def receive(connection: socket.socket, count: int) -> bytes:
    """Exactly so many bytes. With a time-out set, MSG_WAITALL would give those that are there."""
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionResetError("closed")
        data += more
    return data


class Stranger:
    """One who speaks the protocol, as truly as it likes: a connection, after the greetings."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        OPEN.append(self)
        connection.settimeout(5)

    def send(self, data: bytes, drip: bool = False) -> bool:
        """Send, a byte at a time if ``drip``; whether the other side still listens."""
        try:
            for piece in [data[i : i + 1] for i in range(len(data))] if drip else [data]:
                self.connection.sendall(piece)
        except OSError:
            return False
        return True

    def hear(self, kind: int, count: int = 1) -> list[bytes]:
        """The payloads of the next frames of that kind; others are passed over."""
        heard: list[bytes] = []
        while len(heard) < count:
            header = wire.unpack_header(receive(self.connection, wire.HEADER_BYTES), {0: TOKEN_BYTES, 1: TOKEN_BYTES})
            payload = receive(self.connection, header.nbytes)
            if header.kind == kind:
                heard.append(payload)
        return heard

    def close(self) -> None:
        self.connection.close()


def dial(port: int, incarnation: str = "stranger", timeout: float = 5.0, **more: str) -> Optional[Stranger]:
    """Connect as the sending end does; None if we are not accepted."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), timeout=5)
            break
        except ConnectionError:
            if time.monotonic() > deadline:
                return None
            time.sleep(0.005)
    try:
        connection.sendall(wire.pack_greeting({**GREETING, "platform": "left", "incarnation": incarnation, **more}))
        verdict = greeting(connection)
    except OSError:
        verdict = {}
    if verdict.get("verdict") == "accepted":
        return Stranger(connection)
    connection.close()
    return None


def greeting(connection: socket.socket) -> dict[str, str]:
    """A greeting that comes."""
    head = receive(connection, wire.GREETING_BYTES)
    return wire.unpack_greeting(head + receive(connection, wire.greeting_size(head) - wire.GREETING_BYTES))


class Place:
    """The place of a receiving end: listens, and accepts whoever dials, with a greeting of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.listener = socket.create_server(("127.0.0.1", port))
        OPEN.append(self)

    def accept(self, incarnation: str = "stranger", timeout: float = 10, **more: str) -> Stranger:
        """Take whoever comes. Raises OSError if nobody does."""
        self.listener.settimeout(timeout)
        connection, _ = self.listener.accept()
        connection.settimeout(5)
        greeting(connection)
        mine = {**GREETING, "platform": "right", "incarnation": incarnation, "verdict": "accepted", **more}
        with contextlib.suppress(OSError):
            connection.sendall(wire.pack_greeting(mine))
        return Stranger(connection)

    def close(self) -> None:
        self.listener.close()


def frame(kind: int, fifo: int = 0, part: int = 0, firing: int = 0, payload: bytes = b"", nbytes: int = -1) -> bytes:
    """A frame, whose header may lie about the payload's length."""
    return struct.pack("!BBHIQQHH", kind, 0, fifo, part, firing, len(payload) if nbytes < 0 else nbytes, 0, 0) + payload


def token(number: int, firing: Optional[int] = None) -> bytes:
    """A DATA frame of FIFO 0."""
    return frame(wire.DATA, firing=number if firing is None else firing, payload=np.full(3, number, "i4").tobytes())


def credit(received: int, fired: int, limit: int, firing: int = 0, fifo: int = 0) -> bytes:
    """A CREDIT frame of any numbers below 2**64."""
    return frame(wire.CREDIT, fifo, payload=struct.pack("!QQQQ", received, fired, limit, firing))


def free_port() -> int:
    """A port for an end."""
    return free_base_port(1)


def somewhere(make: Callable[[int], Any]) -> Any:
    """What ``make`` makes on a free port: on another one if somebody else was faster."""
    for _ in range(20):
        try:
            return make(free_port())
        except (OSError, LinkError):
            continue
    raise AssertionError("no port is free")
