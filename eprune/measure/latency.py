"""End-to-end latency of a single frame, by the timelines of a run with feedback: percentiles, and where time goes.

As in the Edge-PRUNE papers, the way of a frame is split into endpoint, link and server. A platform's part is the time
in which its actors fired, on its own clock; the link has what is left: sending, the way, receiving, and handing over
between threads.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from eprune.model.samples import percentile

#: Which percentiles are reported; 100 is the maximum.
PERCENTILES = (50, 90, 95, 99, 100)
#: What the links' part is called, beside the names of platforms.
LINK = "(link)"


class FrameTime(NamedTuple):
    """One frame's way in milliseconds: all of it; each platform's part; what is left for links."""

    latency: float
    platforms: Mapping[str, float]
    link: float


class Course(NamedTuple):
    """Who takes part: source -> the actor that gets its result; actor -> platform; the actors that come after."""

    returns: Mapping[str, str]
    homes: Mapping[str, str]
    after: frozenset[str]


def frames(traces: Mapping[str, Any], course: Course) -> tuple[FrameTime, ...]:
    """Each frame but the first, which warms everything up. ``traces`` are the timelines (Chrome format) by platform.

    Where several sources take a frame, its latency is that of the slowest. Platforms with sources work side by side, so
    only the busiest of them counts against the link. On one platform alone there is no link: all time is its own.
    """
    spans = {platform: _spans(trace) for platform, trace in traces.items()}
    latencies: dict[int, float] = {}
    for source, back in course.returns.items():
        begins, ends = (spans[course.homes[name]].get(name, {}) for name in (source, back))
        for index in begins.keys() & ends.keys():
            taken = (ends[index][0] - begins[index][0]) / 1e3
            latencies[index] = max(taken, latencies.get(index, 0.0))
    skip = course.after | set(course.returns.values())
    busy = {platform: _busy(own, skip) for platform, own in spans.items()}
    first = {course.homes[source] for source in course.returns}
    return tuple(
        _split(latency, {platform: own[index] for platform, own in busy.items()}, first)
        for index, latency in sorted(latencies.items())
        if index > 0
    )


def _split(latency: float, busy: Mapping[str, float], first: Set[str]) -> FrameTime:
    if len(busy) == 1:
        return FrameTime(latency, dict.fromkeys(busy, latency), 0.0)
    working = max(time for platform, time in busy.items() if platform in first)
    working += sum(time for platform, time in busy.items() if platform not in first)
    return FrameTime(latency, busy, max(latency - working, 0.0))


def _spans(trace: Any) -> dict[str, dict[int, tuple[float, float]]]:
    """Actor -> firing -> begin and end, in microseconds of the platform's clock. Links are left out."""
    spans: dict[str, dict[int, tuple[float, float]]] = defaultdict(dict)
    for event in trace["traceEvents"]:
        if event["ph"] == "X" and " " not in event["name"]:
            spans[event["name"]][event["args"]["firing"]] = (event["ts"], event["ts"] + event["dur"])
    return spans


def _busy(spans: Mapping[str, Mapping[int, tuple[float, float]]], skip: Iterable[str]) -> Mapping[int, float]:
    """Firing -> milliseconds in which at least one of the actors fired."""
    firings: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for actor, own in spans.items():
        if actor not in skip:
            for index, span in own.items():
                firings[index].append(span)
    busy: dict[int, float] = defaultdict(float)
    for index, found in firings.items():
        until = -math.inf
        for begin, end in sorted(found):
            busy[index] += max(end - max(begin, until), 0.0) / 1e3
            until = max(until, end)
    return busy


@dataclass(frozen=True)
class LatencySummary:
    """Of many frames, in ms: p50, p90, p95, p99, max and mean; the means of the platforms' parts and the link's."""

    latency_ms: Mapping[str, float]
    split_ms: Mapping[str, float]


def summary(given: Sequence[FrameTime]) -> LatencySummary:
    """The summary of at least one frame."""
    times = sorted(frame.latency for frame in given)
    names = ["max" if percent == 100 else f"p{percent}" for percent in PERCENTILES]
    values = [percentile(times, percent) for percent in PERCENTILES]
    parts = [{**frame.platforms, LINK: frame.link} for frame in given]
    return LatencySummary(
        {**dict(zip(names, values)), "mean": fmean(times)},
        {name: fmean(part[name] for part in parts) for name in parts[0]},
    )


def rows(lines: Sequence[Mapping[str, Any]], platforms: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and cells of a table with a row for each line: percentiles, then the split in percent of the mean."""
    percentiles = ("p50", "p90", "p99", "max")
    cells = []
    for line in lines:
        times, split = line["latency_ms"], line["split_ms"]
        shares = [f"{100 * split[name] / times['mean']:.0f} %" if name in split else "" for name in (*platforms, LINK)]
        cells.append((*(f"{times[name]:.3f}" for name in percentiles), *shares))
    return (*(f"{name} ms" for name in percentiles), *platforms, LINK), cells
