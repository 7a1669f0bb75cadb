"""A FIFO into an input on hold: the newest firing's tokens stay, and older ones give way as soon as newer ones come,
whatever the consumer does. So the producer does not wait for it.
"""

from __future__ import annotations

import threading
from typing import Optional

import numpy as np

from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.kernel.memory import slots


class Held(Fifo):
    """The consumer copies what it takes, since slots are given back in their order, and a firing may last.

    ``hold`` comes before anything else.
    """

    def hold(self, rate: int) -> None:
        """``rate``: tokens per firing."""
        self._rate = rate
        self._changing = threading.Lock()
        #: the number of the newest firing's first token, whether all of its tokens are there, and the number of the
        #: last firing's that was taken; -1: none
        self._newest, self._whole, self._taken = -1, False, -1
        #: the firing whose tokens came last: its index, its first token, and how many are there
        self._last = (-1, 0, rate)
        #: tokens written that all this knows of
        self.known = self.delay
        self._newest, self._whole = self._see(self.delay)

    def commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """Hand tokens over."""
        super().commit(count, firing, birth)
        self.keep_newest(count)

    def keep_newest(self, count: int) -> None:
        """So many tokens have come. What is older than the last whole firing's is given back."""
        newest, whole = self._see(count)
        with self._changing:
            self._newest, self._whole, self.known = newest, whole, self.written
            older = newest - self.released
            used = self._rate if self.released <= self._taken < newest else 0
        if older > 0:
            self.discarded += older - used
            self.give_back(older)
        if self.reader.asleep:  # it may have looked in between
            self.reader.ring()

    def _see(self, count: int) -> tuple[int, bool]:
        """Look at so many tokens: the number of the newest firing's first one, and whether they are all there.

        Where the rest of a firing is lost, the next one needs the room of all that was before.
        """
        index, first, there = self._last
        newest, whole = self._newest, self._whole
        for number in range(self.written - count, self.written):
            firing = self.firings[number % self.capacity]
            if firing != index or there == self._rate:
                if there < self._rate:
                    newest, whole = number, False
                index, first, there = firing, number, 0
            there += 1
            if there == self._rate:
                newest, whole = first, True
        self._last = index, first, there
        return newest, whole

    def give_back(self, count: int) -> None:
        """The oldest slots are the producer's again."""
        self.release(count)

    def take(self, copy: Copy) -> Optional[int]:
        """Copy the newest firing's tokens that were not taken yet; its index. None: there are none."""
        with self._changing:
            if self._newest == self._taken or not self._whole:
                return None
            self._taken = self._newest
            for place, number in enumerate(range(self._newest, self._newest + self._rate)):
                slot = number % self.capacity
                used = self.used[slot] if self.variable else 0
                copy.memory[place, : self.token_bytes] = self.raw[slot]
                copy.tokens[place] = copy.slots[place][:used] if self.variable else copy.slots[place]
                copy.births[place] = self.births[slot]
            return self.firings[self._newest % self.capacity]


class Copy:
    """A firing's tokens, copied out of a FIFO."""

    def __init__(self, fifo: Fifo, rate: int) -> None:
        token = fifo.readable[0]
        self.memory = slots(rate, fifo.token_bytes)
        #: the whole slots, and the tokens in them, of which some vary in size
        self.slots = [row[: fifo.token_bytes].view(token.dtype).reshape(token.shape) for row in self.memory]
        for each in self.slots:
            each.flags.writeable = False
        self.tokens: list[np.ndarray] = list(self.slots)
        self.births = [UNBORN] * rate
