"""Requirements answered: whether tokens arrive as often and as soon as is required, and what would help.

The answer is that of ``latency``, for typical times and for the greatest. Where it is not exact, and says that a
requirement is missed, a simulated run (``timeline``) tells whether that happens.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple, Optional

from eprune.analysis.changes import Change, changes
from eprune.analysis.clusters import Clustering, clusters
from eprune.analysis.cycle_ratio import Cycle
from eprune.analysis.latency import Asking, Latencies, Latency
from eprune.analysis.methods import methods
from eprune.analysis.rules import violation
from eprune.analysis.throughput import Resources, resources
from eprune.analysis.timeline import timeline
from eprune.model.finding import Finding, Severity
from eprune.model.graph import Dpg, Graph, PortRef, Requirement
from eprune.model.quantity import format_time
from eprune.model.system import System

#: Firings of a simulated run: of each actor, and of all together, at most.
FIRINGS, ALL_FIRINGS = 300, 100_000


class ActorTimes(NamedTuple):
    """Actor -> seconds per firing: typically, at least, at most. ``on``: platform -> actor -> what is typical there."""

    typical: Mapping[str, Fraction]
    least: Mapping[str, Fraction]
    most: Mapping[str, Fraction]
    on: Mapping[str, Mapping[str, Fraction]] = MappingProxyType({})


class Met(NamedTuple):
    """Whether something required is kept with typical times, and with the greatest; None: it is not required."""

    typically: Optional[bool]
    always: Optional[bool]

    @property
    def word(self) -> str:
        """For people and for JSON."""
        if self.typically is None:
            return ""
        return "met" if self.always else "met typically" if self.typically else "missed"


@dataclass(frozen=True)
class Verdict:
    """What becomes of a requirement.

    ``latencies``: with the least, the typical and the greatest times; None where no latency can be counted.
    ``periods``: seconds between two firings of the sink, likewise. ``cycle``: why the typical one is not less; None
    where a source's pace is why. ``share``: the part of a simulated run's tokens that was no older than required, and
    the greatest age there, where the latency is not exact.
    """

    requirement: Requirement
    rate: Met
    latency: Met
    periods: tuple[Fraction, Fraction, Fraction]
    latencies: Optional[tuple[Latency, Latency, Latency]]
    cycle: Optional[Cycle]
    share: Optional[tuple[Fraction, Fraction]] = None
    changes: tuple[Change, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        required = self.requirement
        latencies = self.latencies
        return {
            "from": str(required.source),
            "to": str(required.target),
            "required": {
                "rate": None if required.rate is None else float(required.rate),
                "latency_s": None if required.latency is None else float(required.latency),
                "share": float(required.share),
            },
            "rate": self.rate.word or None,
            "latency": self.latency.word or None,
            "period_s": dict(zip(("least", "typical", "most"), map(float, self.periods))),
            "latency_s": None
            if latencies is None
            else {name: float(each.steady) for name, each in zip(("least", "typical", "most"), latencies)},
            "way": None if latencies is None else latencies[1].as_data(),
            "simulated": None
            if self.share is None
            else {"share": float(self.share[0]), "most_s": float(self.share[1])},
            "changes": [change.as_data() for change in self.changes],
        }


@dataclass(frozen=True)
class Timing:
    """The answer. ``without_time``: the actors for lack of whose times there is none. ``deadlocks``: there is none, for
    the graph is live only because its rates are never all at their upper limits.

    ``ways``: of each source and each sink that its tokens get to, where that was asked; ``jitter``: the same with the
    least and the greatest times. ``rows``: (DPG, control value) -> the latency of each way as long as that row holds.
    """

    verdicts: tuple[Verdict, ...] = ()
    ways: tuple[Latency, ...] = ()
    jitter: tuple[tuple[Latency, Latency], ...] = ()
    rows: Mapping[tuple[str, int], tuple[Latency, ...]] = field(default_factory=dict)
    without_time: tuple[str, ...] = ()
    deadlocks: bool = False

    @property
    def findings(self) -> list[Finding]:
        """T2, one for each requirement that is missed, or may be."""
        return [finding for verdict in self.verdicts for finding in _missed(verdict)]

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "without_time": list(self.without_time),
            "deadlocks": self.deadlocks,
            "requirements": [verdict.as_data() for verdict in self.verdicts],
            "ways": [
                {**way.as_data(), "least_times_s": float(least.steady), "greatest_times_s": float(most.steady)}
                for way, (least, most) in zip(self.ways, self.jitter)
            ],
            "rows": [
                {"dpg": dpg, "value": value, "ways": [way.as_data() for way in ways]}
                for (dpg, value), ways in self.rows.items()
            ],
        }


def timing(
    system: System,
    times: ActorTimes,
    clustering: Clustering = clusters,
    ways: bool = False,
) -> Timing:
    """The answer for a sound system, and of systems that are a change away. ``ways``: also of each way.

    ``clustering``: gives the clusters of a system's programs; by default no slices are fused.
    """
    graph = system.graph
    unknown = tuple(actor.name for actor in graph.actors if actor.name not in times.typical)
    if unknown:
        return Timing(without_time=unknown)
    shared, asking = resources(system, clustering(system)), methods(graph).latencies
    try:
        typically = asking(graph, times.typical, shared)
    except ValueError:
        return Timing(deadlocks=True)
    asked = tuple(
        typically if each == times.typical else asking(graph, each, shared)
        for each in (times.least, times.typical, times.most)
    )
    verdicts = tuple(_verdict(system, each, asked, times, shared, clustering) for each in graph.requirements)
    if not ways:
        return Timing(verdicts)
    least, typical, most = asked
    pairs = typical.ways()
    return Timing(
        verdicts,
        tuple(typical(*pair) for pair in pairs),
        tuple((least(*pair), most(*pair)) for pair in pairs),
        {
            (dpg.name, row.value): _in_row(in_row(graph, dpg, row.value), times.typical, shared, pairs)
            for dpg in graph.dpgs
            for row in dpg.rows
        },
    )


def _in_row(
    graph: Graph, times: Mapping[str, Fraction], shared: Resources, pairs: Sequence[tuple[str, str]]
) -> tuple[Latency, ...]:
    """The latencies of what a row leaves of a graph."""
    asked = Latencies(graph, times, _within(shared, graph))
    there = set(asked.ways())
    return tuple(asked(*pair) for pair in pairs if pair in there)


def in_row(graph: Graph, dpg: Dpg, value: int) -> Graph:
    """The graph as it is as long as one row holds; other dynamic processing graphs are at their upper limits.

    Actors that the row leaves idle are gone, and so is a graph inside of this one that is dormant in it.
    """
    rates = dpg.rates(next(row for row in dpg.rows if row.value == value))
    idle = {ref for ref, rate in rates.items() if not rate}
    fifos = [fifo for fifo in graph.fifos if fifo.source not in idle and fifo.target not in idle]
    ports = {ref for fifo in fifos for ref in (fifo.source, fifo.target)}
    control = {ref for ref, port in graph.ports() if port.control}

    def works(name: str, own: Iterable[PortRef]) -> bool:
        data = [ref for ref in own if ref not in control]
        return not data or any(ref in ports for ref in data)

    actors = [
        actor for actor in graph.actors if works(actor.name, [PortRef(actor.name, port.name) for port in actor.ports])
    ]
    names = {actor.name for actor in actors}
    fifos = [fifo for fifo in fifos if {fifo.source.actor, fifo.target.actor} <= names]
    kept = {ref for fifo in fifos for ref in (fifo.source, fifo.target)}
    made = []
    for actor in actors:
        own = [port for port in actor.ports if PortRef(actor.name, port.name) in kept]
        fixed = [rates.get(PortRef(actor.name, port.name), port.url) for port in own]
        ports_now = tuple(replace(port, lrl=rate, url=rate, atr=rate) for port, rate in zip(own, fixed))
        made.append(replace(actor, ports=ports_now))
    return replace(graph, actors=tuple(made), fifos=tuple(fifos), dpgs=())


def _within(shared: Resources, graph: Graph) -> Resources:
    """What is shared by those that are left."""
    names = {actor.name for actor in graph.actors}
    fifos = {fifo.name for fifo in graph.fifos}
    units = {
        unit: [part for part in (tuple(name for name in each if name in names) for each in parts) if part]
        for unit, parts in shared.units.items()
    }
    return Resources(units, {name: each for name, each in shared.transfers.items() if name in fifos})


def _verdict(
    system: System,
    required: Requirement,
    asked: Sequence[Asking],
    times: ActorTimes,
    shared: Resources,
    clustering: Clustering,
) -> Verdict:
    source, sink = required.source.actor, required.target.actor
    paces = [each.pace(sink) for each in asked]
    periods = (paces[0][0], paces[1][0], paces[2][0])
    rate = Met(None, None)
    if required.rate is not None:
        rate = Met(periods[1] * required.rate <= 1, periods[2] * required.rate <= 1)
    latencies = None
    latency = Met(None, None)
    share = None
    if required.latency is not None:
        limit = required.latency
        found = {each: each(source, sink) for each in dict.fromkeys(asked)}
        latencies = (found[asked[0]], found[asked[1]], found[asked[2]])
        latency = Met(latencies[1].steady <= limit, latencies[2].steady <= limit)
        if not latency.always and latencies[1].kind != "exact":
            share = _simulated(system.graph, times.typical, shared, source, sink, limit)
    verdict = Verdict(required, rate, latency, periods, latencies, paces[1][1], share)
    if False in (rate.typically, latency.typically):
        meeting = changes(system, required, times.typical, shared, times.on, clustering)
        return replace(verdict, changes=tuple(meeting))
    return verdict


def _simulated(
    graph: Graph, times: Mapping[str, Fraction], shared: Resources, source: str, sink: str, limit: Fraction
) -> Optional[tuple[Fraction, Fraction]]:
    """The share of tokens that are no older than the limit, and the greatest age; rows are drawn alike."""
    if any(fifo.route is not None for fifo in graph.fifos):
        return None
    draw = random.Random(0)
    count = max(min(FIRINGS, ALL_FIRINGS // len(graph.actors)), 3)
    control = {dpg.name: draw.choices([row.value for row in dpg.rows], k=count) for dpg in graph.dpgs}
    run = timeline(graph, times, shared, count, control, aged=[source])
    ages = [each.age for each in run.ages if each.sink == sink]
    return (Fraction(sum(age <= limit for age in ages), len(ages)), max(ages)) if ages else None


def _missed(verdict: Verdict) -> Iterator[Finding]:
    """T2: an error where a requirement is missed for sure, a warning where it may be."""
    required = verdict.requirement
    name = f"requirement from {required.source} to {required.target}"
    hint = "; or ".join(change.text for change in verdict.changes[:3])
    if required.rate is not None and not verdict.rate.always:
        typical, most = verdict.periods[1:]
        pace = most if verdict.rate.typically else typical
        message = f"{name}: {_per_second(1 / pace)}, not {_per_second(required.rate)}"
        if verdict.rate.typically:
            message += ", when actors take the longest that they may"
        yield _finding(required, message, hint, error=not verdict.rate.typically)
    if required.latency is not None and verdict.latencies is not None and not verdict.latency.always:
        yield from _late(verdict, verdict.latencies, name, hint)


def _late(verdict: Verdict, latencies: tuple[Latency, Latency, Latency], name: str, hint: str) -> Iterator[Finding]:
    required, (_, typical, most) = verdict.requirement, latencies
    limit = format_time(float(required.latency or 0))
    found = most if verdict.latency.typically else typical
    message = f"{name}: tokens are {format_time(float(found.steady))} old, and may be {limit}"
    if verdict.latency.typically:
        if required.share < 1:
            return
        yield _finding(required, f"{message}, when actors take the longest that they may", hint, error=False)
        return
    longest = sorted(typical.parts, key=lambda part: part.seconds, reverse=True)[:2]
    if longest:
        parts = " and ".join(f"'{part.about}' {part.does} for {format_time(float(part.seconds))}" for part in longest)
        message += f": {parts}"
    if verdict.share is not None:
        share, oldest = verdict.share
        if share >= required.share:
            message = (
                f"{name}: tokens may be {format_time(float(typical.steady))} old ({typical.kind}), more than {limit}; "
                f"in a simulated run {100 * float(share):.4g} % were not, the oldest {format_time(float(oldest))}"
            )
            yield _finding(required, message, hint, error=False)
            return
    yield _finding(required, message, hint, error=True)


def _finding(required: Requirement, message: str, hint: str, error: bool) -> Finding:
    found = violation("T2", required.where, message, hint if error else "")
    return found if error else replace(found, severity=Severity.WARNING)


def _per_second(rate: Fraction) -> str:
    return f"{float(rate):.4g}/s"
