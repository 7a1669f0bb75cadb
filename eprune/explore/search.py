"""The best cut over all cuts, not only the partition points: any set of actors that is closed under "comes before".

Sources are on their endpoints, unless a constraint puts them elsewhere.

Costs that add up (endpoint, latency, bytes, energy) are a minimum cut: an actor on SOURCE's side is on its endpoint. A
FIFO costs its sending once where it crosses, and coming back from the server costs infinitely much. Throughput is a
maximum, and a limit on bytes is no sum, either: where there are few cuts all are tried; else weights on the parts of
the maximum, or on the bytes, give ever better cuts, and a bound under which none can be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from eprune.explore.cost import Costs, predict
from eprune.explore.flow import Flow
from eprune.explore.mincut import INFINITE, Network
from eprune.explore.space import Constraints, Roles, owners, pinned_ends, violation

#: Up to so many cuts are tried one by one.
FEW = 5_000
#: Rounds of the search by weights.
ROUNDS = 60
#: It ends before that where the bound is this close.
CLOSE = 0.99
#: Costs are rounded to whole numbers of at least so many digits (binary).
_DIGITS = 48

Homes = dict[str, str]
#: Part of the costs -> weight: ("compute", platform) and ("send", platform) for a second, ("bytes",) for a byte, and
#: ("once",) for using the server at all
Weights = Mapping[Any, float]


@dataclass(frozen=True)
class Best:
    """A cut, its value, and a bound: no allowed cut is better. ``exact``: nor is any better than this one."""

    homes: Homes
    value: float
    bound: float

    @property
    def exact(self) -> bool:
        """Whether it is proved to be the best."""
        return self.bound >= self.value * (1 - 1e-6) - 1e-9


class Search:
    """The allowed cuts of an application, and the best of them."""

    def __init__(self, flow: Flow, roles: Roles, constraints: Constraints, costs: Costs) -> None:
        self.flow, self.roles, self.constraints, self.costs = flow, roles, constraints, costs
        self.pinned = pinned_ends(flow, roles, constraints)
        self.owner = owners(flow, roles, self.pinned)
        self.owner.update({actor: home for actor, home in self.pinned.items() if home != roles.server})
        private = flow.before(constraints.private_until) | set(constraints.private_until)
        self.fixed: Homes = dict(self.pinned)
        self.possible = True
        for actor in flow.actors:
            choices = [p for p in constraints.allowed(actor, roles.platforms) if p in (self.owner[actor], roles.server)]
            if actor in private:
                choices = [p for p in choices if p != roles.server]
            if actor in flow.sources and self.owner[actor] in choices:
                choices = [self.owner[actor]]  # a sensor is where it is, unless a constraint says that it is elsewhere
            self.possible = self.possible and bool(choices)
            if len(set(choices)) == 1:
                self.fixed[actor] = choices[0]
        #: u -> v: with v on the endpoint, u is there, too
        closed = [
            (stream.source, stream.target)
            for stream in flow.streams
            if stream.waits and stream.source not in self.pinned and stream.target not in self.pinned
        ]
        self.closed = dict.fromkeys(closed)

    def best(self, objective: str) -> Optional[Best]:
        """The best allowed cut; None if there is none."""
        if not self.possible:
            return None
        if objective != "throughput" and (len(self.roles.endpoints) == 1 or objective in ("bytes", "energy")):
            weights = _weights(objective, self.roles, self.costs)
            found = [cut for fixed in self._uses() if (cut := self._cheapest(weights, fixed)) is not None]
            if not found:
                return None
            homes = min(found, key=lambda cut: cut[1])[0]
            # The latency of the link is in the sum wherever the server is used, but the server alone needs no link.
            alone = dict.fromkeys(self.flow.actors, self.roles.server)
            free = set(self.fixed.values()) <= {self.roles.server}
            if free and not self._forbidden(alone) and self._value(objective, alone) < self._value(objective, homes):
                homes = alone
            if not self._forbidden(homes):
                value = self._value(objective, homes)
                return Best(homes, value, value)
        cuts = self._few()
        if cuts is not None:
            allowed = [homes for homes in cuts if not self._forbidden(homes)]
            values = {id(homes): self._value(objective, homes) for homes in allowed}
            first = min(allowed, key=lambda homes: values[id(homes)], default=None)
            return None if first is None else Best(first, values[id(first)], values[id(first)])
        return self._by_weights(objective)

    def _value(self, objective: str, homes: Homes) -> float:
        return predict(self.flow, self.roles, self.costs, homes).value(objective)

    def _forbidden(self, homes: Homes) -> str:
        return violation(self.flow, self.roles, self.constraints, homes)

    def _uses(self) -> Iterator[Homes]:
        """The fixed places, in each way in which all platforms that must be used are: by a first or a last actor."""
        ways = [self.fixed]
        for platform in self.constraints.must_use:
            inner = {(source if platform == self.roles.server else target) for source, target in self.closed}
            able = [actor for actor in self.flow.actors if platform in (self.owner[actor], self.roles.server)]
            outer = [actor for actor in able if actor not in inner]
            ways = [{**way, actor: platform} for way in ways for actor in outer if way.get(actor, platform) == platform]
        yield from ways

    # One weighted sum: a minimum cut.

    def _cheapest(self, weights: Weights, fixed: Mapping[str, str]) -> Optional[tuple[Homes, float]]:
        """The cut with the least weighted sum of costs, and that sum; None if the fixed places exclude every cut."""
        edges = list(self._edges(weights, fixed))
        total = sum(cost for _, _, cost in edges if cost != math.inf)
        scale = 2**_DIGITS / total if total else 1.0
        network = Network()
        for source, target, cost in edges:
            network.add(source, target, INFINITE if cost == math.inf else round(cost * scale))
        value, side = network.cut()
        if value >= INFINITE:
            return None
        homes = {actor: self.owner[actor] if actor in side else self.roles.server for actor in self.flow.actors}
        return homes, value / scale

    def _edges(self, weights: Weights, fixed: Mapping[str, str]) -> Iterator[tuple[object, object, float]]:
        server, times = self.roles.server, self.costs.times
        source, sink = Network.SOURCE, Network.SINK
        for actor in self.flow.actors:
            home = self.owner[actor]
            if actor in fixed:
                ends = (actor, sink) if fixed[actor] == server else (source, actor)
                yield (*ends, math.inf)
            yield actor, sink, weights.get(("compute", home), 0.0) * times[home][actor] if home != server else 0.0
            yield source, actor, weights.get(("compute", server), 0.0) * times[server][actor]
            if weights.get(("once",)):
                yield ("once",), actor, math.inf
        if weights.get(("once",)):
            yield source, ("once",), weights["once",]
        for before, after in self.closed:
            yield after, before, math.inf
        for stream in self.flow.streams:
            home, other = self.owner[stream.source], self.owner[stream.target]
            yield stream.source, ("sent", stream.name), self._sending(weights, stream.nbytes, home, server)
            yield ("sent", stream.name), stream.target, math.inf
            if home != other and server not in (home, other):  # from one endpoint to another
                yield stream.source, sink, self._sending(weights, stream.nbytes, home, other)
            if (stream.source, stream.target) not in self.closed:
                yield stream.target, stream.source, self._sending(weights, stream.nbytes, server, other)

    def _sending(self, weights: Weights, nbytes: int, origin: str, to: str) -> float:
        seconds = nbytes * self.costs.link(origin, to)[0]
        return weights.get(("send", origin), 0.0) * seconds + weights.get(("bytes",), 0.0) * nbytes

    # Few cuts: try all.

    def _few(self) -> Optional[list[Homes]]:
        """All closed cuts with the fixed places, or None if they are more than FEW."""
        before: dict[str, list[str]] = {}
        for source, target in self.closed:
            before.setdefault(target, []).append(source)
        cuts: list[Homes] = [{}]
        for actor in self.flow.actors:
            longer = []
            for cut in cuts:
                here = all(cut[other] != self.roles.server for other in before.get(actor, ()))
                for home in {self.owner[actor]: None, self.roles.server: None}:
                    if self.fixed.get(actor, home) == home and (home == self.roles.server or here):
                        longer.append({**cut, actor: home})
            cuts = longer
            if len(cuts) > FEW:
                return None
        return cuts

    # Many cuts: weights on the parts.

    def _by_weights(self, objective: str) -> Optional[Best]:
        if objective == "throughput":
            return self._throughput()
        weights = dict(_weights(objective, self.roles, self.costs))
        best, bound, low, high = None, -math.inf, 0.0, 1.0
        limit = self.constraints.max_bytes
        for _ in range(ROUNDS):
            price = high if best is None else (low + high) / 2
            found = self._cheapest({**weights, ("bytes",): weights.get(("bytes",), 0.0) + price}, self.fixed)
            if found is None:
                return None
            homes, value = found
            if limit >= 0:
                bound = max(bound, value - price * limit)
            if self._forbidden(homes):
                low, high = price, (high * 8 if best is None else high)
            else:
                high = price
                best = self._better(best, objective, homes)
        return None if best is None else Best(best[0], best[1], max(bound * self._unit(objective), 0.0))

    def _throughput(self) -> Optional[Best]:
        """max(parts) >= any weighted mean of them; the weights move to where the found cut is slow."""
        parts = [("compute", p) for p in self.roles.platforms] + [("send", p) for p in self.roles.platforms]
        weights = dict.fromkeys(parts, 1 / len(parts))
        best, bound = None, 0.0
        for step in range(ROUNDS):
            found = self._cheapest(weights, self.fixed)
            if found is None:
                return None
            homes, value = found
            bound = max(bound, 1e3 * value)
            if not self._forbidden(homes):
                best = self._better(best, "throughput", homes)
                if bound >= best[1] * CLOSE:
                    break
            loads = self._loads(homes)
            worst = max(loads.values()) or 1.0
            rate = 2 / math.sqrt(step + 1)
            weights = {part: weights[part] * math.exp(rate * loads[part] / worst) for part in parts}
            total = sum(weights.values())
            weights = {part: weight / total for part, weight in weights.items()}
        return None if best is None else Best(best[0], best[1], bound)

    def _loads(self, homes: Homes) -> dict[tuple[str, str], float]:
        loads = {(kind, p): 0.0 for kind in ("compute", "send") for p in self.roles.platforms}
        for actor, home in homes.items():
            loads["compute", home] += self.costs.times[home][actor]
        for stream in self.flow.crossing(homes):
            ends = homes[stream.source], homes[stream.target]
            loads["send", ends[0]] += self.costs.sending(stream, *ends)
        return loads

    def _better(self, best: Optional[tuple[Homes, float]], objective: str, homes: Homes) -> tuple[Homes, float]:
        value = self._value(objective, homes)
        return (homes, value) if best is None or value < best[1] else best

    @staticmethod
    def _unit(objective: str) -> float:
        return 1.0 if objective == "bytes" else 1e3


def _weights(objective: str, roles: Roles, costs: Costs) -> Weights:
    """The weighted sum that an additive objective is, in seconds, bytes or joules."""
    endpoints, server = roles.endpoints, roles.server
    if objective == "bytes":
        return {("bytes",): 1.0}
    if objective == "energy":
        return {(kind, p): watts for p, watts in costs.watts.items() for kind in ("compute", "send")}
    weights: dict[Any, float] = {(kind, p): 1.0 for p in endpoints for kind in ("compute", "send")}
    if objective == "latency":
        weights["compute", server] = weights["send", server] = 1.0
        weights["once",] = max(costs.link(p, server)[1] for p in endpoints)
    return weights
