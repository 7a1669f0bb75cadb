"""A connection that survives: FIFOs with a fault policy, or several FIFOs of a platform pair over one TCP connection.

``faults`` decides; this module has the sockets and threads. A FIFO never sends more tokens than its receiver has room
for, which keeps one FIFO from blocking another or the heartbeats. Whoever has something to send (a producer its token,
a consumer the room it made) sends what the socket takes without waiting, in its own thread; one thread of the
connection sends the rest and the heartbeats; another one receives, and reconnects.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Callable, Optional

from eprune.runtime.kernel.errors import (
    InternalError,
    Interrupted,
    LinkError,
    LostTokens,
    PeerError,
    ProtocolError,
    Refused,
    RunError,
)
from eprune.runtime.kernel.fifo import GONE
from eprune.runtime.kernel.policy import STOP, WAIT, lossy
from eprune.runtime.net import emulation, wire
from eprune.runtime.net.ends import FifoEnd, RxFifo, TxFifo
from eprune.runtime.net.faults import CLOSE_TIMEOUT, FailureDetector, Feedback, back_off
from eprune.runtime.net.greeting import Greeting, warn
from eprune.runtime.net.handshake import Acceptor, dial, listen, nobody_answered, nobody_came
from eprune.runtime.net.receive_buffer import ReceiveBuffer
from eprune.runtime.net.send_queue import SendQueue
from eprune.runtime.net.tls import Keys, Stream
from eprune.runtime.tell.journal import Journal

_POLL = 0.05
_NEVER_CAME = "the peer did not connect"


class Connection:
    """One TCP connection with a peer, made again whenever it breaks; ``fifos`` are by number.

    With ``dials`` this end connects to ``address``, otherwise it listens there.
    """

    def __init__(
        self,
        name: str,
        peer: str,
        greeting: Greeting,
        fifos: Mapping[int, FifoEnd],
        address: tuple[str, int],
        dials: bool,
        dead_after: float,
        patience: float,
        fail: Callable[[RunError], None],
        journal: Journal,
    ) -> None:
        self.name = name
        self.peer = peer
        #: how this program identifies itself
        self.greeting = greeting
        self.note = ""
        #: the emulated link that takes the place of the true one, if any
        self.emulated: Optional[emulation.EmulatedLink] = None
        #: certificates and keys, if the link uses TLS
        self.keys: Optional[Keys] = None
        #: the script that opens an SSH tunnel for this link, if it uses one
        self.tunnel = ""
        self.tx = {number: each for number, each in fifos.items() if isinstance(each, TxFifo)}
        self.rx = {number: each for number, each in fifos.items() if isinstance(each, RxFifo)}
        self.firing = 0
        self.running = False
        self._fifos = fifos
        for number, fifo in fifos.items():
            fifo.number = number
            fifo.push = self.push
        for sender in self.tx.values():
            sender.send = self.send
        policies = {fifo.policy for fifo in fifos.values()}
        self._lossy = all(map(lossy, policies))
        self._waits = WAIT in policies
        self._stops = STOP in policies
        self._address = address
        self._dials = dials
        self._patience = patience
        self._fail = fail
        self._journal = journal
        self._acceptor: Optional[Acceptor] = None
        self._lock = threading.Lock()
        self._socket: Optional[Stream] = None
        self._detector = FailureDetector(dead_after)
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._wake = threading.Event()
        self._offered = threading.Event()
        self._offer: Optional[tuple[Stream, Greeting]] = None
        self._closing = 0.0  # since when nothing remains to be done with this connection
        self._send_queue = SendQueue(self.tx, self.rx)
        self._incarnation = ""
        #: of the current connection, set with it
        self._receive_buffer: ReceiveBuffer
        self._head = memoryview(bytearray(wire.HEADER_BYTES))
        self._token_bytes = {number: fifo.token_bytes for number, fifo in self.rx.items()}

    def __str__(self) -> str:
        return self.name

    # What the engine calls.

    def listen(self) -> None:
        """Open the listening socket of an end that listens. Raises LinkError if the address is not available."""
        if not self._dials:
            listener = listen(self, self.peer, self._address)
            self._acceptor = Acceptor(
                listener, self._greeting, self._busy, self._accept, self._refused, self.peer, self.keys
            )
            threading.Thread(target=self._accept_until_closed, name=f"accept {self}", daemon=True).start()

    def _accept_until_closed(self) -> None:
        """Accept peers. The body of a thread."""
        assert self._acceptor is not None
        try:
            self._acceptor.run()
        except Exception as error:
            self._fail(InternalError(error, threading.current_thread().name))

    def open(self, deadline: float, known: Callable[[], bool]) -> None:
        """Connect for the first time, until ``deadline`` (time.monotonic).

        If the peer does not come in time: raises LinkError, unless all FIFOs can do without it. They start without
        it soon if ``known()`` says that the application has been running. Raises Interrupted if stopped.
        """
        reason = self._connect(deadline, known)
        if self._stopping.is_set():
            raise Interrupted("stopped while connecting")
        if reason and not self._lossy:
            raise LinkError(reason)
        if reason:
            self._lose(_NEVER_CAME)
        else:
            self._journal.log("connected", connection=self.name, peer=self.peer)

    def bodies(self) -> dict[str, Callable[[], None]]:
        """Role -> body, of the connection's threads."""
        return {"receive": self.run, "send": self.tend}

    def run(self) -> None:
        """Receive, and reconnect after a break, until all FIFOs are finished. The body of a thread."""
        try:
            while not self._over.is_set():
                reason = self._serve() if self._socket is not None else ""
                if self._over.is_set() or self._lose(reason):
                    break
                self._reconnect()
            if not self._stopping.is_set():
                self._journal.log("closed", connection=self.name, peer=self.peer)
        except RunError as error:
            if not self._stopping.is_set():
                self._fail(error)
        finally:
            self._over.set()
            self._wake.set()
            if self._acceptor is not None:
                self._acceptor.close()

    def tend(self) -> None:
        """Send heartbeats and what the socket did not take without waiting; notice silence. The body of a thread."""
        period = self._detector.period
        while not self._over.is_set():
            self._wake.wait(period)
            self._wake.clear()
            connection = self._socket
            if connection is None:
                continue
            if self._send_queue.waiting:
                with contextlib.suppress(OSError, ValueError):
                    writable = select.poll()
                    writable.register(connection, select.POLLOUT)
                    writable.poll(period * 1000)
            now = time.monotonic()
            if self._detector.dead(now) or (self._closing and now > self._closing + CLOSE_TIMEOUT):
                self._break(connection)
                continue
            with self._lock:
                if self._detector.heartbeat_due(now) and not self._send_queue.waiting and not self._closing:
                    self._send_queue.add(wire.control_frame(wire.HEARTBEAT, 0))
                self._pump()

    def abort(self, message: str) -> None:
        """Inform the peer that this run failed, and break the connection."""
        self._stopping.set()
        with self._lock:
            connection = self._socket
            if connection is not None and not self._send_queue.begun:
                with contextlib.suppress(OSError):
                    connection.settimeout(1.0)
                    connection.sendall(wire.control_frame(wire.ERROR, 0, message=message))
        self.cut()

    def cut(self) -> None:
        """Break the connection, so that no thread stays blocked on it."""
        self._stopping.set()
        self._over.set()
        self._wake.set()
        self._offered.set()
        if self._acceptor is not None:
            self._acceptor.close()
        if self._socket is not None:
            self._break(self._socket)

    def close(self) -> None:
        """Release the connection's resources; its threads have ended."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in (self._socket, self._offer and self._offer[0]):
            if connection is not None:
                connection.close()

    # What the FIFOs call.

    def send(self, fifo: TxFifo, slot: int) -> None:
        """A producer has written a token."""
        with self._lock:
            fifo.free_slots(fifo.sending.put(slot))
            self._pump(fifo)

    def push(self) -> None:
        """Something has changed that the peer may need to know."""
        with self._lock:
            self._pump()
            self._check_over()

    # Sending; the lock is held.

    def _pump(self, fifo: Optional[TxFifo] = None) -> None:
        """Send what the socket takes without waiting; with ``fifo`` only its next token, if nothing else waits."""
        connection, queue = self._socket, self._send_queue
        if connection is None:
            return
        try:
            if queue.send(connection) if fifo is None else queue.send_next(connection, fifo):
                self._detector.last_sent = time.monotonic()
        except BlockingIOError:
            self._wake.set()
        except OSError:
            self._break(connection)

    # Receiving.

    def _serve(self) -> str:
        """Receive until the connection breaks or everything is finished; why it broke."""
        if self._socket is None:
            return _NEVER_CAME
        try:
            while not self._over.is_set():
                self._receive(self._receive_buffer)
        except PeerError as error:
            return str(error)
        except OSError as error:
            return _reason(error)
        except ProtocolError as error:
            if self._lossy:
                self._report("protocol_error", str(error))
                return str(error)
            raise LinkError(f"{self}: {self.peer} violates the protocol: {error}") from None
        return ""

    def _receive(self, buffer: ReceiveBuffer) -> None:
        """Receive and handle one frame."""
        buffer.fill(self._head)
        header = wire.unpack_shared(self._head, self._token_bytes)
        if header.kind == wire.DATA:
            self._receive_token(buffer, self.rx[header.fifo], header)
            return
        payload = memoryview(bytearray(header.nbytes))
        buffer.fill(payload)
        if header.kind == wire.HEARTBEAT:
            return
        if header.kind == wire.ERROR:
            text = bytes(payload).decode("utf-8", "replace")
            clean = "".join(char if char.isprintable() else "?" for char in text)
            raise PeerError(f"peer {self.peer!r} failed: {clean}")
        fifo = self._fifos.get(header.fifo)
        if header.kind == wire.CREDIT and isinstance(fifo, TxFifo):
            self._on_credit(fifo, Feedback(*wire.unpack_credit(payload)))
        elif header.kind == wire.END and fifo is not None:
            self._on_end(fifo, header.firing)
        elif header.kind == wire.IDLE and isinstance(fifo, RxFifo):
            fifo.lose()
        else:
            raise ProtocolError(f"a frame of kind {header.kind} in the wrong direction")

    def _receive_token(self, buffer: ReceiveBuffer, fifo: RxFifo, header: wire.Header) -> None:
        begin = time.perf_counter_ns()
        receiving = fifo.receiving
        receiving.expect()
        slots = [] if fifo.left else fifo.reserve_free(1)
        if slots:
            try:
                buffer.fill(fifo.raw[slots[0]].data)
            except BaseException:
                fifo.free.put(slots[0])
                raise
            receiving.arrived()
            fifo.commit(slots[0], header.firing)
        else:  # the consumer has left
            buffer.fill(memoryview(bytearray(fifo.token_bytes)))
            receiving.arrived()
            receiving.fired += 1
        fifo.activity.add(begin, time.perf_counter_ns())
        if receiving.due:
            self.push()

    def _on_credit(self, fifo: TxFifo, feedback: Feedback) -> None:
        with self._lock:
            try:
                if fifo.number in self._send_queue.resumed:
                    free = fifo.sending.feedback(feedback)
                else:
                    free = fifo.sending.resume(self._incarnation, feedback)
                    self._send_queue.resumed.add(fifo.number)
            except LostTokens as error:
                raise LostTokens(f"FIFO {fifo.name!r} with {self.peer}: {error}") from None
            fifo.free_slots(free)
            self._pump()
            self._check_over()

    def _on_end(self, fifo: FifoEnd, count: int) -> None:
        if isinstance(fifo, RxFifo):
            if count != fifo.receiving.count:
                raise ProtocolError(f"the peer sent {count} tokens, but {fifo.receiving.count} arrived")
            if not fifo.end_received:
                fifo.end_received = True
                fifo.full.put(GONE)
            self.push()
            return
        if fifo.over:
            return
        with self._lock:
            fifo.over = True
            if lossy(fifo.policy):
                fifo.free_slots(fifo.sending.lost())
        if not fifo.ended:
            fifo.leave()
        self.push()

    def _check_over(self) -> None:
        """Close the connection if nothing remains to be done for any FIFO; the lock is held."""
        connection = self._socket
        finished = all(fifo.finished(connection is not None) for fifo in self._fifos.values())
        if self._send_queue.waiting or not finished:
            return
        if connection is None:
            self._over.set()
            self._wake.set()
            self._offered.set()
        elif not self._closing:
            # The peer has what it needs to close its side, too; when it does, reading ends.
            self._closing = time.monotonic()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

    # Connecting.

    def _greeting(self) -> Greeting:
        """How this program identifies itself now."""
        firing = max((fifo.receiving.firing for fifo in self.rx.values()), default=0)
        return dataclasses.replace(self.greeting, firing=firing)

    def _connect(self, deadline: float, known: Callable[[], bool]) -> str:
        """Connect until ``deadline``; why that failed, or ''. Raises Refused or ProtocolError only the first time."""
        attempt, hurried = 0, False
        error: Exception = TimeoutError("timed out")
        while not self._stopping.is_set() and not self._over.is_set():
            now = time.monotonic()
            if self._lossy and not hurried and known():
                deadline, hurried = min(deadline, now + self._detector.period), True
            if now >= deadline:
                return self._nobody(error)
            try:
                if self._dials:
                    # A peer that does not answer is dead, and once everything is finished nobody waits for it.
                    soon = min(deadline, now + self._detector.dead_after)
                    connection, verdict = dial(self._address, self._greeting(), soon, self.peer, self.keys)
                    self._adopt(connection, verdict)
                elif self._offered.wait(_POLL):
                    self._offered.clear()
                    with self._lock:
                        offer, self._offer = self._offer, None
                    if offer is None:
                        continue
                    self._adopt(*offer)
                else:
                    continue
                self._resume(deadline)
                return ""
            except LostTokens:
                raise
            except (OSError, LinkError) as failure:
                self._drop()
                if isinstance(failure, (Refused, ProtocolError)):
                    if self._dials and known is not _never:
                        raise type(failure)(f"{self}: {failure}") from None
                    if not isinstance(error, LinkError):
                        self._refused(str(failure))
                error = failure
                self._offered.wait(min(back_off(attempt, random.random()), max(deadline - time.monotonic(), 0.0)))
                attempt += 1
        return "stopped"

    def _nobody(self, error: Exception) -> str:
        if self._acceptor is None:
            return nobody_answered(self, self.peer, self._address, error, self.tunnel)
        return nobody_came(self, self.peer, self._address, self._acceptor.refusal, self.tunnel)

    def _busy(self, greeting: Greeting) -> str:
        """Why a peer cannot be accepted now: another process has its place and is alive, as far as is known."""
        with self._lock:
            offer, taken, incarnation = self._offer, self._socket is not None, self._incarnation
        if offer is not None:
            taken, incarnation = True, offer[1].incarnation
        other = taken and greeting.incarnation != incarnation
        return "another process has connected in its place" if other else ""

    def _accept(self, connection: Stream, greeting: Greeting) -> None:
        with self._lock:
            if self._offer is not None:
                self._offer[0].close()
            self._offer = (connection, greeting)
            if self._socket is not None:  # the same peer, which has given up the old connection
                self._break(self._socket)
        self._offered.set()

    def _refused(self, reason: str) -> None:
        self._report("refused", reason)

    def _report(self, event: str, reason: str) -> None:
        self._journal.log_repeated(event, "times", 1, connection=self.name, peer=self.peer, reason=reason)

    def _adopt(self, connection: Stream, greeting: Greeting) -> None:
        """Begin to use a connection."""
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._incarnation = greeting.incarnation
            self.running = self.running or greeting.running
            self.firing = greeting.firing
            self.note = warn(greeting, self.greeting)
            self._send_queue.resumed = set(self.rx)
            self._closing = 0.0
            for fifo in self.tx.values():
                fifo.end_sent = fifo.idle_sent = False
            for number, receiver in self.rx.items():
                receiver.receiving.resume(self._incarnation)
                receiver.over = False
                self._send_queue.add(wire.credit_frame(number, receiver.receiving.report()))
            self._detector.begin(time.monotonic())
            self._socket = emulation.shaped(connection, self.emulated, greeting)
            self._receive_buffer = ReceiveBuffer(self._socket, self._detector)
            self._pump()

    def _resume(self, deadline: float) -> None:
        """Wait until the peer has reported for each FIFO where to continue."""
        connection = self._socket
        assert connection is not None
        connection.settimeout(max(min(deadline - time.monotonic(), self._detector.dead_after), 0.1))
        while not self._send_queue.resumed.issuperset(self.tx):
            self._receive(self._receive_buffer)
        connection.settimeout(None)
        self._wake.set()

    def _reconnect(self) -> None:
        """Reconnect. Raises LinkError if a FIFO with the policy ``wait`` waits for too long."""
        since = time.monotonic()
        deadline = since + self._patience if self._waits else float("inf")
        reason = self._connect(deadline, _never)
        if self._stopping.is_set() or self._over.is_set():
            return
        if reason:
            kept = sum(fifo.sending.dropped for fifo in self.tx.values())
            reason = reason.replace("in time", f"within {self._patience:g} s")
            raise LinkError(f"{reason}; {kept} tokens were not delivered")
        seconds = round(time.monotonic() - since, 3)
        self._journal.log("reconnected", connection=self.name, peer=self.peer, seconds=seconds)

    def _lose(self, reason: str) -> bool:
        """The connection is broken or was never made; whether all is finished. Raises LinkError under ``stop``."""
        self._drop()
        with self._lock:
            for receiver in self.rx.values():
                receiver.lose()
            self._check_over()
        if self._over.is_set():
            return True
        if self._stops and not self._stopping.is_set():
            raise LinkError(f"{self}: lost peer {self.peer!r}: {reason}")
        if reason and not self._stopping.is_set():
            self._journal.log("lost", connection=self.name, peer=self.peer, reason=reason)
        return False

    def _drop(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            self._send_queue.clear()
            for fifo in self.tx.values():
                fifo.free_slots(fifo.sending.lost())

    def _break(self, connection: Stream) -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _never() -> bool:
    return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
