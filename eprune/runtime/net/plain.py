"""Plain connections: one TCP connection for one FIFO, which may not break. The sockets that drive ``wire``.

A TX connection is the consumer of a local FIFO and sends its tokens straight from their slots; an RX connection is the
producer of a local FIFO and receives straight into its slots. Both are connected before any actor fires. An orderly
end: TX sends END after the last token, RX answers END once its consumer has ended, and only then is TX finished: a
program that exits with 0 knows that its tokens were consumed. Both send heartbeats while they have nothing else to
send, and a silent peer is dead; a separate thread sees to that, which keeps the cost per token at zero.
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
from eprune.runtime.net.faults import CLOSE_TIMEOUT, FailureDetector
from eprune.runtime.net.greeting import Greeting, warn
from eprune.runtime.net.handshake import Acceptor, dial, listen, nobody_answered, nobody_came
from eprune.runtime.net.tls import Keys, Stream
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.record import Activity

#: A larger token of which a part has arrived is received to its end at once; smaller ones go on many at a time.
SMALL_TOKEN = 8 * 1024
#: Bytes of waiting tokens that one system call carries at most, roughly.
BATCH_BYTES = 256 * 1024
_RETRY = 0.05

Fail = Callable[[RunError], None]


class _PlainConnection:
    """What both ends share: the socket, its FIFO, and how it fails."""

    #: whether the peer's application had been running when it was met; only a `Connection` asks
    running = False

    def __init__(
        self,
        fifo: Fifo,
        number: int,
        peer: str,
        greeting: Greeting,
        fail: Fail,
        journal: Journal,
        address: tuple[str, int],
        dead_after: float = 30.0,
    ) -> None:
        self.fifo = fifo
        self.address = address
        #: the emulated link that takes the place of the true one, if any
        self.emulated: Optional[emulation.EmulatedLink] = None
        #: certificates and keys, if the link uses TLS
        self.keys: Optional[Keys] = None
        #: the script that opens an SSH tunnel for this link, if it uses one
        self.tunnel = ""
        self.number = number
        self.peer = peer
        #: how this program identifies itself
        self.greeting = greeting
        self.activity = Activity()
        self.note = ""
        self._fail = fail
        self._journal = journal
        self._socket: Optional[Stream] = None
        self._stopping = threading.Event()
        #: whether this end and the peer have finished with each other
        self._closed = threading.Event()
        self._writing = threading.Lock()
        #: whether this end has sent its last frame
        self._finished_sending = False
        self._detector = FailureDetector(dead_after)
        #: how often something arrived from the peer, and whether this end is what keeps it from arriving
        self._receptions = 0
        self._busy = False
        #: slot -> its frame's header and payload
        self._headers = [memoryview(bytearray(wire.HEADER_BYTES)) for _ in range(fifo.capacity)]
        self._payloads = [raw.data for raw in fifo.raw]

    def __str__(self) -> str:
        return f"FIFO {self.fifo.name!r}"

    @property
    def _connected(self) -> Stream:
        assert self._socket is not None
        return self._socket

    def _adopt(self, connection: Stream, greeting: Greeting) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = emulation.shaped(connection, self.emulated, greeting)
        self._log("connected")

    def _log(self, event: str) -> None:
        self._journal.log(event, connection=str(self), peer=self.peer)

    def _failed(self, error: Exception) -> None:
        """Report a failure, unless it is only a consequence of stopping."""
        if self._stopping.is_set():
            return
        if isinstance(error, OSError):
            error = LinkError(f"{self}: lost peer {self.peer!r}: {error.strerror or error}")
        assert isinstance(error, RunError)
        self._fail(error)

    def cut(self) -> None:
        """Break the connection, so that no thread stays blocked on it."""
        self._stopping.set()
        self._closed.set()
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
        """Send heartbeats while nothing else is sent; notice when the peer is silent. The body of a thread."""
        detector, receptions, sent = self._detector, -1, -1
        detector.begin(time.monotonic())
        while not self._closed.wait(detector.period):
            now = time.monotonic()
            if receptions != self._receptions or self._busy:
                detector.last_received = now
            if detector.dead(now):
                cause = f"nothing received for {detector.dead_after:g} s; the peer or the network is stuck"
                self._failed(LinkError(f"{self}: lost peer {self.peer!r}: {cause}"))
                return
            receptions = self._receptions
            if sent == self._sent():
                self._send_heartbeat()
            sent = self._sent()

    def _sent(self) -> int:
        """A number that changes whenever anything but a heartbeat is sent."""
        return 0

    def _sending(self) -> bool:
        """Whether part of a frame may have been sent."""
        return False

    def _send_heartbeat(self) -> None:
        """Send a heartbeat if that needs no waiting; while something else is being sent, none is needed."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            if not self._finished_sending and not self._sending() and _has_room(self._connected):
                frame = wire.control_frame(wire.HEARTBEAT, self.number)
                self._connected.sendmsg([frame], (), socket.MSG_DONTWAIT)
        except OSError:
            pass  # the receiving thread learns why
        finally:
            self._writing.release()

    def _send_control(self, kind: int, firing: int = 0, message: str = "") -> None:
        with self._writing:
            self._connected.sendall(wire.control_frame(kind, self.number, firing, message))

    def _fill(self, target: memoryview, done: int) -> None:
        """Receive the part of ``target`` that is missing. Raises ConnectionResetError at the end."""
        while done < len(target):
            done += _alive(self._connected.recv_into(target[done:]))
            self._receptions += 1

    def _message(self, header: wire.Header, early: bytes = b"") -> str:
        """The text of an ERROR frame, of which ``early`` has arrived already; only printable characters."""
        text = bytearray(early[: header.nbytes])
        rest = memoryview(bytearray(header.nbytes - len(text)))
        self._fill(rest, 0)
        return "".join(char if char.isprintable() else "?" for char in (text + rest).decode("utf-8", "replace"))


class TxConnection(_PlainConnection):
    """The sending end: connects to ``address`` and sends what the FIFO holds."""

    def __init__(self, fifo: Fifo, *greeting: Any) -> None:
        super().__init__(fifo, *greeting)
        self._abort_message: Optional[str] = None
        self._frame_bytes = wire.HEADER_BYTES + fifo.token_bytes
        self._batch = max(1, BATCH_BYTES // self._frame_bytes)
        self._firing, self._part = -1, 0
        #: tokens handed to the sending thread, counted by the producer; tokens that it has sent, counted by the thread
        self._queued = self._done = 0
        #: bytes that the producer has sent of the first frame in the queue; None: it has not begun that frame
        self._begun: Optional[int] = None

    def open(self, deadline: float, known: Callable[[], bool]) -> None:
        """Connect, retrying until ``deadline`` (time.monotonic), and shake hands.

        Raises LinkError if nobody answers in time, Refused if the peer refuses, Interrupted if stopped meanwhile.
        """
        last: Exception = TimeoutError("no answer")
        while not self._stopping.is_set():
            if time.monotonic() >= deadline:
                raise LinkError(nobody_answered(self, self.peer, self.address, last, self.tunnel))
            try:
                self._adopt(*dial(self.address, self.greeting, deadline, self.peer, self.keys))
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
        """Take a token from the producer: what the socket accepts without waiting is sent by the producer's own thread.

        That saves waking the sending thread, which gets what remains while the link is slower than the producer.
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
        """Send tokens until the FIFO ends, then wait for the peer's END. The body of a thread."""
        try:
            self._send_queued()
            self._finished_sending = True
            if self._abort_message is not None:
                if self._begun is None:
                    self._send_control(wire.ERROR, message=self._abort_message)
            else:
                self._send_control(wire.END, firing=self.fifo.consumed)
                self._closed.wait()
        except OSError as error:
            self._send_failed(error)

    def _send_failed(self, error: OSError) -> None:
        """Report why sending failed, unless the peer has gone: it may have sent a reason, which ``watch`` reads."""
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
        """Read what the peer sends back until it closes its side. The body of a thread."""
        head = memoryview(bytearray(wire.HEADER_BYTES))
        ended, closing = False, 0.0
        try:
            while not closing or time.monotonic() < closing + CLOSE_TIMEOUT:
                self._fill(head, 0)
                header = wire.unpack_header(head, self.number, 0)
                if header.kind == wire.ERROR:
                    raise PeerError(f"peer {self.peer!r} failed: {self._message(header)}")
                if header.kind == wire.END and not ended:
                    ended = True
                    self.fifo.leave()
                elif header.kind != wire.HEARTBEAT:
                    raise ProtocolError(f"{self}: {self.peer} sent a token in the wrong direction")
                if ended and self._finished_sending and not closing:
                    closing = time.monotonic()
        except (OSError, RunError) as error:
            if not (ended and isinstance(error, OSError)):
                self._failed(error)
        finally:
            if ended and not self._stopping.is_set():
                self._log("closed")
            self._closed.set()

    def abort(self, message: str) -> None:
        """Inform the peer that this run failed, after the token that is being sent."""
        self._abort_message = message
        self._stopping.set()
        self._closed.set()
        self.fifo.end()


class RxConnection(_PlainConnection):
    """The receiving end: listens on ``address`` and fills the FIFO with what arrives."""

    def __init__(self, fifo: Fifo, *greeting: Any) -> None:
        super().__init__(fifo, *greeting)
        self._acceptor: Optional[Acceptor] = None
        self._end_sent = False
        self._firing = -1
        self._received = 0

    def listen(self) -> None:
        """Open the listening socket. Raises LinkError if the address is not available."""
        listener = listen(self, self.peer, self.address)
        self._acceptor = Acceptor(
            listener, lambda: self.greeting, lambda greeting: "", self._accept, self._refused, self.peer, self.keys
        )

    def open(self, deadline: float, known: Callable[[], bool]) -> None:
        """Accept the peer and refuse everybody else, until ``deadline`` (time.monotonic).

        Raises LinkError if the peer does not come in time, Interrupted if stopped meanwhile.
        """
        acceptor = self._acceptor
        assert acceptor is not None
        acceptor.run(lambda: self._stopping.is_set() or time.monotonic() >= deadline)
        if self._stopping.is_set():
            raise Interrupted("stopped while waiting for a connection")
        if self._socket is None:
            raise LinkError(nobody_came(self, self.peer, self.address, acceptor.refusal, self.tunnel))

    def _refused(self, reason: str) -> None:
        self._journal.log_repeated("refused", "times", 1, connection=str(self), peer=self.peer, reason=reason)

    def _accept(self, connection: Stream, greeting: Greeting) -> None:
        assert self._acceptor is not None
        self._acceptor.close()
        self.note = warn(greeting, self.greeting)
        self._adopt(connection, greeting)

    def bodies(self) -> dict[str, Callable[[], None]]:
        """Role -> body, of the link's threads."""
        return {"receive": self.run, "pulse": self.pulse}

    def run(self) -> None:
        """Receive tokens until the peer's END, then wait for the consumer's end and report it. The body of a thread."""
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
                self._log("closed")
        except (OSError, RunError) as error:
            self._failed(error)
        finally:
            self._closed.set()

    def _send_end(self) -> None:
        """Inform the peer, once, that the consumer has ended."""
        if not self._end_sent and not self._stopping.is_set():
            self._end_sent = True
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
            self._receptions += 1
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
        """The consumer has ended: keep reading until the peer's END."""
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
            raise ProtocolError(f"{self}: {self.peer} sent firing {header.firing} after firing {self._firing}")
        self._firing = header.firing
        self._received += 1

    def _ended(self, header: wire.Header, behind: bytes = b"") -> None:
        """Handle the last frame; ``behind`` has arrived after its header. Raises PeerError for an ERROR."""
        if header.kind == wire.ERROR:
            raise PeerError(f"peer {self.peer!r} failed: {self._message(header, behind)}")
        if header.firing != self._received:
            raise ProtocolError(f"{self}: {self.peer} sent {header.firing} tokens, but {self._received} arrived")

    def abort(self, message: str) -> None:
        """Inform the peer that this run failed, and break the connection."""
        self._stopping.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.settimeout(1.0)
                self._send_control(wire.ERROR, message=message)
        self.cut()
        self.fifo.leave()


def _alive(received: int) -> int:
    if received == 0:
        raise ConnectionResetError("connection closed by peer")
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
    """Whether a small frame can be sent whole without waiting: a writable socket has room for much more."""
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
