"""The two ends of a FIFO between platforms, as numbers: what was made, sent, received and fired on. No socket or clock.

A FIFO between two platforms is a ring of slots at each end. The ends keep one pair of counters: ``written`` is the
producer's and travels with the tokens, ``released`` is the consumer's and travels with credits. The capacity bounds the
difference, wherever the tokens are: in slots of either end, on the wire, or in buffers of the kernel.

Tokens are numbered from 0 in the order in which they are sent, anew for each incarnation (run of a process) of either
end. Numbers never travel with tokens because a connection keeps their order. The receiving end reports its counters (a
``Credit``), first of all whenever a connection has been made: the sending end continues from there. Nothing is
duplicated, and what ``wait`` keeps is not lost.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, NamedTuple, Optional, cast

from eprune.runtime.kernel.errors import LostTokens, ProtocolError
from eprune.runtime.kernel.policy import NEWEST, WAIT, lossy
from eprune.runtime.net import wire

#: For how many incarnations of a peer a receiving end remembers the number of tokens that they sent.
FORMER = 1000
#: Under these policies the producer must know which tokens were received, and which room there is without its own.
FULL_CREDITS = (WAIT, NEWEST)
#: From this capacity on, credits are put off until this part of the room is to be reported.
BATCHING, PART = 8, 4


class Credit(NamedTuple):
    """What a receiving end reports: numbers of tokens, and ``firing``, the index of the consumer's next firing.

    ``received`` tokens arrived, on ``fired`` the consumer has fired, up to ``limit`` there is room.
    """

    received: int
    fired: int
    limit: int
    firing: int


#: the same from a tuple, without a call of Python's: one for each report that comes
new_credit = cast("Callable[[tuple[int, int, int, int]], Credit]", partial(tuple.__new__, Credit))


def stride(capacity: int) -> int:
    """How many tokens are reported or sent at once where that may wait a moment."""
    return capacity // PART if capacity >= BATCHING else 1


class Sending:
    """The sending end of a FIFO: which tokens are to be sent, and which slots may be written again.

    The producer advances ``written`` and may do so while ``written - released < capacity``. Whoever holds the
    connection's lock writes all the rest. ``spare`` slots, beside those that there is room for, keep tokens that were
    fired on, but whose iteration is not over.
    """

    def __init__(self, policy: str, capacity: int, ack_fired: bool = False, spare: int = 0) -> None:
        self.policy = policy
        self.capacity = capacity + spare
        self.spare = spare
        #: whether there is a connection, and the peer has reported where to continue
        self.alive = False
        #: tokens made, and those below which slots may be written again
        self.written, self.released = 0, -spare
        #: the number of the token to send next, and tokens below this one may be sent
        self.next = self.limit = 0
        #: tokens sent once more, and the index of the firing that the peer does next
        self.resent = self.firing = 0
        #: tokens that were dropped, or were under way when the connection broke and may have arrived
        self.given_up = 0
        #: tokens that there was no room for
        self.skipped = 0
        #: what the producer has said: it has ended, or makes no tokens for now
        self.ended = self.starved = False
        #: what the peer was told on this connection
        self.end_sent = self.idle_sent = False
        #: the index up to which nothing more comes, and which of these the peer was told
        self.passed = self.passed_sent = -1
        #: whether the consumer is known to have begun to fire
        self.begun = False
        #: whether nothing remains to be done: the peer wants no more, or will never learn more
        self.over = False
        #: tokens below this one were fired on, as the peer has reported; how often the connection broke
        self.answered = self.breaks = 0
        self.ack_fired = ack_fired
        self._base = 0  # tokens below this one need not be kept
        self._peak = 0  # the next number before the connection broke
        self._offset = 0  # the number of the token that is the peer's number 0
        self._arrived = 0
        self._peer = ""
        self._last = Credit(0, 0, 0, 0)

    @property
    def confirmed(self) -> int:
        """Tokens that the peer is known to have received."""
        return self._offset + self._last.received if self.policy == WAIT else self._arrived

    @property
    def dropped(self) -> int:
        """Tokens that the peer is not known to have received."""
        return self.written + self.skipped - self.confirmed

    @property
    def drained(self) -> bool:
        """Whether nothing waits to be sent."""
        return self.next == self.written

    @property
    def count(self) -> int:
        """How many tokens were sent, as the peer counts."""
        return self.next - self._offset

    @property
    def fired(self) -> bool:
        """Whether the peer has fired on all that was sent."""
        return self.drained and self._last.fired == self.count

    def put(self, count: int) -> None:
        """The producer has made ``count`` tokens."""
        self.written += count
        if not self.alive and lossy(self.policy):
            self.given_up += count
            self._forget()

    def take(self, most: int) -> int:
        """How many of the next tokens, at most ``most``, are sent now: those from `next` - that many on."""
        if not self.alive:
            return 0
        count = min(self.written - self.next, self.limit - self.next, most)
        if count <= 0:
            return 0
        if self.next < self._peak:
            self.resent += min(count, self._peak - self.next)
        self.next += count
        return count

    def resume(self, peer: str, credit: Credit) -> None:
        """A connection to the incarnation ``peer`` has been made, and the peer has reported its counters.

        Raises LostTokens if ``wait`` cannot keep its promise, ProtocolError if the counters are impossible.
        """
        fresh = peer != self._peer
        last = Credit(credit.received, 0, 0, 0) if fresh else self._last
        self._peak = max(self._peak, self.next)
        # Everything is checked before anything is changed: a lying peer may try again and again.
        _check(credit, self._peak - (0 if fresh else self._offset), last)
        if self.policy == WAIT:
            if fresh and credit.received:
                raise LostTokens("another process has taken its place and received tokens that were meant for it")
            if fresh and not self.ack_fired and self._peak > self._offset + self._last.fired:
                raise LostTokens(
                    "it was restarted, and nobody knows whether it had fired on tokens that it had received; "
                    'with ack="fired" at the FIFO they are sent again'
                )
            if fresh:
                self._offset = self._base
            self.next = self._offset + credit.received
        else:
            self._offset = self.next - credit.received
            if lossy(self.policy):
                self.given_up -= credit.received - last.received
            if fresh:  # what another has said of its end does not hold for this one
                self.over = False
        self._last = last
        self._peer = peer
        self.alive = True
        self.end_sent = self.idle_sent = False
        self.passed_sent = -1
        self._count(credit)

    def credit(self, credit: Credit) -> None:
        """The peer has reported its counters again: its consumer fires. Raises ProtocolError if they are impossible."""
        self.begun = True
        self._count(credit)

    def credit_briefly(self, fired: int) -> None:
        """The same by a token's header. Raises ProtocolError if it is impossible, or this FIFO takes no such credit."""
        if self.policy in FULL_CREDITS:
            raise ProtocolError(f"a credit in a header for a FIFO under '{self.policy}'")
        self.begun = True
        last = self._last
        fired = last.fired + (fired - last.fired) % wire.BRIEF
        self._count(new_credit((max(last.received, fired), fired, fired + self.capacity, self.firing)))

    def _count(self, credit: Credit) -> None:
        last = self._last
        _check(credit, self.next - self._offset, last)
        self._last = credit
        self._arrived += credit.received - last.received
        if not self.alive:  # the consumer has ended: what was given up then has arrived after all
            if lossy(self.policy):
                self.given_up -= credit.received - last.received
            return
        self.firing = credit.firing
        self.answered = self._offset + credit.fired
        self._base = max(self._base, self._offset + credit.fired)
        self.limit = self._offset + credit.limit
        self._free()

    def part(self) -> None:
        """The connection broke, or the peer is dead."""
        self.breaks += self.alive
        if lossy(self.policy):
            if self.alive:
                self.given_up += self.written - self._offset - self._last.received
            self._forget()
        self.alive = False

    def _forget(self) -> None:
        """All that was written is gone."""
        self.next = self._base = self.limit = self.written
        self.limit += self.capacity
        self._free()

    def _free(self) -> None:
        self.released = min(self._base, self.limit - self.capacity)


def _check(new: Credit, sent: int, last: Credit) -> None:
    """Raise ProtocolError if the counters ``new`` are impossible after ``sent`` tokens and the credit ``last``."""
    if not (new.fired <= new.received <= sent and last.received <= new.received and last.limit <= new.limit):
        raise ProtocolError(
            f"the peer reports {new.received} tokens received, {new.fired} fired on and room for {new.limit}; "
            f"{sent} were sent, and its last report was {last.received} received and room for {last.limit}"
        )


class Receiving:
    """The receiving end of a FIFO: how many tokens have come from this incarnation of the peer, and what to report.

    The consumer advances ``released``; whoever receives advances ``written``, in which ``delay`` initial tokens count.
    """

    def __init__(self, policy: str, capacity: int, delay: int = 0) -> None:
        self.policy = policy
        self.capacity = capacity
        self.delay = delay
        #: whether there is a connection
        self.alive = False
        self.written = delay
        self.released = 0
        #: how often the peer was restarted
        self.restarts = 0
        #: the index of the consumer's next firing
        self.firing = 0
        #: what the consumer has said: it has ended
        self.left = False
        #: whether the peer has said that no more tokens come
        self.end_received = False
        #: whether nothing remains to be done: the consumer has ended, and the peer knows
        self.over = False
        self.stride = stride(capacity)
        #: ``released`` when the last iteration was over, where tokens count as fired on only then; None: at once
        self.completed: Optional[int] = None
        self.reported = 0  # ``released`` when it was reported last
        self._start = 0  # tokens received that are not of this incarnation of the peer
        self._former: dict[str, int] = {}  # what those before it had sent, for one may come back
        self._peer = ""
        #: what ``written`` may become: for so many tokens the producer knows that there is room
        self.bound = delay

    @property
    def received(self) -> int:
        """Tokens received from all incarnations of the peer."""
        return self.written - self.delay

    @property
    def count(self) -> int:
        """How many tokens this incarnation of the peer has sent."""
        return self.written - self.delay - self._start

    @property
    def room(self) -> int:
        """How many more tokens this incarnation may send. It may send none before it was told so."""
        return self.bound - self.written

    @property
    def due(self) -> bool:
        """Whether a report is due."""
        return self.released - self.reported >= self.stride

    def resume(self, peer: str) -> None:
        """A connection from the incarnation ``peer`` has been made."""
        if peer != self._peer:
            self.restarts += bool(self._peer)
            self._former[self._peer] = self.count
            self._start = self.received - self._former.pop(peer, 0)
            self._peer = peer
            if len(self._former) > FORMER:
                del self._former[next(iter(self._former))]
        self.bound = self.written
        self.alive = True
        self.over = False

    def begin(self) -> None:
        """The consumer begins to fire: a report is due, by which the peer knows."""
        self.reported = self.released - self.stride

    def report(self) -> Credit:
        """The counters that the peer gets now."""
        self.reported = self.released
        before = self.delay + self._start
        fired = self.released - before
        self.bound = self.released + self.capacity
        known = fired if self.completed is None or self.left else self.completed - before
        return Credit(self.written - before, max(known, 0), fired + self.capacity, self.firing)

    def report_briefly(self) -> Optional[int]:
        """The same for the header of a token: how many tokens were fired on. None where a Credit must say it."""
        fired = self.released - self.delay - self._start
        if fired < 0 or self.policy in FULL_CREDITS or self.released - self.reported >= wire.BRIEF:
            return None
        self.reported = self.released
        self.bound = self.released + self.capacity
        return fired
