"""A connection with another platform: the sockets and threads that carry out what ``protocol`` decides.

Whoever has something to send (a producer its token, a consumer the room it made) sends what the socket takes without
waiting, in its own thread; the loop's thread sends the rest and the heartbeats, receives, and connects again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import socket
import threading
import time
from collections.abc import Mapping
from typing import Callable, Optional, Union

from eprune.runtime.kernel.errors import LinkError, LostTokens, PeerError, ProtocolError, Refused, RunError
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.net import clocks, emulation, wire
from eprune.runtime.net.counters import Credit, new_credit
from eprune.runtime.net.detector import CLOSE_TIMEOUT, FailureDetector, back_off
from eprune.runtime.net.ends import FifoEnd, RxFifo, TxFifo
from eprune.runtime.net.greeting import Greeting, warn
from eprune.runtime.net.handshake import Acceptor, Listeners, Lobby, dial, listen, nobody_answered, nobody_came
from eprune.runtime.net.loop import READ, WRITE, Loop, Sequence, Timer
from eprune.runtime.net.protocol import Do, Event, Instruction, Protocol, State
from eprune.runtime.net.receive_buffer import Closed, ReceiveBuffer
from eprune.runtime.net.send_queue import SendQueue
from eprune.runtime.net.tls import Keys, Stream
from eprune.runtime.tell.journal import Journal

#: Bytes of a token that the kernel may not hold: it is received while actors compute.
LARGE = 128 * 1024
#: Seconds after which a token is sent that was put off.
SOON = 2e-3
#: After so many times of the latter without anything to send, nobody looks for it any more.
QUIET = 50
#: Seconds after which a heartbeat is sent in any case, to compare clocks.
COMPARED = 5.0

#: What a connection reports to the engine: that it is open, that it is over, a failure.
Report = Callable[[Union[str, RunError]], None]


class Connection:
    """One TCP connection with a peer, made again whenever it breaks and may; ``fifos`` are by number.

    With ``dials`` this end connects to ``address``, otherwise it listens there. ``report`` gets 'opened' once all is
    ready to fire, 'ended' when nothing remains to be done, and failures.
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
        report: Report,
        journal: Journal,
    ) -> None:
        self.name = name
        self.peer = peer
        #: how this program identifies itself
        self.greeting = greeting
        self._note = ""
        #: the emulated link that takes the place of the true one, if any
        self.emulated: Optional[emulation.EmulatedLink] = None
        #: certificates and keys, if the link uses TLS
        self.keys: Optional[Keys] = None
        #: what to ask about the tunnel of this link, if it uses one
        self.tunnel = ""
        #: called when the peer has come: (whether it turns out that the application has been running)
        self.met: Callable[[bool], None] = lambda late: None
        self.tx = {number: each for number, each in fifos.items() if isinstance(each, TxFifo)}
        self.rx = {number: each for number, each in fifos.items() if isinstance(each, RxFifo)}
        self._prompt = [end for end in self.rx.values() if end.prompt]
        for number, fifo in fifos.items():
            fifo.number = number
            fifo.carrier = self
        #: the index of the peer's next firing, and whether its application had been running when it was met
        self.firing = 0
        self.running = False
        self.address = address
        self._dials = dials
        self._patience = patience
        self._notify = report
        self._journal = journal
        self._protocol = Protocol(fifos)
        self._detector = FailureDetector(dead_after)
        #: the peer's clock against this one
        self.clocks = clocks.Comparison()
        self._compared = 0.0  # when a heartbeat was sent last
        self._queue = SendQueue(self.tx, self.rx)
        self._lock = threading.RLock()
        self._stream: Optional[Stream] = None
        self._buffer: Optional[ReceiveBuffer] = None
        self._writing = False
        #: whether tokens that are not sent yet are sent soon, or before a thread waits
        self.gathers = False
        self._stuck = False  # whether the socket has failed at sending
        self._stopping = False
        self.incarnation = ""  # of the peer
        self._since = 0.0
        self._seeking = False
        self._acceptor: Optional[Acceptor] = None
        self._deadline: Optional[Timer] = None
        self._deserted: Optional[float] = None  # since when all has ended here but the peer was not told
        self._closers: list[threading.Thread] = []
        self._loop: Loop

    def __str__(self) -> str:
        return self.name

    # What the network calls; but for `listen` and `close`, in the loop's thread.

    def listen(self, loop: Loop, lobby: Lobby, listeners: Optional[Listeners] = None) -> None:
        """Open the listening socket of an end that listens. Raises LinkError if the address is not available."""
        self._loop = loop
        loop.eager = loop.eager or any(end.token_bytes >= LARGE for end in self.rx.values())
        if not self._dials:
            listener = (listeners.open if listeners else listen)(self, self.peer, self.address)
            act = (self._greet, self._busy, self._accept, self._refused)
            self._acceptor = Acceptor(listener, *act, self.peer, self.keys, loop, lobby, listeners)

    def open(self, deadline: Optional[float]) -> None:
        """Connect for the first time, until ``deadline`` (time.monotonic; None: without end), which may change."""
        if self._protocol.opened:
            return
        self._since = time.monotonic()
        if self._acceptor is not None:
            self._acceptor.begin()
        self._give_up_at(deadline)
        self._seek()

    def hurry(self) -> None:
        """The application has been running: whoever is not there soon is dead."""
        if self._protocol.lossy and not self._protocol.opened and not self._protocol.state.met:
            self._give_up_at(time.monotonic() + self._detector.period)

    def stop(self, message: str) -> None:
        """Inform the peer that this run failed, as far as the socket takes it."""
        with self._lock:
            self._queue.keep_begun()
            self._handle(Event.STOP, message)
            self._stopping = True

    @property
    def told(self) -> bool:
        """Whether the peer was informed, or cannot be."""
        return self._stopping and (self._stream is None or self._queue.empty)

    def cut(self) -> None:
        """Break the connection."""
        with self._lock:
            self._stopping = True
            self._rest()
            self._drop()

    def close(self) -> None:
        """Release the connection's resources; the loop has ended."""
        if self._acceptor is not None:
            self._acceptor.release()
        self._drop()
        for closer in self._closers:
            closer.join()

    # What the FIFOs call, in any thread.

    def send(self, end: TxFifo, count: int, follows: bool = False) -> None:
        """A producer has written tokens; ``follows``: they may wait for the next one."""
        with self._lock:
            end.put(count)
            if not end.alive:
                return
            if not follows:
                self._transmit(self._queue.send_next, end)
            elif not self.gathers:
                self.gathers = True
                self._loop.ask(lambda: self._send_soon(QUIET))

    def _send_soon(self, left: int) -> None:
        """Send what was put off; ``left``: how often nothing was before this ends."""
        with self._lock:
            waiting = self._send_gathered()
            self.gathers = waiting or left > 0
            self._send_gathered()
        if self.gathers:
            self._loop.later(SOON, lambda: self._send_soon(QUIET if waiting else left - 1))

    def _send_gathered(self) -> bool:
        waiting = any(end.alive and not end.drained for end in self.tx.values())
        if waiting:
            self._pump()
        return waiting

    def credit(self, end: RxFifo) -> None:
        """A report to the peer is due."""
        with self._lock:
            self._queue.report(end)
            self._transmit(self._queue.send_next)

    def put_off(self, end: RxFifo) -> None:
        """A report is due, but may wait for the next token that goes to the peer."""
        self._queue.report(end)

    def flush(self) -> None:
        """Send what was put off: a thread is about to wait, perhaps for what follows from it."""
        if self.gathers:
            with self._lock:
                self._pump()
        for end in self._prompt:
            if end.released != end.reported and end.alive:
                self.credit(end)

    def changed(self) -> None:
        """An actor has ended or starves."""
        with self._lock:
            self._handle(Event.CHANGED)

    # Carrying out; the lock is held.

    def _handle(self, event: Event, *details: object) -> None:
        for instruction in self._protocol.handle(event, *details):
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        what, *details = instruction
        if what is Do.SEND:
            self._queue.add(details[0])
        elif what is Do.PUMP:
            self._pump()
        elif what in (Do.LOSE, Do.IDLE):
            self.rx[details[0]].lose(gone=what is Do.LOSE)
        elif what is Do.FINISH:
            self.rx[details[0]].end()
        elif what is Do.LEAVE:
            self.tx[details[0]].leave()
        elif what is Do.OPENED:
            self._opened()
        elif what is Do.REOPENED:
            self._give_up_at(None)
            seconds = round(time.monotonic() - self._since, 3)
            self._journal.log("reconnected", connection=self.name, peer=self.peer, seconds=seconds)
        elif what is Do.LOST:
            self._since = time.monotonic()
            if not self._stopping:
                self._journal.log("lost", connection=self.name, peer=self.peer, reason=details[0])
        elif what is Do.SEEK:
            self._loop.ask(self._seek_again)
        elif what is Do.SHUT:
            # A peer that does not close its side in return is left after a while.
            self._queue.close(lambda stream: self._loop.ask(lambda: self._leave_later(stream)))
            self._pump()
        elif what is Do.BREAK:
            self._drop()
        elif what is Do.OVER:
            self._end()
        elif what is Do.PARTED:
            self._fail(f"{self}: lost peer {self.peer!r}: {details[0]}")
        elif what is Do.FAIL and not self._protocol.opened:
            self._fail(details[0])
        elif what is Do.FAIL:
            kept = sum(fifo.dropped for fifo in self.tx.values())
            reason = details[0].replace("in time", f"within {self._patience:g} s")
            self._fail(f"{reason}; {kept} tokens were not delivered")

    def _opened(self) -> None:
        self._give_up_at(None)
        if self._stream is not None:
            self._journal.log("connected", connection=self.name, peer=self.peer)
            if self._note:
                self._journal.log("note", f"{self}: {self._note}")
            if self._protocol.stops:
                self._rest()
        self._notify("opened")

    def _end(self) -> None:
        self._give_up_at(None)
        self._rest()
        if not self._stopping:
            self._journal.log("closed", connection=self.name, peer=self.peer)
        self._notify("ended")

    def _fail(self, reason: str) -> None:
        self._rest()
        if not self._stopping:
            self._notify(LinkError(reason))

    def _rest(self) -> None:
        if self._acceptor is not None:
            self._acceptor.rest()

    def _pump(self) -> None:
        """Send what the socket takes without waiting."""
        self._transmit(self._queue.send)
        if self._protocol.state is State.TOGETHER and self._protocol.finished:
            self._handle(Event.CHANGED)

    def _transmit(self, act: Callable[..., bool], *details: TxFifo) -> None:
        stream = self._stream
        if stream is None:
            return
        try:
            if act(stream, *details):
                self._detector.last_sent = time.monotonic()
        except BlockingIOError:
            self._want_to_write()
        except OSError:
            self._broken(stream)

    def _broken(self, stream: Stream) -> None:
        """Nothing can be sent any more: what has arrived is still read."""
        self._stuck = True
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)

    def _leave_later(self, stream: Stream) -> None:
        self._loop.later(CLOSE_TIMEOUT, lambda: self._lose(stream, Event.BROKEN, "the peer does not close its side"))

    def _want_to_write(self) -> None:
        if not self._writing and self._stream is not None:
            self._writing = True
            self._loop.expect(self._stream, READ | WRITE)

    def _drop(self) -> None:
        """Close the socket, if there is one."""
        stream, self._stream = self._stream, None
        self._queue.clear()
        self._writing = self._stuck = False
        if stream is None:
            return
        self._loop.unwatch(stream)
        if self.emulated is None:
            stream.close()
            return
        closer = threading.Thread(target=stream.close, name=f"close {self}", daemon=True)
        closer.start()
        self._closers.append(closer)

    # In the loop's thread.

    def _ready(self, stream: Stream, events: int) -> None:
        """The socket can be read from or written to."""
        if stream is not self._stream:
            return
        if events & WRITE:
            with self._lock:
                if self._stream is stream:
                    self._writing = False
                    self._loop.expect(stream, READ)
                    self._pump()
        if events & ~WRITE and self._stream is stream:
            self._read()

    def _read(self) -> None:
        assert self._buffer is not None
        stream = self._stream
        self._detector.last_received = time.monotonic()
        try:
            if self._buffer.read():
                self._loop.ask(lambda: self._ready(stream, READ) if stream is not None else None)
            return
        except PeerError as error:
            if self._protocol.stops and not self._protocol.finished:
                self._give_up(error)
            else:
                self._lose(stream, Event.ERROR, str(error))
        except OSError as error:
            closed = isinstance(error, Closed) and not self._stuck
            reason = getattr(error, "strerror", None) or str(error)
            self._lose(stream, Event.CLOSED if closed else Event.BROKEN, reason)
        except ProtocolError as error:
            if self._protocol.lossy or not (self._protocol.opened or self._protocol.stops):
                self._journal.log_repeated(
                    "protocol_error", "times", 1, connection=self.name, peer=self.peer, reason=str(error)
                )
                self._lose(stream, Event.BROKEN, str(error))
            else:
                self._give_up(LinkError(f"{self}: {self.peer} violates the protocol: {error}"))
        except LinkError as error:  # lost tokens, or a refusal by TLS
            self._give_up(error)

    def _give_up(self, error: RunError) -> None:
        if not self._stopping:
            self._notify(error)
        with self._lock:
            self._drop()

    def _lose(self, stream: Optional[Stream], event: Event, reason: str) -> None:
        with self._lock:
            if self._stream is stream and stream is not None:
                self._handle(event, reason)

    def _frame(self, header: wire.Header, payload: bytes) -> None:
        """A frame that is not a token."""
        if header.kind == wire.CREDIT:
            credit, sender = new_credit(wire.unpack_credit(payload)), self.tx.get(header.fifo)
            with self._lock:
                if sender is not None and self._protocol.state is State.TOGETHER:
                    sender.credit(credit)
                    self._made_room(sender)
                else:
                    self._credited(header.fifo, credit)
        elif header.kind == wire.HEARTBEAT:
            self._compare(payload)
        elif header.kind == wire.ERROR:
            text = payload.decode("utf-8", "replace")
            clean = "".join(char if char.isprintable() else "?" for char in text)
            raise PeerError(f"peer {self.peer!r} failed: {clean}")
        elif header.kind in (wire.PAST, wire.TRAIL):
            end = self.rx.get(header.fifo)
            if end is None:
                raise ProtocolError(f"what is said of tokens of FIFO number {header.fifo} is not the receiver's to say")
            Fifo.pass_over(end, header.firing) if header.kind == wire.PAST else end.trail(header.firing, payload)
        elif header.kind == wire.END:
            with self._lock:
                self._handle(Event.END, header.fifo, header.firing)
        else:
            with self._lock:
                self._handle(Event.IDLE, header.fifo)

    def _compare(self, payload: bytes) -> None:
        """A heartbeat tells the peer's clock."""
        clock, there = wire.unpack_heartbeat(payload)
        answer = self.clocks.heard(time.monotonic(), clocks.micros(), clock, there)
        for end in self.rx.values():
            end.offset, end.uncertainty = self.clocks.offset, self.clocks.uncertainty
        if answer:
            with self._lock:
                self._beat()
                self._pump()

    def _beat(self) -> None:
        self._compared = time.monotonic()
        self._queue.add(wire.heartbeat_frame(clocks.micros(), self.clocks.least))

    def _credited_briefly(self, number: int, fired: int) -> None:
        """A token's header is a credit too."""
        with self._lock:
            self._protocol.credit_briefly(number, fired)
            self._made_room(self.tx[number])

    def _made_room(self, end: TxFifo) -> None:
        """Where all goes its way, a credit only makes room for what is not written yet."""
        if end.keeper is not None or not (end.drained or self.gathers):
            self._pump()

    def _credited(self, number: int, credit: Credit) -> None:
        try:
            self._handle(Event.CREDIT, number, credit)
        except LostTokens as error:
            raise LostTokens(f"FIFO {self.tx[number].name!r} with {self.peer}: {error}") from None

    def tick(self) -> None:
        """Send a heartbeat where one is due; notice silence. Called every `period`."""
        now = time.monotonic()
        with self._lock:
            stream = self._stream
            if stream is None:
                return
            dead = self._detector.dead(now)
            quiet = self._queue.empty and self._protocol.state in (State.MEETING, State.TOGETHER)
            due = self._detector.heartbeat_due(now) or now >= self._compared + COMPARED
            if not dead and quiet and due:
                self._beat()
                self._pump()
        if dead:
            silence = f"nothing received for {self._detector.dead_after:g} s; the peer or the network is stuck"
            self._lose(stream, Event.BROKEN, silence)

    @property
    def period(self) -> float:
        """Seconds between two calls of `tick`."""
        return self._detector.period

    # Connecting, in the loop's thread.

    def _greet(self) -> Greeting:
        """How this program identifies itself now."""
        firing = max((fifo.firing for fifo in self.rx.values()), default=0)
        return dataclasses.replace(self.greeting, firing=firing)

    def _give_up_at(self, when: Optional[float]) -> None:
        """When it is too late to meet the peer; None: never."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if when is not None:
            self._deadline = self._loop.later(max(when - time.monotonic(), 0.0), self._too_late)

    def _too_late(self) -> None:
        with self._lock:
            self._handle(Event.NOBODY, self._nobody())

    def _seek_again(self) -> None:
        """The connection is lost: connect again, in the time that there is."""
        protocol = self._protocol
        if protocol.state is not State.APART:
            return
        if self._deadline is None and protocol.opened and (not protocol.lossy or protocol.deserted):
            self._give_up_at(time.monotonic() + self._patience)
        self._seek()

    def _seek(self) -> None:
        if self._dials and not self._seeking:
            self._seeking = True
            self._loop.run(self._dial())

    def _dial(self) -> Sequence:
        """Dial until the peer answers."""
        attempt = 0
        self._last: Exception = TimeoutError("no answer")
        while not self._stopping and self._protocol.state is State.APART:
            now = time.monotonic()
            try:
                soon = now + max(self._detector.dead_after, 1.0)
                stream, greeting = yield from dial(self.address, self._greet(), soon, self.peer, self.keys)
                if self._stopping or self._protocol.state is not State.APART:
                    stream.close()
                    break
                self._meet(stream, greeting)
                break
            except (Refused, ProtocolError) as error:
                if not self._protocol.opened:
                    self._notify(type(error)(f"{self}: {error}"))
                    break
                if not isinstance(self._last, LinkError):
                    self._refused(str(error))
                self._last = error
            except OSError as error:
                self._last = error
            if isinstance(self._last, (Refused, ConnectionRefusedError)) and self._nobody_to_tell(now):
                self._too_late()
                break
            yield None, 0, time.monotonic() + back_off(attempt, random.random())
            attempt += 1
        self._seeking = False

    def _nobody_to_tell(self, now: float) -> bool:
        """Whether all has ended here, and for a while nobody has been there to learn it."""
        protocol = self._protocol
        if not (protocol.opened and protocol.content):
            self._deserted = None
            return False
        self._deserted = now if self._deserted is None else self._deserted
        return now - self._deserted > self._detector.dead_after

    def _nobody(self) -> str:
        if self._acceptor is None:
            return nobody_answered(self, self.peer, self.address, self._last, self.tunnel)
        return nobody_came(self, self.peer, self.address, self._acceptor.refusal, self.tunnel)

    def _busy(self, greeting: Greeting) -> str:
        """Why a peer cannot be accepted now: another process has its place and is alive, as far as is known."""
        other = self._stream is not None and greeting.incarnation != self.incarnation
        return "another process has connected in its place" if other else ""

    def _accept(self, stream: Stream, greeting: Greeting) -> None:
        with self._lock:
            if self._stream is not None:  # the same peer, which has given up the old connection
                self._handle(Event.BROKEN, "the peer connected again")
        self._meet(stream, greeting)

    def _refused(self, reason: str) -> None:
        self._journal.log_repeated("refused", "times", 1, connection=self.name, peer=self.peer, reason=reason)

    def _meet(self, stream: Stream, greeting: Greeting) -> None:
        """Begin to use a connection."""
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = emulation.shaped(stream, self.emulated, greeting)
            stream.settimeout(0)
        except OSError:
            stream.close()
            self._loop.ask(self._seek_again)
            return
        with self._lock:
            if self._stopping or self._protocol.state is not State.APART:
                stream.close()
                return
            self.incarnation = greeting.incarnation
            first, self.running = not self.running, self.running or greeting.running
            self.firing = greeting.firing
            self._note = warn(greeting, self.greeting)
            self._detector.begin(time.monotonic())
            self._stream = stream
            self._buffer = ReceiveBuffer(stream, self.rx, self._frame, self._credited_briefly)
            self._loop.watch(stream, READ, lambda events: self._ready(stream, events))
            self.clocks.begin()
            self._beat()  # before all tokens, so that their age is known
            self._handle(Event.MET, greeting.incarnation)
        self.met(first and self.running)
        # TLS may have received more than the greeting.
        self._loop.ask(lambda: self._ready(stream, READ))
