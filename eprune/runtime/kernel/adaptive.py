"""A time-out that follows what tokens take, between a floor and a ceiling: one for all such FIFOs of a group of peers.

Each actor estimates how long it waits for tokens as a sender does that resends (RFC 6298): the smoothed time plus four
mean deviations. That time is twice the wait: where two actors give up a third, each does so when it has waited, and so
they are apart by one wait more when they wait for each other next. The largest estimate of a process goes out with its
tokens, and each process uses the largest that it knows, its own or a peer's: with time-outs of their own, one peer
would give up another that still waits for a third.

An estimate is a share of the ceiling. On the wire it is a level: 127 is the ceiling, 8 less is half of that, 0 is
nothing.
"""

from __future__ import annotations

import math
import threading
from typing import Optional, Protocol

#: The level of the ceiling, and how many levels halve the time-out.
CEILING, _HALF = 127, 8
#: So many waits make an estimate; until then the ceiling holds.
WARM = 16


class Timed(Protocol):
    """What has a time-out, in seconds."""

    timeout: Optional[float]


class AdaptiveTimeout:
    """The time-outs of a process that are ranges. ``level``: what its own waits ask for."""

    def __init__(self) -> None:
        self.level = CEILING
        self._levels: dict[int, int] = {}  # by actor
        self._heard: dict[str, int] = {}
        self._ports: list[tuple[Timed, float, float]] = []
        self._share = 1.0
        self._lock = threading.Lock()

    def add(self, port: Timed, floor: float, ceiling: float) -> None:
        """Keep a port's time-out between these two, in seconds."""
        port.timeout = ceiling
        self._ports.append((port, floor, ceiling))

    def waits(self, ceiling: float) -> Waits:
        """What an actor tells of how long it waits; ``ceiling`` is the largest of its inputs, in seconds."""
        actor = len(self._levels)
        self._levels[actor] = CEILING
        return Waits(self, actor, ceiling)

    def timeout(self, floor: float, ceiling: float) -> float:
        """The time-out of a FIFO with this range, in seconds."""
        return min(max(floor, self._share * ceiling), ceiling)

    def asks(self, actor: int, level: int) -> None:
        """An actor's waits ask for this level."""
        if self._levels[actor] != level:
            self._levels[actor] = level
            self.level = max(self._levels.values())
            self._apply()

    def heard(self, peer: str, level: int) -> None:
        """A peer's waits ask for this level."""
        if self._heard.get(peer) != level:
            self._heard[peer] = level
            self._apply()

    def forget(self, peer: str) -> None:
        """A peer is gone: what it asked for no longer counts."""
        if self._heard.pop(peer, None) is not None:
            self._apply()

    def _apply(self) -> None:
        with self._lock:
            level = max([self.level, *list(self._heard.values())])
            self._share = 2.0 ** ((min(level, CEILING) - CEILING) / _HALF)
            for port, floor, ceiling in self._ports:
                port.timeout = self.timeout(floor, ceiling)


class Waits:
    """How long an actor waits for tokens: twice the wait, smoothed, and its mean deviation, in seconds."""

    __slots__ = ("_actor", "_count", "_deviation", "_mean", "_timeout", "ceiling")

    def __init__(self, timeout: AdaptiveTimeout, actor: int, ceiling: float) -> None:
        self.ceiling = ceiling
        self._timeout = timeout
        self._actor = actor
        self._mean = self._deviation = 0.0
        self._count = 0

    @property
    def estimate(self) -> float:
        """What its waits ask for, in seconds."""
        return self._mean + 4 * self._deviation if self._count >= WARM else self.ceiling

    def took(self, seconds: float) -> None:
        """Tokens came so long after the firing could begin: 0 if they were there. What took longer than the ceiling
        was an outage, and does not count.
        """
        if seconds > self.ceiling:
            return
        time = 2 * seconds
        if self._count:
            self._deviation += (abs(self._mean - time) - self._deviation) / 4
            self._mean += (time - self._mean) / 8
        else:
            self._mean, self._deviation = time, time / 2
        self._count += 1
        if self._count >= WARM:
            share = self.estimate / self.ceiling
            level = CEILING + math.ceil(_HALF * math.log2(share)) if share > 0 else 1
            self._timeout.asks(self._actor, min(max(level, 1), CEILING))
