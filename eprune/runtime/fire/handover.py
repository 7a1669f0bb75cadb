"""Where actors stop and go on when one generation of programs hands over to the next.

In the generation that leaves, a source stops before a firing that all platforms have agreed on. In the one that comes,
the actors that must not run twice begin when their predecessors have ended. Both stand in for an actor's step, and only
while a change is under way: a firing costs nothing more at any other time.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from typing import Any, Callable

from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.fire.matched import Matched

#: Seconds between two looks at whether the run has failed meanwhile.
_LOOK = 0.1


def next_index(actor: RunningActor) -> int:
    """The index that a source's next firing has, at least."""
    if isinstance(actor.matching, Matched):
        numbering = actor.matching.numbering
        index = numbering.last + numbering.step
        return max(index, int(time.time() * numbering.clock)) if numbering.clock else index
    return actor.firing


class Halt:
    """Before which firing a source stops: for good, or until somebody says so, or says that it goes on."""

    def __init__(self, actor: RunningActor) -> None:
        self._actor = actor
        self._step = actor.step
        self._at: float = math.inf
        self._until = 0.0
        self._final = False
        self._decided = threading.Condition()
        #: whether the source has stopped here for good
        self.stopped = False

    def hold(self, at: int, until: float) -> bool:
        """It will not do the firing ``at`` before it is told to; False if it may have begun with it already.

        The firing that is going on was not asked. Where nobody decides ``until`` then (time.monotonic), it goes on.
        """
        with self._decided:
            self._at, self._until = at, until
            self._actor.step = self._guarded
            if at > next_index(self._actor):
                return True
        self.release()
        return False

    def release(self) -> None:
        """It goes on."""
        with self._decided:
            self._at, self._final = math.inf, False
            self._actor.step = self._step
            self._decided.notify_all()

    def stop(self) -> None:
        """It ends before the firing that it was held at."""
        with self._decided:
            self._final = True
            self._decided.notify_all()

    def _guarded(self) -> bool:
        with self._decided:
            while next_index(self._actor) >= self._at and not self._actor.stopped:
                if self._final:
                    self.stopped = True
                    return False
                if time.monotonic() > self._until:
                    self._at = math.inf
                self._decided.wait(_LOOK)
        return self._step()


class Await:
    """An actor that begins when its predecessor has ended: what it waits for, then ``begin``, then its steps."""

    def __init__(self, actor: RunningActor, begin: Callable[[RunningActor, Mapping[str, Any]], None]) -> None:
        self._actor = actor
        self._begin = begin
        self._step = actor.step
        self._there = threading.Event()
        self._state: Mapping[str, Any] = {}
        actor.initialized = True  # not at the start: what it uses may be in use still
        actor.step = self._first

    def come(self, state: Mapping[str, Any]) -> None:
        """The predecessor has ended, and leaves this."""
        self._state = state
        self._there.set()

    def _first(self) -> bool:
        while not self._there.wait(_LOOK):
            if self._actor.stopped:
                return False
        self._begin(self._actor, self._state)
        self._actor.step = self._step
        return self._step()
