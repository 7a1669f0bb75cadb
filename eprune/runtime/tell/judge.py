"""Requirements at run time: each token's age against its latency, and what took the time of those that were late."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Optional

#: Late tokens that are remembered until they are told of; of more than that only the number is.
KEPT = 1000
#: The part of a token in what is usual.
_SMOOTHING = 1 / 8
#: So much less than the required rate is as good, as a source's own clock may be off.
RATE_SHARE = 0.99

#: What took the time of a token -> nanoseconds.
Parts = Mapping[str, int]


class Required(NamedTuple):
    """A requirement as a program states it: ends are ``actor.port``; seconds, firings per second, a share.

    ``fifos`` are those of this platform on its way.
    """

    source: str
    target: str
    latency: Optional[float]
    rate: Optional[float]
    share: float
    fifos: Sequence[str]

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


@dataclass(frozen=True)
class Miss:
    """A late token: its age, and what took the time: ``ms`` of it, where ``usual_ms`` are usual; None: not known."""

    age_ms: float
    by: Optional[str] = None
    ms: Optional[float] = None
    usual_ms: Optional[float] = None


@dataclass(frozen=True)
class RequirementRecord:
    """How a requirement was met: of the tokens that the sink took, so many were ``within`` the latency, or ``late``.

    Of those ``undecided`` the age is not known well enough: the clocks of two hosts are compared up to
    ``uncertainty_ms``. So at least ``share`` of the tokens were in time, and at most ``share_at_most``. ``rate_per_s``
    are the sink's firings. ``met``: whether both are as required; None: undecided. ``late_by``: what took the time ->
    number of late tokens.
    """

    latency_ms: Optional[float]
    required_rate_per_s: Optional[float]
    required_share: float
    tokens: int
    within: int
    late: int
    undecided: int
    share: Optional[float]
    share_at_most: Optional[float]
    rate_per_s: Optional[float]
    uncertainty_ms: float
    met: Optional[bool]
    late_by: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """As an object of JSON."""
        return asdict(self)


@dataclass(frozen=True)
class DegradedRecord:
    """Of ``frames`` choices of a dynamic processing graph, the ``row`` for late frames was taken ``taken`` times."""

    row: int
    taken: int
    frames: int


class Tally(NamedTuple):
    """Counters of a judge: of the tokens so far, how many were within the latency, late, and undecided."""

    tokens: int
    within: int
    late: int
    undecided: int

    def since(self, before: Tally) -> Tally:
        """What has been counted since."""
        return Tally(*(now - then for now, then in zip(self, before)))


class Judge:
    """Measures tokens against one requirement. `add` is the sink's thread's, the rest whoever reports."""

    def __init__(self, required: Required) -> None:
        self.required = required
        self._limit = None if required.latency is None else round(1e9 * required.latency)
        self._tokens = self._within = self._late = self._undecided = self._unsure = 0
        self._first = self._last = 0
        #: what -> the nanoseconds that it takes of a token in time
        self._usual: dict[str, float] = {}
        self._misses: deque[tuple[int, Parts, Mapping[str, float]]] = deque(maxlen=KEPT)
        self._untold: deque[Miss] = deque(maxlen=KEPT)
        self._by: dict[str, int] = {}
        self._reporting = threading.Lock()

    def add(self, begin: int, birth: Optional[int], unsure: int, parts: Parts) -> None:
        """The sink fires at ``begin`` on a token of that birth, which is sure to ``unsure``; all in nanoseconds."""
        self._first = self._first or begin
        self._last = begin
        limit = self._limit
        if limit is not None:
            self._unsure = max(self._unsure, unsure)
            if birth is None or begin - birth - unsure <= limit < begin - birth + unsure:
                self._undecided += 1
            elif begin - birth <= limit:
                self._within += 1
                usual = self._usual
                for what, took in parts.items():
                    before = usual.get(what, took)
                    usual[what] = before + _SMOOTHING * (took - before)
            else:
                self._misses.append((begin - birth, parts, self._usual.copy()))
                self._late += 1
        self._tokens += 1

    def tally(self) -> Tally:
        """The counters now."""
        return Tally(self._tokens, self._within, self._late, self._undecided)

    def misses(self) -> list[Miss]:
        """The late tokens since the last call, as far as they are remembered."""
        with self._reporting:
            self._explain()
            found = list(self._untold)
            self._untold.clear()
        return found

    def _explain(self) -> None:
        """What took the time: what took most of it beyond what is usual; where nothing is, what took most of it."""
        while self._misses:
            age, parts, usual = self._misses.popleft()
            excess = {what: took - usual.get(what, 0) for what, took in parts.items()}
            if not excess:
                self._untold.append(Miss(age / 1e6))
                continue
            by = max(excess, key=lambda what: excess[what])
            self._by[by] = self._by.get(by, 0) + 1
            took = parts[by]
            self._untold.append(Miss(age / 1e6, by, took / 1e6, usual[by] / 1e6 if by in usual else None))

    def record(self) -> RequirementRecord:
        """How it was met so far, over all the time."""
        with self._reporting:
            self._explain()
            by = self._by.copy()
        tally = self.tally()
        seconds = (self._last - self._first) / 1e9
        rate = (tally.tokens - 1) / seconds if seconds > 0 else None
        return judged(self.required, tally, rate, self._unsure / 1e6, by)


def judged(
    required: Required, tally: Tally, rate: Optional[float], uncertainty_ms: float, by: Mapping[str, int]
) -> RequirementRecord:
    """What counters say of a requirement, with a rate of firings per second."""
    known = tally.tokens > 0 and required.latency is not None
    least = tally.within / tally.tokens if known else None
    most = (tally.within + tally.undecided) / tally.tokens if known else None
    verdicts: list[Optional[bool]] = []
    if required.latency is not None:
        verdicts.append(_at_least(least, most, required.share))
    if required.rate is not None:
        verdicts.append(None if rate is None else rate >= RATE_SHARE * required.rate)
    met = False if False in verdicts else None if None in verdicts else True
    return RequirementRecord(
        None if required.latency is None else 1e3 * required.latency,
        required.rate,
        required.share,
        tally.tokens,
        tally.within,
        tally.late,
        tally.undecided,
        None if least is None else round(least, 6),
        None if most is None else round(most, 6),
        None if rate is None else round(rate, 3),
        round(uncertainty_ms, 3),
        met,
        dict(by),
    )


def _at_least(least: Optional[float], most: Optional[float], share: float) -> Optional[bool]:
    if least is None or most is None:
        return None
    return True if least >= share else None if most >= share else False
