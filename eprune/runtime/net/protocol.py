"""The protocol of a connection: one table (state, event) -> (state, instructions). No socket, thread or clock.

A FIFO between two platforms is a ring of slots at each end. The ends keep one pair of counters: ``written`` is the
producer's and travels with the tokens, ``released`` is the consumer's and travels with credits. The capacity bounds the
difference, wherever the tokens are: in slots of either end, on the wire, or in buffers of the kernel.

Tokens are numbered from 0 in the order in which they are sent, anew for each incarnation (run of a process) of either
end. Numbers never travel with tokens because a connection keeps their order. The receiving end reports its counters (a
``Credit``), first of all whenever a connection has been made: the sending end continues from there. Nothing is
duplicated, and what ``wait`` keeps is not lost.

``Sending`` and ``Receiving`` are the two ends of a FIFO. ``Protocol`` is a connection with all its FIFOs: its state,
and the table ``TABLE`` that says what happens next. ``Connection`` carries the instructions out.

Reference: the fault policies of design section 6, which follow Boutellier et al., fault-tolerant Edge-PRUNE.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import partial
from typing import Any, Callable, NamedTuple, Union, cast

from eprune.runtime.kernel.errors import LostTokens, ProtocolError
from eprune.runtime.kernel.policy import STOP, WAIT, lossy
from eprune.runtime.net import wire

#: For how many incarnations of a peer a receiving end remembers the number of tokens that they sent.
FORMER = 1000
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
    connection's lock writes all the rest.
    """

    def __init__(self, policy: str, capacity: int, ack_fired: bool = False) -> None:
        self.policy = policy
        self.capacity = capacity
        #: whether there is a connection, and the peer has reported where to continue
        self.alive = False
        #: tokens made, and those below which slots may be written again
        self.written = self.released = 0
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
        self._base = max(self._base, self._offset + credit.fired)
        self.limit = self._offset + credit.limit
        self._free()

    def part(self) -> None:
        """The connection broke, or the peer is dead."""
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
        return Credit(self.written - before, max(fired, 0), fired + self.capacity, self.firing)


Ends = Mapping[int, Union[Sending, Receiving]]


class State(Enum):
    """A connection's state. MEETING: connected, but not all ends know where to continue; a peer's reports come before
    all else. CLOSING: nothing remains to be done, and the peer closes its side."""

    APART = "apart"
    MEETING = "meeting"
    TOGETHER = "together"
    CLOSING = "closing"
    OVER = "over"

    @property
    def met(self) -> bool:
        """Whether there is a connection."""
        return self in (State.MEETING, State.TOGETHER, State.CLOSING)


class Event(Enum):
    """What may happen to a connection, with its details."""

    #: a connection has been made to an incarnation of the peer: (incarnation)
    MET = "met"
    #: the connection broke, or the peer is silent: (reason); the peer has closed its side: (reason)
    BROKEN = "broken"
    CLOSED = "closed"
    #: nobody was met in the time that there was: (reason)
    NOBODY = "nobody"
    #: frames that arrived: (number of the FIFO, Credit), (number, count), (number), (text)
    CREDIT = "credit"
    END = "end"
    IDLE = "idle"
    ERROR = "error"
    #: an actor of this platform has ended, or starves, or what was to be sent is sent
    CHANGED = "changed"
    #: this run has failed: (message)
    STOP = "stop"


class Do(Enum):
    """What is to be done, with its details."""

    #: send frames: (bytes); credits, tokens and ends follow as far as they are due
    SEND = "send"
    PUMP = "pump"
    #: this end of a FIFO has lost its producer, or that starves, or has ended, or its consumer: (number)
    LOSE = "lose"
    IDLE = "idle"
    FINISH = "finish"
    LEAVE = "leave"
    #: the peer has been met for the first time or again, is lost: (reason), is to be sought
    OPENED = "opened"
    REOPENED = "reopened"
    LOST = "lost"
    SEEK = "seek"
    #: close this side, break the connection, all is over
    SHUT = "shut"
    BREAK = "break"
    OVER = "over"
    #: the run fails, for the peer was lost: (reason), or did not come: (reason)
    PARTED = "parted"
    FAIL = "fail"


Instruction = tuple[Any, ...]


class Protocol:
    """A connection with its FIFO ends by number. `handle` makes one step; the connection's lock is held meanwhile."""

    def __init__(self, ends: Ends) -> None:
        self.ends = ends
        self.sending = {number: end for number, end in ends.items() if isinstance(end, Sending)}
        self.receiving = {number: end for number, end in ends.items() if isinstance(end, Receiving)}
        policies = {end.policy for end in ends.values()}
        self.lossy = all(map(lossy, policies))
        self.stops = STOP in policies
        self.state = State.APART
        #: whether the peer was met, or was given up at the start
        self.opened = False
        #: FIFOs for which both ends know where to continue
        self.resumed: set[int] = set()
        self._peer = ""

    def handle(self, event: Event, *details: Any) -> list[Instruction]:
        """What is to be done. Raises ProtocolError for what the peer must not do, LostTokens as `Sending.resume`."""
        if self.state is State.OVER:
            return []
        act = TABLE.get((self.state, event))
        if act is None:
            raise ProtocolError(f"'{event.value}' while {self.state.value}")
        return act(self, *details)

    @property
    def deserted(self) -> bool:
        """Whether all actors of this platform at its FIFOs have ended."""
        return all(end.left if isinstance(end, Receiving) else end.ended or end.over for end in self.ends.values())

    @property
    def content(self) -> bool:
        """Whether nothing would be lost if the peer were never met again."""
        return self.deserted and all(end.over or end.fired or lossy(end.policy) for end in self.sending.values())

    @property
    def finished(self) -> bool:
        """Whether nothing remains to be done for any FIFO.

        A producer under ``wait`` must learn that its consumer has ended, and fails if it does not: there, a consumer
        is done only when the peer closes its side in return.
        """
        if self.state is not State.APART:
            return all(end.over and (end.left if isinstance(end, Receiving) else True) for end in self.ends.values())
        if self.stops:
            return self.content
        return all(
            end.left and end.policy != WAIT if isinstance(end, Receiving) else end.over for end in self.ends.values()
        )

    # One method for each kind of step; ``TABLE`` says when.

    def _meet(self, incarnation: str) -> list[Instruction]:
        """Report where each sender is to continue; senders wait for the peer's reports."""
        self.state = State.MEETING
        self._peer = incarnation
        self.resumed = set(self.receiving)
        reports = []
        for number, end in self.receiving.items():
            end.resume(incarnation)
            reports.append((Do.SEND, wire.credit_frame(number, end.report())))
        return [*reports, *self._join()]

    def _join(self) -> list[Instruction]:
        """All know where to continue: go on."""
        if self.state is not State.MEETING or not self.resumed.issuperset(self.sending):
            return [(Do.PUMP,)]
        self.state = State.TOGETHER
        first, self.opened = not self.opened, True
        return [(Do.OPENED,) if first else (Do.REOPENED,), (Do.PUMP,), *self._change()]

    def _credit(self, number: int, credit: Credit) -> list[Instruction]:
        end = self.sending.get(number)
        if end is None:
            raise ProtocolError(f"a credit for FIFO number {number}, of which it is not the receiver")
        if number in self.resumed:
            end.credit(credit)
            return [(Do.PUMP,), *self._change()]
        end.resume(self._peer, credit)
        self.resumed.add(number)
        return self._join()

    def _end(self, number: int, count: int) -> list[Instruction]:
        """The producer there has ended, or the consumer."""
        end = self.ends.get(number)
        if isinstance(end, Receiving):
            if count != end.count:
                raise ProtocolError(f"the peer sent {count} tokens, but {end.count} arrived")
            first, end.end_received = not end.end_received, True
            return [(Do.FINISH, number)] * first + [(Do.PUMP,), *self._change()]
        if end is None:
            raise ProtocolError(f"the end of FIFO number {number}, which is none of this connection")
        if end.over:
            return []
        end.over = True
        if lossy(end.policy):
            end.part()
        return [(Do.LEAVE, number)] * (not end.ended) + [(Do.PUMP,), *self._change()]

    def _idle(self, number: int) -> list[Instruction]:
        if number not in self.receiving:
            raise ProtocolError(f"FIFO number {number} idles, of which it is not the sender")
        return [(Do.IDLE, number)]

    def _change(self) -> list[Instruction]:
        """Send what is due; close once nothing remains to be done."""
        if not self.finished:
            # An end that the peer was not told of may be waited for there: it is sought for a while longer.
            return [(Do.PUMP,)] if self.state is not State.APART else [(Do.SEEK,)] * self.opened
        if self.state is State.APART:
            self.state = State.OVER
            return [(Do.OVER,)]
        if self.state is State.TOGETHER:
            # The peer has what it needs to close its side, too; when it does, reading ends.
            self.state = State.CLOSING
            return [(Do.PUMP,), (Do.SHUT,)]
        return [(Do.PUMP,)]

    def _lose(self, reason: str) -> list[Instruction]:
        """The connection is gone: what can do without it goes on, and the peer is sought again."""
        known = self.state in (State.TOGETHER, State.CLOSING)
        told = self._part()
        if self.finished:
            self.state = State.OVER
            first, self.opened = not self.opened, True
            return [*told, (Do.BREAK,), *[(Do.OPENED,)] * first, (Do.OVER,)]
        if self.stops:
            self.state = State.OVER
            return [(Do.BREAK,), (Do.PARTED, reason)]
        return [*told, (Do.BREAK,), *[(Do.LOST, reason)] * known, (Do.SEEK,)]

    def _part(self) -> list[Instruction]:
        """Both ends are on their own."""
        self.state = State.APART
        self.resumed = set()
        for end in self.ends.values():
            if isinstance(end, Sending):
                end.part()
            else:
                end.alive = False
        return [(Do.LOSE, number) for number, end in self.receiving.items() if lossy(end.policy) and self.opened]

    def _despair(self, reason: str) -> list[Instruction]:
        """Nobody came: the start goes on without the peer, what has ended does not tell it; what waits has waited long
        enough.
        """
        if self.lossy and not self.opened:
            self.opened = True
            return [*self._part(), (Do.LOST, reason), (Do.OPENED,)]
        if self.content:
            self.state = State.OVER
            return [(Do.OVER,)]
        if self.lossy:
            return []
        self.state = State.OVER
        return [(Do.FAIL, reason)]

    def _give_up_meeting(self, reason: str) -> list[Instruction]:
        told = [(Do.BREAK,), *self._part(), *self._despair(reason)]
        return told + [(Do.SEEK,)] * (self.state is State.APART)

    def _close(self, reason: str) -> list[Instruction]:
        """Both sides are done, and know it."""
        self.state = State.OVER
        return [(Do.BREAK,), (Do.OVER,)]

    def _stop(self, message: str) -> list[Instruction]:
        """Nothing more is sent but why; who runs this breaks the connection afterwards."""
        self.state = State.OVER
        for sender in self.sending.values():
            sender.part()
        return [(Do.SEND, wire.control_frame(wire.ERROR, 0, message=message)), (Do.PUMP,)]

    def _ignore(self, *_: object) -> list[Instruction]:
        return []


_S, _E, _P = State, Event, Protocol

#: (state, event) -> the step. What is missing must not happen: a frame that the peer must not send then. Once all is
#: over, nothing happens any more.
TABLE: Mapping[tuple[State, Event], Callable[..., list[Instruction]]] = {
    (_S.APART, _E.MET): _P._meet,
    (_S.APART, _E.BROKEN): _P._ignore,
    (_S.APART, _E.NOBODY): _P._despair,
    (_S.APART, _E.CHANGED): _P._change,
    (_S.APART, _E.STOP): _P._stop,
    (_S.MEETING, _E.BROKEN): _P._lose,
    (_S.MEETING, _E.CLOSED): _P._lose,
    (_S.MEETING, _E.NOBODY): _P._give_up_meeting,
    (_S.MEETING, _E.CREDIT): _P._credit,
    (_S.MEETING, _E.ERROR): _P._lose,
    (_S.MEETING, _E.CHANGED): _P._change,
    (_S.MEETING, _E.STOP): _P._stop,
    (_S.TOGETHER, _E.BROKEN): _P._lose,
    (_S.TOGETHER, _E.CLOSED): _P._lose,
    (_S.TOGETHER, _E.CREDIT): _P._credit,
    (_S.TOGETHER, _E.END): _P._end,
    (_S.TOGETHER, _E.IDLE): _P._idle,
    (_S.TOGETHER, _E.ERROR): _P._lose,
    (_S.TOGETHER, _E.CHANGED): _P._change,
    (_S.TOGETHER, _E.STOP): _P._stop,
    (_S.CLOSING, _E.BROKEN): _P._lose,
    (_S.CLOSING, _E.CLOSED): _P._close,
    (_S.CLOSING, _E.CREDIT): _P._ignore,
    (_S.CLOSING, _E.END): _P._ignore,
    (_S.CLOSING, _E.IDLE): _P._ignore,
    (_S.CLOSING, _E.ERROR): _P._close,
    (_S.CLOSING, _E.CHANGED): _P._ignore,
    (_S.CLOSING, _E.STOP): _P._stop,
}
