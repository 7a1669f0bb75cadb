"""The record of a run: counters of every actor and link, the record itself (JSON) and the Chrome trace."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Optional

from eprune.runtime.kernel.ages import Age
from eprune.runtime.kernel.fifo import FifoCounts
from eprune.runtime.tell.judge import DegradedRecord, RequirementRecord
from eprune.runtime.tell.usage import Usage

#: Spans that one actor keeps for the trace at most; a longer run's trace ends there, and its label states it.
MAX_SPANS = 200_000


class Activity:
    """Counters of one actor or link, written by its own thread alone. Times are in nanoseconds of perf_counter_ns.

    The first ``warm_up`` firings are set apart.
    """

    __slots__ = ("busy", "count", "first", "last", "spans", "waiting", "warm", "warm_up")

    def __init__(self) -> None:
        self.count = self.warm_up = 0
        #: what had been counted when the warm-up was over
        self.warm: Optional[ActivityCounts] = None
        self.busy = 0
        self.waiting = 0
        self.first: Optional[int] = None
        self.last: Optional[int] = None
        #: (begin, end, index of the first firing), if a trace is wanted
        self.spans: Optional[list[tuple[int, int, int]]] = None

    def add(self, begin: int, end: int, count: int = 1, waiting: int = 0) -> None:
        """Count ``count`` firings that took from ``begin`` to ``end`` after ``waiting``."""
        if self.first is None:
            self.first = begin
        self.last = end
        self.busy += end - begin
        self.waiting += waiting
        if self.spans is not None and len(self.spans) < MAX_SPANS:
            self.spans.append((begin, end, self.count))
        self.count += count
        if self.warm_up and self.count >= self.warm_up:
            self.warm, self.warm_up = self.summary(), 0
            self.first = None

    def summary(self, warm: bool = False) -> ActivityCounts:
        """Firings, and seconds busy and waiting; those of the warm-up included, unless they are ``warm``."""
        before = self.warm or ActivityCounts(0, 0.0, 0.0, None, None)
        first = None if self.first is None else self.first / 1e9
        last = None if self.last is None else self.last / 1e9
        if warm:
            return ActivityCounts(
                self.count - before.firings,
                self.busy / 1e9 - before.busy_s,
                self.waiting / 1e9 - before.waiting_s,
                first,
                last,
            )
        first = first if before.first_s is None else before.first_s
        return ActivityCounts(self.count, self.busy / 1e9, self.waiting / 1e9, first, last)


@dataclass(frozen=True)
class ActivityCounts:
    """What an actor or a link did: firings, seconds busy and waiting, and when it began and ended (perf_counter)."""

    firings: int
    busy_s: float
    waiting_s: float
    first_s: Optional[float]
    last_s: Optional[float]


@dataclass(frozen=True)
class InputRecord:
    """What an actor's firings had at one input: numbers of firings, where they may differ; how old the tokens were.

    ``with_token``: with a new token, ``held``: with the one that was given before, ``zeros``: with zeros in its place,
    ``missing``: with nothing. ``age``: of an actor without outputs.
    """

    with_token: Optional[int] = None
    held: Optional[int] = None
    zeros: Optional[int] = None
    missing: Optional[int] = None
    age: Optional[Age] = None

    def as_json(self) -> dict[str, Any]:
        """The fields that apply."""
        counts = {"with_token": self.with_token, "held": self.held, "zeros": self.zeros, "missing": self.missing}
        ages = {} if self.age is None else {"age_p50_ms": self.age.p50_ms, "age_p99_ms": self.age.p99_ms}
        return known({**counts, **ages})


@dataclass(frozen=True)
class ActorRecord:
    """An actor, or a segment of the actors ``members``. ``modes``: value of the control token -> firings.

    ``inputs``: those of which there is something to say. ``figures``: what the behaviour counts or measures itself.
    ``repeats``: how often it fires in an iteration of a multi-rate graph.
    """

    unit: str
    role: str
    members: Sequence[str]
    activity: ActivityCounts
    modes: Optional[Mapping[str, int]] = None
    inputs: Mapping[str, InputRecord] = field(default_factory=dict)
    figures: Optional[Mapping[str, float]] = None
    repeats: Optional[int] = None


@dataclass(frozen=True)
class ClockRecord:
    """By how many milliseconds the clock of a peer is ahead of this one, and how wrong that may be; None: unknown."""

    clock_offset_ms: Optional[float] = None
    clock_uncertainty_ms: Optional[float] = None


@dataclass(frozen=True)
class FifoRecord:
    """This platform's end of a FIFO: ``kind`` is local, tx or rx; ``peer`` is the platform at the other end, or ''."""

    kind: str
    peer: str
    counts: FifoCounts


@dataclass(frozen=True)
class LinkRecord:
    """What the sending or receiving of one FIFO took."""

    peer: str
    activity: ActivityCounts


@dataclass(frozen=True)
class RunRecord:
    """The record of a program's run.

    ``warm_up`` firings of each actor came before what is counted here; FIFOs count all their tokens. ``begin`` is in
    seconds since the epoch; ``failure`` is '' for a run that ended well; ``events`` are the last ones
    of the journal, ``events_omitted`` the number of those before. ``unlogged`` lines of the log, and ``unreported``
    reports of the status, could not be written. ``stream`` is the number of a service's stream, None elsewhere.
    """

    application: str
    platform: str
    digest: str
    incarnation: str
    interpreter: Optional[str]
    engines: Mapping[str, Mapping[str, Any]]
    host: str
    python: str
    machine: str
    begin: float
    wall_s: float
    warm_up: int
    stream: Optional[int]
    failure: str
    emulated: Optional[Mapping[str, Any]]
    actors: Mapping[str, ActorRecord]
    fifos: Mapping[str, FifoRecord]
    links: Mapping[str, LinkRecord]
    peers: Mapping[str, ClockRecord]
    requirements: Mapping[str, RequirementRecord]
    degraded: Mapping[str, DegradedRecord]
    events: Sequence[Mapping[str, Any]]
    events_omitted: int
    unlogged: int
    unreported: int
    usage: Usage

    def as_json(self) -> dict[str, Any]:
        """The record as objects of JSON: groups of fields are flat there, and fields that do not apply are missing."""
        inputs = {name: actor.inputs for name, actor in self.actors.items()}
        bare = {name: replace(actor, inputs={}) for name, actor in self.actors.items()}
        fields = asdict(replace(self, actors=bare))
        usage = fields.pop("usage")
        for optional in ("interpreter", "stream"):
            if fields[optional] is None:
                del fields[optional]
        for optional in ("requirements", "degraded"):
            if not fields[optional]:
                del fields[optional]
        for name, actor in fields["actors"].items():
            more = {key: actor.pop(key) for key in ("modes", "figures", "repeats")}
            actor.update(actor.pop("activity"))
            actor.update(known(more))
            actor["inputs"] = {port: record.as_json() for port, record in inputs[name].items()}
        for fifo in fields["fifos"].values():
            fifo.update(known(fifo.pop("counts")))
        for link in fields["links"].values():
            link.update(link.pop("activity"))
        return {**fields, **usage}


def known(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def trace(platform: str, activities: dict[str, Activity]) -> str:
    """A timeline in Chrome's trace event format: one row per actor or link, one bar per firing."""
    pid = os.getpid()
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": platform}},
    ]
    for row, (name, activity) in enumerate(activities.items(), 1):
        spans = activity.spans or []
        label = name if len(spans) < MAX_SPANS else f"{name} (the first {MAX_SPANS} only)"
        events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": row, "args": {"name": label}})
        for begin, end, firing in spans:
            events.append(
                {
                    "ph": "X",
                    "name": name,
                    "pid": pid,
                    "tid": row,
                    "ts": begin / 1000,
                    "dur": (end - begin) / 1000,
                    "args": {"firing": firing},
                }
            )
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})
