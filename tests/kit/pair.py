"""Two ends of a connection in memory: the protocol, its queue and its buffer, with actors that do what a history says.

No socket, no thread, no clock. Bytes move when the history says so, as many as it says.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from itertools import count

from eprune.runtime.kernel.errors import LostTokens
from eprune.runtime.kernel.policy import lossy
from eprune.runtime.net import wire
from eprune.runtime.net.clocks import ANSWERS
from eprune.runtime.net.counters import Credit
from eprune.runtime.net.ends import RxFifo, TxFifo
from eprune.runtime.net.protocol import Do, Event, Protocol, State
from eprune.runtime.net.receive_buffer import Closed, ReceiveBuffer
from eprune.runtime.net.send_queue import SendQueue

FRAMES = {wire.END: Event.END, wire.IDLE: Event.IDLE}
#: bytes that a socket takes before it is full
BUFFERED = 300


@dataclass(frozen=True)
class Spec:
    """A FIFO: ``source`` is the side (0 or 1) of its producer; tokens are (incarnation, number, ...)."""

    source: int
    policy: str
    capacity: int
    fired: bool = False
    delay: int = 0
    size: int = 2


class Wire:
    """One direction of a connection: bytes in the sender's buffer, and those that have arrived."""

    def __init__(self) -> None:
        self.waiting, self.arrived = bytearray(), bytearray()
        self.shut = self.broken = False
        self.moved = 0

    def move(self, most: int) -> None:
        self.moved += min(most, len(self.waiting))
        self.arrived += self.waiting[:most]
        del self.waiting[:most]


class Stream:
    """A socket: it sends into one wire and receives from another."""

    def __init__(self, out: Wire, into: Wire) -> None:
        self.out, self.into = out, into

    def sendmsg(self, buffers, ancillary, flags):
        assert not self.out.shut, "sends after it has closed its side"
        if self.out.broken:
            raise BrokenPipeError
        room = BUFFERED - len(self.out.waiting)
        if room <= 0:
            raise BlockingIOError
        data = b"".join(buffers)[:room]
        self.out.waiting += data
        return len(data)

    def shutdown(self, how):
        self.out.shut = True

    def recvmsg_into(self, buffers):
        wire_ = self.into
        if not wire_.arrived:
            if wire_.broken:
                raise ConnectionResetError("broken")
            if wire_.shut and not wire_.waiting:
                return [0]
            raise BlockingIOError
        taken = 0
        for buffer in buffers:
            part = wire_.arrived[: len(buffer)]
            buffer[: len(part)] = part
            del wire_.arrived[: len(part)]
            taken += len(part)
        return [taken]


@dataclass
class Log:
    """What happened to one FIFO in all incarnations of its ends; tokens are (incarnation of the producer, number)."""

    #: incarnation of the producer -> tokens made
    made: dict[int, int] = field(default_factory=dict)
    #: incarnation of the consumer -> tokens fired on, in their order
    used: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


class Side:
    """One run of a program: its ends of the FIFOs, and what its connection would do."""

    #: numbers of incarnations
    births = count(1)

    def __init__(self, place: int, specs: list[Spec], logs: list[Log]) -> None:
        self.place, self.specs, self.logs = place, specs, logs
        self.incarnation = next(Side.births)
        self.fifos = {number: self._make(number, spec) for number, spec in enumerate(specs)}
        self.tx = {number: each for number, each in self.fifos.items() if isinstance(each, TxFifo)}
        self.rx = {number: each for number, each in self.fifos.items() if isinstance(each, RxFifo)}
        self.reserved = dict.fromkeys(self.tx, 0)
        self.held = dict.fromkeys(self.rx, 0)
        self.protocol = Protocol(self.fifos)
        self.queue = SendQueue(self.tx, self.rx)
        self.stream = None
        self.buffer = None
        self.seeks = True
        self.answers = 0  # to as many heartbeats as are answered at once
        self.opened = self.over = False
        self.failed = ""
        self.told = []
        self.briefly = 0  # credits that came in headers

    def _make(self, number, spec):
        name = f"f{number}"
        if spec.source == self.place:
            fifo = TxFifo(name, "int64", (spec.size,), spec.capacity, spec.policy, spec.fired)
            self.logs[number].made[self.incarnation] = 0
        else:
            fifo = RxFifo(name, "int64", (spec.size,), spec.capacity, spec.policy, 0, spec.delay)
            fifo.rides = any(other.source == self.place for other in self.specs)
            self.logs[number].used[self.incarnation] = []
        fifo.number, fifo.carrier = number, self
        return fifo

    @property
    def gone(self) -> bool:
        """Whether its process has ended, as far as this connection goes."""
        return self.over or bool(self.failed)

    # The carrier of the FIFOs.

    #: nothing waits for the next token here
    gathers = False

    def send(self, end, number, follows=False):
        end.put(number)
        if self.stream is not None and end.alive:
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                self.queue.send_next(self.stream, end)

    def put_off(self, end):
        self.queue.report(end)

    def credit(self, end):
        self.pump()

    def changed(self):
        self.handle(Event.CHANGED)

    # What a connection does.

    def handle(self, event, *details):
        if self.failed:
            return
        for what, *more in self.protocol.handle(event, *details):
            self.told.append(what)
            self.carry_out(what, *more)

    def carry_out(self, what, *details):
        if what is Do.SEND:
            self.queue.add(details[0])
        elif what is Do.PUMP:
            self.pump()
        elif what is Do.LOSE:
            self.rx[details[0]].lose(gone=True)
        elif what is Do.IDLE:
            self.rx[details[0]].lose(gone=False)
        elif what is Do.FINISH:
            self.rx[details[0]].end()
        elif what is Do.LEAVE:
            self.tx[details[0]].leave()
        elif what is Do.OPENED:
            self.opened = True
        elif what is Do.SEEK:
            self.seeks = True
        elif what is Do.SHUT:
            self.queue.close(lambda stream: None)
            self.pump()
        elif what is Do.BREAK:
            self.drop()
        elif what is Do.OVER:
            self.over = True
            self.drop()
        elif what in (Do.PARTED, Do.FAIL):
            self.fail(details[0])

    def fail(self, reason):
        self.failed = reason
        self.drop()

    def pump(self):
        if self.stream is None:
            return
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            self.queue.send(self.stream)
        if self.protocol.state is State.TOGETHER and self.protocol.finished:
            self.handle(Event.CHANGED)

    def drop(self):
        if self.stream is not None:
            self.stream.out.shut = True
            self.stream.into.broken = True  # what still comes is answered by a reset
            self.stream = None
        self.queue.clear()

    def meet(self, stream, incarnation):
        self.stream = stream
        self.buffer = ReceiveBuffer(stream, self.rx, self.frame, self.credited)
        self.seeks = False
        self.answers = ANSWERS
        self.queue.add(wire.heartbeat_frame(0, 0))
        self.handle(Event.MET, str(incarnation))

    def credited(self, number, fired):
        self.briefly += 1
        self.protocol.credit_briefly(number, fired)

    def frame(self, header, payload):
        try:
            if header.kind == wire.CREDIT:
                self.handle(Event.CREDIT, header.fifo, Credit(*wire.unpack_credit(payload)))
            elif header.kind == wire.HEARTBEAT:
                self.answers -= 1
                if self.answers >= 0:
                    self.queue.add(wire.heartbeat_frame(0, 0))
                    self.pump()
            else:
                self.handle(FRAMES[header.kind], header.fifo, *[header.firing] * (header.kind == wire.END))
        except LostTokens as error:
            self.fail(f"LostTokens: {error}")

    def read(self):
        """Read what has arrived; notice that the connection is broken. Before, what waits for a token is sent."""
        for fifo in self.rx.values():
            fifo.settle()
        stream = self.stream
        while self.stream is stream and stream is not None:
            try:
                if not self.buffer.read():
                    return
            except OSError as error:
                if self.stream is stream:
                    self.handle(Event.CLOSED if isinstance(error, Closed) else Event.BROKEN, str(error))

    # What its actors do.

    def reserve(self, number):
        """A producer waits for room, and has it."""
        fifo = self.tx[number]
        if not self.reserved[number] and fifo.await_room(1, 0):
            self.reserved[number] = 1

    def make(self, number):
        """A producer that has room fires."""
        if self.gone or number not in self.tx:
            return
        fifo, log = self.tx[number], self.logs[number]
        self.reserve(number)
        if self.reserved[number] and not fifo.ended and not (fifo.left and not lossy(fifo.policy)):
            self.reserved[number] = 0
            token = log.made[self.incarnation]
            fifo.writable[fifo.written % fifo.capacity][:2] = (self.incarnation, token)
            log.made[self.incarnation] = token + 1
            fifo.starved = False
            fifo.commit(1, token)

    def hold(self, number):
        """A consumer takes a token and begins to fire."""
        if not self.gone and number in self.rx and not self.rx[number].left:
            fifo = self.rx[number]
            if fifo.written - fifo.released > self.held[number] == 0:
                self.held[number] = 1

    def use(self, number):
        """A consumer has fired."""
        self.hold(number)
        if not self.gone and self.held.get(number) and not self.rx[number].left:
            fifo = self.rx[number]
            self.held[number] = 0
            token = fifo.readable[fifo.released % fifo.capacity]
            if fifo.firings[fifo.released % fifo.capacity] >= 0:
                self.logs[number].used[self.incarnation].append((int(token[0]), int(token[1])))
            fifo.firing += 1
            fifo.release()

    def end(self, number):
        """The actor at that end has ended."""
        if self.gone:
            return
        if number in self.tx and not self.tx[number].ended:
            self.tx[number].end()
        elif number in self.rx and not self.rx[number].left:
            self.held[number] = 0
            self.rx[number].leave()

    def starve(self, number):
        if not self.gone and number in self.tx and lossy(self.specs[number].policy) and not self.tx[number].ended:
            self.tx[number].starve(True)

    def conclude(self, alone=False):
        """What actors do that end as soon as they may: producers now, consumers after the last token, or if they are
        alone.
        """
        for number in self.tx:
            self.end(number)
        for number, fifo in self.rx.items():
            while fifo.written > fifo.released and not fifo.left and not self.gone:
                self.use(number)
            if fifo.ended or alone:
                self.end(number)


class Pair:
    """Two sides and what is between them."""

    def __init__(self, specs: list[Spec]) -> None:
        self.specs = specs
        self.logs = [Log() for _ in specs]
        self.sides = [Side(0, specs, self.logs), Side(1, specs, self.logs)]
        self.wires = [Wire(), Wire()]
        #: sides that were killed, in their order
        self.killed = []

    def meet(self):
        """Both find each other, if they look for each other; one that listens takes the new for the old."""
        first, second = self.sides
        if first.gone or second.gone or not first.seeks:
            return
        if second.stream is not None:
            second.handle(Event.BROKEN, "the peer connected again")
        if second.protocol.state is not State.APART:
            return
        there, back = self.wires = [Wire(), Wire()]
        second.meet(Stream(back, there), first.incarnation)
        first.meet(Stream(there, back), second.incarnation)

    def move(self, direction, most):
        """Some bytes go on, and are read."""
        self.wires[direction].move(most)
        receiver, sender = self.sides[1 - direction], self.sides[direction]
        if receiver.stream is not None and receiver.stream.into is self.wires[direction]:
            receiver.read()
        if sender.stream is not None and sender.stream.out is self.wires[direction]:
            sender.pump()

    def flow(self):
        """All bytes arrive."""
        for direction in (0, 1, 0, 1):
            self.move(direction, 10**6)

    def work(self, times):
        """All actors do what they can, that often, and all bytes arrive."""
        for _ in range(times):
            for number, spec in enumerate(self.specs):
                for side, do in ((self.sides[spec.source], Side.make), (self.sides[1 - spec.source], Side.use)):
                    if side.opened:
                        do(side, number)
            self.flow()

    def cut(self):
        """The connection breaks, and what is under way is lost. Each side notices when it reads."""
        for each in self.wires:
            each.waiting.clear()
            each.broken = True

    def notice(self, place):
        side = self.sides[place]
        if side.stream is not None:
            side.read()

    def restart(self, place):
        """A process is killed and started again."""
        side = self.sides[place]
        self.killed.append(side)
        if side.stream is not None:
            side.stream.out.shut = True
            side.stream.into.broken = True
        self.sides[place] = Side(place, self.specs, self.logs)

    def nobody(self, place):
        """A side has waited long enough."""
        side = self.sides[place]
        if not side.gone and side.protocol.state in (State.APART, State.MEETING):
            side.handle(Event.NOBODY, "nobody")

    def settle(self):
        """The link stays up and all actors end, until nothing more happens. A side whose peer has gone despairs."""
        before = None
        while before != self._state():
            before = self._state()
            for place in (0, 1):
                self.notice(place)
            self.meet()
            for direction in (0, 1):
                self.move(direction, 10**6)
            for side in self.sides:
                alone = self.sides[1 - side.place].gone and side.stream is None
                if side.opened:
                    side.conclude(alone)
                if alone:
                    self.nobody(side.place)

    def _state(self):
        ends = [
            (side.gone, side.opened, side.protocol.state, fifo.written, fifo.released, fifo.over)
            for side in self.sides
            for fifo in side.fifos.values()
        ]
        return ends, [(each.moved, len(each.waiting), len(each.arrived), each.shut, each.broken) for each in self.wires]
