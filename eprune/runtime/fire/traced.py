"""Actors on the way of a requirement: their firings make trails, are judged at its end, and know when they are late.

What a behaviour is called by is wrapped, as for emulation; the firing loop does not change. All actors of a platform
with such a way are, for one that is not on it may still have what a thread waits for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

from eprune.runtime.fire.firing import RunningActor
from eprune.runtime.fire.matched import MatchedInput
from eprune.runtime.fire.rates import Lead
from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.fifo import Input
from eprune.runtime.kernel.held import Held
from eprune.runtime.kernel.trails import Came, Leg, Part, Shift, Traced, Trail, joined
from eprune.runtime.tell.judge import DegradedRecord, Judge

now = time.perf_counter_ns


class LateRow(NamedTuple):
    """The row that a control source takes for a frame that is late there.

    ``after``: source of a requirement -> seconds; of '', that of the oldest source, whichever it is.
    """

    dpg: str
    value: int
    after: Mapping[str, float]


class TracedActor:
    """Wraps what an actor's behaviour is called by; ``fifos``: those on the way of some requirement."""

    def __init__(
        self,
        actor: RunningActor,
        fifos: frozenset[str],
        judges: Mapping[str, Sequence[Judge]],
        control: frozenset[str] = frozenset(),
        late: Optional[LateRow] = None,
    ) -> None:
        """``judges``: input -> those of the requirements that end there; ``control``: the FIFOs of control tokens."""
        self.late = late
        #: how often the row for late frames was taken, of how many choices, and the greatest age since it was told of
        self.taken = self.choices = 0
        self.worst = 0
        #: what its thread fires
        self.shift = Shift()
        self._name = actor.name
        self._behaviour = actor.behaviour
        #: the inputs on the way, and whether every firing has their tokens: those of control
        self._on_way = [(port, port.fifo.name in control) for port in actor.inputs if port.fifo.name in fifos]
        self._inputs = actor.inputs
        self._outputs = actor.outputs
        self._judges = judges
        self._begin = self._end = 0
        self._legs: dict[str, Leg] = {}
        for output in actor.outputs:
            if isinstance(output.fifo, Traced):
                output.fifo.tracer = self
        self._fire, actor.fire = actor.fire, self.fire
        if isinstance(actor.rates, Lead):
            self._choose, actor.rates.decide = actor.rates.decide, self.choose
            self._modes = actor.rates.modes

    def fire(self, tokens: Any, rooms: Any) -> None:
        """As the behaviour's, and the time that it takes is noted."""
        self._begin = begin = now()
        self._legs = self._join(tokens, begin)
        judged = [(port.name, port.birth) for port in self._inputs if port.name in tokens] if self._judges else ()
        self._fire(tokens, rooms)
        if not self._inputs:
            self._begin = max(begin, self._behaviour.came_ns)
        for port, birth in judged:
            if isinstance(birth, Trail):
                self._judge(port, birth, begin)
        self._over()

    def choose(self, tokens: Any) -> int:
        """The behaviour's choice; for a frame that is late by the time there is room for it, the row for these."""
        self._begin = begin = now()
        self._legs = self._join(tokens, begin)
        value: int = self._choose(tokens)
        self.choices += 1
        self._over()
        if self.late is not None:
            room = value == self.late.value or self._await_room(value)
            age, left = self._age()
            if left < 0 or not room:
                self.taken += 1
                self.worst = max(self.worst, age)
                value = self.late.value
        return value

    def trail(self, birth: int, source: str) -> Trail:
        """That of a token just made: the time until now is that of the firing."""
        legs = self._legs
        if source:
            legs = {source: Leg(self._begin, 0, {f"actor {self._name}": self._end - self._begin})}
        return Trail(birth, self._end, legs)

    def record(self) -> Optional[DegradedRecord]:
        """How often the row for late frames was taken; None where there is none."""
        return None if self.late is None else DegradedRecord(self.late.value, self.taken, self.choices)

    def _over(self) -> None:
        self._end = end = now()
        took = [(f"actor {self._name}", end - self._begin)]
        self._legs = {source: leg.then(took) for source, leg in self._legs.items()}
        self.shift.add(self._name, self._begin, end)

    def _join(self, tokens: Any, begin: int) -> dict[str, Leg]:
        came = []
        for port, always in self._on_way:
            if always or port.name in tokens:
                birth = port.birth
                if isinstance(birth, Trail):
                    came.append(Came(port.fifo.name, birth, _leads(port)))
        return joined(came, begin, self._waited) if came else {}

    def _waited(self, begin: int, end: int, fifo: str) -> list[Part]:
        """What passed while a token waited: what the thread fired, and where it was idle, for room or for tokens."""
        full = (port.fifo.name for port in self._outputs if _just_fits(port.fifo, port.rate))
        return self.shift.during(begin, end, f"FIFO {next(full, fifo)}")

    def _judge(self, port: str, trail: Trail, begin: int) -> None:
        """The age is that of the port's token; what took the time may have come over another one."""
        for judge in self._judges.get(port, ()):
            own = trail.legs.get(judge.required.source)
            if own is not None:
                judge.add(begin, own.birth, own.unsure, self._legs[judge.required.source].parts)

    def _age(self) -> tuple[int, int]:
        """How old is what the control source fires on, and how long until it is late; nanoseconds."""
        assert self.late is not None
        moment, found = now(), []
        for source, seconds in self.late.after.items():
            if source:
                leg = self._legs.get(source)
                birth = None if leg is None else leg.birth
            else:
                birth = min((port.birth for port in self._inputs if _leads(port)), default=UNBORN)
            if birth is not None and birth != UNBORN:
                found.append((moment - birth, round(1e9 * seconds) - moment + birth))
        return min(found, key=lambda each: each[1], default=(0, 0))

    def _await_room(self, value: int) -> bool:
        """Wait until the firing could begin that was chosen, or the frame is late: then False."""
        mode = self._modes.get(value)
        age, left = self._age()
        until = time.monotonic() + max(left, 0) / 1e9
        for output in mode.outputs if age and mode is not None else ():
            fifo, begin = output.fifo, now()
            if fifo.lossy or _room(fifo, output.rate):
                continue
            there = fifo.await_room(output.rate, until) or fifo.left
            self._end = now()
            waited = [(f"FIFO {fifo.name}", self._end - begin)]
            self._legs = {source: leg.then(waited) for source, leg in self._legs.items()}
            if not there:
                return False
        return True


def _leads(port: Input) -> bool:
    """Whether an input's tokens set the pace: others are from earlier firings."""
    held = isinstance(port, MatchedInput) and port.inlet.hold
    return not port.fifo.delay and not held


def _just_fits(fifo: Any, rate: int) -> bool:
    """Whether there is room for no more than one firing: it was probably waited for."""
    return fifo.keeper is None and not isinstance(fifo, Held) and not _room(fifo, 2 * rate)


def _room(fifo: Any, count: int) -> bool:
    return bool(fifo.capacity - fifo.written + fifo.released >= count)
