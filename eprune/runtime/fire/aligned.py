"""Firing when tokens may be lost: inputs are matched by firing index, and dead ports are left out.

An application with a FIFO whose policy is ``drop`` or ``zero`` has gaps in its token streams. Each token carries the
index of the firing that made it. A firing takes the tokens of one index, discards older ones and keeps younger ones for
a later firing: a diamond stays in step when one of its arms has lost tokens. FIFOs with a delay are taken in order,
because their tokens belong to no common index.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from queue import Empty
from typing import Any, Callable, Optional

import numpy as np

from eprune.runtime.fire.engine import ActorThread
from eprune.runtime.kernel.actor import Actor, EndOfStream
from eprune.runtime.kernel.fifo import LOST, Fifo, Input, Output, Tokens
from eprune.runtime.kernel.outputs import Outputs, Rooms
from eprune.runtime.kernel.policy import WAIT, ZERO, lossy

#: Seconds that a consumer waits for a late token before it gets a zero token, unless the FIFO states them.
ZERO_TIMEOUT = 1.0
#: Seconds between two looks at the inputs of a starved actor.
_POLL = 0.005


class AlignedInput(Input):
    """An input whose tokens may be missing. ``policy`` is '' for a FIFO that itself loses none.

    ``timeout``: seconds after which ``zero`` gives a zero token although the peer is alive.
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
        #: whether tokens can be expected: after an outage, from its first token on
        self.alive = True
        self.ended = False
        #: firings for which this port had no token
        self.missing = 0
        #: whether the current firing has the head's tokens
        self.used = False
        #: called when no tokens come to an actor that waits in `acquire`, and when they come again
        self.starve: Callable[[bool], None] = lambda starved: None
        self._group: list[int] = []  # slots of the next firing's tokens, as far as they are there
        self._zero: Optional[np.ndarray] = None

    @property
    def index(self) -> int:
        """The firing that the head's tokens are for."""
        return self.fifo.firings[self._group[0]]

    @property
    def ready(self) -> bool:
        """Whether all tokens of the head are there."""
        return len(self._group) == self.rate

    def look(self, wait: bool = False, until: Optional[float] = None) -> bool:
        """Take what has come; whether the head is ready.

        With ``wait`` until it is, or the producer is dead or has ended, or the time is ``until`` (time.monotonic).
        """
        full = self.fifo.full
        while not self.ready and not self.ended:
            try:
                if not wait or not self.alive:
                    slot = full.get_nowait()
                elif until is None:
                    slot = full.get()
                else:
                    slot = full.get(timeout=max(until - time.monotonic(), 0))
            except Empty:
                return False
            if slot >= 0:
                if self._group and not self.ordered and self.fifo.firings[slot] != self.index:
                    self.discard()  # the rest of that firing's tokens is lost
                self._group.append(slot)
                self.alive = True
            elif slot == LOST:
                self.alive = False
                self.discard()
            else:
                full.put(slot)
                self.ended = True
        return self.ready

    def at(self, rate: int) -> Input:
        """The same end at another rate, where its tokens are never lost; see Input.at."""
        return self if rate == self.rate else super().at(rate)

    def acquire(self) -> Optional[Tokens]:
        """Wait for the head, whatever its index, through all outages; None at the end."""
        while not self.look(wait=True):
            if self.ended:
                return None
            self.starve(True)
            time.sleep(_POLL)
        self.starve(False)
        return self.tokens()

    def discard(self) -> None:
        """Release the head's tokens unused: they came too late, or have no partner."""
        self.fifo.discarded += len(self._group)
        self.release()

    def tokens(self) -> Tokens:
        """The head's tokens, an array or a list of ``rate`` arrays."""
        views = [self.fifo.readable[slot] for slot in self._group]
        return views if self._limit > 1 else views[0]

    def zero(self, value: Any) -> Tokens:
        """What stands for a token that is missing: ``value`` everywhere."""
        if self._zero is None:
            self._zero = np.full_like(self.fifo.readable[0], value)
            self._zero.flags.writeable = False
        return [self._zero] * self.rate if self._limit > 1 else self._zero

    def release(self) -> None:
        """Release the head's tokens."""
        for slot in self._group:
            self.fifo.release(slot)
        self._group.clear()


class AlignedOutput(Output):
    """An output whose consumer may be gone: what is written then is dropped."""

    def __init__(self, name: str, fifo: Fifo, rate: int, commit: Optional[Callable[[int, int], None]] = None) -> None:
        super().__init__(name, fifo, rate, commit)
        self.gone = False
        self.optional = fifo.lossy

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

    def starve(self, starved: bool) -> None:
        """Notify the consumer that no tokens come for now, until the next token."""
        self.fifo.starve(starved)


class AlignedActor(ActorThread):
    """An actor of an application that may lose tokens. ``quorum``: the least number of live inputs to fire with."""

    inputs: Sequence[AlignedInput]
    outputs: Sequence[AlignedOutput]

    def __init__(
        self,
        name: str,
        behaviour: Actor,
        core: Optional[int],
        inputs: Sequence[AlignedInput],
        outputs: Sequence[AlignedOutput],
        limit: Optional[int] = None,
        fire: Optional[Callable[..., Any]] = None,
        quorum: int = 1,
    ) -> None:
        super().__init__(name, behaviour, core, inputs, outputs, limit, fire)
        self.quorum = quorum
        #: the inputs that decide which firing is next: all without a delay, if there are such
        self._decisive = [port for port in inputs if not port.ordered] or list(inputs)
        #: the index of the next firing; a source that rejoins begins where its peers are
        self.firing = 0
        self.starved = False
        #: the outputs whose consumers are notified when this actor cannot fire, or can again
        self._notified: Sequence[AlignedOutput] = outputs
        self._stopping: Callable[[], bool] = lambda: False

    def fire_until_end(self, stopping: Callable[[], bool]) -> None:
        """Fire whenever the inputs that are alive have tokens and all outputs have room, until the inputs end."""
        self._stopping = stopping
        activity, now, behaviour = self.activity, time.perf_counter_ns, self.behaviour
        limit = None if self.limit is None else self.firing + self.limit
        while self.firing != limit:
            asked = now()
            tokens = self._acquire()
            if tokens is None or (self.outputs and all(port.gone for port in self.outputs)):
                return
            alive = {port.name for port in self.inputs if port.alive and not port.ended}
            behaviour.alive = frozenset(alive.union(port.name for port in self.outputs if port.alive))
            outputs = self._active(tokens)
            if outputs is None:
                return
            buffers = Outputs()
            for output in outputs:
                view = output.acquire()
                if view is None:
                    return
                dict.__setitem__(buffers, output.name, view)
            if stopping():
                return
            self.since_ns = begin = now()
            self.stage = "fire"
            try:
                self.fire(tokens, buffers)
            except EndOfStream:
                return
            self.stage = ""
            end = now()
            for output in outputs:
                output.commit(self.firing)
            self.firing += 1
            for port in self.inputs:
                if port.used:
                    port.release()
                port.fifo.will_fire(self.firing)
            activity.add(begin, end, 1, begin - asked)

    def _active(self, tokens: Mapping[str, Any]) -> Optional[Sequence[Output]]:
        """The outputs that the next firing, on ``tokens``, writes; None if it is not to be."""
        return self.outputs

    def _acquire(self) -> Optional[dict[str, Any]]:
        """The tokens of the next firing, by port; None at the end."""
        if not self.inputs:
            return {}
        while not self._stopping():
            lacking = self._align()
            if lacking is None:
                if self._over() and not any(port.ready for port in self._decisive):
                    return None  # zeros alone would never end
                self._starve(False)
                return self._tokens()
            if lacking.ended or self._over():
                return None
            self._starve(True)
            for port in self.inputs:
                if port.look() and port.drains and port is not lacking:
                    port.discard()
            time.sleep(_POLL)
        return None

    def _over(self) -> bool:
        """Whether the actor can never fire again."""
        going = sum(not port.ended for port in self._decisive)
        return going < self.quorum or (
            not any(port.alive and not port.ended for port in self._decisive)
            and any(port.ended for port in self._decisive)
        )

    def _align(self) -> Optional[AlignedInput]:
        """Wait for the heads of the inputs and choose the index of the firing; an input that is lacking, if one is."""
        required = [port for port in self.inputs if port.required]
        in_step = [port for port in required if port in self._decisive]
        while True:
            for port in required:
                if not port.look(wait=True):
                    return port
            if not in_step:
                break
            latest = max(self.firing, *(port.index for port in in_step))
            self.firing = latest
            behind = [port for port in in_step if port.index < latest]
            for port in behind:
                port.discard()
            if not behind:
                break
        others = [port for port in self.inputs if not port.required]
        begin = time.monotonic()
        for port in others:
            until = None if port.timeout is None else begin + port.timeout
            while port.look(wait=True, until=until) and port in self._decisive and port.index < self.firing:
                port.discard()
        live = [
            port for port in self._decisive if port.ready or (not port.ended and (port.alive or port.policy == ZERO))
        ]
        if len(live) < self.quorum:
            return next(port for port in self._decisive if port not in live)
        if not in_step:
            self.firing = min((port.index for port in self._decisive if port.ready), default=self.firing)
            if not any(port.ready or port.alive for port in self._decisive):
                # There is nothing but zeros to fire on: they come at the pace of the time-out.
                time.sleep(max(port.timeout or 0.0 for port in self._decisive))
        return None

    def _tokens(self) -> dict[str, Any]:
        tokens: dict[str, Any] = {}
        for port in self.inputs:
            present = port.ready and (port not in self._decisive or port.index == self.firing)
            port.missing += not present
            if present:
                tokens[port.name] = port.tokens()
            elif port.policy == ZERO:
                tokens[port.name] = port.zero(self.behaviour.zeros.get(port.name, 0))
            port.used = present
        return tokens

    def _starve(self, starved: bool) -> None:
        """Notify the consumers that this actor cannot fire, or can again."""
        if starved == self.starved:
            return
        self.starved = starved
        for output in self._notified:
            output.starve(starved)
