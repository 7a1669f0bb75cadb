"""Which functions answer questions of speed and room, by the model of computation of a graph."""

from __future__ import annotations

from typing import Callable, NamedTuple, Optional

from eprune.analysis import buffers, throughput
from eprune.analysis.buffers import Sizes
from eprune.analysis.cycle_ratio import Cycle, max_cycle_ratio
from eprune.analysis.latency import Asking, Latencies
from eprune.analysis.sdf import latency, sizes, timing
from eprune.analysis.throughput import Timed
from eprune.model.graph import Graph


class Methods(NamedTuple):
    """The functions of ``buffers`` and ``throughput``, or of ``sdf``, which take the same and answer the same."""

    least_live: Callable[..., Sizes]
    least_fast: Callable[..., Sizes]
    least_for: Callable[..., Sizes]
    timed: Callable[..., Timed]
    slowest: Callable[[Timed], Optional[Cycle]]
    advice: Callable[..., list[str]]
    latencies: Callable[..., Asking]


def _slowest(model: Timed) -> Optional[Cycle]:
    return max_cycle_ratio(model.times, model.edges)


_SYMMETRIC = Methods(
    buffers.least_live, buffers.least_fast, buffers.least_for, throughput.timed, _slowest, throughput.advice, Latencies
)
_MULTI_RATE = Methods(
    sizes.least_live,
    sizes.least_fast,
    sizes.least_for,
    timing.timed,
    timing.slowest_cycle,
    timing.advice,
    latency.Latencies,
)


def methods(graph: Graph) -> Methods:
    """Those for this graph."""
    return _MULTI_RATE if graph.is_sdf else _SYMMETRIC
