"""A connection that survives: FIFOs with a fault policy, or several FIFOs of a platform pair over one TCP connection.

``faults`` decides, this module has the sockets and threads. Each FIFO is a channel of its connection. A channel never
sends more tokens than its receiver has room for, so no FIFO blocks another, nor the heartbeats. Whoever has something
to send (a producer its token, a consumer the room it made) sends what the socket takes at once, in its own thread; one
thread of the connection sends the rest, and heartbeats; another receives, and connects again.
"""

from __future__ import annotations

import contextlib
import random
import select
import socket
import threading
import time
from collections.abc import Mapping
from typing import Callable, Optional

from eprune.runtime.kernel.errors import Interrupted, LinkError, LostTokens, PeerError, ProtocolError, Refused, RunError
from eprune.runtime.kernel.fifo import GONE
from eprune.runtime.kernel.policy import STOP, WAIT, lossy
from eprune.runtime.net import emulation, wire
from eprune.runtime.net.ends import Channel, RxChannel, TxChannel
from eprune.runtime.net.faults import PARTING, Feedback, Suspicion, back_off
from eprune.runtime.net.handshake import Answer, Facts, dial, listen, nobody_answered, nobody_came
from eprune.runtime.net.receive_buffer import Inbox
from eprune.runtime.net.send_queue import Outbox
from eprune.runtime.net.tls import Keys, Stream
from eprune.runtime.tell.journal import Journal

_POLL = 0.05


class Connection:
    """One TCP connection with a peer, made again as often as it breaks; ``channels`` by their FIFO numbers.

    With ``dials`` this end connects to ``address``, otherwise it listens there. ``journal`` is told what becomes of it.
    """

    def __init__(
        self,
        name: str,
        peer: str,
        facts: Facts,
        channels: Mapping[int, Channel],
        address: tuple[str, int],
        dials: bool,
        dead_after: float,
        patience: float,
        fail: Callable[[RunError], None],
        journal: Journal,
    ) -> None:
        self.name = name
        self.peer = peer
        self.facts = facts
        self.note = ""
        #: the link that is emulated in the place of the true one, if any
        self.emulated: Optional[emulation.Link] = None
        #: for TLS, if that is wanted
        self.keys: Optional[Keys] = None
        #: the script that opens an SSH tunnel for this link, if that is wanted
        self.tunnel = ""
        self.tx = {number: each for number, each in channels.items() if isinstance(each, TxChannel)}
        self.rx = {number: each for number, each in channels.items() if isinstance(each, RxChannel)}
        self.firing = 0
        self.running = False
        self._channels = channels
        for number, channel in channels.items():
            channel.number = number
            channel.push = self.push
        for sender in self.tx.values():
            sender.send = self.send
        policies = {channel.policy for channel in channels.values()}
        self._lossy = all(map(lossy, policies))
        self._waits = WAIT in policies
        self._stops = STOP in policies
        self._address = address
        self._dials = dials
        self._patience = patience
        self._fail = fail
        self._journal = journal
        self._answer: Optional[Answer] = None
        self._lock = threading.Lock()
        self._socket: Optional[Stream] = None
        self._life = Suspicion(dead_after)
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._wake = threading.Event()
        self._offered = threading.Event()
        self._offer: Optional[tuple[Stream, Facts]] = None
        self._parting = 0.0  # since when nothing remains to be done with this connection
        self._outbox = Outbox(self.tx, self.rx)
        self._incarnation = ""
        #: of the connection that is there, set with it
        self._inbox: Inbox
        self._head = memoryview(bytearray(wire.HEADER_BYTES))
        self._token_bytes = {number: channel.token_bytes for number, channel in self.rx.items()}

    def __str__(self) -> str:
        return self.name

    # What the engine calls.

    def listen(self) -> None:
        """Open the listening socket of an end that listens. Raises LinkError where the address cannot be had."""
        if not self._dials:
            listener = listen(self, self.peer, self._address)
            self._answer = Answer(listener, self._facts, self._later, self._accept, self._refused, self.peer, self.keys)
            threading.Thread(target=self._answer.run, name=f"answer {self}", daemon=True).start()

    def open(self, deadline: float, known: Callable[[], bool]) -> None:
        """Connect for the first time, until ``deadline`` (time.monotonic).

        Where the peer does not come in time: raises LinkError, unless all FIFOs may do without it. They go on without
        it soon where ``known()`` says that the application has been running. Raises Interrupted if stopped.
        """
        reason = self._connect(deadline, known)
        if self._stopping.is_set():
            raise Interrupted("stopped while connecting")
        if reason and not self._lossy:
            raise LinkError(reason)
        if reason:
            self._lose("it did not come")
        else:
            self._journal.tell("connected", connection=self.name, peer=self.peer)

    def bodies(self) -> dict[str, Callable[[], None]]:
        """Role -> body, of the connection's threads."""
        return {"receive": self.run, "send": self.tend}

    def run(self) -> None:
        """Receive, and connect again after a break, until all channels are over. The body of a thread."""
        try:
            while not self._over.is_set():
                reason = self._serve() if self._socket is not None else ""
                if self._over.is_set() or self._lose(reason):
                    break
                self._reconnect()
            if not self._stopping.is_set():
                self._journal.tell("parted", connection=self.name, peer=self.peer)
        except RunError as error:
            if not self._stopping.is_set():
                self._fail(error)
        finally:
            self._over.set()
            self._wake.set()
            if self._answer is not None:
                self._answer.close()

    def tend(self) -> None:
        """Send what a socket did not take at once, and heartbeats; notice silence. The body of a thread."""
        period = self._life.period
        while not self._over.is_set():
            self._wake.wait(period)
            self._wake.clear()
            connection = self._socket
            if connection is None:
                continue
            if self._outbox.waiting:
                with contextlib.suppress(OSError, ValueError):
                    writable = select.poll()
                    writable.register(connection, select.POLLOUT)
                    writable.poll(period * 1000)
            now = time.monotonic()
            if self._life.dead(now) or (self._parting and now > self._parting + PARTING):
                self._break(connection)
                continue
            with self._lock:
                if self._life.quiet(now) and not self._outbox.waiting and not self._parting:
                    self._outbox.say(wire.control_frame(wire.HEARTBEAT, 0))
                self._pump()

    def abort(self, message: str) -> None:
        """Tell the peer that this run failed, and break off."""
        self._stopping.set()
        with self._lock:
            connection = self._socket
            if connection is not None and not self._outbox.begun:
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
        if self._answer is not None:
            self._answer.close()
        if self._socket is not None:
            self._break(self._socket)

    def close(self) -> None:
        """Release the connection's resources; its threads have ended."""
        if self._answer is not None:
            self._answer.close()
        for connection in (self._socket, self._offer and self._offer[0]):
            if connection is not None:
                connection.close()

    # What channels call.

    def send(self, channel: TxChannel, slot: int) -> None:
        """A producer has written a token."""
        with self._lock:
            channel.free_slots(channel.sending.put(slot))
            self._pump(channel)

    def push(self) -> None:
        """Something has changed that the peer may have to know."""
        with self._lock:
            self._pump()
            self._check_over()

    # Sending; the lock is held.

    def _pump(self, channel: Optional[TxChannel] = None) -> None:
        """Send what the socket takes at once; of this channel's tokens only the next one, if nothing else waits."""
        connection, outbox = self._socket, self._outbox
        if connection is None:
            return
        try:
            if outbox.send(connection) if channel is None else outbox.send_next(connection, channel):
                self._life.spoke = time.monotonic()
        except BlockingIOError:
            self._wake.set()
        except OSError:
            self._break(connection)

    # Receiving.

    def _serve(self) -> str:
        """Receive until the connection breaks or all is over; why it broke."""
        if self._socket is None:
            return "it did not come"
        try:
            while not self._over.is_set():
                self._receive(self._inbox)
        except PeerError as error:
            return str(error)
        except OSError as error:
            return f"connection lost: {_reason(error)}"
        except ProtocolError as error:
            if self._lossy:
                self._journal.often("nonsense", "times", 1, connection=self.name, peer=self.peer, reason=str(error))
                return str(error)
            raise LinkError(f"{self}: {self.peer} breaks the protocol: {error}") from None
        return ""

    def _receive(self, inbox: Inbox) -> None:
        """Receive and handle one frame."""
        inbox.fill(self._head)
        header = wire.unpack_shared(self._head, self._token_bytes)
        if header.kind == wire.DATA:
            self._receive_token(inbox, self.rx[header.fifo], header)
            return
        payload = memoryview(bytearray(header.nbytes))
        inbox.fill(payload)
        if header.kind == wire.HEARTBEAT:
            return
        if header.kind == wire.ERROR:
            text = bytes(payload).decode("utf-8", "replace")
            clean = "".join(char if char.isprintable() else "?" for char in text)
            raise PeerError(f"{self.peer} failed: {clean}")
        channel = self._channels.get(header.fifo)
        if header.kind == wire.CREDIT and isinstance(channel, TxChannel):
            self._on_credit(channel, Feedback(*wire.unpack_credit(payload)))
        elif header.kind == wire.END and channel is not None:
            self._on_end(channel, header.firing)
        elif header.kind == wire.IDLE and isinstance(channel, RxChannel):
            channel.lose()
        else:
            raise ProtocolError(f"a frame of kind {header.kind} against the direction")

    def _receive_token(self, inbox: Inbox, channel: RxChannel, header: wire.Header) -> None:
        begin = time.perf_counter_ns()
        receiving = channel.receiving
        receiving.expect()
        slots = [] if channel.left else channel.reserve_free(1)
        if slots:
            try:
                inbox.fill(channel.raw[slots[0]].data)
            except BaseException:
                channel.free.put(slots[0])
                raise
            receiving.arrived()
            channel.commit(slots[0], header.firing)
        else:  # the consumer has left
            inbox.fill(memoryview(bytearray(channel.token_bytes)))
            receiving.arrived()
            receiving.fired += 1
        channel.activity.add(begin, time.perf_counter_ns())
        if receiving.due:
            self.push()

    def _on_credit(self, channel: TxChannel, told: Feedback) -> None:
        with self._lock:
            try:
                if channel.number in self._outbox.resumed:
                    free = channel.sending.feedback(told)
                else:
                    free = channel.sending.resume(self._incarnation, told)
                    self._outbox.resumed.add(channel.number)
            except LostTokens as error:
                raise LostTokens(f"FIFO {channel.name!r} with {self.peer}: {error}") from None
            channel.free_slots(free)
            self._pump()
            self._check_over()

    def _on_end(self, channel: Channel, count: int) -> None:
        if isinstance(channel, RxChannel):
            if count != channel.receiving.count:
                raise ProtocolError(f"{count} tokens were sent, {channel.receiving.count} arrived")
            if not channel.heard_end:
                channel.heard_end = True
                channel.full.put(GONE)
            self.push()
            return
        if channel.over:
            return
        with self._lock:
            channel.over = True
            if lossy(channel.policy):
                channel.free_slots(channel.sending.lost())
        if not channel.ended:
            channel.leave()
        self.push()

    def _check_over(self) -> None:
        """Part from the peer if nothing remains to be done for any channel; the lock is held."""
        connection = self._socket
        finished = all(channel.finished(connection is not None) for channel in self._channels.values())
        if self._outbox.waiting or not finished:
            return
        if connection is None:
            self._over.set()
            self._wake.set()
            self._offered.set()
        elif not self._parting:
            # The peer has what it needs to part, too; when it does, reading ends.
            self._parting = time.monotonic()
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

    # Connecting.

    def _facts(self) -> Facts:
        """What we say of ourselves now."""
        firing = max((channel.receiving.firing for channel in self.rx.values()), default=0)
        return {**self.facts, "firing": str(firing)}

    def _connect(self, deadline: float, known: Callable[[], bool]) -> str:
        """Connect, until ``deadline``; why that failed, or ''. Raises Refused or ProtocolError the first time only."""
        attempt, hurried = 0, False
        error: Exception = TimeoutError("timed out")
        while not self._stopping.is_set() and not self._over.is_set():
            now = time.monotonic()
            if self._lossy and not hurried and known():
                deadline, hurried = min(deadline, now + self._life.period), True
            if now >= deadline:
                return self._nobody(error)
            try:
                if self._dials:
                    # A peer that does not answer is dead, and when all is over nobody waits for it.
                    soon = min(deadline, now + self._life.dead_after)
                    connection, verdict = dial(self._address, self._facts(), soon, self.peer, self.keys)
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
        if self._answer is None:
            return nobody_answered(self, self.peer, self._address, error, self.tunnel)
        return nobody_came(self, self.peer, self._address, self._answer.refusal, self.tunnel)

    def _later(self, hello: Facts) -> str:
        """Why a peer cannot be taken now: another process has its place, and is alive as far as we know."""
        with self._lock:
            offer, here, incarnation = self._offer, self._socket is not None, self._incarnation
        if offer is not None:
            here, incarnation = True, offer[1]["incarnation"]
        return "another process has connected in its place" if here and hello["incarnation"] != incarnation else ""

    def _accept(self, connection: Stream, hello: Facts) -> None:
        with self._lock:
            if self._offer is not None:
                self._offer[0].close()
            self._offer = (connection, hello)
            if self._socket is not None:  # the same peer, which has given the old connection up
                self._break(self._socket)
        self._offered.set()

    def _refused(self, reason: str) -> None:
        self._journal.often("refused", "times", 1, connection=self.name, peer=self.peer, reason=reason)

    def _adopt(self, connection: Stream, said: Facts) -> None:
        """Begin to use a connection."""
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._incarnation = said.get("incarnation", "")
            self.running = self.running or said.get("running") == "1"
            self.firing = wire.firing_of(said)
            self.note = wire.warn(said, self.facts)
            self._outbox.resumed = set(self.rx)
            self._parting = 0.0
            for channel in self.tx.values():
                channel.said_end = channel.said_starved = False
            for number, receiver in self.rx.items():
                receiver.receiving.resume(self._incarnation)
                receiver.over = False
                self._outbox.say(wire.credit_frame(number, receiver.receiving.tell()))
            self._life.begin(time.monotonic())
            self._socket = emulation.shaped(connection, self.emulated, said)
            self._inbox = Inbox(self._socket, self._life)
            self._pump()

    def _resume(self, deadline: float) -> None:
        """Wait until the peer has said for each FIFO where it goes on."""
        connection = self._socket
        assert connection is not None
        connection.settimeout(max(min(deadline - time.monotonic(), self._life.dead_after), 0.1))
        while not self._outbox.resumed.issuperset(self.tx):
            self._receive(self._inbox)
        connection.settimeout(None)
        self._wake.set()

    def _reconnect(self) -> None:
        """Connect again; raises LinkError if that takes longer than a FIFO that waits may."""
        since = time.monotonic()
        deadline = since + self._patience if self._waits else float("inf")
        reason = self._connect(deadline, _never)
        if self._stopping.is_set() or self._over.is_set():
            return
        if reason:
            kept = sum(channel.sending.dropped for channel in self.tx.values())
            raise LinkError(f"{reason.replace('in time', f'for {self._patience:g} s')}; {kept} tokens are undelivered")
        self._journal.tell("back", connection=self.name, peer=self.peer, seconds=round(time.monotonic() - since, 3))

    def _lose(self, reason: str) -> bool:
        """The connection is broken, or never was; whether all is over. Raises LinkError where a FIFO must stop then."""
        self._drop()
        with self._lock:
            for receiver in self.rx.values():
                receiver.lose()
            self._check_over()
        if self._over.is_set():
            return True
        if self._stops and not self._stopping.is_set():
            raise LinkError(f"{self}: {reason}")
        if reason and not self._stopping.is_set():
            self._journal.tell("lost", connection=self.name, peer=self.peer, reason=reason)
        return False

    def _drop(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            self._outbox.clear()
            for channel in self.tx.values():
                channel.free_slots(channel.sending.lost())

    def _break(self, connection: Stream) -> None:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def _never() -> bool:
    return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
