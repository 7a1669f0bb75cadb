"""When a peer counts as dead, and how long to wait before the next attempt to reach it. No socket, no clock."""

from __future__ import annotations

#: Seconds that a peer has to close its side of a connection that is finished.
CLOSE_TIMEOUT = 5.0


class FailureDetector:
    """When a heartbeat is due, and when a silent peer is dead. Times are in seconds of any clock.

    ``dead`` must be called every ``period``. At most two periods between two calls count as the peer's silence: a
    longer pause means that the caller itself was held up.
    """

    def __init__(self, dead_after: float) -> None:
        self.dead_after = dead_after
        self.period = dead_after / 4
        self.last_sent = self.last_received = self._last_call = 0.0

    def begin(self, now: float) -> None:
        """A connection was made."""
        self.last_sent = self.last_received = self._last_call = now

    def heartbeat_due(self, now: float) -> bool:
        """Whether a heartbeat is due."""
        return now - self.last_sent >= self.period

    def dead(self, now: float) -> bool:
        """Whether the peer has been silent for too long."""
        held_up = now - self._last_call - 2 * self.period
        if held_up > 0:
            self.last_received += held_up
        self._last_call = now
        return now - self.last_received > self.dead_after


def back_off(attempt: int, chance: float) -> float:
    """Seconds to wait before connecting the n-th time in a row: 10 ms, doubling up to 0.5 s, times 0.5 to 1.

    ``chance``, 0 to 1, spreads peers that lost the same machine.
    """
    return min(0.01 * 2 ** min(attempt, 6), 0.5) * (0.5 + chance / 2)
