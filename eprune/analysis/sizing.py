"""Capacities and throughput of a system in one answer: as given, the least to live, the least for full speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Optional

from eprune.analysis.buffers import Sizes
from eprune.analysis.clusters import Cluster
from eprune.analysis.cycle_ratio import Cycle, max_cycle_ratio
from eprune.analysis.domains import dividing, rate_domains
from eprune.analysis.links import OverLink, over_links
from eprune.analysis.lookup import slot_bytes
from eprune.analysis.methods import methods
from eprune.analysis.throughput import ALONE, Resources, resources, timed, window_of
from eprune.analysis.tradeoff import Front, front
from eprune.model.graph import Graph
from eprune.model.system import System


class TooFast(ValueError):
    """No room makes a graph as fast as is wished; the message says how fast it can be."""


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
class Wish:
    """The least capacities for an iteration every ``period`` seconds, or more often."""

    period: Fraction
    sizes: Sizes

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {"period_s": float(self.period), **_sizes(self.sizes)}


@dataclass(frozen=True)
class Sizing:
    """Capacities in tokens, sizes in bytes.

    What needs the actors' times is None where some are ``without_time``. ``bound_only``: rates vary, so that throughput
    is what the graph never exceeds. Where ``newest`` and ``hold`` divide the graph, throughput is that of its slowest
    part, and ``paces`` has each part; else it is empty. ``resources`` has the clusters of the units, and ``links`` the
    FIFOs over links. ``channels`` of a graph that was imported and expanded: channel -> its FIFOs; else it is empty.
    ``wish`` and ``front`` are there where they were asked for.
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
    resources: Resources = ALONE
    links: tuple[OverLink, ...] = ()
    channels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    wish: Optional[Wish] = None
    front: Optional[Front] = None

    @property
    def chosen(self) -> tuple[str, Sizes]:
        """What is wished for, else what full speed needs, else what living needs: in words, and the capacities."""
        if self.wish is not None:
            return f"least for {float(1 / self.wish.period):g}/s", self.wish.sizes
        return ("least to live", self.live) if self.fast is None else ("least for full speed", self.fast)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        given = {
            "capacities": dict(self.given),
            "windows": {link.fifo: link.window for link in self.links},
            "bytes": self.given_bytes,
        }
        return {
            "given": self._with_channels(given),
            "live": self._with_channels(_sizes(self.live)),
            "fast": None if self.fast is None else self._with_channels(_sizes(self.fast)),
            "throughput": None if self.throughput is None else _throughput_data(self.throughput),
            "max_throughput": None if self.max_throughput is None else _throughput_data(self.max_throughput),
            "without_time": list(self.without_time),
            "bound_only": self.bound_only,
            "domains": [{"actors": list(pace.actors), "period_s": float(pace.period)} for pace in self.paces],
            "clusters": [
                {"unit": unit, "actors": list(cluster)}
                for unit, parts in self.resources.units.items()
                for cluster in parts
            ],
            "links": [link.as_data() for link in self.links],
            **({} if self.wish is None else {"wish": self._with_channels(self.wish.as_data())}),
            **({} if self.front is None else {"front": self.front.as_data()}),
        }

    def _with_channels(self, column: dict[str, Any]) -> dict[str, Any]:
        """Sizes, and those of the channels: room for what their FIFOs hold together."""
        if not self.channels:
            return column
        room = {
            name: sum(column["capacities"][fifo] + column["windows"].get(fifo, 0) for fifo in fifos)
            for name, fifos in self.channels.items()
        }
        return {**column, "channels": room}


def _channels(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Channel of an imported graph -> the FIFOs that carry its parts; empty where no channel has several."""
    if not any(fifo.channel for fifo in graph.fifos):
        return {}
    parts: dict[str, tuple[str, ...]] = {}
    for fifo in graph.fifos:
        name = fifo.channel or fifo.name
        parts[name] = (*parts.get(name, ()), fifo.name)
    return parts


def sizing(
    system: System,
    times: Mapping[str, Fraction],
    parts: Optional[Mapping[str, Sequence[Cluster]]] = None,
    period: Optional[Fraction] = None,
    trade: bool = False,
) -> Sizing:
    """The answer for a sound system; ``times``: actor -> seconds per firing; ``parts``: see ``throughput.resources``.

    ``period``: also the least for an iteration in so many seconds. ``trade``: also all that lies between. Both need the
    time of each actor. Raises ValueError for a graph that is live only because its rates are never all at their upper
    limits, and TooFast where no room makes it as fast as is wished.
    """
    graph = system.graph
    unknown = tuple(actor.name for actor in graph.actors if actor.name not in times)
    shared = resources(system, parts)
    ask = methods(graph)
    live = ask.least_live(graph, shared)
    fast = None if unknown else ask.least_fast(graph, times, shared)
    return Sizing(
        given={fifo.name: fifo.capacity for fifo in graph.fifos},
        given_bytes=_given_bytes(graph, shared),
        live=live,
        fast=fast,
        throughput=None if unknown else _throughput(graph, times, shared),
        max_throughput=None if fast is None else _throughput(fast.applied(graph, shared), times, shared),
        without_time=unknown,
        bound_only=any(not port.static for _, port in graph.ports()),
        paces=() if unknown else _paces(graph, times, shared),
        resources=shared,
        links=() if graph.is_sdf else over_links(graph, shared, times, fast),
        channels=_channels(graph),
        wish=None if period is None or unknown else _wish(graph, times, period, shared),
        front=front(graph, times, shared, fast=fast) if trade and not unknown else None,
    )


def _wish(graph: Graph, times: Mapping[str, Fraction], period: Fraction, shared: Resources) -> Wish:
    try:
        return Wish(period, methods(graph).least_for(graph, times, period, shared))
    except ValueError as error:
        raise TooFast(str(error)) from None


def _given_bytes(graph: Graph, shared: Resources) -> int:
    """Bytes of all buffers; a FIFO over a link has one at each end."""
    sizes = slot_bytes(graph)
    total = 0
    for fifo in graph.fifos:
        transfer = shared.transfers.get(fifo.name)
        ends, extra = (1, 0) if transfer is None else (2, window_of(fifo, transfer))
        total += ends * (fifo.capacity + extra) * sizes[fifo.name]
    return total


def _paces(graph: Graph, times: Mapping[str, Fraction], shared: Resources) -> tuple[Pace, ...]:
    """The pace of each rate domain: its own, or that of one whose tokens it has to wait for, if that is slower."""
    parts = rate_domains(graph)
    if len(parts) == 1:
        return ()
    model = timed(graph, times, shared)
    number = {name: index for index, members in enumerate(parts) for name in members}
    periods = []
    for index in range(len(parts)):
        nodes = {name: time for name, time in model.times.items() if number[model.actors[name]] == index}
        cycle = max_cycle_ratio(nodes, tuple(edge for edge in model.edges if edge.source in nodes))
        periods.append(Fraction(0) if cycle is None else cycle.ratio)
    held = {ref for ref, port in graph.ports() if port.hold}
    feeding = [(number[f.source.actor], number[f.target.actor]) for f in dividing(graph) if f.target not in held]
    for _ in parts:
        for before, behind in feeding:
            periods[behind] = max(periods[behind], periods[before])
    return tuple(Pace(members, period) for members, period in zip(parts, periods))


def _throughput(graph: Graph, times: Mapping[str, Fraction], shared: Resources) -> Throughput:
    ask = methods(graph)
    model = ask.timed(graph, times, shared)
    cycle = ask.slowest(model)
    if cycle is None:
        return Throughput(Fraction(0), None, {}, ())
    own = {edge.source: model.times[edge.source] for edge in cycle.edges}
    return Throughput(cycle.ratio, cycle, own, tuple(ask.advice(cycle, graph, shared)))


def _sizes(sizes: Sizes) -> dict[str, Any]:
    return {
        "capacities": sizes.capacities,
        "windows": sizes.windows,
        "bytes": sizes.nbytes,
        "bound_bytes": sizes.bound,
        "least": sizes.least,
    }


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
