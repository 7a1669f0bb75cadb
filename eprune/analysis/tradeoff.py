"""Buffers against throughput: the least bytes for each pace, from what is just live to full speed (a Pareto front).

One point follows from the one before: the least capacities with which the graph is faster than that one. Its pace is
that of the slowest cycle with them. See S. Stuijk, M. Geilen, T. Basten, "Throughput-Buffering Trade-Off Exploration
for Cyclo-Static and Synchronous Dataflow Graphs", IEEE Transactions on Computers 57(10), 2008, who walk the space of
capacities; here each step is one search for the least (``buffers``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Optional

from eprune.analysis.buffers import BUDGET, Sizes
from eprune.analysis.cycle_ratio import max_cycle_ratio
from eprune.analysis.methods import methods
from eprune.analysis.throughput import ALONE, Resources
from eprune.model.graph import Graph

#: Points of a front at most.
POINTS = 200
#: Two paces that differ by less than this share of them are one.
SAME = Fraction(1, 10**9)


@dataclass(frozen=True)
class Point:
    """Capacities that no others with as few bytes are faster than; ``period``: seconds between two iterations."""

    sizes: Sizes
    period: Fraction

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "period_s": float(self.period),
            "bytes": self.sizes.nbytes,
            "least": self.sizes.least,
            "capacities": self.sizes.capacities,
            "windows": self.sizes.windows,
        }


@dataclass(frozen=True)
class Front:
    """The points, the slowest first, and whether they are all: there may be more than are looked for."""

    points: tuple[Point, ...]
    whole: bool

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {"whole": self.whole, "points": [point.as_data() for point in self.points]}


def front(
    graph: Graph,
    times: Mapping[str, Fraction],
    resources: Resources = ALONE,
    most: int = POINTS,
    budget: int = BUDGET,
    fast: Optional[Sizes] = None,
) -> Front:
    """The front of a sound graph; ``times``: actor -> seconds per firing. Raises ValueError as buffers.least_fast.

    Where the search for the least takes too long (``budget``, for each point), that point may not be the least.
    ``fast`` are the sizes for full speed, where they are known already.
    """

    def point_of(sizes: Sizes) -> Point:
        return Point(sizes, pace(sizes.applied(graph, resources), times, resources))

    ask = methods(graph)
    last = point_of(fast or ask.least_fast(graph, times, resources, budget))
    found: list[Point] = []
    # With room for one iteration only, it takes no longer than all firings one after the other.
    wanted = max(sum(ask.timed(graph, times, resources, bounded=False).times.values(), Fraction(0)), last.period)
    while wanted > last.period and len(found) < most:
        point = point_of(ask.least_for(graph, times, wanted, resources, budget))
        _put(found, point)
        if point.period <= last.period:
            break
        wanted = max(point.period * (1 - SAME), last.period)
    whole = len(found) < most
    _put(found, last)
    return Front(tuple(found), whole)


def _put(found: list[Point], point: Point) -> None:
    """Add a point, which is faster than those before: those that take as many bytes are of no use."""
    while found and found[-1].sizes.nbytes >= point.sizes.nbytes:
        found.pop()
    if not found or point.period < found[-1].period:
        found.append(point)


def pace(graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE) -> Fraction:
    """Seconds between two iterations, in the long run, with the capacities of the graph."""
    model = methods(graph).timed(graph, times, resources)
    cycle = max_cycle_ratio(model.times, model.edges)
    return Fraction(0) if cycle is None else cycle.ratio
