"""FIFOs over links: how much their room limits throughput, and with how much room they no longer do.

Capacity and window bound the tokens that are written and not yet released, at both ends and under way. So a token's
room is taken from the beginning of the firing that writes it until the sender knows that the firing that reads it has
ended: a round trip. In that time no more firings of the sender can begin than the room is for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Optional

from eprune.analysis.buffers import Sizes
from eprune.analysis.domains import dividing
from eprune.analysis.lookup import fifo_rates
from eprune.analysis.precedence import firing_order
from eprune.analysis.throughput import Resources, Transfer, resources, room_for, window_of
from eprune.model.graph import Fifo, Graph
from eprune.model.system import System


@dataclass(frozen=True)
class OverLink:
    """A FIFO over a link. ``capacity`` and ``window`` are in tokens, as given.

    ``round_trip`` is in seconds, and ``period`` the least time between two iterations that the given room allows; of
    actors without times only the link's part of the round trip is known, and no period. ``enough`` is the window with
    which the FIFO does not limit throughput; None where too little is known of the link to say.
    """

    fifo: str
    link: str
    capacity: int
    window: int
    round_trip: Fraction
    period: Optional[Fraction]
    enough: Optional[int]

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "fifo": self.fifo,
            "link": self.link,
            "capacity": self.capacity,
            "window": self.window,
            "round_trip_s": float(self.round_trip),
            "period_s": None if self.period is None else float(self.period),
            "enough_window": self.enough,
        }


def over_links(
    graph: Graph, shared: Resources, times: Mapping[str, Fraction], fast: Optional[Sizes]
) -> tuple[OverLink, ...]:
    """The FIFOs over links, in file order, but for those whose producer never waits.

    ``fast``: the sizes for full speed, where ``times`` has all actors.
    """
    between, rates = set(dividing(graph)), fifo_rates(graph)
    busy = _busy(shared)
    found = []
    for fifo in graph.fifos:
        transfer = shared.transfers.get(fifo.name)
        if transfer is None or fifo in between:
            continue
        under_way = transfer.busy + transfer.latency + transfer.back
        ends = fifo.source.actor, fifo.target.actor
        if fast is None:
            window = _enough_window(fifo, rates[fifo.name], transfer, busy[transfer.link])
            found.append(_over_link(fifo, transfer, under_way, None, window))
            continue
        trip = times[ends[0]] + under_way + times[ends[1]]
        firings = room_for(fifo, rates[fifo.name], transfer) + fifo.delay // rates[fifo.name]
        found.append(_over_link(fifo, transfer, trip, trip / firings, fast.windows[fifo.name]))
    return tuple(found)


def _over_link(
    fifo: Fifo, transfer: Transfer, trip: Fraction, period: Optional[Fraction], enough: Optional[int]
) -> OverLink:
    window = window_of(fifo, transfer)
    return OverLink(fifo.name, transfer.link, fifo.capacity, window, trip, period, enough)


def widened(system: System) -> System:
    """The system with a window for each FIFO over a link that has none, so that it does not limit throughput.

    FIFOs that state a window keep it, and so do those of links that state one or whose bandwidth is not known. Where
    tokens that meet have come different ways, those of the shorter one have room to wait: a FIFO within a platform
    gets the capacity for that.
    """
    graph = system.graph
    shared, between, rates = resources(system, {}), set(dividing(graph)), fifo_rates(graph)
    busy = _busy(shared)
    steps = {fifo.name: _steps(fifo, system, shared.transfers.get(fifo.name), busy) for fifo in graph.fifos}
    level = _levels(graph, steps)
    fifos = []
    for fifo in graph.fifos:
        transfer, rate = shared.transfers.get(fifo.name), rates[fifo.name]
        later = max(level[fifo.target.actor] - level[fifo.source.actor], 0)
        if fifo in between:
            pass
        elif transfer is None:
            if later > 1:
                fifo = replace(fifo, capacity=max(fifo.capacity, fifo.delay + (later + 1) * rate))
        elif fifo.window is None and not transfer.window:
            more = max(later - steps[fifo.name], 0)
            fifo = replace(fifo, window=_enough_window(fifo, rate, transfer, busy[transfer.link], more) or None)
        fifos.append(fifo)
    return replace(system, graph=replace(graph, fifos=tuple(fifos)))


def _steps(fifo: Fifo, system: System, transfer: Optional[Transfer], busy: Mapping[str, Fraction]) -> int:
    """In how many iterations' time at most the tokens of a FIFO come from one place to the next, if each is as slow as
    it may be; 0 within a unit.
    """
    if transfer is None:
        return int(system.units.get(fifo.source.actor) != system.units.get(fifo.target.actor))
    least = busy[transfer.link]
    return 1 + (math.ceil((transfer.busy + transfer.latency) / least) if least else 0)


def _levels(graph: Graph, steps: Mapping[str, int]) -> dict[str, int]:
    """Actor -> by how many iterations it is behind the sources, on the longest way from them."""
    rates = fifo_rates(graph)
    into: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
    for fifo in graph.fifos:
        if fifo.delay < rates[fifo.name]:
            into[fifo.target.actor].append(fifo)
    level: dict[str, int] = {}
    for name in firing_order(graph):
        level[name] = max((level.get(fifo.source.actor, 0) + steps[fifo.name] for fifo in into[name]), default=0)
    return level


def _busy(shared: Resources) -> dict[str, Fraction]:
    """Link -> the seconds that it is busy with an iteration, which therefore takes no less."""
    found: dict[str, Fraction] = {}
    for transfer in shared.transfers.values():
        found[transfer.link] = found.get(transfer.link, Fraction(0)) + transfer.busy
    return found


def _enough_window(fifo: Fifo, rate: int, transfer: Transfer, least: Fraction, more: int = 0) -> Optional[int]:
    """The window with which a FIFO does not limit throughput, whatever times its actors take.

    One firing's tokens are written and one's are read, while others are under way, and ``more`` wait; ``least`` is the
    time that an iteration takes at least. None where that is not known, but there is a latency.
    """
    under_way = transfer.busy + transfer.latency + transfer.back
    if under_way and not least:
        return None
    firings = 2 + more + (math.ceil(under_way / least) if under_way else 0) - fifo.delay // rate
    return max(fifo.delay + max(firings, 1) * rate - fifo.capacity, 0)
