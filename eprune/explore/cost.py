"""The cost model: what a cut costs per frame, from the times of its actors, the sizes of its tokens and its links.

A platform fires one actor after the other, and a fused segment gives its tokens away when it is done. So a single frame
takes the longest way over the platforms: endpoint, link, server; sinks come last. In a steady stream of frames all of
these work at the same time, and the slowest sets the pace. That is why latency and throughput may want different cuts.

A FIFO over a link has room for its capacity and window, which comes back after a round trip: both platforms, the link
there and back. So no more frames than there is room for begin in that time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Optional

from eprune.explore.flow import Flow, Stream
from eprune.explore.plan import LinkFigures, Power
from eprune.explore.space import Roles, Units

#: What a hop between two units of a platform is taken to cost where a search may choose among these: seconds to wake
#: the other thread up and to begin another segment, and bytes a second of the copies out of one and into the next.
HOP, COPY = 50e-6, 2e9

#: Objective -> its unit and what it is.
OBJECTIVES = {
    "endpoint": ("ms", "time of the endpoint per frame, sending included"),
    "latency": ("ms", "time of a single frame from end to end"),
    "throughput": ("ms", "time between two frames of a steady stream"),
    "bytes": ("B", "bytes per frame over the links"),
    "energy": ("mJ", "energy of a single frame on the platforms whose watts are known"),
}


def weights(objective: str) -> dict[str, float]:
    """The weights of ``endpoint=1,bytes=0.002``: of figures in their own units (ms, B, mJ); ``endpoint`` weighs 1.

    Raises ValueError, with a message for the user, for anything else.
    """
    if objective in OBJECTIVES:
        return {objective: 1.0}
    result: dict[str, float] = {}
    for part in objective.split(","):
        name, _, text = part.partition("=")
        if name not in OBJECTIVES or name in result:
            raise ValueError(f"{part!r}: expected one of {', '.join(OBJECTIVES)}, or weights, endpoint=1,bytes=0.002")
        try:
            result[name] = float(text)
        except ValueError:
            raise ValueError(f"{part!r}: expected a weight, for example {name}=0.5") from None
        if not 0 < result[name] < math.inf:
            raise ValueError(f"{part!r}: expected a weight above 0")
    return result


def meaning(objective: str) -> tuple[str, str]:
    """The unit of an objective, and what it is."""
    if objective in OBJECTIVES:
        return OBJECTIVES[objective]
    parts = (f"{weight:g} a {OBJECTIVES[name][0]} of {name}" for name, weight in weights(objective).items())
    return "", f"weighted sum: {', '.join(parts)}"


@dataclass(frozen=True)
class Coded:
    """The tokens of a FIFO, coded on their way: a frame's bytes, mean and most, and the seconds at both ends.

    ``way`` says how (``int8``, ``rank 16``). The seconds are those of the machine that timed the coding.
    """

    way: str
    nbytes: float
    most: int
    encode: float
    decode: float


@dataclass(frozen=True)
class Costs:
    """``times``: platform -> actor -> seconds per firing; ``power``: what platforms take, where that is known.

    ``speeds``: of emulated platforms, how many times as fast they are as the machine that was timed; in ``times``
    already. ``rates``: of FIFOs whose rate varies, the part of their bytes that a frame has on average. ``coded``: of
    FIFOs, how they could be coded, which they are over a link on which that saves time; or, with ``fewest``, bytes.
    ``units``: platform -> actor -> the unit that it is on, where a platform has several: these work at the same time.
    ``on``: platform -> unit -> actor -> seconds, of platforms on whose units a search may put each actor as it likes,
    among those that take it. ``memory``: platform -> bytes, where it is limited. ``estimated``: nothing was timed.
    ``late``: platform -> actor -> as ``times``, but what it adds to the time that 95 of 100 frames keep there; of
    platforms that were timed as between single frames, with rests.
    """

    times: Mapping[str, Mapping[str, float]]
    links: tuple[LinkFigures, ...]
    power: Mapping[str, Power] = field(default_factory=dict)
    speeds: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    coded: Mapping[str, Coded] = field(default_factory=dict)
    fewest: bool = False
    units: Units = field(default_factory=dict)
    on: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    estimated: bool = False
    late: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def placed(self, units: Units) -> Costs:
        """The same with the actors of platforms in ``on`` on these units."""
        if not self.on:
            return self
        chosen = {platform: {**self.units.get(platform, {}), **units.get(platform, {})} for platform in self.on}
        times = {
            platform: {
                actor: self.on[platform][unit][actor]
                for actor, unit in own.items()
                if actor in self.on[platform].get(unit, {})
            }
            for platform, own in chosen.items()
        }
        return replace(self, times={**self.times, **times}, units={**self.units, **chosen})

    def hop(self, stream: Stream, platform: str) -> float:
        """Seconds that a FIFO costs its source where its ends are on different units of one platform."""
        own = self.units.get(platform, {})
        if platform not in self.on or own.get(stream.source) == own.get(stream.target):
            return 0.0
        return self.hand_over(stream)

    def hand_over(self, stream: Stream) -> float:
        """Seconds of a hop between two units."""
        return HOP + self._plain(stream) / COPY

    def work_watts(self, platform: str, actor: str) -> float:
        """What a platform takes while an actor computes there."""
        unit = self.units.get(platform, {}).get(actor, "")
        power = self.power[platform]
        return power.units.get(unit, power.watts)

    def stage(self, platform: str, actor: str) -> str:
        """The unit that an actor takes time on there: ``platform/unit``, or the platform where it has one unit."""
        return f"{platform}/{self.units[platform][actor]}" if platform in self._several else platform

    @cached_property
    def _several(self) -> frozenset[str]:
        """The platforms whose actors are on several units."""
        return frozenset(platform for platform, own in self.units.items() if len(set(own.values())) > 1)

    def link(self, origin: str, to: str) -> Optional[LinkFigures]:
        """The link from one platform to another, if there is one."""
        return next((link for link in self.links if (link.origin, link.to) == (origin, to)), None)

    def seconds(self, origin: str, to: str) -> tuple[float, float]:
        """Seconds a byte, and seconds until a byte arrives. Both are 0 where nothing is known."""
        link = self.link(origin, to)
        return (1 / link.bandwidth if link and link.bandwidth else 0.0), (link and link.latency) or 0.0

    def coding(self, stream: Stream, origin: str, to: str) -> Optional[Coded]:
        """How a FIFO is coded on a link; its seconds are those of these two platforms. None: as it is."""
        found = self.coded.get(stream.name)
        if found is None:
            return None
        encode, decode = (found.encode / self.speeds.get(origin, 1), found.decode / self.speeds.get(to, 1))
        saved = self._plain(stream) - found.nbytes
        pays = saved > 0 if self.fewest else encode + decode < saved * self.seconds(origin, to)[0]
        return replace(found, encode=encode, decode=decode) if pays else None

    def _plain(self, stream: Stream) -> float:
        return stream.nbytes * self.rates.get(stream.name, 1)

    def nbytes(self, stream: Stream, origin: str, to: str) -> float:
        """The bytes that a frame has on average, on a link."""
        coding = self.coding(stream, origin, to)
        return coding.nbytes if coding else self._plain(stream)

    def most(self, stream: Stream, origin: str, to: str) -> int:
        """The most bytes that a frame can have on a link."""
        coding = self.coding(stream, origin, to)
        return coding.most if coding else stream.nbytes

    def sending(self, stream: Stream, origin: str, to: str) -> float:
        """Seconds that a frame's tokens take on the link."""
        return self.nbytes(stream, origin, to) * self.seconds(origin, to)[0]

    def room(self, stream: Stream, origin: str, to: str) -> Optional[float]:
        """For how many frames a FIFO over a link has room; None: for enough, as ``space.place`` sees to."""
        link = self.link(origin, to)
        window = stream.window
        if stream.newest or (window is None and link is not None and link.bandwidth and not link.window):
            return None
        if window is None:
            window = math.ceil(link.window * stream.tokens / max(stream.nbytes, 1)) if link is not None else 0
        return (stream.capacity + window) // stream.tokens

    def watts(self, origin: str, to: str) -> float:
        """What ``origin`` takes while it sends there: what the link states, else what computing takes."""
        link = self.link(origin, to)
        return link.watts if link and link.watts is not None else self.power[origin].watts


def memory_use(flow: Flow, costs: Costs, homes: Mapping[str, str]) -> dict[str, int]:
    """Platform -> bytes that weights and FIFOs take, as rule M3 counts them, or somewhat more.

    A FIFO over a link counts at both ends. Where neither it nor the link states a window, it will have one with which
    it is no limit (``analysis.links.widened``): as if the link had nothing else to carry.
    """
    use = dict.fromkeys(homes.values(), 0)
    for actor, home in homes.items():
        use[home] += flow.weights.get(actor, 0)
    for stream in flow.streams:
        ends = homes[stream.source], homes[stream.target]
        for platform in dict.fromkeys(ends):
            use[platform] += buffer_bytes(stream, costs, *ends)
    return use


def buffer_bytes(stream: Stream, costs: Costs, origin: str, to: str) -> int:
    """Bytes of a FIFO at each end; both ends may be one platform."""
    if origin == to:
        return stream.slot * stream.capacity
    window, link = stream.window, costs.link(origin, to)
    if window is None and link is not None and link.window:
        window = math.ceil(link.window * stream.tokens / max(stream.nbytes, 1))
    if window is None:
        window = 0
        if not stream.newest and link is not None and link.bandwidth and stream.nbytes:
            busy = stream.nbytes / link.bandwidth
            latency = (link.latency or 0.0) + costs.seconds(to, origin)[1]
            window = max((3 + math.ceil(latency / busy)) * stream.tokens - stream.capacity, 0)
    return stream.slot * (stream.capacity + window)


@dataclass(frozen=True)
class Prediction:
    """A cut's figures per frame, in seconds, bytes and joules; ``energy`` is None where no watts are known.

    ``platforms`` are the times of each platform, with its sending; ``endpoint`` is the longest of the endpoints', and
    ``server`` the server's. ``period`` is the time between two frames of a steady stream, and ``bottleneck`` what sets
    it. ``coded``: the FIFOs that are coded, and how.
    """

    endpoint: float
    server: float
    platforms: Mapping[str, float]
    latency: float
    period: float
    bottleneck: str
    nbytes: float
    energy: Optional[float]
    coded: Mapping[str, str] = field(default_factory=dict)

    def value(self, objective: str) -> float:
        """The figure that an objective (see ``weights``) asks for, in its unit: the smaller the better."""
        return sum(weight * self._figure(name) for name, weight in weights(objective).items())

    def _figure(self, name: str) -> float:
        return {
            "endpoint": 1e3 * self.endpoint,
            "latency": 1e3 * self.latency,
            "throughput": 1e3 * self.period,
            "bytes": float(self.nbytes),
            "energy": math.inf if self.energy is None else 1e3 * self.energy,
        }[name]


def predict(flow: Flow, roles: Roles, costs: Costs, homes: Mapping[str, str]) -> Prediction:
    """The figures of one cut. Raises KeyError for an actor without a time."""
    compute, joules = dict.fromkeys(roles.platforms, 0.0), 0.0
    stages = dict.fromkeys((costs.stage(p, actor) for p in roles.platforms for actor in costs.times[p]), 0.0)
    last = dict.fromkeys(roles.platforms, 0.0)

    def work(actor: str, home: str, seconds: float) -> None:
        nonlocal joules
        compute[home] += seconds
        stages[costs.stage(home, actor)] += seconds
        joules += costs.work_watts(home, actor) * seconds if home in costs.power else 0.0
        last[home] += seconds if actor in flow.sinks else 0.0

    for actor, home in homes.items():
        work(actor, home, costs.times[home][actor])
    for stream in flow.streams if costs.on else ():
        if homes[stream.source] == homes[stream.target]:
            work(stream.source, homes[stream.source], costs.hop(stream, homes[stream.source]))
    links: dict[tuple[str, str], float] = {}
    coded: dict[str, str] = {}
    for stream in flow.crossing(homes):
        ends = homes[stream.source], homes[stream.target]
        links[ends] = links.get(ends, 0.0) + costs.sending(stream, *ends)
        coding = costs.coding(stream, *ends)
        if coding is not None:
            work(stream.source, ends[0], coding.encode)
            work(stream.target, ends[1], coding.decode)
            coded[stream.name] = coding.way
    total = dict(compute)
    for (origin, _), time in links.items():
        total[origin] += time
    stages.update({f"link {a} -> {b}": time for (a, b), time in links.items()})
    for stream in flow.crossing(homes):
        origin, to = homes[stream.source], homes[stream.target]
        room = costs.room(stream, origin, to)
        if room is not None:
            under_way = costs.sending(stream, origin, to) + costs.seconds(origin, to)[1] + costs.seconds(to, origin)[1]
            stages[f"room in {stream.name}"] = (compute[origin] + under_way + compute[to]) / room
    bottleneck = max(stages, key=stages.__getitem__)
    latency = _latency(flow, roles, costs, homes, {p: total[p] - last[p] for p in roles.platforms}, last)
    energy = (
        joules
        + sum(costs.watts(*ends) * time for ends, time in links.items() if ends[0] in costs.power)
        + sum(power.idle * (latency - total[p]) for p, power in costs.power.items())
    )
    return Prediction(
        endpoint=max(total[p] for p in roles.endpoints),
        server=total[roles.server],
        platforms=total,
        latency=latency,
        period=stages[bottleneck],
        bottleneck=bottleneck,
        nbytes=sum(costs.nbytes(each, homes[each.source], homes[each.target]) for each in flow.crossing(homes)),
        energy=energy if costs.power else None,
        coded=coded,
    )


def _latency(
    flow: Flow,
    roles: Roles,
    costs: Costs,
    homes: Mapping[str, str],
    first: Mapping[str, float],
    last: Mapping[str, float],
) -> float:
    """The seconds of a single frame: the longest way over the platforms, each of which does its part in one go.

    ``first``: platform -> seconds of all but its sinks, which come ``last``, when all of that is done everywhere.
    """
    onward: set[tuple[str, str]] = set()
    results = {(p, p) for p in roles.platforms}
    for stream in flow.streams:
        ends = homes[stream.source], homes[stream.target]
        if stream.target in flow.sinks:
            results.add(ends)
        elif ends[0] != ends[1] and stream.waits and roles.onward(*ends):
            onward.add(ends)
    done = dict(first)
    for _ in roles.platforms:  # no way is longer
        before = dict(done)
        for origin, to in onward:
            done[to] = max(done[to], before[origin] + costs.seconds(origin, to)[1] + first[to])
        if done == before:
            break
    return max(done.values()) + max(
        last[to] + (costs.seconds(origin, to)[1] if origin != to else 0.0) for origin, to in results
    )
