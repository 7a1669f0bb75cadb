"""The two ends of a FIFO between platforms: a ring of slots each, whose counters the protocol keeps together."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Optional, Protocol, Union

import numpy as np

from eprune.runtime.kernel.adaptive import AdaptiveTimeout
from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.errors import ProtocolError
from eprune.runtime.kernel.fifo import Fifo, FifoCounts
from eprune.runtime.kernel.held import Held
from eprune.runtime.kernel.newest import NewestFifo
from eprune.runtime.kernel.policy import NEWEST, WAIT, lossy
from eprune.runtime.kernel.variable import Shape
from eprune.runtime.net import clocks, wire
from eprune.runtime.net.counters import Credit, Receiving, Sending, stride
from eprune.runtime.tell.record import Activity

#: Seconds between two tokens of a producer that writes one after the other, for each FIFO that its thread sends into.
TOGETHER = 50e-6
#: Seconds after which a report is sent of tokens that the producer keeps until it has come.
PROMPTLY = 1e-3


class Carrier(Protocol):
    """What the ends ask of their connection."""

    #: whether tokens that are not sent yet are sent soon, or before a thread waits
    gathers: bool

    def send(self, end: TxFifo, count: int, follows: bool = False) -> None:
        """The producer has written ``count`` tokens; ``follows``: they may wait for the next one."""

    def credit(self, end: RxFifo) -> None:
        """A report to the peer is due."""

    def put_off(self, end: RxFifo) -> None:
        """A report is due, but may wait for the next token that goes to the peer."""

    def changed(self) -> None:
        """An actor has ended or starves."""


class TxFifo(Fifo, Sending):
    """The sending end: the producer's ring, and what happens to its tokens. ``window``: tokens beyond the capacity."""

    carrier: Carrier
    #: whether what is sent of its tokens varies in size
    uneven = False

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: Shape,
        capacity: int,
        policy: str = "stop",
        fired: bool = False,
        window: int = 0,
        spare: int = 0,
    ) -> None:
        Fifo.__init__(self, name, dtype, shape, capacity + window + spare)
        Sending.__init__(self, policy, capacity + window, fired, spare)
        self.uneven = self.uneven or self.variable
        self.number = 0
        self.lossy = lossy(policy)
        #: what its tokens tell the peer of time-outs, if its own is a range
        self.adaptive: Optional[AdaptiveTimeout] = None
        #: of the first FIFO of a route, the tokens that got no answer over any of them; of the others 0; None: no route
        self.unanswered: Optional[int] = None
        self.activity = Activity()
        #: tokens that may wait for the next ones, to be sent with them
        self.stride = stride(self.capacity)
        #: seconds between two tokens that are sent together
        self.together = TOGETHER
        #: when the producer wrote last (time.monotonic)
        self.written_at = 0.0
        self._headers = [memoryview(bytearray(wire.HEADER_BYTES)) for _ in range(self.capacity)]
        self._frames = [[header, raw.data] for header, raw in zip(self._headers, self.raw)]

    @property
    def connected(self) -> bool:
        """Whether the peer is connected."""
        return self.alive

    def commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """Take tokens from the producer."""
        written = self.written
        if self.variable:
            self._measure(written, count)
        for number in (written,) if count == 1 else range(written, written + count):
            slot = number % self.capacity
            self.firings[slot] = firing
            self.births[slot] = birth
        follows = self.more_follows(count)
        if follows and self.carrier.gathers and self.alive and not self.lossy:
            self.written += count
            if not self.carrier.gathers:  # that has just changed
                self.carrier.send(self, 0)
        else:
            self.carrier.send(self, count, follows)
        fill = self.written - self.released - self.spare
        if fill > self.peak:
            self.peak = fill

    @property
    def fill(self) -> int:
        """How many tokens were made and are not consumed yet."""
        return max(self.written - self.released - self.spare, 0)

    def end(self) -> None:
        """The producer has ended."""
        self.ended = True
        self.carrier.changed()

    def starve(self, starved: bool) -> None:
        """The producer makes no tokens for now, or makes some again."""
        self.starved = starved
        self.idle_sent = False
        self.carrier.changed()

    def more_follows(self, count: int) -> bool:
        """Whether the next token is probably written in a moment, and can be sent together with these ``count``."""
        if self.stride == 1:
            return False
        before, self.written_at = self.written_at, time.monotonic()
        return self.written_at - before <= self.together and self.written + count - self.next < self.stride

    def pass_over(self, index: int) -> None:
        """No tokens of an index up to this one will come any more."""
        self.passed = index
        self.carrier.changed()

    def skip(self, count: int) -> None:
        """So many tokens were made that there was no room for."""
        self.skipped += count
        self.given_up += count

    def frames(self, first: int, count: int, credited: int = wire.NONE, fired: int = 0) -> list[memoryview]:
        """Headers and payloads of the tokens from number ``first`` on; a credit goes with that one."""
        buffers: list[memoryview] = []
        for number in range(first, first + count):
            slot = number % self.capacity
            birth = clocks.to_wire(self.births[slot])
            nbytes, frame = self.token_bytes, self._frames[slot]
            if self.variable:
                nbytes = self.used[slot] * self.readable[slot].itemsize
                frame = [frame[0], frame[1][:nbytes]]
            level = self.adaptive.level if self.adaptive is not None else 0
            fields = self.number, birth, self.firings[slot], nbytes, credited, fired, level
            wire.pack_header(self._headers[slot], wire.DATA, *fields)
            credited = wire.NONE
            buffers += frame
        return buffers

    def _free(self) -> None:
        super()._free()
        if self.writer.asleep:
            self.writer.ring()

    def summary(self) -> FifoCounts:
        """What happened to the ``tokens`` that were made: ``confirmed`` arrived, ``dropped`` may not have arrived."""
        return replace(
            super().summary(),
            capacity=self.capacity - self.spare,
            tokens=self.made,
            policy=self.policy,
            confirmed=self.confirmed,
            dropped=self.dropped,
            resent=self.resent,
        )

    @property
    def made(self) -> int:
        """Tokens that the producer made, those included that there was no room for."""
        return self.written + self.skipped


class NewestTxFifo(TxFifo):
    """The sending end of a FIFO that keeps the newest tokens: they wait here, until there is room for them there."""

    def __init__(self, name: str, dtype: str, shape: Shape, capacity: int, rate: int) -> None:
        super().__init__(name, dtype, shape, 2 * rate, NEWEST)
        self._rate = rate
        self._kept = NewestFifo(name, dtype, shape, capacity, rate)
        self.keeper = self._kept

    @property
    def made(self) -> int:
        """Tokens that the producer made."""
        return self._kept.written

    @property
    def fill(self) -> int:
        """How many tokens wait to be sent, or were sent and are not consumed yet."""
        return self._kept.fill + super().fill

    @property
    def drained(self) -> bool:
        """Whether nothing waits to be sent."""
        return not self._kept.waits and super().drained

    def commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """Take tokens from the producer."""
        self._kept.commit(count, firing, birth)
        self.carrier.send(self, 0)

    def take(self, most: int) -> int:
        """The newest tokens, if there is room for them: they move to where they are sent from."""
        self.given_up += self._kept.discarded - self.skipped
        self.skipped = self._kept.discarded
        if not self.alive or self.limit - self.next < self._rate:
            return 0
        taken = self._kept.take()
        if taken is None:
            return 0
        index, slots = taken
        for number, slot in enumerate(slots, self.written):
            self.raw[number % self.capacity][...] = self._kept.raw[slot]
            if self.variable:
                self.used[number % self.capacity] = self._kept.used[slot]
            self.firings[number % self.capacity] = index
            self.births[number % self.capacity] = self._kept.births[slot]
            self._kept.give_back(slot, True)
        self.written += len(slots)
        return super().take(len(slots))


class RxFifo(Fifo, Receiving):
    """The receiving end: the consumer's ring. ``window``: tokens beyond the capacity."""

    carrier: Carrier
    #: whether what comes of its tokens varies in size
    uneven = False

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: Shape,
        capacity: int,
        policy: str = "stop",
        window: int = 0,
        delay: int = 0,
        initial: Optional[np.ndarray] = None,
    ) -> None:
        Fifo.__init__(self, name, dtype, shape, capacity + window, delay, initial)
        Receiving.__init__(self, policy, capacity + window, delay)
        self.uneven = self.uneven or self.variable
        self.number = 0
        self.kept = policy == WAIT
        self.activity = Activity()
        #: where the time-out is a range: what is told of others', and the platform at the other end
        self.adaptive: Optional[AdaptiveTimeout] = None
        self.range = (0.0, 0.0)
        self.peer = ""
        #: how far the sender's clock is ahead of this one, and how wrong that may be, in microseconds; None: unknown
        self.offset: Optional[int] = None
        self.uncertainty: Optional[int] = None
        #: how many tokens the producer needs room for; whether it has that is reported at once
        self.need = 1
        #: whether it has less: what the consumer gives back is reported at once
        self.tight = False
        #: whether the producer keeps tokens until it knows that they were fired on, which then is reported in a moment
        self.prompt = policy == WAIT and self.stride > 1
        self._reported_at = 0.0  # time.monotonic
        #: whether other reports wait for the tokens that the consumer's thread sends to the same platform
        self.rides = False
        #: whether indices may go back: tokens of a route, or answers to them, some of which come by a second way
        self.unordered = False
        self._consumed = 0  # tokens that the consumer had released when it ended
        self._payloads = [raw.data for raw in self.raw]
        self._scratch: Optional[memoryview] = None

    def target(self, nbytes: int) -> memoryview:
        """Where the next token goes, which has so many bytes: its slot, or nowhere once the consumer has left."""
        slot = self.written % self.capacity
        if self.variable:
            room: Any = self.writable[slot]
            room.used = nbytes // room.itemsize
        if not self.left:
            return self._payloads[slot][:nbytes] if self.variable else self._payloads[slot]
        if self._scratch is None:
            self._scratch = memoryview(bytearray(self.token_bytes))
        return self._scratch[:nbytes]

    @property
    def lengths(self) -> Union[int, range]:
        """How many bytes a token may have: so many, or one of these numbers."""
        if not self.variable:
            return self.token_bytes
        return range(0, self.token_bytes + 1, self.readable[0].itemsize)

    def arrived(self, firing: int, birth: int) -> None:
        """The token at `target` has arrived whole; ``birth`` as in its header."""
        self.lost = False
        super().commit(1, firing, clocks.from_wire(birth, self.offset))
        self.tight = tight = self.bound - self.written < self.need
        if self.left:
            self.released = self.written
        elif tight:
            self.settle()

    def arrived_together(self, tokens: np.ndarray, firings: list[int], births: list[int]) -> None:
        """Many tokens have arrived; ``tokens`` has a row of bytes for each."""
        count, capacity = len(firings), self.capacity
        done = 0
        while done < count:
            slot = (self.written + done) % capacity
            more = min(count - done, capacity - slot)
            self.memory[slot : slot + more, : self.token_bytes] = tokens[done : done + more]
            self.firings[slot : slot + more] = firings[done : done + more]
            self.births[slot : slot + more] = births[done : done + more]
            done += more
        self.lost = False
        self.written += count
        self.tight = self.room < self.need
        if self.left:
            self.released = self.written
        else:
            self.settle()
        self.peak = max(self.peak, self.written - self.released)
        if self.reader.asleep:
            self.reader.ring()

    def trail(self, firing: int, payload: bytes) -> None:
        """Where the time of the next token went; only where a requirement asks for it. Raises ProtocolError."""
        raise ProtocolError(f"a trail for FIFO {self.name!r}, which has none")

    def lose(self, gone: bool) -> None:
        """Notify the consumer that its producer is starved, or ``gone``, until the next token."""
        self.starve(True)
        self.gone = gone
        if gone and self.adaptive is not None:
            self.adaptive.forget(self.peer)

    def heard(self, level: int) -> None:
        """The peer's waits ask for a time-out of this level."""
        if self.adaptive is not None:
            self.adaptive.heard(self.peer, level)

    def begin(self) -> None:
        """The consumer begins to fire."""
        super().begin()
        self.carrier.credit(self)

    def release(self, count: int = 1) -> None:
        """The consumer gives slots back."""
        self.released += count
        due = self.tight or self.released - self.reported >= self.stride
        if due or (self.prompt and time.monotonic() - self._reported_at >= PROMPTLY):
            if self.rides:
                self.carrier.put_off(self)
            else:
                self.carrier.credit(self)

    def complete(self) -> None:
        """The iteration is over: what it took need not be kept any longer."""
        if self.completed != self.released:
            self.completed = self.released
            self.carrier.credit(self)

    def settle(self) -> None:
        """Report the room that there is, if the producer needs it."""
        if self.tight and self.released != self.reported:
            self.carrier.credit(self)

    def report(self) -> Credit:
        """The counters that the peer gets now."""
        credit = super().report()
        self.tight = self.room < self.need
        if self.prompt:
            self._reported_at = time.monotonic()
        return credit

    def report_briefly(self) -> Optional[int]:
        """The same for the header of a token: how many tokens were fired on. None where a Credit must say it."""
        fired = super().report_briefly()
        if fired is not None:
            self.tight = self.room < self.need
        return fired

    def will_fire(self, firing: int) -> None:
        """The consumer's next firing: a source that joins begins there."""
        self.firing = firing

    def leave(self) -> None:
        """The consumer has ended."""
        if not self.left:
            self._consumed = self.released
        super().leave()
        self.released = self.written
        self.carrier.changed()

    def summary(self) -> FifoCounts:
        """How many tokens arrived, and how often the peer was restarted."""
        consumed = self._consumed if self.left else self.released
        counts = replace(super().summary(), consumed=consumed, policy=self.policy, restarts=self.restarts)
        if self.adaptive is None:
            return counts
        return replace(counts, timeout_ms=self.adaptive.timeout(*self.range) * 1e3)


class HeldRxFifo(RxFifo, Held):
    """The receiving end of a FIFO into an input on hold: what RxFifo hands over to Fifo passes Held."""

    def arrived_together(self, tokens: np.ndarray, firings: list[int], births: list[int]) -> None:
        """Many tokens have arrived."""
        super().arrived_together(tokens, firings, births)
        self.keep_newest(len(firings))

    def give_back(self, count: int) -> None:
        """The oldest slots are the producer's again, which learns it from the thread that the tokens came by."""
        self.released += count
        if self.released - self.reported >= self.stride:
            self.carrier.credit(self)


FifoEnd = Union[TxFifo, RxFifo]
