"""What to expect of a system in time, from a simulated run: the ages of tokens, how busy units and links are.

Times of actors that are bounded are drawn between their bounds, most often near the typical one (a triangular
distribution). Means of ages have a confidence interval from the means of batches, for ages of successive tokens are
alike (A. Law, "Simulation Modeling and Analysis", on batch means); shares have Wilson's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean, stdev
from typing import Any, NamedTuple, Optional

from eprune.analysis.throughput import Resources
from eprune.analysis.timeline import Timeline, timeline
from eprune.analysis.timing import ActorTimes
from eprune.model.graph import Graph, Requirement
from eprune.model.samples import Share, percentile

#: Batches, and the quantile of Student's distribution for 95 % with one degree of freedom less.
BATCHES, STUDENT = 20, 2.093
#: Drawn times are whole multiples of this, in seconds: numbers remain short.
GRAIN = 10**9


class Interval(NamedTuple):
    """A figure and its 95 % confidence interval; ``low`` and ``high`` are None where there is too little for one."""

    value: float
    low: Optional[float]
    high: Optional[float]


@dataclass(frozen=True)
class Ages:
    """Of the tokens of a source that a sink fired on, in seconds."""

    source: str
    sink: str
    count: int
    mean: Interval
    p50: float
    p95: float
    p99: float
    most: float


@dataclass(frozen=True)
class Kept:
    """Of a requirement: the share of tokens no older than it says, and how often the sink fired per second.

    ``rate`` is counted from the sink's first firing to its last: it may differ from that of a longer run by the part
    ``slack`` of it, for one of these may be early or late.
    """

    requirement: Requirement
    share: Optional[Interval]
    rate: Optional[float]
    slack: float = 0.0

    @property
    def met(self) -> bool:
        """Whether this run kept it."""
        required = self.requirement
        late = self.share is not None and self.share.value < required.share
        if late or required.rate is None or self.rate is None:
            return not late
        return self.rate * (1 + self.slack) >= float(required.rate) * (1 - 1e-6)


class TakenLate(NamedTuple):
    """Of ``frames`` choices of a dynamic processing graph, the ``row`` for late frames was ``taken`` so often."""

    row: int
    taken: int
    frames: int


@dataclass(frozen=True)
class Expectation:
    """A run, its ages, its requirements, and place (unit or link) -> the share of the time in which it is busy.

    ``late``: dynamic processing graph with a row for late frames -> this row, and for how many of all it was taken.
    """

    run: Timeline
    ages: tuple[Ages, ...]
    kept: tuple[Kept, ...]
    busy: Mapping[str, float]
    late: Mapping[str, TakenLate]

    def as_data(self) -> dict[str, Any]:
        """For JSON, without the firings."""
        return {
            "seconds": float(self.run.length),
            "short": list(self.run.short),
            "dropped": dict(self.run.dropped),
            "ages": [{**each.__dict__, "mean": each.mean._asdict()} for each in self.ages],
            "requirements": [
                {
                    "from": str(each.requirement.source),
                    "to": str(each.requirement.target),
                    "share": None if each.share is None else each.share._asdict(),
                    "rate": each.rate,
                    "met": each.met,
                }
                for each in self.kept
            ],
            "busy": dict(self.busy),
            "degraded": {name: each._asdict() for name, each in self.late.items()},
        }


def expected(
    graph: Graph,
    times: ActorTimes,
    shared: Resources,
    iterations: int,
    control: Mapping[str, Sequence[int]],
    draw: random.Random,
) -> Expectation:
    """The outcome of a run of a sound system; ``control`` as for ``timeline``. Raises ValueError as that does."""
    run = timeline(graph, _drawn(times, draw), shared, iterations, control)
    pairs = dict.fromkeys((age.source, age.sink) for age in run.ages)
    ages = {pair: [float(each.age) for each in run.ages if (each.source, each.sink) == pair] for pair in pairs}
    length = float(run.length) or 1.0
    busy: dict[str, float] = {}
    for span in (*run.firings, *run.transfers):
        if span.place:
            busy[span.place] = busy.get(span.place, 0.0) + float(span.end - span.begin) / length
    return Expectation(
        run,
        tuple(_ages(*pair, own) for pair, own in ages.items()),
        tuple(_kept(each, ages.get((each.source.actor, each.target.actor), []), run) for each in graph.requirements),
        busy,
        {
            dpg.name: TakenLate(dpg.late, run.late[dpg.name], sum(span.name == dpg.control for span in run.firings))
            for dpg in graph.dpgs
            if dpg.late is not None
        },
    )


def chosen_rows(chances: Mapping[int, float], count: int, draw: random.Random) -> list[int]:
    """Control values drawn with these probabilities."""
    return draw.choices(list(chances), list(chances.values()), k=count)


def _drawn(times: ActorTimes, draw: random.Random) -> Callable[[str, int], Fraction]:
    def seconds(name: str, firing: int) -> Fraction:
        least, typical, most = times.least[name], times.typical[name], times.most[name]
        if least == most:
            return typical
        value = draw.triangular(float(least), float(most), float(typical))
        return min(max(Fraction(round(value * GRAIN), GRAIN), least), most)

    return seconds


def _ages(source: str, sink: str, ages: Sequence[float]) -> Ages:
    ordered = sorted(ages)
    p50, p95, p99 = (percentile(ordered, percent) for percent in (50, 95, 99))
    return Ages(source, sink, len(ages), _mean(ages), p50, p95, p99, ordered[-1])


def _mean(values: Sequence[float]) -> Interval:
    mean, size = fmean(values), len(values) // BATCHES
    if not size:
        return Interval(mean, None, None)
    batches = [fmean(values[k * size : (k + 1) * size]) for k in range(BATCHES)]
    margin = STUDENT * stdev(batches) / math.sqrt(BATCHES)
    return Interval(mean, mean - margin, mean + margin)


def _kept(requirement: Requirement, ages: Sequence[float], run: Timeline) -> Kept:
    share = None
    if requirement.latency is not None and ages:
        limit = float(requirement.latency) * (1 + 1e-12)
        kept = Share(sum(age <= limit for age in ages), len(ages))
        share = Interval(kept.value, kept.low, kept.high)
    sink = requirement.target.actor
    fired = {age.firing for age in run.ages if age.sink == sink}  # without those that were idle
    begins = [float(span.begin) for span in run.firings if span.name == sink and span.firing in fired]
    if len(begins) < 2 or begins[-1] == begins[0]:
        return Kept(requirement, share, None)
    length = begins[-1] - begins[0]
    slack = (max(ages) - min(ages)) / length if ages else 0.0
    return Kept(requirement, share, (len(begins) - 1) / length, slack)
