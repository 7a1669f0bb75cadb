"""What comes from outside for an actor that waits for it."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Optional

from eprune.runtime import EndOfStream


class Inbox:
    """At most ``room`` things that wait for their actor. All methods may be called from any thread."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._things: deque[Any] = deque()
        self._changed = threading.Condition()
        self._end: Optional[Exception] = None
        #: how many the newer ones have displaced
        self.dropped = 0

    def put(self, thing: Any) -> None:
        """Take it in; where there is no room, the oldest that waits is dropped, and counted."""
        with self._changed:
            if len(self._things) == self._room:
                self._things.popleft()
                self.dropped += 1
            self._things.append(thing)
            self._changed.notify()

    def offer(self, thing: Any) -> bool:
        """Take it in if there is room, and nothing has ended."""
        with self._changed:
            fits = len(self._things) < self._room and self._end is None
            if fits:
                self._things.append(thing)
                self._changed.notify()
            return fits

    def end(self, reason: Optional[Exception] = None) -> None:
        """Nothing more will come; ``take`` raises this, by default EndOfStream, once it has given what is there."""
        with self._changed:
            self._end = self._end or reason or EndOfStream()
            self._changed.notify()

    def take(self) -> Any:
        """The oldest thing, as soon as there is one. Raises what ``end`` was given."""
        with self._changed:
            self._changed.wait_for(lambda: self._things or self._end)
            if self._things:
                return self._things.popleft()
            assert self._end is not None
            raise self._end
