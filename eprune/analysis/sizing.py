"""Capacities and throughput of a system in one answer: as given, the least to live, the least for full speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Optional

from eprune.analysis.buffers import Sizes, least_fast, least_live
from eprune.analysis.cycle_ratio import Cycle, max_cycle_ratio
from eprune.analysis.domains import dividing, rate_domains
from eprune.analysis.lookup import buffer_bytes
from eprune.analysis.throughput import Resources, advice, resources, timed
from eprune.model.graph import Graph
from eprune.model.system import System


@dataclass(frozen=True)
class Throughput:
    """Seconds between two iterations; the cycle that keeps them from being less, and what would help.

    ``cycle`` is None where no actor takes any time. ``times`` are the seconds of the nodes of the cycle.
    """

    period: Fraction
    cycle: Optional[Cycle]
    times: Mapping[str, Fraction]
    advice: tuple[str, ...]


@dataclass(frozen=True)
class Pace:
    """How often the actors of a rate domain fire: seconds between two iterations, at least."""

    actors: tuple[str, ...]
    period: Fraction


@dataclass(frozen=True)
class Sizing:
    """Capacities in tokens, sizes in bytes.

    What needs the actors' times is None where some are ``without_time``. ``bound_only``: rates vary, so that throughput
    is what the graph never exceeds. Where ``newest`` and ``hold`` divide the graph, throughput is that of
    its slowest part, and ``paces`` has each part; else it is empty.
    """

    given: Mapping[str, int]
    given_bytes: int
    live: Sizes
    fast: Optional[Sizes]
    throughput: Optional[Throughput]
    max_throughput: Optional[Throughput]
    without_time: tuple[str, ...]
    bound_only: bool
    paces: tuple[Pace, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "given": {"capacities": dict(self.given), "bytes": self.given_bytes},
            "live": _sizes(self.live),
            "fast": None if self.fast is None else _sizes(self.fast),
            "throughput": None if self.throughput is None else _throughput_data(self.throughput),
            "max_throughput": None if self.max_throughput is None else _throughput_data(self.max_throughput),
            "without_time": list(self.without_time),
            "bound_only": self.bound_only,
            "domains": [{"actors": list(pace.actors), "period_s": float(pace.period)} for pace in self.paces],
        }


def sizing(system: System, times: Mapping[str, Fraction]) -> Sizing:
    """The answer for a sound system; ``times``: actor -> seconds per firing.

    Raises ValueError for a graph that is live only because its rates are never all at their upper limits.
    """
    graph = system.graph
    unknown = tuple(actor.name for actor in graph.actors if actor.name not in times)
    shared = resources(system)
    live = least_live(graph, shared)
    fast = None if unknown else least_fast(graph, times, shared)
    return Sizing(
        given={fifo.name: fifo.capacity for fifo in graph.fifos},
        given_bytes=sum(size * (1 + (name in shared.transfers)) for name, size in buffer_bytes(graph).items()),
        live=live,
        fast=fast,
        throughput=None if unknown else _throughput(graph, times, shared),
        max_throughput=None if fast is None else _throughput(fast.applied(graph), times, shared),
        without_time=unknown,
        bound_only=any(not port.static for _, port in graph.ports()),
        paces=() if unknown else _paces(graph, times, shared),
    )


def _paces(graph: Graph, times: Mapping[str, Fraction], shared: Resources) -> tuple[Pace, ...]:
    """The pace of each rate domain: its own, or that of one whose tokens it has to wait for, if that is slower."""
    parts = rate_domains(graph)
    if len(parts) == 1:
        return ()
    model = timed(graph, times, shared)
    number = {name: index for index, members in enumerate(parts) for name in members}
    for edge in model.edges:
        if edge.kind == "token":  # a FIFO's source, its transfer, its target
            number.setdefault(edge.target, number[edge.source])
    periods = []
    for index in range(len(parts)):
        nodes = {name: time for name, time in model.times.items() if number[name] == index}
        cycle = max_cycle_ratio(nodes, tuple(edge for edge in model.edges if edge.source in nodes))
        periods.append(Fraction(0) if cycle is None else cycle.ratio)
    held = {ref for ref, port in graph.ports() if port.hold}
    feeding = [(number[f.source.actor], number[f.target.actor]) for f in dividing(graph) if f.target not in held]
    for _ in parts:
        for before, behind in feeding:
            periods[behind] = max(periods[behind], periods[before])
    return tuple(Pace(members, period) for members, period in zip(parts, periods))


def _throughput(graph: Graph, times: Mapping[str, Fraction], shared: Resources) -> Throughput:
    model = timed(graph, times, shared)
    cycle = max_cycle_ratio(model.times, model.edges)
    if cycle is None:
        return Throughput(Fraction(0), None, {}, ())
    own = {edge.source: model.times[edge.source] for edge in cycle.edges}
    return Throughput(cycle.ratio, cycle, own, tuple(advice(cycle, graph)))


def _sizes(sizes: Sizes) -> dict[str, Any]:
    return {"capacities": sizes.capacities, "bytes": sizes.nbytes, "bound_bytes": sizes.bound, "least": sizes.least}


def _throughput_data(throughput: Throughput) -> dict[str, Any]:
    cycle = throughput.cycle
    if cycle is None:
        return {"period_s": 0.0, "bottleneck": None}
    edges = [{**edge._asdict(), "time_s": float(throughput.times[edge.source])} for edge in cycle.edges]
    bottleneck = {
        "cycle": edges,
        "time_s": float(cycle.time),
        "tokens": cycle.tokens,
        "advice": list(throughput.advice),
    }
    return {"period_s": float(throughput.period), "bottleneck": bottleneck}
