"""The bounded FIFO: a preallocated ring of token slots, one producer, one consumer.

Two queues of slot numbers go round: ``free`` (empty slots, to the producer) and ``full`` (written slots, to the
consumer). A hand-over is one ``queue.SimpleQueue.put``; no token is copied. GONE in ``full`` means that the producer
has ended; it comes after the last token. GONE in ``free`` means that the consumer has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Callable, Optional, Union

import numpy as np

from eprune.runtime.kernel.outputs import Rooms

GONE = -1
#: In ``full`` of a FIFO that may lose tokens: its producer is dead or starved; it is back with the next token.
LOST = -2

#: Slots start at multiples of this many bytes: a cache line, and what vector instructions like.
ALIGNMENT = 64

Tokens = Union[np.ndarray, list[np.ndarray]]


@dataclass(frozen=True)
class FifoCounts:
    """What happened at one end of a FIFO: numbers of tokens, of ``token_bytes`` each.

    Ends of FIFOs with a fault policy, or with a shared connection, have a ``policy``: of the ``tokens`` made at a
    sending end, ``confirmed`` arrived and ``dropped`` may not have; a receiving end counts the peer's ``restarts``.
    """

    capacity: int
    token_bytes: int
    tokens: int
    consumed: int
    discarded: int
    bytes: int
    peak_fill: int
    policy: Optional[str] = None
    confirmed: Optional[int] = None
    dropped: Optional[int] = None
    resent: Optional[int] = None
    restarts: Optional[int] = None


class Fifo:
    """A ring of ``capacity`` slots for tokens of ``dtype`` and ``shape``.

    ``delay`` tokens are in it from the start: zeros, or ``initial``, an array of shape (delay, *shape).
    ``firings[slot]`` is the index of the producer's firing that wrote the slot (-1: an initial token). Of the tokens
    ``consumed``, those ``discarded`` were released unused.
    """

    #: whether tokens of this FIFO may be lost while the consumer is dead
    lossy = False
    #: whether the consumer can be reached, as far as is known
    connected = True

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: tuple[int, ...],
        capacity: int,
        delay: int = 0,
        initial: Optional[np.ndarray] = None,
    ) -> None:
        self.name = name
        self.capacity = capacity
        self.delay = delay
        element = np.dtype(dtype)
        self.token_bytes = element.itemsize * int(np.prod(shape, dtype=np.int64))
        stride = -(-self.token_bytes // ALIGNMENT) * ALIGNMENT
        memory = np.zeros(stride * capacity + ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % ALIGNMENT
        #: slot -> the token's bytes
        self.raw = [
            memory[start + stride * slot : start + stride * slot + self.token_bytes] for slot in range(capacity)
        ]
        #: slot -> the token, for the producer and for the consumer
        self.writable = [raw.view(element).reshape(shape) for raw in self.raw]
        self.readable = [view[...] for view in self.writable]
        for view in self.readable:
            view.flags.writeable = False
        self.firings = [-1] * capacity
        self.free: SimpleQueue[int] = SimpleQueue()
        self.full: SimpleQueue[int] = SimpleQueue()
        self.tokens = 0
        self.consumed = 0
        self.discarded = 0
        self.peak = delay
        for slot in range(capacity):
            if slot >= delay:
                self.free.put(slot)
                continue
            if initial is not None:
                self.writable[slot][...] = initial[slot]
            self.full.put(slot)

    def reserve(self) -> int:
        """Wait for an empty slot and take it; GONE if the consumer has ended."""
        slot = self.free.get()
        if slot < 0:
            self.free.put(GONE)
        return slot

    def reserve_free(self, most: int) -> list[int]:
        """Up to ``most`` further slots that are free already; without waiting, and never GONE."""
        return _without_waiting(self.free, most)

    def commit(self, slot: int, firing: int) -> None:
        """Hand a written slot over to the consumer."""
        self.firings[slot] = firing
        self.tokens += 1
        self.full.put(slot)
        fill = self.full.qsize()
        if fill > self.peak:
            self.peak = fill

    def take(self) -> int:
        """Wait for the next token's slot; GONE after the last one."""
        slot = self.full.get()
        if slot < 0:
            self.full.put(GONE)
        return slot

    def take_waiting(self, most: int) -> list[int]:
        """Up to ``most`` further slots that are full already; without waiting, and never GONE."""
        return _without_waiting(self.full, most)

    def release(self, slot: int) -> None:
        """Give a slot back to the producer, its token consumed."""
        self.consumed += 1
        self.free.put(slot)

    def end(self) -> None:
        """The producer has ended: the consumer sees GONE after the tokens that are there."""
        self.full.put(GONE)

    def starve(self, starved: bool) -> None:
        """The producer of a FIFO that may lose tokens makes none for now, or makes some again."""
        if starved:
            self.full.put(LOST)

    def will_fire(self, firing: int) -> None:
        """The consumer's next firing has the index ``firing``. A producer on another platform learns it."""

    def summary(self) -> FifoCounts:
        """Counters for the run record."""
        return FifoCounts(
            self.capacity,
            self.token_bytes,
            self.tokens,
            self.consumed,
            self.discarded,
            self.tokens * self.token_bytes,
            self.peak,
        )

    def leave(self) -> None:
        """The consumer has ended: the producer sees GONE after the slots that are free already."""
        self.free.put(GONE)


def _without_waiting(queue: SimpleQueue[int], most: int) -> list[int]:
    slots: list[int] = []
    try:
        while len(slots) < most:
            slot = queue.get_nowait()
            if slot < 0:
                queue.put(GONE)
                break
            slots.append(slot)
    except Empty:
        pass
    return slots


class Input:
    """An actor's end of a FIFO that it consumes from, ``rate`` tokens per firing, at most ``limit``."""

    def __init__(self, name: str, fifo: Fifo, rate: int, limit: int = 1) -> None:
        self.name = name
        self.fifo = fifo
        self.rate = rate
        self._limit = max(rate, limit)
        self._slots: list[int] = []

    def at(self, rate: int) -> Input:
        """The same end at another rate, 1 or more. Only one of them may hold tokens at a time."""
        return Input(self.name, self.fifo, rate, self._limit)

    def acquire(self) -> Optional[Tokens]:
        """Wait for one firing's tokens: an array, or a list of ``rate`` arrays where the limit is above 1.

        None at the end.
        """
        fifo = self.fifo
        slot = fifo.take()
        if slot < 0:
            return None
        if self._limit == 1:
            self._slots = [slot]
            return fifo.readable[slot]
        slots = [slot]
        for _ in range(self.rate - 1):
            slot = fifo.take()
            if slot < 0:
                return None
            slots.append(slot)
        self._slots = slots
        return [fifo.readable[slot] for slot in slots]

    @property
    def index(self) -> int:
        """The producer's firing that made the tokens which are held."""
        return self.fifo.firings[self._slots[0]]

    def release(self) -> None:
        """Give the firing's slots back."""
        for slot in self._slots:
            self.fifo.release(slot)


class Output:
    """An actor's end of a FIFO that it produces into, ``rate`` tokens per firing, at most ``limit``.

    ``commit`` hands a written slot over, by default to the FIFO's consumer; a TX link has a shorter way.
    """

    def __init__(
        self, name: str, fifo: Fifo, rate: int, commit: Optional[Callable[[int, int], None]] = None, limit: int = 1
    ) -> None:
        self.name = name
        self.fifo = fifo
        self.rate = rate
        self._limit = max(rate, limit)
        self._commit = commit or fifo.commit
        self._slots: list[int] = []

    def at(self, rate: int) -> Output:
        """The same end at another rate, 1 or more. Only one of them may hold room at a time."""
        return Output(self.name, self.fifo, rate, self._commit, self._limit)

    def acquire(self) -> Optional[Tokens]:
        """Wait for one firing's room: an array, or a list of ``rate`` arrays where the limit is above 1.

        None if the consumer has ended.
        """
        fifo = self.fifo
        slot = fifo.reserve()
        if slot < 0:
            return None
        if self._limit == 1:
            self._slots = [slot]
            return fifo.writable[slot]
        slots = [slot]
        for _ in range(self.rate - 1):
            slot = fifo.reserve()
            if slot < 0:
                return None
            slots.append(slot)
        self._slots = slots
        return Rooms(fifo.writable[slot] for slot in slots)

    def commit(self, firing: int) -> None:
        """Hand the firing's tokens over."""
        for slot in self._slots:
            self._commit(slot, firing)
