"""The bounded FIFO: a preallocated ring of token slots, one producer, one consumer.

Two counters are its whole state: ``written``, which the producer advances, and ``released``, which the consumer
advances. Token n lies in slot n modulo the capacity. No token is copied, and between two actors that one thread fires a
hand-over is an addition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Protocol, Union

import numpy as np

from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.bell import Bell
from eprune.runtime.kernel.memory import slots
from eprune.runtime.kernel.outputs import Rooms
from eprune.runtime.kernel.variable import Shape, VariableRoom, most

Tokens = Union[np.ndarray, list[np.ndarray]]


@dataclass(frozen=True)
class FifoCounts:
    """What happened at one end of a FIFO: numbers of tokens, of ``token_bytes`` each.

    Ends of FIFOs between platforms have a ``policy``: of the ``tokens`` made at a sending end, ``confirmed`` arrived
    and ``dropped`` may not have; a receiving end counts the peer's ``restarts``, and knows what the
    time-out was at the end, ``timeout_ms``, if that is a range.
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
    timeout_ms: Optional[float] = None


class Keeper(Protocol):
    """What keeps the newest tokens of a FIFO whose producer never waits."""

    writable: list[np.ndarray]

    def reserve(self) -> list[int]:
        """Slots for one firing's tokens."""

    def give_up(self) -> None:
        """The slots that were reserved last are not written."""


class Fifo:
    """A ring of ``capacity`` slots for tokens of ``dtype`` and ``shape``.

    ``delay`` tokens are in it from the start: zeros, or ``initial``, an array of shape (delay, *shape).
    ``firings[slot]`` is the index of the producer's firing that wrote the slot (-1: an initial token), ``births[slot]``
    when the oldest firing of a source began from which the token comes (perf_counter_ns). Of the tokens ``released``,
    those ``discarded`` were released unused. ``held`` is how many tokens are in it at most, where its ends take turns:
    it needs no more memory than that, and what was just written is still in the processor's cache. The shape
    ``<=n`` is that of tokens of up to n elements; ``used[slot]`` says how many one has.
    """

    #: whether tokens of this FIFO may be lost while the consumer is dead
    lossy = False
    #: whether a token counts as fired on only when the firing is over
    kept = False
    #: what keeps the newest tokens, if that is the FIFO's policy
    keeper: Optional[Keeper] = None

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: Shape,
        capacity: int,
        delay: int = 0,
        initial: Optional[np.ndarray] = None,
        held: int = 0,
    ) -> None:
        self.name = name
        self.variable = isinstance(shape, str)
        shape = most(shape)
        self.capacity = capacity
        self.delay = delay
        held = held if held and capacity % held == 0 else capacity
        element = np.dtype(dtype)
        self.token_bytes = element.itemsize * int(np.prod(shape, dtype=np.int64))
        #: all slots: row s begins with the bytes of the token in slot s
        self.memory = slots(held, self.token_bytes)
        #: slot -> the token's bytes
        self.raw = [self.memory[slot % held, : self.token_bytes] for slot in range(capacity)]
        #: slot -> the token, for the producer and for the consumer
        self.writable = [raw.view(element).reshape(shape) for raw in self.raw]
        if self.variable:
            self.writable = [view.view(VariableRoom) for view in self.writable]
        self.used = [0] * capacity if self.variable else []
        self._bytes_written = 0  # of tokens that vary in size
        self.readable = [view.view(np.ndarray)[...] for view in self.writable]
        for view in self.readable:
            view.flags.writeable = False
        self.firings = [-1] * capacity
        self.births = [UNBORN] * capacity
        #: the producer's: tokens written, initial ones included, and whether it writes no more
        self.written = delay
        self.ended = False
        #: the producer's: whether it is dead or starved, in a FIFO that may lose tokens
        self.lost = False
        #: the producer's: whether it cannot even be reached, and up to which index it will send no more
        self.gone = False
        self.passed = -1
        self.peak = delay
        #: the consumer's: tokens released, how many of them unused, and whether it takes no more
        self.released = 0
        self.discarded = 0
        self.left = False
        #: the consumer's: whether it has begun to fire, as far as is known
        self.begun = True
        #: the bells of the threads that consume and produce
        self.reader = Bell()
        self.writer = Bell()
        if initial is not None:
            for slot in range(delay):
                self.writable[slot][...] = initial[slot]

    def fits(self, token: np.ndarray) -> bool:
        """Whether an array can be a token of this FIFO."""
        slot = self.readable[0]
        same = token.size <= slot.size and token.ndim == 1 if self.variable else token.shape == slot.shape
        return same and bool(np.can_cast(token.dtype, slot.dtype, "same_kind"))

    def begin_with(self, number: int, token: np.ndarray) -> None:
        """Replace an initial token, before anybody has taken it."""
        if self.variable:
            self.used[number] = token.size
            self.writable[number][: token.size] = token
        else:
            self.writable[number][...] = token

    @property
    def connected(self) -> bool:
        """Whether the consumer can be reached, as far as is known."""
        return True

    def token(self, number: int) -> np.ndarray:
        """The token of that number, for the consumer."""
        slot = number % self.capacity
        return self.readable[slot][: self.used[slot]] if self.variable else self.readable[slot]

    def _measure(self, first: int, count: int) -> None:
        """Note the sizes of tokens that were just written, and that their slots have room for all again."""
        for number in range(first, first + count):
            slot = number % self.capacity
            room: Any = self.writable[slot]
            self.used[slot] = room.used
            self._bytes_written += room.used * room.itemsize
            room.used = room.shape[0]

    # What the producer calls.

    def await_room(self, count: int, until: Optional[float] = None) -> bool:
        """Wait until ``count`` slots are empty; False if there will be none, or the time is ``until``.

        Slots that are empty when the consumer leaves may still be written: others may need what that firing makes.
        """
        self.writer.wait(lambda: self.capacity - self.written + self.released >= count or self.left, until)
        return self.capacity - self.written + self.released >= count

    def commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """Hand ``count`` written slots over to the consumer."""
        written = self.written
        if self.variable:
            self._measure(written, count)
        if count == 1:
            slot = written % self.capacity
            self.firings[slot] = firing
            self.births[slot] = birth
        else:
            for number in range(written, written + count):
                self.firings[number % self.capacity] = firing
                self.births[number % self.capacity] = birth
        self.written = written = written + count
        if written - self.released > self.peak:
            self.peak = written - self.released
        if self.reader.asleep:
            self.reader.ring()

    def end(self) -> None:
        """The producer writes no more."""
        self.ended = True
        self.reader.ring()

    def starve(self, starved: bool) -> None:
        """The producer of a FIFO that may lose tokens makes none for now, or makes some again."""
        self.lost = starved
        self.gone = False
        if self.reader.asleep:
            self.reader.ring()

    def pass_over(self, index: int) -> None:
        """No tokens of an index up to this one will come any more."""
        self.passed = index
        if self.reader.asleep:
            self.reader.ring()

    def skip(self, count: int) -> None:
        """So many tokens were made that there was no room for."""

    # What the consumer calls.

    def await_tokens(self, count: int, until: Optional[float] = None) -> bool:
        """Wait until ``count`` tokens are there; False if there will be none, or the time is ``until``."""
        self.reader.wait(lambda: self.written - self.released >= count or self.ended, until)
        return self.written - self.released >= count

    def release(self, count: int = 1) -> None:
        """Give the oldest slots back to the producer, their tokens consumed."""
        self.released += count
        if self.writer.asleep:
            self.writer.ring()

    def leave(self) -> None:
        """The consumer takes no more."""
        self.left = True
        self.writer.ring()

    def will_fire(self, firing: int) -> None:
        """The consumer's next firing has the index ``firing``. A producer on another platform learns it."""

    @property
    def fill(self) -> int:
        """How many tokens were made and are not consumed yet."""
        return max(self.written - self.released, 0)

    @property
    def bytes_written(self) -> int:
        """How many bytes the tokens had that were written, initial ones apart."""
        return self._bytes_written if self.variable else (self.written - self.delay) * self.token_bytes

    def summary(self) -> FifoCounts:
        """Counters for the run record."""
        tokens = self.written - self.delay
        return FifoCounts(
            self.capacity,
            self.token_bytes,
            tokens,
            self.released,
            self.discarded,
            self.bytes_written,
            self.peak,
        )


class Input:
    """An actor's end of a FIFO that it consumes from, ``rate`` tokens per firing, at most ``limit``."""

    #: whether the actor does not fire without its tokens
    required = True

    def __init__(self, name: str, fifo: Fifo, rate: int, limit: int = 1) -> None:
        self.name = name
        self.fifo = fifo
        self.rate = rate
        self._limit = max(rate, limit)

    def at(self, rate: int) -> Input:
        """The same end at another rate, 1 or more. Only one of them may hold tokens at a time."""
        return Input(self.name, self.fifo, rate, self._limit)

    def acquire(self) -> Optional[Tokens]:
        """Wait for one firing's tokens: an array, or a list of ``rate`` arrays where the limit is above 1.

        None at the end.
        """
        fifo = self.fifo
        first = fifo.released
        if fifo.written - first < self.rate and not fifo.await_tokens(self.rate):
            return None
        return self.view(first)

    def view(self, first: int) -> Tokens:
        """One firing's tokens, from number ``first`` on, as `acquire` gives them."""
        fifo = self.fifo
        if self._limit == 1:
            return fifo.token(first)
        return [fifo.token(number) for number in range(first, first + self.rate)]

    @property
    def single(self) -> bool:
        """Whether each firing takes one token, which is an array of one shape."""
        return self._limit == 1 and not self.fifo.variable

    @property
    def index(self) -> int:
        """The producer's firing that made the tokens which are held."""
        return self.fifo.firings[self.fifo.released % self.fifo.capacity]

    @property
    def birth(self) -> int:
        """When the oldest firing of a source began from which the tokens come that are held (perf_counter_ns)."""
        return self.fifo.births[self.fifo.released % self.fifo.capacity]

    def release(self) -> None:
        """Give the firing's slots back."""
        self.fifo.release(self.rate)


class Output:
    """An actor's end of a FIFO that it produces into, ``rate`` tokens per firing, at most ``limit``."""

    def __init__(self, name: str, fifo: Fifo, rate: int, limit: int = 1) -> None:
        self.name = name
        self.fifo = fifo
        self.rate = rate
        self._limit = max(rate, limit)

    def at(self, rate: int) -> Output:
        """The same end at another rate, 1 or more. Only one of them may hold room at a time."""
        return Output(self.name, self.fifo, rate, self._limit)

    def acquire(self) -> Optional[Tokens]:
        """Wait for one firing's room: an array, or a list of ``rate`` arrays where the limit is above 1.

        None if the consumer has ended.
        """
        fifo = self.fifo
        first = fifo.written
        if fifo.capacity - first + fifo.released < self.rate and not fifo.await_room(self.rate):
            return None
        return self.view(first)

    def view(self, first: int) -> Tokens:
        """One firing's room, from token number ``first`` on, as `acquire` gives it."""
        fifo = self.fifo
        if self._limit == 1:
            return fifo.writable[first % fifo.capacity]
        return Rooms(fifo.writable[number % fifo.capacity] for number in range(first, first + self.rate))

    @property
    def single(self) -> bool:
        """Whether each firing makes one token, and is given room for it as an array."""
        return self._limit == 1

    def commit(self, firing: int, birth: int = UNBORN) -> None:
        """Hand the firing's tokens over; see Fifo for their ``birth``."""
        self.fifo.commit(self.rate, firing, birth)
