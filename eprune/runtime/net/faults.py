"""What to do when a peer or a link fails: state and arithmetic, without a socket and without a clock.

A FIFO between two platforms has a sending and a receiving end. Tokens are numbered from 0 in the order in which they
are sent, anew for each incarnation (run of a process) of either end. Numbers never travel with tokens because a
connection keeps their order. The receiving end reports its counters (``Feedback``), first of all whenever a connection
has been made: the sending end continues from there. Nothing is duplicated, and what ``wait`` keeps is not lost.

Reference: the fault policies of design section 6, which follow Boutellier et al., fault-tolerant Edge-PRUNE.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, Optional

from eprune.runtime.kernel.errors import LostTokens, ProtocolError
from eprune.runtime.kernel.policy import WAIT, lossy

#: Bytes of tokens that may be on their way beyond the FIFO's own capacity, and how many tokens at most.
WINDOW_BYTES = 512 * 1024
WINDOW_TOKENS = 256


def window(capacity: int, token_bytes: int) -> int:
    """The slots at each end of a FIFO of that capacity: more room never hurts (design section 3), and hides delays."""
    return capacity + max(capacity, min(WINDOW_TOKENS, WINDOW_BYTES // token_bytes))


#: Seconds that a peer has to close its side of a connection that is finished.
CLOSE_TIMEOUT = 5.0

#: For how many incarnations of a peer a receiving end remembers the number of tokens that they sent.
FORMER = 1000


class Feedback(NamedTuple):
    """What a receiving end reports: numbers of tokens, and ``firing``, the index of the consumer's next firing.

    ``received`` tokens arrived, on ``fired`` the consumer has fired, up to ``limit`` there is room.
    """

    received: int
    fired: int
    limit: int
    firing: int


class SenderState:
    """The sending end: which slots wait, which are on their way, and which may be written again.

    A token passes through ``put``, ``take`` (it is being sent) and ``sent`` (the socket has it); ``wait`` holds its
    slot until the peer has it, or, with ``ack_fired``, has fired on it. Methods return the slots that have become free.
    """

    def __init__(self, policy: str, ack_fired: bool = False) -> None:
        self.policy = policy
        self.alive = False
        #: tokens that the producer made, those sent once more, and the index of the firing that the peer does next
        self.made = self.resent = self.firing = 0
        #: tokens that were dropped, or were on their way when the connection broke and may have arrived
        self.given_up = 0
        self._ack_fired = ack_fired
        self._slots: deque[int] = deque()
        self._base = 0  # the number of the token in the first slot
        self._next = 0  # the number of the token to send next
        self._peak = 0  # the next number before the connection broke
        self._offset = 0  # the number of the token that is the peer's number 0
        self._arrived = 0
        self._peer = ""
        self._last_feedback = Feedback(0, 0, 0, 0)

    @property
    def confirmed(self) -> int:
        """Tokens that the peer is known to have received."""
        return self._base if self.policy == WAIT else self._arrived

    @property
    def dropped(self) -> int:
        """Tokens that the peer is not known to have received."""
        return self.made - self.confirmed

    @property
    def drained(self) -> bool:
        """Whether nothing waits to be sent."""
        return self._next == self._end

    @property
    def count(self) -> int:
        """How many tokens were sent, as the peer counts."""
        return self._next - self._offset

    @property
    def fired(self) -> bool:
        """Whether the peer has fired on all that was sent."""
        return self.drained and self._last_feedback.fired == self.count

    @property
    def _end(self) -> int:
        return self._base + len(self._slots)

    def put(self, slot: int) -> list[int]:
        """The producer has made a token."""
        self.made += 1
        if lossy(self.policy) and not self.alive:
            self.given_up += 1
            return [slot]
        self._slots.append(slot)
        return []

    def take(self) -> Optional[int]:
        """The slot of the next token to send; None: there is none, or no room for it."""
        if not self.alive or self._next == self._end or self.count >= self._last_feedback.limit:
            return None
        slot = self._slots[self._next - self._base]
        self.resent += self._next < self._peak
        self._next += 1
        return slot

    def sent(self) -> list[int]:
        """The socket has the oldest token that was taken."""
        return [] if self.policy == WAIT else self._let_go(self._base + 1)

    def resume(self, peer: str, feedback: Feedback) -> list[int]:
        """A connection to the incarnation ``peer`` has been made, and the peer has reported its counters.

        Raises LostTokens if what ``wait`` promised to keep is lost, ProtocolError if the counters are impossible.
        """
        fresh = peer != self._peer
        last = Feedback(feedback.received, 0, 0, 0) if fresh else self._last_feedback
        self._peak = max(self._peak, self._next)
        # Everything is checked before anything is changed: a lying peer may try again and again.
        _check(feedback, self._peak - (0 if fresh else self._offset), last)
        if self.policy == WAIT:
            if fresh and feedback.received:
                raise LostTokens("another process has taken its place and received tokens that were meant for it")
            if fresh and not self._ack_fired and self._base > self._offset + self._last_feedback.fired:
                raise LostTokens(
                    "it was restarted and may have received tokens on which it had not fired; "
                    'with ack="fired" at the FIFO they are sent again'
                )
            if fresh:
                self._offset = self._base
            self._next = self._offset + feedback.received
        else:
            self._offset = self._next - feedback.received
            if lossy(self.policy):
                self.given_up -= feedback.received - last.received
        self._last_feedback = last
        self._peer = peer
        self.alive = True
        return self.feedback(feedback)

    def feedback(self, feedback: Feedback) -> list[int]:
        """The peer has reported its counters. Raises ProtocolError if they are impossible."""
        last = self._last_feedback
        _check(feedback, self.count, last)
        self._last_feedback = feedback
        self._arrived += feedback.received - last.received
        self.firing = feedback.firing
        if self.policy != WAIT:
            return []
        return self._let_go(self._offset + (feedback.fired if self._ack_fired else feedback.received))

    def lost(self) -> list[int]:
        """The connection broke, or the peer is dead."""
        free: list[int] = []
        if lossy(self.policy):
            self.given_up += self.alive * (self._end - self._offset - self._last_feedback.received)
            free = self._let_go(self._end)
        self.alive = False
        self._next = max(self._next, self._base)
        return free

    def _let_go(self, number: int) -> list[int]:
        free = [self._slots.popleft() for _ in range(number - self._base)]
        self._base = max(self._base, number)
        return free


def _check(new: Feedback, sent: int, last: Feedback) -> None:
    """Raise ProtocolError if the counters ``new`` are impossible after ``sent`` tokens and the feedback ``last``."""
    if not (new.fired <= new.received <= sent and last.received <= new.received and last.limit <= new.limit):
        raise ProtocolError(
            f"the peer reports {new.received} tokens received, {new.fired} fired on and room for {new.limit}; "
            f"{sent} were sent, and its last report was {last.received} received and room for {last.limit}"
        )


class ReceiverState:
    """The receiving end: how many tokens have come from this incarnation of the peer, and what to report to it."""

    def __init__(self, policy: str, slots: int, delay: int = 0, ack_fired: bool = False) -> None:
        self.alive = False
        #: tokens received from all incarnations of the peer, and how often it was restarted
        self.received = self.restarts = 0
        #: tokens that the consumer has released, beyond the ``delay`` initial ones
        self.fired = -delay
        #: the index of the consumer's next firing
        self.firing = 0
        self._slots = slots
        self._start = 0  # tokens received that are not of this incarnation of the peer
        self._former: dict[str, int] = {}  # what those before it had sent, for one may come back
        self._peer = ""
        self._last_feedback = Feedback(0, 0, 0, 0)
        # Half the room is reported at once: seldom enough to cost little, soon enough that the peer need not wait.
        self._stride = 1 if ack_fired else max(1, slots // 2)
        self._keeps = policy == WAIT

    def resume(self, peer: str) -> None:
        """A connection from the incarnation ``peer`` has been made."""
        if peer != self._peer:
            self.restarts += bool(self._peer)
            self._former[self._peer] = self.count
            self._start = self.received - self._former.pop(peer, 0)
            self._peer = peer
            if len(self._former) > FORMER:
                del self._former[next(iter(self._former))]
        self.alive = True

    def expect(self) -> None:
        """A token begins to arrive. Raises ProtocolError if there is no room for it."""
        if self.count >= self._last_feedback.limit:
            raise ProtocolError("the peer sends more tokens than there is room for")

    def arrived(self) -> None:
        """The token has arrived whole; only now may the peer be informed."""
        self.received += 1

    @property
    def count(self) -> int:
        """How many tokens this incarnation of the peer has sent."""
        return self.received - self._start

    @property
    def due(self) -> bool:
        """Whether a report to the peer is due. Asked for each token: it allocates nothing."""
        last, stride = self._last_feedback, self._stride
        if self.fired - self._start + self._slots - last.limit >= stride:
            return True
        return self._keeps and self.received - self._start - last.received >= stride

    def report(self) -> Feedback:
        """The counters that the peer gets now."""
        self._last_feedback = self._counters()
        return self._last_feedback

    def _counters(self) -> Feedback:
        fired = self.fired - self._start
        return Feedback(self.count, max(fired, 0), fired + self._slots, self.firing)


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
