"""Waiting: each thread has one bell, and whoever has something for the thread rings it.

A thread waits for one of several things: a token, room, the end of a FIFO, a moment. It looks at their state, says that
it is asleep, looks once more, and sleeps. Whoever changes that state does so first and then rings if the thread is
asleep. So nothing is missed, and while nobody sleeps a change costs one look.
"""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import Callable, Optional


class Bell:
    """What one thread waits on."""

    __slots__ = ("_rings", "asleep", "leave")

    def __init__(self) -> None:
        #: whether the thread sleeps or is about to: whoever has something for it calls `ring`
        self.asleep = False
        #: what the thread does before it sleeps: others may wait for what it has put off
        self.leave: tuple[Callable[[], None], ...] = ()
        self._rings: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """Wake the thread. Any thread may call it."""
        self.asleep = False
        self._rings.put(None)

    def wait(self, there: Callable[[], bool], until: Optional[float] = None) -> bool:
        """Sleep until ``there()``; False if that is not so at the time ``until`` (time.monotonic)."""
        if there():
            return True
        for act in self.leave:
            act()
        while True:
            self.asleep = True
            if there():
                self.asleep = False
                return True
            if until is None:
                self._rings.get()
                continue
            remaining = until - time.monotonic()
            if remaining <= 0:
                self.asleep = False
                return False
            try:
                self._rings.get(timeout=remaining)
            except Empty:
                self.asleep = False
                return there()
