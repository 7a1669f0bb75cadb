"""What to do when a peer or a link fails: state and arithmetic, without a socket and without a clock.

A FIFO between two platforms has a sending and a receiving end. Tokens are numbered from 0 in the order in which they
are sent, anew for each incarnation (run of a process) of either end; numbers never travel with tokens, for a connection
keeps their order. The receiving end tells its counters (``Feedback``), first of all when a connection is made or made
again: that is where the sending end goes on. So nothing is doubled, and what ``wait`` keeps is not lost.

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


#: Seconds that a peer with which nothing remains to be done has to close the connection, too.
PARTING = 5.0

#: Incarnations of a peer of which a receiving end remembers how many tokens they sent.
FORMER = 1000


class Feedback(NamedTuple):
    """What a receiving end tells: all are numbers of tokens but ``firing``, the index of the consumer's next firing.

    ``received`` tokens arrived, on ``fired`` the consumer has fired, up to ``limit`` there is room.
    """

    received: int
    fired: int
    limit: int
    firing: int


class Sending:
    """The sending end: which slots wait, which are on their way, and which may be written again.

    A token goes through ``put``, ``take`` (it is being sent) and ``sent`` (it is out of our hands); ``wait`` holds its
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
        self._peak = 0  # how far we were before the connection broke
        self._offset = 0  # our number of the token that the peer calls 0
        self._arrived = 0
        self._peer = ""
        self._told = Feedback(0, 0, 0, 0)

    @property
    def confirmed(self) -> int:
        """Tokens of which we know that the peer has got them."""
        return self._base if self.policy == WAIT else self._arrived

    @property
    def dropped(self) -> int:
        """Tokens of which we do not know that the peer has got them."""
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
        return self.drained and self._told.fired == self.count

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
        if not self.alive or self._next == self._end or self.count >= self._told.limit:
            return None
        slot = self._slots[self._next - self._base]
        self.resent += self._next < self._peak
        self._next += 1
        return slot

    def sent(self) -> list[int]:
        """The oldest token that was taken is out."""
        return [] if self.policy == WAIT else self._let_go(self._base + 1)

    def resume(self, peer: str, told: Feedback) -> list[int]:
        """A connection to the incarnation ``peer`` is there, and it told its counters.

        Raises LostTokens where that cannot go on without losing what ``wait`` promised to keep, ProtocolError where the
        counters cannot be.
        """
        fresh = peer != self._peer
        last = Feedback(told.received, 0, 0, 0) if fresh else self._told
        self._peak = max(self._peak, self._next)
        # All is checked before anything is changed: whoever lies may do so over and over.
        _check(told, self._peak - (0 if fresh else self._offset), last)
        if self.policy == WAIT:
            if fresh and told.received:
                raise LostTokens("another process had taken its place meanwhile, and tokens that were for it")
            if fresh and not self._ack_fired and self._base > self._offset + self._told.fired:
                raise LostTokens(
                    "it was restarted, and may have received tokens on which it had not fired; "
                    'ack="fired" at the FIFO has them sent again'
                )
            if fresh:
                self._offset = self._base
            self._next = self._offset + told.received
        else:
            self._offset = self._next - told.received
            if lossy(self.policy):
                self.given_up -= told.received - last.received
        self._told = last
        self._peer = peer
        self.alive = True
        return self.feedback(told)

    def feedback(self, told: Feedback) -> list[int]:
        """The peer told its counters. Raises ProtocolError where they cannot be."""
        last = self._told
        _check(told, self.count, last)
        self._told = told
        self._arrived += told.received - last.received
        self.firing = told.firing
        if self.policy != WAIT:
            return []
        return self._let_go(self._offset + (told.fired if self._ack_fired else told.received))

    def lost(self) -> list[int]:
        """The connection broke, or the peer is dead."""
        free: list[int] = []
        if lossy(self.policy):
            self.given_up += self.alive * (self._end - self._offset - self._told.received)
            free = self._let_go(self._end)
        self.alive = False
        self._next = max(self._next, self._base)
        return free

    def _let_go(self, number: int) -> list[int]:
        free = [self._slots.popleft() for _ in range(number - self._base)]
        self._base = max(self._base, number)
        return free


def _check(told: Feedback, sent: int, last: Feedback) -> None:
    """Raise ProtocolError where counters cannot be, after ``sent`` tokens and what was told at ``last``."""
    if not (told.fired <= told.received <= sent and last.received <= told.received and last.limit <= told.limit):
        raise ProtocolError(
            f"it says that {told.received} tokens arrived, {told.fired} were fired on, and of room for {told.limit}; "
            f"{sent} were sent, and {last.received} and {last.limit} were said before"
        )


class Receiving:
    """The receiving end: how many tokens have come from this incarnation of the peer, and what to tell it."""

    def __init__(self, policy: str, slots: int, delay: int = 0, ack_fired: bool = False) -> None:
        self.alive = False
        #: tokens received from all incarnations of the peer, and how often it was restarted
        self.received = self.restarts = 0
        #: tokens that the consumer has let go of, beyond the ``delay`` initial ones
        self.fired = -delay
        #: the index of the consumer's next firing
        self.firing = 0
        self._slots = slots
        self._start = 0  # tokens received that are not of this incarnation of the peer
        self._former: dict[str, int] = {}  # what those before it had sent, for one may come back
        self._peer = ""
        self._told = Feedback(0, 0, 0, 0)
        # Half the room is told at once: seldom enough to cost little, soon enough that the peer need not wait.
        self._stride = 1 if ack_fired else max(1, slots // 2)
        self._keeps = policy == WAIT

    def resume(self, peer: str) -> None:
        """A connection from the incarnation ``peer`` is there."""
        if peer != self._peer:
            self.restarts += bool(self._peer)
            self._former[self._peer] = self.count
            self._start = self.received - self._former.pop(peer, 0)
            self._peer = peer
            if len(self._former) > FORMER:
                del self._former[next(iter(self._former))]
        self.alive = True

    def expect(self) -> None:
        """A token begins to come. Raises ProtocolError where there is no room for it."""
        if self.count >= self._told.limit:
            raise ProtocolError("more tokens than there is room for")

    def arrived(self) -> None:
        """It has come whole; only now may the peer be told."""
        self.received += 1

    @property
    def count(self) -> int:
        """How many tokens this incarnation of the peer has sent."""
        return self.received - self._start

    @property
    def due(self) -> bool:
        """Whether the peer should be told: asked for each token, so it makes nothing."""
        told, stride = self._told, self._stride
        if self.fired - self._start + self._slots - told.limit >= stride:
            return True
        return self._keeps and self.received - self._start - told.received >= stride

    def tell(self) -> Feedback:
        """The counters, as the peer is told now."""
        self._told = self._now()
        return self._told

    def _now(self) -> Feedback:
        fired = self.fired - self._start
        return Feedback(self.count, max(fired, 0), fired + self._slots, self.firing)


class Suspicion:
    """When to say that we are alive, and when a peer that says nothing is dead; times are seconds of any clock.

    ``dead`` is to be asked every ``period``. Between two questions no more than two periods count as the peer's
    silence: whoever asks later has slept itself.
    """

    def __init__(self, dead_after: float) -> None:
        self.dead_after = dead_after
        self.period = dead_after / 4
        self.spoke = self.heard = self._asked = 0.0

    def begin(self, now: float) -> None:
        """A connection was made."""
        self.spoke = self.heard = self._asked = now

    def quiet(self, now: float) -> bool:
        """Whether a heartbeat is due."""
        return now - self.spoke >= self.period

    def dead(self, now: float) -> bool:
        """Whether the peer has said nothing for too long."""
        slept = now - self._asked - 2 * self.period
        if slept > 0:
            self.heard += slept
        self._asked = now
        return now - self.heard > self.dead_after


def back_off(attempt: int, chance: float) -> float:
    """Seconds to wait before connecting the n-th time in a row: 10 ms, doubling up to 0.5 s, times 0.5 to 1.

    ``chance``, 0 to 1, spreads peers that lost the same machine.
    """
    return min(0.01 * 2 ** min(attempt, 6), 0.5) * (0.5 + chance / 2)
