"""Ends of FIFOs under ``drop`` at actors that follow control tokens: a branch that gets none may be away, or late.

Such an actor knows the index of its firing: it is that of its control token. So a token of the branch counts if it is
of that index; older ones are thrown away, and what is not there in time is missing (design, section 6: L1, L2 and L5).
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Optional, Protocol, Union

import numpy as np

from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.fifo import Fifo, Input, Output, Tokens
from eprune.runtime.kernel.outputs import Rooms

#: So many firings in a row must have had a late branch's token in time before it is waited for again.
IN_TIME = 2


class Indexed(Protocol):
    """What knows the index of the firing."""

    index: int


class Missing:
    """In the place of a token that is not there."""


MISSING = Missing()


class AwaitedInput(Input):
    """A data input that may lack its token: it is waited for, ``timeout`` seconds, unless it was late before."""

    #: set once there is one: what knows the index
    rates: Indexed

    def __init__(self, name: str, fifo: Fifo, rate: int, timeout: float, required: bool = False) -> None:
        super().__init__(name, fifo, rate)
        self._timeout = timeout
        self.required = required
        self._held = self._late = False
        self._in_time = 0
        #: firings that went on without their token: index, and until when it would have been in time
        self._given_up: deque[tuple[int, float]] = deque(maxlen=64)
        #: firings without a token
        self.missing = 0

    def at(self, rate: int) -> Input:
        """The same end; its rate is 1 or 0."""
        return self

    def acquire(self) -> Union[Tokens, Missing, None]:  # type: ignore[override]
        """The token of the firing's index, or MISSING."""
        wanted, fifo = self.rates.index, self.fifo
        begin = time.monotonic()
        until = begin if self._late else begin + self._timeout
        looked = False
        while True:
            self._throw_away(wanted)
            if fifo.written > fifo.released:
                if fifo.firings[fifo.released % fifo.capacity] == wanted:
                    self._count_in_time(True)
                    self._held = True
                    return self.view(fifo.released)
                break
            if fifo.ended or fifo.lost or fifo.passed >= wanted:
                break
            if time.monotonic() >= until:
                if not looked:
                    looked = True
                    fifo.reader.look()
                    continue
                self._late, self._in_time = True, 0
                self._given_up.append((wanted, begin + self._timeout))
                break
            fifo.reader.wait(
                lambda: fifo.written > fifo.released or fifo.ended or fifo.lost or fifo.passed >= wanted, until
            )
        self._held = False
        self.missing += 1
        return MISSING

    def _throw_away(self, wanted: int) -> None:
        """Tokens of firings that are over."""
        fifo = self.fifo
        while fifo.written > fifo.released:
            index = fifo.firings[fifo.released % fifo.capacity]
            if index >= wanted:
                return
            fifo.discarded += 1
            fifo.release(1)
            while self._given_up and self._given_up[0][0] < index:
                self._given_up.popleft()
            if self._given_up and self._given_up[0][0] == index:
                self._count_in_time(time.monotonic() <= self._given_up.popleft()[1])

    def _count_in_time(self, in_time: bool) -> None:
        self._in_time = self._in_time + 1 if in_time else 0
        if self._in_time >= IN_TIME:
            self._late = False

    @property
    def birth(self) -> int:
        """As of other inputs, where there is a token."""
        return super().birth if self._held else UNBORN

    def release(self) -> None:
        """Give the token back, if there was one."""
        if self._held:
            self._held = False
            super().release()


class SkippingOutput(Output):
    """A data output whose token is dropped where there is no room for it in ``timeout`` seconds, or was none before."""

    def __init__(self, name: str, fifo: Fifo, rate: int, timeout: float) -> None:
        super().__init__(name, fifo, rate)
        self._timeout = timeout
        self._used, self._late = True, False
        self._scratch = Rooms(np.zeros_like(fifo.writable[0]) for _ in range(rate))

    def at(self, rate: int) -> Output:
        """The same end; its rate is its limit or 0."""
        return self

    def acquire(self) -> Optional[Tokens]:
        """Room for the firing's tokens, or for what is dropped."""
        fifo = self.fifo
        until = time.monotonic() + (0.0 if self._late else self._timeout)
        self._used = not fifo.left and fifo.await_room(self.rate, until)
        self._late = not self._used
        if self._used:
            return self.view(fifo.written)
        scratch: Any = self._scratch
        return scratch if self._limit > 1 else scratch[0]

    def commit(self, firing: int, birth: int = UNBORN) -> None:
        """Hand the firing's tokens over, unless there was no room."""
        if self._used:
            super().commit(firing, birth)
        else:
            self.fifo.skip(self.rate)
