"""The protocol of a connection: one table (state, event) -> (state, instructions). No socket, thread or clock.

``Protocol`` is a connection with all its FIFOs, whose ends are in ``counters``: its state, and the table ``TABLE`` that
says what happens next. ``Connection`` carries the instructions out.

Reference: the fault policies of design section 6, which follow Boutellier et al., fault-tolerant Edge-PRUNE.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Callable, Union

from eprune.runtime.kernel.errors import ProtocolError
from eprune.runtime.kernel.policy import STOP, WAIT, lossy
from eprune.runtime.net import wire
from eprune.runtime.net.counters import Credit, Receiving, Sending

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

    def credit_briefly(self, number: int, fired: int) -> None:
        """A token's header is a credit too. Raises ProtocolError for one that the peer must not give."""
        end = self.sending.get(number)
        if end is None or number not in self.resumed:
            raise ProtocolError(f"a credit in a header for FIFO number {number}, which is not one to be credited so")
        if self.state is State.TOGETHER:
            end.credit_briefly(fired)

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
