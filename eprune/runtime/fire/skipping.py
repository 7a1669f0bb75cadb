"""Ends of FIFOs under ``drop`` at actors that follow control tokens: a branch that gets none may be away, or late.

Such an actor knows the index of its firing: it is that of its control token. So a token of the branch counts if it is
of that index; older ones are thrown away, and what is not there in time is missing (design, section 6: L1, L2 and L5).
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Optional, Protocol, Union

import numpy as np

from eprune.runtime.fire.matched_ports import PROBATION, PROOF
from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.fifo import Fifo, Input, Output, Tokens
from eprune.runtime.kernel.outputs import Rooms


class Indexed(Protocol):
    """What knows the index of the firing."""

    index: int


class Trust:
    """Whether a branch is waited for at one end of a FIFO, ``timeout`` seconds (L5). Times are those of one clock."""

    def __init__(self, timeout: float) -> None:
        self.there = True
        self._probation = PROBATION * timeout
        self._in_time = 0
        self._late_at = self._not_before = -self._probation

    def late(self, now: float) -> None:
        """It was waited for in vain."""
        if now < self._late_at + self._probation:
            self._not_before = now + self._probation
        self._late_at = now
        self.lose()

    def lose(self) -> None:
        """It is not there; whatever it had in time does not count."""
        self.there, self._in_time = False, 0

    def fired(self, in_time: bool, now: float) -> None:
        """A firing had its token or its room in time, or would have had it, or not."""
        self._in_time = self._in_time + 1 if in_time else 0
        if self._in_time >= PROOF and now >= self._not_before:
            self.there = True


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
        self._held = False
        self._trust = Trust(timeout)
        #: firings that went on without their token: index, and until when it would have been in time
        self._given_up: deque[tuple[int, float]] = deque(maxlen=64)
        self._looked = 0.0
        #: firings without a token
        self.missing = 0

    def at(self, rate: int) -> Input:
        """The same end; its rate is 1 or 0."""
        return self

    def acquire(self) -> Union[Tokens, Missing, None]:  # type: ignore[override]
        """The token of the firing's index, or MISSING."""
        wanted, fifo, trust = self.rates.index, self.fifo, self._trust
        self._held = False
        self._throw_away(wanted)
        begin = self._looked
        until = begin + self._timeout if trust.there else begin
        looked = False
        while True:
            if fifo.written > fifo.released:
                self._forget(wanted)
                self._held = fifo.firings[fifo.released % fifo.capacity] == wanted
                trust.fired(self._held, begin)
                if self._held:
                    return self.view(fifo.released)
                break
            if fifo.ended or fifo.passed >= wanted:
                trust.fired(False, begin)
                break
            if fifo.lost:
                trust.lose()
                break
            if self._looked >= until:
                if not looked:
                    looked = True
                    fifo.reader.look()
                    self._throw_away(wanted)
                    continue
                if until > begin:
                    trust.late(self._looked)
                self._given_up.append((wanted, begin + self._timeout))
                break
            fifo.reader.wait(
                lambda: fifo.written > fifo.released or fifo.ended or fifo.lost or fifo.passed >= wanted, until
            )
            self._throw_away(wanted)
        self.missing += 1
        return MISSING

    def _throw_away(self, wanted: int) -> None:
        """Throw away tokens of firings that are over. Each may have come right after the last look."""
        fifo, before = self.fifo, self._looked
        self._looked = time.monotonic()
        while fifo.written > fifo.released:
            index = fifo.firings[fifo.released % fifo.capacity]
            if index >= wanted:
                return
            fifo.discarded += 1
            fifo.release(1)
            self._forget(index)
            if self._given_up and self._given_up[0][0] == index:
                self._trust.fired(before <= self._given_up.popleft()[1], self._looked)

    def _forget(self, index: int) -> None:
        """Tokens of firings before that one will not come any more."""
        while self._given_up and self._given_up[0][0] < index:
            self._given_up.popleft()
            self._trust.fired(False, self._looked)

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
        self._used, self._trust = True, Trust(timeout)
        self._scratch = Rooms(np.zeros_like(fifo.writable[0]) for _ in range(rate))

    def at(self, rate: int) -> Output:
        """The same end; its rate is its limit or 0."""
        return self

    def acquire(self) -> Optional[Tokens]:
        """Room for the firing's tokens, or for what is dropped."""
        fifo, trust = self.fifo, self._trust
        begin = time.monotonic()
        until = begin + self._timeout if trust.there else begin
        self._used = not fifo.left and fifo.await_room(self.rate, until)
        if trust.there and not self._used:
            trust.late(until)
        trust.fired(self._used, begin)
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
