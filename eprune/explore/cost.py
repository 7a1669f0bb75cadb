"""The cost model: what a cut costs a frame, from the times of its actors, the sizes of its tokens and its links.

A platform fires one actor after the other, and a fused segment gives its tokens away when it is done. So a lone frame
takes the sum: endpoint, link, server. In a steady stream of frames all of these work at the same time, and the slowest
sets the pace. That is why latency and throughput may want different cuts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from eprune.explore.flow import Flow, Stream
from eprune.explore.plan import LinkFigures
from eprune.explore.space import Roles

#: Objective -> its unit and what it is.
OBJECTIVES = {
    "endpoint": ("ms", "time of the endpoint a frame, sending included"),
    "latency": ("ms", "time of a lone frame from end to end"),
    "throughput": ("ms", "time between two frames of a steady stream"),
    "bytes": ("B", "bytes a frame over the links"),
    "energy": ("mJ", "energy a frame of the platforms whose watts are given"),
}


@dataclass(frozen=True)
class Costs:
    """``times``: platform -> actor -> seconds a firing. ``watts``: platform -> power while it computes or sends.

    ``speeds``: of emulated platforms, how many times as fast they are as the machine that was timed; in ``times``
    already.
    """

    times: Mapping[str, Mapping[str, float]]
    links: tuple[LinkFigures, ...]
    watts: Mapping[str, float] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)

    def link(self, origin: str, to: str) -> tuple[float, float]:
        """Seconds a byte, and seconds until a byte arrives. Both are 0 where nothing is known."""
        for link in self.links:
            if (link.origin, link.to) == (origin, to):
                return (1 / link.bandwidth if link.bandwidth else 0.0), link.latency or 0.0
        return 0.0, 0.0

    def sending(self, stream: Stream, origin: str, to: str) -> float:
        """Seconds that a frame's tokens take on the link."""
        return stream.nbytes * self.link(origin, to)[0]


@dataclass(frozen=True)
class Prediction:
    """A cut's figures a frame, in seconds, bytes and joules; ``energy`` is None where no watts are given.

    ``endpoint`` and ``server`` are the longest of the endpoints' times, and the server's, each with its sending.
    ``period`` is the time between two frames of a steady stream, and ``bottleneck`` what sets it.
    """

    endpoint: float
    server: float
    latency: float
    period: float
    bottleneck: str
    nbytes: int
    energy: Optional[float]

    def value(self, objective: str) -> float:
        """The figure that an objective asks for, in its unit: the smaller the better."""
        return {
            "endpoint": 1e3 * self.endpoint,
            "latency": 1e3 * self.latency,
            "throughput": 1e3 * self.period,
            "bytes": float(self.nbytes),
            "energy": math.inf if self.energy is None else 1e3 * self.energy,
        }[objective]


def predict(flow: Flow, roles: Roles, costs: Costs, homes: Mapping[str, str]) -> Prediction:
    """The figures of one cut. Raises KeyError for an actor without a time."""
    compute = dict.fromkeys(roles.platforms, 0.0)
    for actor, home in homes.items():
        compute[home] += costs.times[home][actor]
    links: dict[tuple[str, str], float] = {}
    for stream in flow.crossing(homes):
        ends = homes[stream.source], homes[stream.target]
        links[ends] = links.get(ends, 0.0) + costs.sending(stream, *ends)
    sent = {p: sum(time for ends, time in links.items() if ends[0] == p) for p in roles.platforms}
    delay = {p: max((costs.link(*ends)[1] for ends in links if ends[0] == p), default=0.0) for p in roles.platforms}
    total = {p: compute[p] + sent[p] for p in roles.platforms}
    stages = {**compute, **{f"link {a} -> {b}": time for (a, b), time in links.items()}}
    bottleneck = max(stages, key=stages.__getitem__)
    return Prediction(
        endpoint=max(total[p] for p in roles.endpoints),
        server=total[roles.server],
        latency=max(total[p] + delay[p] for p in roles.endpoints) + total[roles.server] + delay[roles.server],
        period=stages[bottleneck],
        bottleneck=bottleneck,
        nbytes=flow.nbytes(homes),
        energy=sum(costs.watts[p] * total[p] for p in costs.watts) if costs.watts else None,
    )
