"""Where a token's time went: what its birth knows where a requirement asks for it.

A ``Trail`` takes the place of a token's birth and passes wherever births pass. It has a ``Leg`` for each source from
which a requirement begins: when that fired, and what has taken the time since. Only FIFOs on the way of a requirement
make trails; all others hand births on as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Callable, NamedTuple, Optional, Protocol

from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.fifo import Fifo
from eprune.runtime.kernel.held import Held
from eprune.runtime.kernel.newest import NewestFifo

#: What took time, and how many nanoseconds: ``actor NAME``, ``FIFO NAME``, ``link FROM -> TO``.
Part = tuple[str, int]
#: So many firings of a thread are remembered, to tell what a token has waited for.
REMEMBERED = 256


class Leg(NamedTuple):
    """How a token of one source got here.

    Its firing began at ``birth`` (perf_counter_ns; None: by a clock that is not known yet), up to ``unsure``
    nanoseconds sooner or later; ``parts`` add up to the time since: what took it -> nanoseconds.
    """

    birth: Optional[int]
    unsure: int
    parts: Mapping[str, int]

    def then(self, parts: Iterable[Part]) -> Leg:
        """The same after some more time."""
        known = dict(self.parts)
        for what, took in parts:
            known[what] = known.get(what, 0) + took
        return Leg(self.birth, self.unsure, known)


class Trail(int):
    """A birth with its ``legs``, by source; ``at`` is when the token was handed over or arrived (perf_counter_ns)."""

    at: int
    legs: Mapping[str, Leg]

    def __new__(cls, birth: int, at: int, legs: Mapping[str, Leg]) -> Trail:
        """A birth as ``Fifo.births`` has it, and more."""
        made = super().__new__(cls, birth)
        made.at, made.legs = at, legs
        return made


class Came(NamedTuple):
    """A token that a firing has: over which FIFO, and whether it sets the pace: not one with a delay, or on hold."""

    fifo: str
    trail: Trail
    leads: bool


class Shift:
    """What one thread has fired of late. Written by that thread alone."""

    def __init__(self) -> None:
        self._fired: deque[tuple[str, int, int]] = deque(maxlen=REMEMBERED)

    def add(self, actor: str, begin: int, end: int) -> None:
        """An actor has fired from ``begin`` to ``end``."""
        self._fired.append((actor, begin, end))

    def during(self, begin: int, end: int, idle: str) -> list[Part]:
        """What it did from ``begin`` to ``end``; in the rest of the time it waited, for ``idle``."""
        busy: dict[str, int] = {}
        for actor, first, last in reversed(self._fired):
            if last <= begin:
                break
            overlap = min(last, end) - max(first, begin)
            if overlap > 0:
                busy[f"actor {actor}"] = busy.get(f"actor {actor}", 0) + overlap
        rest = end - begin - sum(busy.values())
        return [*busy.items(), *[(idle, rest)] * (rest > 0)]


def joined(tokens: Sequence[Came], begin: int, wait: Callable[[int, int, str], list[Part]]) -> dict[str, Leg]:
    """Source -> leg, of a firing that began at ``begin`` and has these tokens.

    ``wait`` says what passed from one moment to another, of a token in that FIFO. Where a source's tokens come over
    several FIFOs, its leg is that of the last to come, and as old as the oldest; where another source's come later,
    they are what was waited for.
    """
    if len(tokens) == 1:
        (only,) = tokens
        waited = wait(only.trail.at, begin, only.fifo)
        return {source: leg.then(waited) for source, leg in only.trail.legs.items()}
    pace = [came for came in tokens if came.leads] or list(tokens)
    last = max(pace, key=lambda came: came.trail.at, default=None)
    legs: dict[str, Leg] = {}
    for source in dict.fromkeys(source for came in tokens for source in came.trail.legs):
        having = [came for came in tokens if source in came.trail.legs]
        having = [came for came in having if came.leads] or having
        own = max(having, key=lambda came: came.trail.at)
        leg = own.trail.legs[source]
        births = [came.trail.legs[source].birth for came in having]
        known = [birth for birth in births if birth is not None]
        ready, parts = own.trail.at, []
        if last is not None and last.trail.at > ready:
            parts.append((f"FIFO {last.fifo if own.leads else own.fifo}", last.trail.at - ready))
            ready = last.trail.at
        if begin > ready:
            parts += wait(ready, begin, own.fifo)
        birth = min(known) if len(known) == len(births) else None
        legs[source] = Leg(birth, leg.unsure, leg.then(parts).parts)
    return legs


class Tracer(Protocol):
    """What makes the trails of an actor's tokens."""

    def trail(self, birth: int, source: str) -> Trail:
        """That of a token just made; ``source``: the name of the output, if a requirement begins there."""


class Traced(Fifo):
    """A FIFO on the way of a requirement: what its producer hands over has a trail."""

    tracer: Optional[Tracer] = None
    #: the output that it comes from, if a requirement begins there
    source = ""

    def commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """Hand tokens over."""
        super().commit(count, firing, birth if self.tracer is None else self.tracer.trail(birth, self.source))


class TracedNewestFifo(Traced, NewestFifo):
    """The same of one that keeps the newest."""


class TracedHeld(Traced, Held):
    """The same of one into an input on hold."""
