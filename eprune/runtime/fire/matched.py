"""Firing when tokens may be lost: inputs are matched by firing index, and dead ports are left out.

An application with a FIFO whose policy is ``drop`` or ``zero`` has gaps in its token streams. Each token carries the
index of the firing that made it. A firing takes the tokens of one index, discards older ones and keeps younger ones for
a later firing: a diamond stays in step when one of its arms has lost tokens. FIFOs with a delay are taken in order,
because their tokens belong to no common index.

Rule F2 lets nothing be lost inside of a dynamic processing graph, and where something can be lost before, the entry is
the control source: what it does not fire on exists for none of the others. So the inputs of the control source are
matched, and all others follow its control tokens, index and all. They starve only where none comes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Callable, Optional

import numpy as np

from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.fifo import Fifo, Input, Output, Tokens
from eprune.runtime.kernel.outputs import Rooms
from eprune.runtime.kernel.policy import WAIT, ZERO, lossy

#: Seconds that a consumer waits for a late token before it gets a zero token, unless the FIFO states them.
ZERO_TIMEOUT = 1.0


class MatchedInput(Input):
    """An input whose tokens may be missing. ``policy`` is '' for a FIFO that itself loses none.

    ``timeout``: seconds after which ``zero`` gives a zero token although the peer is alive. The head is what the next
    firing could take: the oldest tokens, as many as the rate, of one index.
    """

    def __init__(
        self, name: str, fifo: Fifo, rate: int, policy: str, required: bool, timeout: Optional[float] = None
    ) -> None:
        super().__init__(name, fifo, rate)
        self.policy = policy if lossy(policy) else ""
        self.required = required and self.policy != ZERO
        self.timeout = (timeout or ZERO_TIMEOUT) if self.policy == ZERO else None
        self.ordered = fifo.delay > 0
        #: whether tokens are released while the actor is starved, to keep other actors from starving with it
        self.drains = not (self.ordered or policy == WAIT)
        #: firings for which this port had no token
        self.missing = 0
        #: whether the current firing has the head's tokens
        self.used = False
        self._zero: Optional[np.ndarray] = None

    @property
    def ready(self) -> bool:
        """Whether all tokens of the head are there."""
        fifo = self.fifo
        while fifo.written - fifo.released >= self.rate:
            part = 0 if self.ordered or self.rate == 1 else self._torn()
            if not part:
                return True
            self.discard(part)  # the rest of that firing's tokens is lost
        return False

    def _torn(self) -> int:
        """How many of the oldest tokens are all that is left of their firing."""
        fifo, first = self.fifo, self.fifo.released
        index = self.index
        for count in range(1, self.rate):
            if fifo.firings[(first + count) % fifo.capacity] != index:
                return count
        return 0

    @property
    def ended(self) -> bool:
        """Whether there will be no further firing's tokens."""
        return self.fifo.ended and not self.ready

    @property
    def alive(self) -> bool:
        """Whether tokens can be expected: after an outage, from its first token on."""
        fifo = self.fifo
        return fifo.written - fifo.released >= self.rate or not (fifo.lost or fifo.ended)

    def look(self, until: Optional[float] = None) -> bool:
        """Wait until the head is ready; False if its producer is dead or has ended, or the time is ``until``."""
        fifo = self.fifo
        if not self.ready:
            fifo.reader.wait(lambda: self.ready or fifo.ended or fifo.lost, until)
        return self.ready

    def at(self, rate: int) -> Input:
        """The same end at another rate, where its tokens are never lost; see Input.at."""
        return self if rate == self.rate else super().at(rate)

    def discard(self, count: Optional[int] = None) -> None:
        """Release the head's tokens, or the oldest ones, unused: they came too late, or have no partner."""
        count = self.rate if count is None else count
        self.fifo.discarded += count
        self.fifo.release(count)

    def zero(self, value: Any) -> Tokens:
        """What stands for a token that is missing: ``value`` everywhere."""
        if self._zero is None:
            self._zero = np.full_like(self.fifo.readable[0], value)
            self._zero.flags.writeable = False
        return [self._zero] * self.rate if self._limit > 1 else self._zero


class FollowingInput(MatchedInput):
    """A control input of an actor that follows: none of its tokens is lost, but none may come for a while."""

    #: called when no tokens come to an actor that waits, and when they come again
    starve: Callable[[bool], None]

    def acquire(self) -> Optional[Tokens]:
        """Wait for the next token through all outages; None at the end."""
        fifo = self.fifo
        while not self.look():
            if fifo.ended:
                return None
            self.starve(True)
            fifo.reader.wait(lambda: self.ready or fifo.ended or not fifo.lost)
        self.starve(False)
        return super().acquire()


class MatchedOutput(Output):
    """An output whose consumer may be gone: what is written then is dropped."""

    def __init__(self, name: str, fifo: Fifo, rate: int) -> None:
        super().__init__(name, fifo, rate)
        self.gone = False
        self.optional = fifo.lossy
        self._scratch: list[np.ndarray] = []

    def at(self, rate: int) -> Output:
        """The same end at another rate, where its tokens are never lost; see Output.at."""
        return self if rate == self.rate else super().at(rate)

    @property
    def alive(self) -> bool:
        """Whether the tokens reach a consumer, as far as is known."""
        return not self.gone and self.fifo.connected

    def acquire(self) -> Optional[Tokens]:
        """Wait for one firing's room; None if the consumer has ended and the FIFO may not lose tokens."""
        if not self.gone:
            room = super().acquire()
            if room is not None or not self.optional:
                return room
            self.gone = True
            self._scratch = Rooms(np.zeros_like(self.fifo.writable[0]) for _ in range(self.rate))
        return self._scratch if self._limit > 1 else self._scratch[0]

    def commit(self, firing: int) -> None:
        """Hand the firing's tokens over."""
        if not self.gone:
            super().commit(firing)


class Starvation:
    """Whether an actor cannot fire for now; its consumers, at ``outputs``, are told when that changes."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.starved = False
        self._outputs = outputs

    def tell(self, starved: bool) -> None:
        """This actor cannot fire, or can again."""
        if starved != self.starved:
            self.starved = starved
            for output in self._outputs:
                output.fifo.starve(starved)


class Matched:
    """The strategy of an actor whose inputs may lack tokens. ``quorum``: the least number of live inputs to fire with.

    ``told`` are the outputs whose consumers learn when this actor cannot fire.
    """

    def __init__(
        self,
        behaviour: Actor,
        inputs: Sequence[MatchedInput],
        outputs: Sequence[MatchedOutput],
        told: Sequence[Output],
        quorum: int = 1,
        limit: Optional[int] = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.index = 0
        self.quorum = quorum
        self.limit = limit
        self.stopping = stopping
        self._behaviour = behaviour
        self._inputs = inputs
        self._outputs = outputs
        #: the inputs that decide which firing is next: all without a delay, if there are such
        self._decisive = [port for port in inputs if not port.ordered] or list(inputs)
        self._required = [port for port in inputs if port.required]
        self._in_step = [port for port in self._required if port in self._decisive]
        self._others = [port for port in inputs if not port.required]
        self._starvation = Starvation(told)

    @property
    def starved(self) -> bool:
        """Whether the actor cannot fire for now."""
        return self._starvation.starved

    def begin(self, index: int) -> None:
        """A source that joins begins where its peers are."""
        self.index = index
        if self.limit is not None:
            self.limit += index

    def take(self, tokens: dict[str, Any]) -> bool:
        """The tokens of the next firing, by port; False at the end."""
        if self._inputs:
            if not self._await():
                return False
            self._choose(tokens)
        elif self.index == self.limit:
            return False
        if self._outputs and all(port.gone for port in self._outputs):
            return False
        ends: list[Any] = [*self._inputs, *self._outputs]
        self._behaviour.alive = frozenset([end.name for end in ends if end.alive])
        return True

    def fired(self) -> None:
        """The firing is over: give its tokens back."""
        self.index += 1
        for port in self._inputs:
            if port.used:
                port.release()
            port.fifo.will_fire(self.index)

    def _await(self) -> bool:
        """Wait until there is a firing, and set its index; False at the end."""
        while not self.stopping():
            before = self._seen()
            lacking = self._align()
            if lacking is None:
                if self._over() and not any(port.ready for port in self._decisive):
                    return False  # zeros alone would never end
                self._starvation.tell(False)
                return True
            if lacking.ended or self._over():
                return False
            self._starvation.tell(True)
            for port in self._inputs:
                while port.drains and port is not lacking and port.ready:
                    port.discard()
            self._await_change(before)
        return False

    def _seen(self) -> list[tuple[int, bool, bool]]:
        return [(port.fifo.written, port.fifo.ended, port.fifo.lost) for port in self._inputs]

    def _await_change(self, before: list[tuple[int, bool, bool]], until: Optional[float] = None) -> None:
        """Wait until something has happened at an input."""
        self._inputs[0].fifo.reader.wait(lambda: self.stopping() or before != self._seen(), until)

    def _over(self) -> bool:
        """Whether the actor can never fire again."""
        going = sum(not port.ended for port in self._decisive)
        return going < self.quorum or (
            not any(port.alive for port in self._decisive) and any(port.ended for port in self._decisive)
        )

    def _align(self) -> Optional[MatchedInput]:
        """Wait for the heads of the inputs and choose the index of the firing; an input that is lacking, if one is."""
        while True:
            for port in self._required:
                if not port.look():
                    return port
            if not self._in_step:
                break
            latest = max(self.index, *(port.index for port in self._in_step))
            self.index = latest
            behind = [port for port in self._in_step if port.index < latest]
            for port in behind:
                port.discard()
            if not behind:
                break
        begin = time.monotonic()
        for port in self._others:
            until = None if port.timeout is None else begin + port.timeout
            while port.look(until) and port in self._decisive and port.index < self.index:
                port.discard()
        for port in self._decisive:
            while port.ready and port.index < self.index:  # it has come since it was looked at
                port.discard()
        live = [
            port for port in self._decisive if port.ready or (not port.ended and (port.alive or port.policy == ZERO))
        ]
        if len(live) < self.quorum:
            return next(port for port in self._decisive if port not in live)
        if not self._in_step:
            self.index = min((port.index for port in self._decisive if port.ready), default=self.index)
            if not any(port.alive for port in self._decisive):
                # There is nothing but zeros to fire on: they come at the pace of the time-out.
                until = time.monotonic() + max(port.timeout or 0.0 for port in self._decisive)
                self._await_change(self._seen(), until)
        return None

    def _choose(self, tokens: dict[str, Any]) -> None:
        tokens.clear()
        for port in self._inputs:
            port.used = port.ready and (port not in self._decisive or port.index == self.index)
            port.missing += not port.used
            if port.used:
                tokens[port.name] = port.acquire()
            elif port.policy == ZERO:
                tokens[port.name] = port.zero(self._behaviour.zeros.get(port.name, 0))
