"""A FIFO that keeps the newest tokens: its producer never waits, and where there is no room the oldest waiting token
is dropped and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Optional

from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.fifo import Fifo, Keeper
from eprune.runtime.kernel.variable import Shape


class NewestFifo(Fifo, Keeper):
    """Slots go from the producer to those that wait, to the consumer, and back. ``rate``: tokens per firing.

    The consumer may hold slots, and give them back in any order. ``written`` counts all tokens that were made,
    ``released`` those that are gone again, and ``discarded`` those of them that nobody fired on.
    """

    def __init__(
        self,
        name: str,
        dtype: str,
        shape: Shape,
        capacity: int,
        rate: int,
    ) -> None:
        super().__init__(name, dtype, shape, capacity)
        self.keeper = self
        self._rate = rate
        self._changing = threading.Lock()
        self._free = list(range(capacity))
        self._being_written: list[int] = []
        #: the firings that wait, oldest first: index and slots
        self._waiting: deque[tuple[int, list[int]]] = deque()

    @property
    def waits(self) -> bool:
        """Whether there are tokens that the consumer has not taken."""
        return bool(self._waiting)

    def reserve(self) -> list[int]:
        """Slots for one firing's tokens; those of the oldest that wait, if no others are free."""
        with self._changing:
            while len(self._free) < self._rate and self._waiting:
                _, slots = self._waiting.popleft()
                self._free += slots
                self.discarded += len(slots)
                self.released += len(slots)
            taken, self._free = self._free[: self._rate], self._free[self._rate :]
            self._being_written = taken
            return taken

    def commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """Hand the slots that were reserved last over to the consumer."""
        for slot in self._being_written:
            self.births[slot] = birth
            if self.variable:
                self._measure(slot, 1)
        with self._changing:
            self._waiting.append((firing, self._being_written))
            self.written += count
            self._being_written = []
        self.peak = max(self.peak, self.written - self.released)
        if self.reader.asleep:
            self.reader.ring()

    def give_up(self) -> None:
        """The slots that were reserved last are not written."""
        with self._changing:
            self._free += self._being_written
            self._being_written = []

    def take(self) -> Optional[tuple[int, list[int]]]:
        """Index and slots of the newest firing's tokens that wait; those before are dropped. None: there are none."""
        with self._changing:
            if not self._waiting:
                return None
            newest = self._waiting.pop()
            for _, slots in self._waiting:
                self._free += slots
                self.discarded += len(slots)
                self.released += len(slots)
            self._waiting.clear()
            return newest

    def give_back(self, slot: int, used: bool) -> None:
        """The consumer is finished with a slot."""
        with self._changing:
            self._free.append(slot)
            self.released += 1
            self.discarded += not used
        if self.writer.asleep:
            self.writer.ring()
