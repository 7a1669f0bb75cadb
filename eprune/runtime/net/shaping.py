"""When bytes leave an emulated link and when they arrive; when an emulated unit is done. No socket, no clock.

Times are in seconds of one clock, which callers read. A link sends one thing after another at its bandwidth, and what
has left arrives one latency later. Any number of bytes may be under way: latency costs no throughput. A unit computes
one thing after another, ``slowdown`` times as long as the core that emulates it.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import NamedTuple, Optional

#: A sender that comes back within this many seconds had its next bytes ready: they follow the last ones directly.
#: Without this, the link would be idle each time that the sender wakes up late.
READY = 0.5e-3
#: What one call sends leaves in pieces of this many seconds, and of this many bytes at least.
PIECE = 1e-3
PIECE_BYTES = 1448
#: Bytes that wait for their turn before a sender must wait.
AHEAD = 16 * 1024
#: Bytes that may be under way beyond those that the link itself holds, and in all.
ROOM = 256 * 1024
MAX_ROOM = 64 * 1024 * 1024
#: Seconds of latency at most, from a peer.
MAX_LATENCY = 3600.0


class Figures(NamedTuple):
    """A link: ``bandwidth`` in bytes per second, None for no limit, and ``latency`` in seconds."""

    bandwidth: Optional[float] = None
    latency: float = 0.0

    def __str__(self) -> str:
        rate = "any bandwidth" if self.bandwidth is None else f"{self.bandwidth / 1e6:g} MB/s"
        return f"{rate}, {1e3 * self.latency:g} ms"

    @property
    def room(self) -> int:
        """Bytes that may be under way at once: what the link holds and some more, to keep it busy."""
        return MAX_ROOM if self.bandwidth is None else min(int(self.bandwidth * self.latency) + ROOM, MAX_ROOM)


class Pacer:
    """The sending side of a link: what is given to it leaves at ``bandwidth`` bytes per second, in order."""

    def __init__(self, bandwidth: float) -> None:
        self.bandwidth = bandwidth
        self._free = -math.inf
        self._returned = -math.inf
        self._asking = threading.Lock()

    def leave(self, nbytes: int, now: float) -> list[tuple[int, float]]:
        """Give ``nbytes`` to the link. The pieces in which they leave: bytes from the first on, and when they have."""
        seconds = nbytes / self.bandwidth
        with self._asking:
            if now > self._free and now - self._returned > READY:
                self._free = now
            begin = self._free
            self._free += seconds
        count = max(1, min(round(seconds / PIECE), nbytes // PIECE_BYTES))
        return [(nbytes * piece // count, begin + seconds * piece / count) for piece in range(1, count + 1)]

    def returned(self, now: float) -> None:
        """The sender has sent what it asked for, and may come back."""
        self._returned = now


class Flight:
    """Bytes under way, in order: each piece with the moment at which it is there."""

    def __init__(self) -> None:
        self.nbytes = 0
        self._pieces: deque[tuple[float, memoryview]] = deque()

    def add(self, data: memoryview, when: float) -> None:
        """These bytes will be there then."""
        self.nbytes += len(data)
        self._pieces.append((when, data))

    def due(self) -> Optional[float]:
        """When the first bytes are there; None if none are under way."""
        return self._pieces[0][0] if self._pieces else None

    def first(self) -> memoryview:
        """The first bytes."""
        return self._pieces[0][1]

    def remove(self, count: int) -> None:
        """So many of the first bytes were handed over."""
        when, data = self._pieces.popleft()
        self.nbytes -= count
        if count < len(data):
            self._pieces.appendleft((when, data[count:]))


class Departures:
    """What a link does to bytes that are to be sent. Several connections may share its pacer."""

    def __init__(self, pacer: Pacer) -> None:
        self._pacer = pacer
        self.room = AHEAD

    def schedule(self, flight: Flight, data: memoryview, now: float) -> None:
        """They leave one after the other."""
        begin = 0
        for end, when in self._pacer.leave(len(data), now):
            flight.add(data[begin:end], when)
            begin = end

    def handed(self, now: float) -> None:
        """Some were handed over."""
        self._pacer.returned(now)


class Arrivals:
    """What a link does to bytes that arrive over the true one, which has taken ``excess`` seconds of the latency."""

    def __init__(self, figures: Figures, excess: float = 0.0) -> None:
        self._excess = excess
        self.latency = figures.latency
        self.room = figures.room

    def schedule(self, flight: Flight, data: memoryview, now: float) -> None:
        """They are there a latency later."""
        flight.add(data, now + max(0.0, self.latency - self._excess))

    def handed(self, now: float) -> None:
        """Some were handed over."""


class SlowUnit:
    """A unit that takes ``slowdown`` times as long as the core that plays it, for one firing after the other."""

    def __init__(self, slowdown: float) -> None:
        self.stated = self.slowdown = slowdown
        self._free = -math.inf

    def done(self, begin: float, cpu: float) -> float:
        """When a firing that began then, and took ``cpu`` seconds of the core, is done on the unit."""
        self._free = max(self._free, begin) + self.slowdown * cpu
        return self._free
