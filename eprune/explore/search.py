"""The best cut over all cuts, not only the partition points: any set of actors that is closed under "comes before".

Sources are on their endpoints, unless a constraint puts them elsewhere; a frame visits no platform twice, but to come
back to a sink (``network``); and a FIFO crosses only where both platforms' files have a link. From tier to tier, only
sinks come back that a constraint ties to their platform. Where actors may be anywhere, the platforms are any graph, and
of platforms with several units the search chooses the unit, too. Each FIFO is paid for where it crosses, as the runtime
sends it: once.

All figures of the cost model are sums of what is 0 or 1, or the largest of some sums: an integer program (``program``).
Of one endpoint and a server, every objective but throughput is a minimum cut, for which the linear program alone
already comes out in whole numbers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional, Union

from eprune.explore.cost import Costs, Prediction, memory_use, predict
from eprune.explore.flow import Flow, Stream
from eprune.explore.integer import CLOSE, Solution, Unsolved
from eprune.explore.network import Network, Pair, order
from eprune.explore.prefixes import along_ways
from eprune.explore.program import Program
from eprune.explore.required import CLOSE as MET
from eprune.explore.required import Required
from eprune.explore.space import Constraints, Roles, Units, owners, pinned_ends, violation

#: Seconds after which the best cut so far is taken, with its bound.
SECONDS = 30.0
#: Roundings of a solution in fractions that are tried.
ROUNDINGS = 20
#: Cuts in the order of up to so many actors are tried first.
IN_ORDER = 1500
#: So many actors are moved at most to where their neighbours are.
TIDIED = 20

Homes = Mapping[str, str]
#: What is to be least: an objective, or how many times as much a cut takes as it may.
Goal = Union[str, Required]


@dataclass(frozen=True)
class Best:
    """A cut, its value, and a bound: no allowed cut is better. ``exact``: nor is any better than this one.

    ``units``: of platforms whose units the search could choose among, where each actor is.
    """

    homes: Homes
    value: float
    bound: float
    units: Units = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether it is proved to be the best, but for rounding."""
        return self.bound >= self.value * (1 - 10 * CLOSE) - 1e-9


class Search:
    """The allowed cuts of an application, and the best of them."""

    def __init__(self, flow: Flow, roles: Roles, constraints: Constraints, costs: Costs) -> None:
        self.flow, self.roles, self.constraints, self.costs = flow, roles, constraints, costs
        self.pinned = pinned_ends(flow, roles, constraints)
        self._owner = owners(flow, roles, self.pinned)
        self._owner.update({actor: home for actor, home in self.pinned.items() if home != roles.server})
        if roles.anywhere:
            self._owner.update({actor: home for actor, home in self.pinned.items() if actor in flow.sources})
        self._private = flow.before(constraints.private_until)
        self.choices = {actor: self._allowed(actor) for actor in flow.actors}
        waiting = {stream.target for stream in flow.streams if stream.waits}
        starts = dict.fromkeys(place for actor in flow.actors if actor not in waiting for place in self.choices[actor])
        self.network = Network(roles, ((link.origin, link.to) for link in costs.links), tuple(starts))

    def best(self, objective: Goal, seconds: float = SECONDS) -> Optional[Best]:
        """The best allowed cut that meets what is required; None if there is none.

        ``seconds`` are those of the integer program, where actors may be anywhere of all. Raises integer.Unsolved if
        neither is found in time, and ImportError without scipy.
        """
        if not all(self.choices.values()):
            return None
        begun = time.monotonic()
        known = self._known(objective) if self.roles.anywhere else []
        program = Program(self, self._most_latency(objective, known))
        terms = program.objective(objective)
        bound = 0.0  # no figure is less
        try:
            relaxed = program.integers.relaxed(terms, *[seconds] * self.roles.anywhere)
            if relaxed is None:
                return None
            bound = max(relaxed.bound, 0.0)
            whole = program.integers.is_whole(relaxed.values)
            known += [self._found(objective, program, relaxed)] if whole else self._rounded(objective, program, relaxed)
            known += self._known(objective) if not (whole or self.roles.anywhere) else []
            if not whole and bound < min((best.value for best in known), default=math.inf) * (1 - CLOSE):
                spent = time.monotonic() - begun if self.roles.anywhere else 0.0
                solution = program.integers.minimise(terms, max(seconds - spent, seconds / 10))
                if solution is None:
                    return None
                known.append(self._found(objective, program, solution))
                bound = max(bound, solution.bound)
        except Unsolved:
            if not known:
                raise
        found = min(known, key=lambda best: best.value)
        if found.value == math.inf:
            raise Unsolved("but for rounding")
        if self.roles.anywhere:
            found = self._tidied(objective, found)
        return Best(found.homes, found.value, min(bound, found.value), found.units)

    def _most_latency(self, objective: Goal, known: Sequence[Best]) -> Optional[float]:
        """Milliseconds that a single frame takes at most at the best cut, where that is known."""
        least = min((best.value for best in known), default=math.inf)
        found = [least] if objective == "latency" else []
        if isinstance(objective, Required) and objective.latency is not None:
            found.append(1e3 * least * objective.latency)
        if self.constraints.required.latency is not None:
            found.append(1e3 * self.constraints.required.latency)
        most = min(found, default=math.inf)
        return None if most == math.inf else most

    def _tidied(self, objective: Goal, best: Best) -> Best:
        """As good, but without crossings that are no use: what need not be elsewhere is where its neighbours are."""

        def rank(one: Best) -> tuple[float, ...]:
            made = predict(self.flow, self.roles, self.costs.placed(one.units), one.homes)
            return made.latency, made.nbytes, len(set(one.homes.values()))

        least = rank(best)
        for _ in range(TIDIED):
            crossing = [each for each in self.flow.streams if best.homes[each.source] != best.homes[each.target]]
            moves = {pair for each in crossing for pair in ((each.source, each.target), (each.target, each.source))}
            for actor, other in sorted(moves):
                homes = {**best.homes, actor: best.homes[other]}
                if not self.allows(homes):
                    continue
                moved = self._valued(objective, homes, best.units)
                if moved.value <= best.value * (1 + 1e-9) and (now := rank(moved)) < least:
                    best, least = moved, now
                    break
            else:
                break
        return best

    def _found(self, objective: Goal, program: Program, solution: Solution) -> Best:
        return self._valued(objective, program.homes(solution.values), program.units(solution.values))

    def _valued(self, objective: Goal, homes: Homes, units: Units) -> Best:
        """A cut with its value, infinite where it misses what is required; the bound says nothing yet."""
        homes = {actor: homes[actor] for actor in self.flow.actors}
        units = {
            platform: {
                actor: units.get(platform, {}).get(actor) or self.costs.units[platform][actor]
                for actor, home in homes.items()
                if home == platform
            }
            for platform in self.costs.on
        }
        made = predict(self.flow, self.roles, self.costs.placed(units), homes)
        met = self.constraints.required.of(made) <= 1 + MET
        return Best(homes, _value(objective, made) if met else math.inf, -math.inf, units)

    def _known(self, objective: Goal) -> list[Best]:
        """Allowed cuts that are found without the integer program: in order along ways over the platforms."""
        if len(self.roles.platforms) < 3 or len(self.flow.actors) > IN_ORDER:
            return []
        return [self._valued(objective, homes, {}) for homes in along_ways(self) if self.allows(homes)]

    def _rounded(self, objective: Goal, program: Program, relaxed: Solution) -> list[Best]:
        """Allowed cuts that come of a solution in fractions: what is true to more than some degree is true.

        The conditions compare two variables, which such a rounding keeps; those on all bytes or on a whole platform may
        be broken.
        """
        degrees = [(step + 0.5) / ROUNDINGS for step in range(ROUNDINGS)]
        found = []
        for degree in degrees:
            values = [float(value > degree) for value in relaxed.values]
            homes = program.homes(values)
            if self.allows(homes):
                found.append(self._valued(objective, homes, program.units(values)))
        return found

    def allows(self, homes: Homes) -> bool:
        """Whether this is one of the cuts that are searched."""
        if any(home not in self.choices[actor] for actor, home in homes.items()):
            return False
        ends = {(homes[each.source], homes[each.target]): each for each in self.flow.streams if self.closed(each)}
        streams = (each for each in self.flow.streams if homes[each.source] != homes[each.target])
        if any((homes[each.source], homes[each.target]) not in self.crossings(each) for each in streams):
            return False
        if order(self.roles.platforms, [pair for pair in ends if pair[0] != pair[1]]) is None:
            return False
        use = memory_use(self.flow, self.costs, homes) if self.costs.memory else {}
        if any(use.get(platform, 0) > most for platform, most in self.costs.memory.items()):
            return False
        return not violation(self.flow, self.roles, self.constraints, homes, self.costs.most)

    def _allowed(self, actor: str) -> list[str]:
        """The platforms that an actor may be on."""
        owner = self._owner[actor]
        allowed = self.constraints.allowed(actor, self.roles.platforms)
        places = [place for place in self.roles.line(owner) if place in allowed and self._takes(place, actor)]
        if actor in self._private or actor in self.constraints.private_until:
            places = [place for place in places if place in self.roles.endpoints]
        # A sensor is where it is, unless a constraint says that it is elsewhere.
        return [owner] if actor in self.flow.sources and owner in places else places

    def _takes(self, platform: str, actor: str) -> bool:
        """Whether a platform has a unit for an actor."""
        return bool(self.units(platform, actor)) or actor in self.costs.times[platform]

    def units(self, platform: str, actor: str) -> tuple[str, ...]:
        """The units that the search may choose among; none where the platform's actors are where they are."""
        return tuple(unit for unit, own in self.costs.on.get(platform, {}).items() if actor in own)

    def closed(self, stream: Stream) -> bool:
        """Whether a FIFO's tokens may go on only, never come back."""
        if not stream.waits:
            return False
        if self.roles.anywhere:
            return stream.target not in self.flow.sinks
        return stream.source not in self.pinned and stream.target not in self.pinned

    def crossings(self, stream: Stream) -> list[Pair]:
        """From where to where a FIFO may cross."""
        if stream.source in self._private:
            return []
        pairs = self.network.onward if self.closed(stream) else self.network.links
        return [
            (origin, to)
            for origin in self.choices[stream.source]
            for to in self.choices[stream.target]
            if (origin, to) in pairs
        ]


def _value(objective: Goal, made: Prediction) -> float:
    return objective.of(made) if isinstance(objective, Required) else made.value(objective)
