"""Indices of the firings of an actor that numbers them itself: a source, or a join of unrelated sources.

An index stays below 2**62. Without a clock its upper 36 bits are the actor's incarnation, its start in sixteenths of a
second since 1970 (enough until 2106), and its lower 26 bits count firings. So what a restarted actor makes is ahead of
all that it made before, and nobody negotiates where to go on. A count beyond 2**26 carries into the upper bits; that
is still behind the next restart as long as fewer than 2**26 firings take a sixteenth of a second. An actor that has
not fired for longer than others wait for it takes a new incarnation, too: they may have gone on with indices that they
expected of it, and what it makes now is ahead of them.

With a clock, which several sources of one scene share, the index is the clock's count since 1970. It says which tokens
of the sources belong together, also across restarts.
"""

from __future__ import annotations

from typing import Optional

COUNT_BITS = 26
#: Seconds that a source may be ahead of its clock before the clock is taken to have been set back.
_SET_BACK = 1.0
#: incarnations per second
INCARNATION_RATE = 16


def incarnation(start: float) -> int:
    """The first index of an actor that started at ``start``, in seconds since 1970."""
    return int(start * INCARNATION_RATE) << COUNT_BITS


class Numbering:
    """Gives an actor's firings their indices, each greater than the one before.

    ``start``: when the actor started, in seconds since 1970. ``clock``: counts per second of the clock that it states.
    ``rate``: its firings per second, where it is slower than its clock. ``stall``: seconds without a firing after which
    it takes a new incarnation; the least time-out of its outputs. ``ahead_of``: an index that has been used, for
    instance by an earlier incarnation whose host's clock was ahead; all indices are greater. ``offset``: what is added
    to the time of a matcher's clock to get seconds since 1970.
    """

    def __init__(
        self,
        start: float,
        clock: Optional[float] = None,
        rate: Optional[float] = None,
        *,
        stall: Optional[float] = None,
        ahead_of: int = -1,
        offset: float = 0.0,
    ) -> None:
        self.clock = clock
        #: the least distance between two indices
        self.step = max(int(clock / rate + 1e-9), 1) if clock and rate else 1
        self.offset = offset
        #: the last index that was given
        self.last = max((0 if clock else incarnation(start)) - self.step, ahead_of)
        #: firings that have got an index
        self.firings = 0
        #: frames of a source that is faster than its clock, which got none
        self.early = 0
        self._stall = None if clock or stall is None else max(stall, 2 / INCARNATION_RATE)
        self._before = start

    @property
    def given_up(self) -> int:
        """No index up to this will be given any more."""
        return self.last + self.step - 1

    def next(self, wall: float) -> Optional[int]:
        """The next firing's index; ``wall`` is the time in seconds since 1970, corrected by the host's offset.

        With a clock, the index follows the last one as long as that is less than one count off the clock, otherwise it
        is the clock's count. None where the clock is a whole count behind: what was made is one too many and is to be
        dropped. A clock that has been set back does not stop the source.
        """
        index = self.last + self.step
        if self.clock:
            ahead = index - wall * self.clock
            if ahead <= -1:
                index = int(wall * self.clock)
            elif 1 <= ahead <= max(_SET_BACK * self.clock, 2):
                self.early += 1
                return None
        elif self._stall is not None:
            if wall > self._before + self._stall:
                index = max(index, incarnation(wall) + index % (1 << COUNT_BITS))
            self._before = wall
        self.last = index
        self.firings += 1
        return index
