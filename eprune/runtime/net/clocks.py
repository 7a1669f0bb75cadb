"""How far the clocks of two hosts are apart, as the heartbeats of their connection tell.

Each process has a clock of its own: it runs from the time of day at its start and never jumps. A heartbeat carries the
sender's clock. When it comes, the difference of the two clocks is their offset plus the time that it was under way; the
least difference is that of the heartbeat that was fastest. With the least differences of both directions, which
heartbeats carry too, the offset is known up to half of what both took.
"""

from __future__ import annotations

import time
from typing import Optional

import numpy as np

from eprune.runtime.kernel.ages import UNBORN

#: Nanoseconds between time.perf_counter_ns and the epoch when this process started.
_EPOCH = time.time_ns() - time.perf_counter_ns()
#: Seconds after which a difference is forgotten, once or twice as many: clocks drift.
WINDOW = 30.0
#: Heartbeats that are answered at once on a new connection.
ANSWERS = 8
#: What a heartbeat says that has nothing to compare with yet.
UNKNOWN = 2**63 - 1
#: Births are in microseconds modulo this. One that is up to so much in the future is of a clock that is a bit ahead.
_MODULUS = 1 << 32
_AHEAD = 60_000_000


def micros() -> int:
    """This process's clock, in microseconds since the epoch."""
    return since_epoch(time.perf_counter_ns())


def since_epoch(moment: int) -> int:
    """A moment of perf_counter_ns here, in microseconds since the epoch by this process's clock."""
    return (moment + _EPOCH) // 1000


def moment(micros: int, offset: int) -> int:
    """The same back, of the clock of a peer that is ``offset`` microseconds ahead."""
    return 1000 * (micros - offset) - _EPOCH


def to_wire(birth: int) -> int:
    """A birth (perf_counter_ns) as a token's header states it; 0 is unknown."""
    return 0 if birth == UNBORN else ((birth + _EPOCH) // 1000) % _MODULUS or 1


def from_wire(birth: int, offset: Optional[int]) -> int:
    """The birth that a header states, as perf_counter_ns here; the peer's clock is ``offset`` microseconds ahead."""
    if not birth or offset is None:
        return UNBORN
    now = time.perf_counter_ns()
    age = ((now + _EPOCH) // 1000 + offset - birth) % _MODULUS
    return now if age > _MODULUS - _AHEAD else now - 1000 * age


def all_from_wire(births: np.ndarray, offset: Optional[int]) -> list[int]:
    """The same for many births at once, an array of uint32."""
    if offset is None:
        return [UNBORN] * len(births)
    now = time.perf_counter_ns()
    ages = np.uint32(((now + _EPOCH) // 1000 + offset) % _MODULUS) - births
    if ages.max() > _MODULUS - _AHEAD or not births.all():
        return [from_wire(birth, offset) for birth in births.tolist()]
    born: list[int] = (now - 1000 * ages.astype(np.int64)).tolist()
    return born


class Comparison:
    """The clock of a peer against this one. Times are in microseconds, but for ``now``: seconds of any clock."""

    def __init__(self) -> None:
        #: how far the peer's clock is ahead, and by how much that may be wrong; None: unknown
        self.offset: Optional[int] = None
        self.uncertainty: Optional[int] = None
        #: how long a heartbeat takes there, at best, and took back, the last one; None: unknown
        self.round_trip: Optional[int] = None
        self._back = _Least()
        self._left = ANSWERS

    def begin(self) -> None:
        """A connection was made, to the same process or to another: compare anew. Till then the old offset holds."""
        self._back = _Least()
        self._left = ANSWERS

    @property
    def least(self) -> int:
        """The least difference that was seen here; UNKNOWN if none was."""
        return UNKNOWN if self._back.value is None else self._back.value

    def heard(self, now: float, mine: int, clock: int, there: int) -> bool:
        """A heartbeat has come at ``mine`` by this clock, sent at ``clock`` by the peer's. Whether to answer at once.

        ``there``: the least difference that was seen at the other end.
        """
        self._back.add(now, mine - clock)
        back = self._back.value
        if there != UNKNOWN and back is not None:
            self.offset = (there - back) // 2
            self.uncertainty = max((there + back) // 2, 0)
            self.round_trip = max(there + mine - clock, 0)
        self._left -= 1
        return self._left >= 0


class _Least:
    """The least of the values of the last WINDOW seconds, or somewhat longer."""

    def __init__(self) -> None:
        self._before: Optional[int] = None
        self._current: Optional[int] = None
        self._turn = 0.0

    def add(self, now: float, value: int) -> None:
        if now >= self._turn:
            self._before, self._current, self._turn = self._current, None, now + WINDOW
        self._current = value if self._current is None else min(self._current, value)

    @property
    def value(self) -> Optional[int]:
        known = [value for value in (self._before, self._current) if value is not None]
        return min(known, default=None)
