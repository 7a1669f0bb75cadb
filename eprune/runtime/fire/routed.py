"""A route at run time: the sender that keeps each token until it is answered, and the reader of the answers.

``routing`` decides; here are the FIFOs, and what the two ends tell each other: they are on one platform, in two
threads. The FIFOs themselves are under ``drop``. Answers are read in the order in which the tokens were made, each
once, whichever branch it comes from; one that comes too early is put aside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Optional, Protocol

import numpy as np

from eprune.runtime.fire.matched import MatchedInput, MatchedOutput
from eprune.runtime.fire.matched_ports import Inlet, Outlet
from eprune.runtime.fire.routing import Router, Token
from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.errors import RunError
from eprune.runtime.kernel.fifo import Fifo, Tokens


class FarEnd(Protocol):
    """What a route asks of the sending end of a FIFO between platforms, beside what a FIFO is."""

    #: tokens below this one were fired on, as the peer has reported; how often the connection broke
    answered: int
    breaks: int
    #: tokens that were sent once more, and that got no answer over any FIFO of the route
    resent: int
    unanswered: Optional[int]


class Answers:
    """What the sender and the reader of a route share. Each attribute is written by one of them, or is thread-safe."""

    def __init__(self) -> None:
        #: the indices that were sent, the oldest first: the sender appends, the reader takes off what it has passed
        self.order: deque[int] = deque()
        self.open: set[int] = set()
        #: those to which there will be no answer
        self.given_up: set[int] = set()
        #: what the sender is to learn: index of an answer, -1 for none; its branch; what that changes in its way
        self.notes: deque[tuple[int, int, int]] = deque()
        #: how often either end has told the other something
        self.noted = self.told = 0
        self.sender: Optional[Fifo] = None
        self.inputs: list[AnswerInput] = []
        self._early: dict[int, tuple[AnswerInput, int]] = {}

    def send(self, index: int) -> None:
        """The sender is about to send a token of that index for the first time."""
        self.open.add(index)
        self.order.append(index)

    def give_up(self, index: int) -> None:
        """There will be no answer."""
        self.given_up.add(index)
        self.told += 1
        for port in self.inputs[:1]:
            if port.fifo.reader.asleep:
                port.fifo.reader.ring()

    def note(self, index: int, branch: int, change: int) -> None:
        """Tell the sender."""
        self.notes.append((index, branch, change))
        self.noted += 1
        if self.sender is not None and self.sender.writer.asleep:
            self.sender.writer.ring()

    def came(self, port: AnswerInput, index: int, number: int, now: float) -> None:
        """A token has come at an input of the reader."""
        if index not in self.open or index in self._early or index in self.given_up:
            port.drop(number)
            self.note(index, port.branch, 0)
        elif self.order[0] == index:
            self.note(index, port.branch, 1)
            self._early[index] = port, number
        else:
            self.note(index, port.branch, 0)
            self._early[index] = port, port.put_aside(number)
        self.deliver(now)

    def deliver(self, now: float) -> None:
        """Let the reader have what is next, and know what will not come."""
        while self.order and (self.order[0] in self._early or self.order[0] in self.given_up):
            index = self.order.popleft()
            self.open.discard(index)
            self.given_up.discard(index)
            found = self._early.pop(index, None)
            if found is not None:
                found[0].inlet.arrived(index, found[1], now)
            for port in self.inputs:
                if found is None or port is not found[0]:
                    port.inlet.watermark(index)
            self.note(-1, 0, 0)


class AnswerInput(MatchedInput):
    """An input of the reader: the answers of one branch."""

    def __init__(self, name: str, fifo: Fifo, rate: int, inlet: Inlet, branch: int, answers: Answers) -> None:
        super().__init__(name, fifo, rate, inlet)
        self.branch = branch
        self._answers = answers
        answers.inputs.append(self)
        #: what was put aside: number below 0 -> token, and when it was born
        self._aside: dict[int, tuple[np.ndarray, int]] = {}
        self._last = 0

    def state(self) -> tuple[object, ...]:
        """What changes when something happens at the producer's end, or at the route's sender."""
        return (*super().state(), self._answers.told)

    def poll(self, now: float) -> None:
        """Take what has come: the matcher learns of it when it is its turn."""
        fifo = self.fifo
        while self._seen < fifo.written:
            number = self._seen
            self._seen += 1
            self._lost = False
            self.inlet.alive, self.inlet.gone_since = True, None
            self._answers.came(self, fifo.firings[number % fifo.capacity], number, now)
        self._answers.deliver(now)
        self._follow(now, -1)

    @property
    def unread(self) -> bool:
        """Whether something has come that the reader has not seen yet."""
        return self.fifo.written > self._seen

    def _ends(self) -> bool:
        return super()._ends() and not self._answers.order

    def put_aside(self, number: int) -> int:
        """Copy a token that is early, so that there is room for the one that is waited for; its new number."""
        self._last -= 1
        self._aside[self._last] = np.array(self.fifo.token(number)), self.born(number)
        super().give_back(number, True)
        return self._last

    def drop(self, number: int) -> None:
        """An answer that nobody waits for: another branch was faster."""
        super().give_back(number, False)

    def give_back(self, number: int, used: bool) -> None:
        """A token is finished with."""
        if number < 0:
            del self._aside[number]
        else:
            super().give_back(number, used)
            self._answers.note(-1, self.branch, -1)

    def views(self, numbers: Sequence[int]) -> Tokens:
        """The token of that number."""
        (number,) = numbers
        return self._aside[number][0] if number < 0 else super().views(numbers)

    def born(self, number: int) -> int:
        """When the oldest firing of a source began that the token of this number comes from."""
        return self._aside[number][1] if number < 0 else super().born(number)


class RoutedOutput(MatchedOutput):
    """An output of the sender: the way into one branch."""

    def __init__(self, name: str, fifo: Fifo, rate: int, outlet: Outlet, end: FarEnd) -> None:
        super().__init__(name, fifo, rate, outlet)
        #: the same FIFO
        self.end = end
        #: set once all are there
        self.sender: Sender

    def state(self) -> tuple[object, ...]:
        """What changes when something happens at the branch's end."""
        return (*super().state(), self.end.answered, self.end.breaks)

    def use(self, used: bool) -> None:
        """Whether the next firing's token goes into this branch."""
        self.used = used

    def commit(self, firing: int, birth: int = UNBORN) -> None:
        """Hand the firing's token over, if this is its branch."""
        if self.used:
            self.sender.send(self, firing, birth)
            super().commit(firing, birth)
        else:
            self.sender.pass_by(self)


class Kept:
    """A token that is not answered: its bytes, how many elements it has if that varies, and its birth."""

    __slots__ = ("birth", "raw", "used")

    def __init__(self, fifo: Fifo, birth: int) -> None:
        slot = fifo.written % fifo.capacity
        room: Any = fifo.writable[slot]
        self.used = room.used if fifo.variable else 0
        self.raw = fifo.raw[slot][: self.used * room.itemsize if fifo.variable else None].copy()
        self.birth = birth

    def write(self, fifo: Fifo) -> None:
        """Write it into the next slot of a FIFO."""
        slot = fifo.written % fifo.capacity
        fifo.raw[slot][: len(self.raw)] = self.raw
        if fifo.variable:
            room: Any = fifo.writable[slot]
            room.used = self.used


class Sender:
    """Keeps what an actor sends by a route until it is answered, and sends it again where it must be.

    ``answers`` None: the branches do not come back, and a token is answered when the branch has fired on it. Under
    ``keeps``, a run in which no branch is left for ``patience`` seconds fails.
    """

    def __init__(
        self,
        actor: str,
        outputs: Sequence[RoutedOutput],
        router: Router,
        answers: Optional[Answers],
        patience: float,
    ) -> None:
        self._actor = actor
        self._outputs = outputs
        self._router = router
        self._answers = answers
        self._patience = patience
        self._kept: dict[int, Kept] = {}
        #: of each branch, the numbers of the tokens that are under way there, with their indices
        self._numbers: list[deque[tuple[int, int]]] = [deque() for _ in outputs]
        self._breaks = [output.end.breaks for output in outputs]
        self._limit = sum(branch.capacity for branch in router.branches)
        self._alone: Optional[float] = None  # since when there is no branch that could be waited for
        self._unanswered = 0
        self._now = 0.0  # when it was polled last: just before a firing
        for output in outputs:
            output.sender, output.end.unanswered = self, 0
        if answers is not None:
            answers.sender = outputs[0].fifo

    @property
    def awaits(self) -> bool:
        """Whether some token is not answered yet, and may be."""
        return bool(self._router.open) and not all(output.outlet.over for output in self._outputs)

    def state(self) -> tuple[object, ...]:
        """What changes when the reader has something to tell."""
        return () if self._answers is None else (self._answers.noted,)

    def due(self) -> Optional[float]:
        """When a branch is silent, or the patience at its end."""
        due = self._router.due()
        if self._alone is None:
            return due
        end = self._alone + self._patience
        return end if due is None else min(due, end)

    def send(self, output: RoutedOutput, index: int, birth: int) -> None:
        """A token is about to be sent for the first time."""
        if self._answers is not None:
            self._answers.send(index)
        self._kept[index] = Kept(output.fifo, birth)
        self._sent(self._outputs.index(output), index, self._now)

    def pass_by(self, output: RoutedOutput) -> None:
        """A token is not sent over this output, and, if it is the first, perhaps over none."""
        if output is self._outputs[0] and not any(each.used for each in self._outputs):
            self._lose()

    def _lose(self) -> None:
        self._unanswered += 1
        self._outputs[0].end.unanswered = self._unanswered

    def _sent(self, number: int, index: int, now: float) -> None:
        self._numbers[number].append((self._outputs[number].fifo.written, index))
        self._router.send(index, number, now)

    def poll(self, now: float) -> None:
        """See what has been answered or lost, send again what must be, and choose the branch of the next token."""
        self._now = now
        self._hear(now)
        due = self._router.due()
        if due is not None and due <= now:
            # What lies in the sockets has come in time, and so has what the reader has had no time for yet.
            self._outputs[0].fifo.writer.look()
            self._hear(now)
            for port in self._answers.inputs if self._answers is not None else ():
                if port.unread:
                    self._router.heard(port.branch, now)
            self._router.look(now)
        for token in self._router.homeless():
            self._send_again(token, now)
        for index in self._router.hopeless(now):
            del self._kept[index]
            self._lose()
            if self._answers is not None:
                self._answers.give_up(index)
        self._choose(now)

    def _hear(self, now: float) -> None:
        router = self._router
        for number, output in enumerate(self._outputs):
            end, branch, numbers = output.end, router.branches[number], self._numbers[number]
            answered = end.answered
            if end.breaks != self._breaks[number] or output.outlet.over:
                self._breaks[number] = end.breaks
                numbers.clear()
                router.lost(number)
            while numbers and numbers[0][0] < answered:
                _, index = numbers.popleft()
                if self._answers is None:
                    self._close(index, number, now)
            branch.reachable = output.fifo.connected and not output.outlet.over
            branch.room = output.outlet.free >= 1
        while self._answers is not None and self._answers.notes:
            index, number, change = self._answers.notes.popleft()
            router.branches[number].held += change
            if index >= 0:
                self._close(index, number, now)

    def _close(self, index: int, number: int, now: float) -> None:
        self._router.answered(index, number, now)
        self._kept.pop(index, None)

    def _send_again(self, token: Token, now: float) -> None:
        number = self._router.choose(now, token.tried)
        if number is None:
            return
        output, kept = self._outputs[number], self._kept[token.index]
        self._sent(number, token.index, now)
        kept.write(output.fifo)
        output.fifo.commit(1, token.index, kept.birth)
        output.end.resent += 1
        output.outlet.free -= 1
        self._router.branches[number].room = output.outlet.free >= 1

    def _choose(self, now: float) -> None:
        """Let the matcher see the one output that the next token goes to, with room or without."""
        router = self._router
        candidates = router.candidates(now)
        full = self._answers is not None and len(self._answers.order) >= self._limit
        chosen = None if full else router.choose(now)
        left = [number for number, output in enumerate(self._outputs) if not output.outlet.over]
        waits = [] if chosen is not None else candidates or (left if router.keeps or full else [])
        for number, output in enumerate(self._outputs):
            output.outlet.reachable = number == chosen or number in waits[:1]
            if number in waits[:1]:
                output.outlet.free = 0
        if candidates or not router.keeps or not left:
            self._alone = None
        elif self._alone is None:
            self._alone = now
        elif now >= self._alone + self._patience:
            count = len(router.open)
            raise RunError(
                f"actor {self._actor!r}: no branch of its route was there for {self._patience:g} s, and {count} "
                f"token{'s' * (count != 1)} wait{'s' * (count == 1)} for an answer"
            )
