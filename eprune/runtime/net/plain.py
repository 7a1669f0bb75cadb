"""TX and RX FIFOs: sockets that drive ``wire``.

A TX link is the consumer of a local FIFO and sends its tokens straight from their slots; an RX link is the producer of
a local FIFO and receives straight into its slots. Both are made and connected before any actor fires. An orderly end:
TX sends END after the last token, RX answers END once its consumer has ended, and only then is TX done, so that a
program which ends with 0 knows its tokens consumed. Both say that they are alive while they say nothing else, and a
peer that says nothing is dead; a thread looks after that, so that it costs a token nothing.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from typing import Any, Callable, Optional

from eprune.runtime.kernel.errors import Interrupted, LinkError, PeerError, ProtocolError, RunError
from eprune.runtime.kernel.fifo import GONE, Fifo
from eprune.runtime.net import emulation, wire
from eprune.runtime.net.faults import PARTING, Suspicion
from eprune.runtime.net.handshake import Answer, Facts, dial, listen, nobody_answered, nobody_came
from eprune.runtime.net.tls import Keys, Stream
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.record import Activity

#: A larger token of which a part has arrived is received to its end at once; smaller ones go on many at a time.
SMALL_TOKEN = 8 * 1024
#: Bytes of waiting tokens that one system call carries at most, roughly.
BATCH_BYTES = 256 * 1024
_RETRY = 0.05

Fail = Callable[[RunError], None]


class _Link:
    """What both ends share: the connection, its FIFO, and how it fails."""

    #: whether the peer's application had been running when it was met; only a `Connection` asks
    running = False

    def __init__(
        self,
        fifo: Fifo,
        number: int,
        peer: str,
        facts: Facts,
        fail: Fail,
        journal: Journal,
        address: tuple[str, int],
        dead_after: float = 30.0,
    ) -> None:
        self.fifo = fifo
        self.address = address
        #: the link that is emulated in the place of the true one, if any
        self.emulated: Optional[emulation.Link] = None
        #: for TLS, if that is wanted
        self.keys: Optional[Keys] = None
        #: the script that opens an SSH tunnel for this link, if that is wanted
        self.tunnel = ""
        self.number = number
        self.peer = peer
        self.facts = facts
        self.activity = Activity()
        self.note = ""
        self._fail = fail
        self._journal = journal
        self._socket: Optional[Stream] = None
        self._stopping = threading.Event()
        #: whether this end and the peer are done with one another
        self._parted = threading.Event()
        self._writing = threading.Lock()
        #: whether this end has sent its last frame
        self._silent = False
        self._life = Suspicion(dead_after)
        #: how often something came from the peer, and whether it is this end that keeps it from coming
        self._heard = 0
        self._busy = False
        #: slot -> its frame's header and payload
        self._headers = [memoryview(bytearray(wire.HEADER_BYTES)) for _ in range(fifo.capacity)]
        self._payloads = [raw.data for raw in fifo.raw]

    def __str__(self) -> str:
        return f"FIFO {self.fifo.name!r} with {self.peer}"

    @property
    def _connected(self) -> Stream:
        assert self._socket is not None
        return self._socket

    def _adopt(self, connection: Stream, greeting: Facts) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = emulation.shaped(connection, self.emulated, greeting)
        self._tell("connected")

    def _tell(self, event: str) -> None:
        self._journal.tell(event, connection=str(self), peer=self.peer)

    def _failed(self, error: Exception) -> None:
        """Report a failure, unless it is only the echo of our own stopping."""
        if self._stopping.is_set():
            return
        if isinstance(error, OSError):
            error = LinkError(f"{self}: connection lost: {error.strerror or error}")
        assert isinstance(error, RunError)
        self._fail(error)

    def cut(self) -> None:
        """Break the connection, so that no thread stays blocked on it."""
        self._stopping.set()
        self._parted.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Release the connection's resources; its threads have ended."""
        if self._socket is not None:
            self._socket.close()

    def listen(self) -> None:
        """Open the listening socket, if this end has one."""

    def pulse(self) -> None:
        """Say that we are alive while nothing else is sent; notice when the peer says nothing. The body of a thread."""
        life, heard, sent = self._life, -1, -1
        life.begin(time.monotonic())
        while not self._parted.wait(life.period):
            now = time.monotonic()
            if heard != self._heard or self._busy:
                life.heard = now
            if life.dead(now):
                what = f"{self.peer} is stuck, or the network between"
                self._failed(LinkError(f"{self}: nothing heard for {life.dead_after:g} s: {what}"))
                return
            heard = self._heard
            if sent == self._sent():
                self._say_alive()
            sent = self._sent()

    def _sent(self) -> int:
        """Changes whenever something else than a heartbeat is sent."""
        return 0

    def _sending(self) -> bool:
        """Whether part of a frame may be out."""
        return False

    def _say_alive(self) -> None:
        """Send a heartbeat, if that needs no waiting: whoever is sending, or keeps us from it, knows without."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            if not self._silent and not self._sending() and _has_room(self._connected):
                frame = wire.control_frame(wire.HEARTBEAT, self.number)
                self._connected.sendmsg([frame], (), socket.MSG_DONTWAIT)
        except OSError:
            pass  # whoever receives knows why
        finally:
            self._writing.release()

    def _send_control(self, kind: int, firing: int = 0, message: str = "") -> None:
        with self._writing:
            self._connected.sendall(wire.control_frame(kind, self.number, firing, message))

    def _fill(self, target: memoryview, done: int) -> None:
        """Receive what is missing of ``target``. Raises ConnectionResetError at the end."""
        while done < len(target):
            done += _alive(self._connected.recv_into(target[done:]))
            self._heard += 1

    def _message(self, header: wire.Header, early: bytes = b"") -> str:
        """The text of an ERROR frame, of which ``early`` and perhaps more has come already, fit for a terminal."""
        text = bytearray(early[: header.nbytes])
        rest = memoryview(bytearray(header.nbytes - len(text)))
        self._fill(rest, 0)
        return "".join(char if char.isprintable() else "?" for char in (text + rest).decode("utf-8", "replace"))


class TxLink(_Link):
    """The sending end: connects to ``address``, sends what the FIFO holds."""

    def __init__(self, fifo: Fifo, *facts: Any) -> None:
        super().__init__(fifo, *facts)
        self._abort_message: Optional[str] = None
        self._frame_bytes = wire.HEADER_BYTES + fifo.token_bytes
        self._batch = max(1, BATCH_BYTES // self._frame_bytes)
        self._firing, self._part = -1, 0
        #: tokens given to the link's thread, counted by the producer; tokens it has sent, counted by the thread
        self._queued = self._done = 0
        #: bytes that the producer has sent of the first frame in the queue; None: it has not begun that frame
        self._begun: Optional[int] = None

    def open(self, deadline: float, known: Callable[[], bool]) -> None:
        """Connect, trying again until ``deadline`` (time.monotonic), and shake hands.

        Raises LinkError if nobody answers in time, Refused if the peer refuses, Interrupted if stopped meanwhile.
        """
        last: Exception = TimeoutError("no answer")
        while not self._stopping.is_set():
            if time.monotonic() >= deadline:
                raise LinkError(nobody_answered(self, self.peer, self.address, last, self.tunnel))
            try:
                self._adopt(*dial(self.address, self.facts, deadline, self.peer, self.keys))
                return
            except LinkError as error:
                raise type(error)(f"{self}: {error}") from None
            except OSError as error:
                last = error
                self._stopping.wait(_RETRY)
        raise Interrupted("stopped while connecting")

    def bodies(self) -> dict[str, Callable[[], None]]:
        """Role -> body, of the link's threads."""
        return {"send": self.run, "watch": self.watch, "pulse": self.pulse}

    def send(self, slot: int, firing: int) -> None:
        """Take a token from the producer: what the socket accepts at once goes out in the producer's own thread.

        That saves waking the link's thread, which gets what remains while the link is slower than the producer.
        """
        fifo = self.fifo
        fifo.firings[slot] = firing
        if self._queued != self._done or self._stopping.is_set():
            self._queued += 1
            fifo.commit(slot, firing)
            return
        begin = time.perf_counter_ns()
        with self._writing:
            try:
                sent = self._connected.sendmsg(self._frame(slot), (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError as error:
                self._send_failed(error)
                sent = 0
            if sent < self._frame_bytes:
                self._begun = sent
                self._queued += 1
                fifo.commit(slot, firing)
                return
        self.activity.add(begin, time.perf_counter_ns())
        fifo.tokens += 1
        fifo.release(slot)

    def _frame(self, slot: int) -> list[memoryview]:
        firing = self.fifo.firings[slot]
        self._part = self._part + 1 if firing == self._firing else 0
        self._firing = firing
        header = self._headers[slot]
        wire.pack_header(header, wire.DATA, self.number, self._part, firing, self.fifo.token_bytes)
        return [header, self._payloads[slot]]

    def run(self) -> None:
        """Send tokens until the FIFO ends, then wait for the peer's END. The body of the link's thread."""
        try:
            self._send_queued()
            self._silent = True
            if self._abort_message is not None:
                if self._begun is None:
                    self._send_control(wire.ERROR, message=self._abort_message)
            else:
                self._send_control(wire.END, firing=self.fifo.consumed)
                self._parted.wait()
        except OSError as error:
            self._send_failed(error)

    def _send_failed(self, error: OSError) -> None:
        """Report what kept us from sending, unless the peer has gone: it may have said why, and ``watch`` will know."""
        if not isinstance(error, (BrokenPipeError, ConnectionResetError)):
            self._failed(error)

    def _sent(self) -> int:
        """Tokens that were given to the socket, or wait for it."""
        return self.fifo.tokens + self._done

    def _sending(self) -> bool:
        return self._queued != self._done

    def _send_queued(self) -> None:
        fifo, connection = self.fifo, self._connected
        while True:
            slot = fifo.take()
            if slot == GONE or (self._abort_message is not None and self._begun is None):
                return
            begin = time.perf_counter_ns()
            if self._begun is not None:
                slots = [slot]
                _send_rest(connection, [self._headers[slot], self._payloads[slot]], self._begun)
                self._begun = None
            else:
                slots = [slot, *fifo.take_waiting(self._batch - 1)]
                buffers = [part for slot in slots for part in self._frame(slot)]
                _send_rest(connection, buffers, connection.sendmsg(buffers))
            self.activity.add(begin, time.perf_counter_ns(), len(slots))
            for slot in slots:
                fifo.release(slot)
            self._done += len(slots)

    def watch(self) -> None:
        """Read what the peer sends back until it parts. The body of the link's second thread."""
        head = memoryview(bytearray(wire.HEADER_BYTES))
        ended, parting = False, 0.0
        try:
            while not parting or time.monotonic() < parting + PARTING:
                self._fill(head, 0)
                header = wire.unpack_header(head, self.number, 0)
                if header.kind == wire.ERROR:
                    raise PeerError(f"{self.peer} failed: {self._message(header)}")
                if header.kind == wire.END and not ended:
                    ended = True
                    self.fifo.leave()
                elif header.kind != wire.HEARTBEAT:
                    raise ProtocolError(f"{self}: a token came against the direction")
                if ended and self._silent and not parting:
                    parting = time.monotonic()
        except (OSError, RunError) as error:
            if not (ended and isinstance(error, OSError)):
                self._failed(error)
        finally:
            if ended and not self._stopping.is_set():
                self._tell("parted")
            self._parted.set()

    def abort(self, message: str) -> None:
        """Tell the peer that this run failed, after the token on its way."""
        self._abort_message = message
        self._stopping.set()
        self._parted.set()
        self.fifo.end()


class RxLink(_Link):
    """The receiving end: listens on ``address``, fills the FIFO with what arrives."""

    def __init__(self, fifo: Fifo, *facts: Any) -> None:
        super().__init__(fifo, *facts)
        self._answer: Optional[Answer] = None
        self._said_end = False
        self._firing = -1
        self._received = 0

    def listen(self) -> None:
        """Open the listening socket. Raises LinkError where the address cannot be had."""
        listener = listen(self, self.peer, self.address)
        self._answer = Answer(
            listener, lambda: self.facts, lambda hello: "", self._accept, self._refused, self.peer, self.keys
        )

    def open(self, deadline: float, known: Callable[[], bool]) -> None:
        """Accept the peer, refusing whoever else comes, until ``deadline`` (time.monotonic).

        Raises LinkError if the peer does not come in time, Interrupted if stopped meanwhile.
        """
        answer = self._answer
        assert answer is not None
        answer.run(lambda: self._stopping.is_set() or time.monotonic() >= deadline)
        if self._stopping.is_set():
            raise Interrupted("stopped while waiting for a connection")
        if self._socket is None:
            raise LinkError(nobody_came(self, self.peer, self.address, answer.refusal, self.tunnel))

    def _refused(self, reason: str) -> None:
        self._journal.often("refused", "times", 1, connection=str(self), peer=self.peer, reason=reason)

    def _accept(self, connection: Stream, hello: Facts) -> None:
        assert self._answer is not None
        self._answer.close()
        self.note = wire.warn(hello, self.facts)
        self._adopt(connection, hello)

    def bodies(self) -> dict[str, Callable[[], None]]:
        """Role -> body, of the link's threads."""
        return {"receive": self.run, "pulse": self.pulse}

    def run(self) -> None:
        """Receive tokens until the peer's END, then wait for the consumer's end and say so. The link's thread."""
        fifo = self.fifo
        try:
            self._receive_tokens()
            self._busy = True
            fifo.end()
            while fifo.reserve() != GONE:
                pass
            self._send_end()
            self._connected.shutdown(socket.SHUT_WR)  # the peer reads heartbeats until then
            if not self._stopping.is_set():
                self._tell("parted")
        except (OSError, RunError) as error:
            self._failed(error)
        finally:
            self._parted.set()

    def _send_end(self) -> None:
        """Tell the peer, once, that the consumer has ended."""
        if not self._said_end and not self._stopping.is_set():
            self._said_end = True
            self._send_control(wire.END, firing=self.fifo.consumed)

    def _receive_tokens(self) -> None:
        """Receive into all slots that are free, with one call for as many tokens as there are, until the peer's END."""
        fifo, receive = self.fifo, self._connected.recvmsg_into
        frame_bytes = wire.HEADER_BYTES + fifo.token_bytes
        batch = max(1, BATCH_BYTES // frame_bytes)
        slots: list[int] = []
        arrived = 0  # bytes of the first slot's frame
        while True:
            if not slots:
                self._busy = True
                slots.append(fifo.reserve())
                self._busy = False
                if slots[0] == GONE:
                    self._send_end()
                    return self._discard_tokens()
            slots += fifo.reserve_free(batch - len(slots))
            buffers = [buffer for slot in slots for buffer in (self._headers[slot], self._payloads[slot])]
            arrived += _alive(receive(_after(buffers, arrived))[0])
            self._heard += 1
            begin, tokens = time.perf_counter_ns(), 0
            while arrived >= wire.HEADER_BYTES:
                slot = slots[0]
                header = wire.unpack_header(self._headers[slot], self.number, fifo.token_bytes)
                if header.kind != wire.DATA:
                    behind = b"".join(buffers[2 * tokens :])[wire.HEADER_BYTES : arrived]
                    if header.kind != wire.HEARTBEAT:
                        return self._ended(header, behind)
                    arrived = _put(behind, buffers[2 * tokens :])
                    continue
                if arrived < frame_bytes:
                    if fifo.token_bytes <= SMALL_TOKEN:
                        break
                    self._fill(self._payloads[slot], arrived - wire.HEADER_BYTES)
                    arrived = frame_bytes
                self._check_order(header)
                fifo.commit(slot, header.firing)
                del slots[0]
                arrived -= frame_bytes
                tokens += 1
            if tokens:
                self.activity.add(begin, time.perf_counter_ns(), tokens)

    def _discard_tokens(self) -> None:
        """The consumer has gone: read on until the peer's END."""
        unwanted = memoryview(bytearray(self.fifo.token_bytes))
        head = memoryview(bytearray(wire.HEADER_BYTES))
        while True:
            self._fill(head, 0)
            header = wire.unpack_header(head, self.number, self.fifo.token_bytes)
            if header.kind == wire.HEARTBEAT:
                continue
            if header.kind != wire.DATA:
                return self._ended(header)
            self._check_order(header)
            self._fill(unwanted, 0)

    def _check_order(self, header: wire.Header) -> None:
        if header.firing < self._firing:
            raise ProtocolError(f"{self}: firing {header.firing} after firing {self._firing}")
        self._firing = header.firing
        self._received += 1

    def _ended(self, header: wire.Header, behind: bytes = b"") -> None:
        """The last frame, and what has come behind its header. Raises PeerError for an ERROR."""
        if header.kind == wire.ERROR:
            raise PeerError(f"{self.peer} failed: {self._message(header, behind)}")
        if header.firing != self._received:
            raise ProtocolError(f"{self}: {header.firing} tokens were sent, {self._received} arrived")

    def abort(self, message: str) -> None:
        """Tell the peer that this run failed, and break off."""
        self._stopping.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.settimeout(1.0)
                self._send_control(wire.ERROR, message=message)
        self.cut()
        self.fifo.leave()


def _alive(received: int) -> int:
    if received == 0:
        raise ConnectionResetError("the peer closed it")
    return received


def _after(buffers: list[memoryview], done: int) -> list[memoryview]:
    """What is left of the buffers after the first ``done`` bytes."""
    skip = 0
    while done and done >= len(buffers[skip]):
        done -= len(buffers[skip])
        skip += 1
    return [buffers[skip][done:], *buffers[skip + 1 :]] if done else buffers[skip:]


def _put(data: bytes, buffers: list[memoryview]) -> int:
    """Write data over the first bytes of the buffers; how many bytes."""
    done = 0
    for buffer in buffers:
        part = data[done : done + len(buffer)]
        buffer[: len(part)] = part
        done += len(part)
    return done


def _has_room(connection: Stream) -> bool:
    """Whether a small frame goes out whole and at once: a socket that says so has room for much more."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_WRITE)
        return bool(selector.select(0))


def _send_rest(connection: Stream, buffers: list[memoryview], sent: int) -> None:
    """Send what follows the first ``sent`` bytes of the buffers."""
    if sent == sum(map(len, buffers)):
        return
    for buffer in buffers:
        if sent >= len(buffer):
            sent -= len(buffer)
            continue
        connection.sendall(memoryview(buffer)[sent:])
        sent = 0
