"""Waiting: each thread has one bell, and whoever has something for the thread rings it.

A thread waits for one of several things: a token, room, the end of a FIFO, a moment. It looks at their state, says that
it is asleep, looks once more, and sleeps. Whoever changes that state does so first and then rings if the thread is
asleep. So nothing is missed, and while nobody sleeps a change costs one look.

What a thread waits for may have to come through a socket. Then it waits for the sockets itself, in the place of the
thread that is there for them: nobody has to be woken who would only wake this one.
"""

from __future__ import annotations

import time
from queue import Empty, SimpleQueue
from typing import Callable, Optional, Protocol


class Lookout(Protocol):
    """What waits for all sockets of the process."""

    def lead(self, bell: Bell, there: Callable[[], bool], until: Optional[float]) -> bool:
        """Wait for them in this thread until ``there()`` or the time is ``until``; False if another thread does.

        That one rings ``bell`` when it does so no longer.
        """

    def look(self, bell: Bell) -> None:
        """Have what lies in them delivered, by this thread, whose bell it is, or by the one that waits for them."""

    def wake(self) -> None:
        """Make whoever waits for them look again."""


class Bell:
    """What one thread waits on."""

    __slots__ = ("_rings", "asleep", "leading", "leave", "lookout", "waits")

    def __init__(self) -> None:
        #: whether the thread sleeps or is about to: whoever has something for it calls `ring`
        self.asleep = False
        #: how often the thread has had to wait
        self.waits = 0
        #: what the thread does before it sleeps: others may wait for what it has put off
        self.leave: tuple[Callable[[], None], ...] = ()
        #: what waits for the sockets through which comes what this thread waits for; whether this thread does it now
        self.lookout: Optional[Lookout] = None
        self.leading = False
        self._rings: SimpleQueue[None] = SimpleQueue()

    def ring(self) -> None:
        """Wake the thread. Any thread may call it."""
        self.asleep = False
        if self.leading and self.lookout is not None:
            self.lookout.wake()
        else:
            self._rings.put(None)

    def look(self) -> None:
        """Have delivered what has come through sockets, for something else is late if it is not there then."""
        if self.lookout is not None:
            self.lookout.look(self)

    def wait(self, there: Callable[[], bool], until: Optional[float] = None) -> bool:
        """Sleep until ``there()``; False if that is not so at the time ``until`` (time.monotonic)."""
        if there():
            return True
        self.waits += 1
        for act in self.leave:
            act()
        lookout = self.lookout
        while True:
            if lookout is not None and lookout.lead(self, there, until):
                return there()
            self.asleep = True
            if there():
                self.asleep = False
                return True
            if until is None:
                self._rings.get()
            else:
                remaining = until - time.monotonic()
                if remaining <= 0:
                    self.asleep = False
                    return False
                try:
                    self._rings.get(timeout=remaining)
                except Empty:
                    self.asleep = False
                    return there()
            if there():
                self.asleep = False
                return True
