"""The best cut over all cuts, not only the partition points: any set of actors that is closed under "comes before".

Sources are on their endpoints, unless a constraint puts them elsewhere; no token comes back from a later tier, but to
a sink that a constraint ties to its platform; and a FIFO crosses only where both platforms' files have a link. Each
FIFO is paid for where it crosses, as the runtime sends it: once.

Where an actor is, is a variable for each platform that it may be on, 0 or 1; from where to where a FIFO crosses, one
for each link. All figures of the cost model are sums of these, or the largest of some sums, and so are weighted sums of
figures: an integer program. Of one endpoint and a server, every objective but throughput is a minimum cut, for which
the linear program alone already comes out in whole numbers. What the room of FIFOs over links allows is not in it:
where files state so little room that it sets the pace, the bound may be below the best cut.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Optional

from eprune.explore.cost import Costs, predict, weights
from eprune.explore.flow import Flow, Stream
from eprune.explore.integer import CLOSE, IntegerProgram, Solution, Terms, Unsolved
from eprune.explore.space import Constraints, Roles, owners, pinned_ends, violation

#: Seconds after which the best cut so far is taken, with its bound.
SECONDS = 30.0
#: Roundings of a solution in fractions that are tried.
ROUNDINGS = 20

Homes = dict[str, str]


@dataclass(frozen=True)
class Best:
    """A cut, its value, and a bound: no allowed cut is better. ``exact``: nor is any better than this one."""

    homes: Homes
    value: float
    bound: float

    @property
    def exact(self) -> bool:
        """Whether it is proved to be the best, but for rounding."""
        return self.bound >= self.value * (1 - 10 * CLOSE) - 1e-9


class Search:
    """The allowed cuts of an application, and the best of them."""

    def __init__(self, flow: Flow, roles: Roles, constraints: Constraints, costs: Costs) -> None:
        self.flow, self.roles, self.constraints, self.costs = flow, roles, constraints, costs
        pinned = pinned_ends(flow, roles, constraints)
        self._owner = owners(flow, roles, pinned)
        self._owner.update({actor: home for actor, home in pinned.items() if home != roles.server})
        self._private = flow.before(constraints.private_until)
        self._rank = {platform: rank for rank, tier in enumerate(roles.tiers) for platform in tier}
        self._pairs = {(link.origin, link.to) for link in costs.links}
        self.choices = {actor: self._allowed(actor) for actor in flow.actors}
        self._closed = {
            (stream.source, stream.target)
            for stream in flow.streams
            if stream.waits and stream.source not in pinned and stream.target not in pinned
        }

    def best(self, objective: str, seconds: float = SECONDS) -> Optional[Best]:
        """The best allowed cut; None if there is none.

        Raises integer.Unsolved if neither is found in time, and ImportError without scipy.
        """
        if not all(self.choices.values()):
            return None
        cut = _Cut(self)
        terms = cut.objective(objective)
        relaxed = cut.program.relaxed(terms)
        if relaxed is None:
            return None
        if cut.program.is_whole(relaxed.values):
            found, bound = [cut.homes(relaxed.values)], relaxed.bound
        else:
            found, bound = self._rounded(cut, relaxed), relaxed.bound
            try:
                solution = cut.program.minimise(terms, seconds)
            except Unsolved:
                if not found:
                    raise
            else:
                if solution is None:
                    return None
                found.append(cut.homes(solution.values))
                bound = max(bound, solution.bound)
        values = [predict(self.flow, self.roles, self.costs, homes).value(objective) for homes in found]
        value = min(values)
        return Best(found[values.index(value)], value, min(bound, value))

    def _rounded(self, cut: _Cut, relaxed: Solution) -> list[Homes]:
        """Allowed cuts that come of a solution in fractions: what is true to more than some degree is true.

        The conditions compare two variables, which such a rounding keeps; those on all bytes or on a whole platform may
        be broken.
        """
        degrees = [(step + 0.5) / ROUNDINGS for step in range(ROUNDINGS)]
        found = [cut.homes([float(value > degree) for value in relaxed.values]) for degree in degrees]
        return [
            homes for homes in found if not violation(self.flow, self.roles, self.constraints, homes, self.costs.most)
        ]

    def _allowed(self, actor: str) -> list[str]:
        """The platforms that an actor may be on."""
        owner = self._owner[actor]
        allowed = self.constraints.allowed(actor, self.roles.platforms)
        places = [place for place in self.roles.line(owner) if place in allowed]
        if actor in self._private or actor in self.constraints.private_until:
            places = [place for place in places if place in self.roles.endpoints]
        # A sensor is where it is, unless a constraint says that it is elsewhere.
        return [owner] if actor in self.flow.sources and owner in places else places

    def crossings(self, stream: Stream) -> list[tuple[str, str]]:
        """From where to where a FIFO may cross."""
        if stream.source in self._private:
            return []
        forward = (stream.source, stream.target) in self._closed
        return [
            (origin, to)
            for origin in self.choices[stream.source]
            for to in self.choices[stream.target]
            if origin != to
            and {(origin, to), (to, origin)} <= self._pairs
            and not (forward and self._rank[origin] > self._rank[to])
        ]


class _Cut:
    """The integer program of a search: which cuts there are, and what their figures are.

    An actor's variables say how far from its owner it is: at least at the second of the platforms that it may be on, at
    least at the third. Whether it is on one of them is a difference of two of these, and so is, as long as there is one
    way only between any two platforms, whether a FIFO crosses a link.
    """

    def __init__(self, search: Search) -> None:
        self.search = search
        self.program = IntegerProgram()
        self.roles, self.costs, self.flow = search.roles, search.costs, search.flow
        #: actor -> platform -> 1 where it is
        self.places = {actor: self._place(choices) for actor, choices in search.choices.items()}
        #: link -> the FIFOs that may cross there, each with what is 1 where it does
        self.crossing: dict[tuple[str, str], list[tuple[Stream, Terms]]] = defaultdict(list)
        for stream in self.flow.streams:
            if stream.source != stream.target:
                self._join(stream)
        self._share()
        self._constrain()

    def _place(self, choices: Sequence[str]) -> dict[str, Terms]:
        steps = [self.program.one, *(self.program.variable(whole=True) for _ in choices[1:])]
        for nearer, further in zip(steps[1:], steps[2:]):
            self.program.hold({nearer: 1.0, further: -1.0}, 0)
        return {
            place: {nearer: 1.0, **({} if further is None else {further: -1.0})}
            for place, nearer, further in zip(choices, steps, [*steps[1:], None])
        }

    def _join(self, stream: Stream) -> None:
        """A FIFO crosses from where its source is to where its target is, or stays with both.

        What is at a platform of the source, but not of the target, leaves it: as flow in a network whose links are the
        possible crossings. In a tree of links this says all; a further link needs a variable.
        """
        source, target = self.places[stream.source], self.places[stream.target]
        surplus = {p: _sum(((1, source.get(p, {})), (-1, target.get(p, {})))) for p in (*source, *target)}
        links = self.search.crossings(stream)
        tree: list[tuple[str, str]] = []
        found: dict[tuple[str, str], Terms] = {}
        part = {place: place for place in surplus}
        for pair in links:
            origin, to = pair
            if part[origin] != part[to]:
                old, new = part[to], part[origin]
                part = {place: new if name == old else name for place, name in part.items()}
                tree.append(pair)
            else:
                found[pair] = {self.program.variable(): 1.0}
                surplus[origin] = _sum(((1, surplus[origin]), (-1, found[pair])))
                surplus[to] = _sum(((1, surplus[to]), (1, found[pair])))
        while tree:
            ends = [place for pair in tree for place in pair]
            place = next(place for place in ends if ends.count(place) == 1)
            pair = next(pair for pair in tree if place in pair)
            tree.remove(pair)
            other = pair[0] if place == pair[1] else pair[1]
            found[pair] = _sum(((1 if place == pair[0] else -1, surplus[place]),))
            self.program.hold(found[pair], 0)
            surplus[other] = _sum(((1, surplus[other]), (1, surplus.pop(place))))
        for terms in surplus.values():
            self.program.hold(terms, 0, 0)
        for pair in links:
            self.crossing[pair].append((stream, found[pair]))
        for place in source:
            leaving = [(-1, found[pair]) for pair in links if pair[0] == place]
            if leaving and any(pair[1] == place for pair in links):
                self.program.hold(_sum([(1, source[place]), *leaving]), 0)

    def _share(self) -> None:
        """Of FIFOs that carry the same tokens to one platform, one crosses: where any of them would."""
        for pair, crossing in self.crossing.items():
            groups: dict[str, list[tuple[Stream, Terms]]] = defaultdict(list)
            for stream, terms in crossing:
                groups[stream.same or stream.name].append((stream, terms))
            self.crossing[pair] = [self._any(group) for group in groups.values()]

    def _any(self, group: Sequence[tuple[Stream, Terms]]) -> tuple[Stream, Terms]:
        """The first FIFO of a group, with what is 1 where one of them crosses."""
        if len(group) == 1:
            return group[0]
        crosses = {self.program.variable(): 1.0}
        for _, terms in group:
            self.program.hold(_sum(((1, crosses), (-1, terms))), 0)
        self.program.hold(_sum([(-1, crosses), *((1, terms) for _, terms in group)]), 0)
        return group[0][0], crosses

    def _constrain(self) -> None:
        constraints = self.search.constraints
        for platform in constraints.must_use:
            self.program.hold(_sum((1, own.get(platform, {})) for own in self.places.values()), 1)
        if constraints.max_bytes >= 0:
            unit = max(constraints.max_bytes, 1)
            crossing = self.crossing.items()
            most = _sum((self.costs.most(stream, *pair), terms) for pair, own in crossing for stream, terms in own)
            terms = {variable: nbytes / unit for variable, nbytes in most.items()}
            self.program.hold(terms, most=constraints.max_bytes / unit)

    def homes(self, values: Sequence[float]) -> Homes:
        """Where the actors are, by what the variables are."""
        return {
            actor: max(own, key=lambda place: sum(values[each] * factor for each, factor in own[place].items()))
            for actor, own in self.places.items()
        }

    def objective(self, objective: str) -> Terms:
        """The sum to minimise, in the units of the objective's figures."""
        figures = {
            "endpoint": self._endpoint,
            "latency": lambda: self._latency,
            "throughput": self._throughput,
            "bytes": self._bytes,
            "energy": self._energy,
        }
        return _sum((weight, figures[name]()) for name, weight in weights(objective).items())

    def _bytes(self) -> Terms:
        crossing = self.crossing.items()
        return _sum((self.costs.nbytes(stream, *pair), terms) for pair, found in crossing for stream, terms in found)

    def _endpoint(self) -> Terms:
        return self._largest([self._total(platform) for platform in self.roles.endpoints])

    @cached_property
    def _latency(self) -> Terms:
        used = self._used()
        tiers = []
        for tier in self.roles.tiers:
            delays = {
                platform: self._largest(
                    [
                        _sum(((1e3 * self.costs.seconds(*pair)[1], terms),))
                        for pair, terms in used.items()
                        if pair[0] == platform
                    ]
                )
                for platform in tier
            }
            tiers.append(self._largest([_sum(((1, self._total(p)), (1, delays[p]))) for p in tier]))
        return _sum((1, terms) for terms in tiers)

    def _throughput(self) -> Terms:
        sending = [self._sending(*pair) for pair in self.crossing]
        units = [terms for platform in self.roles.platforms for terms in self._by_unit(platform)]
        return self._largest([*units, *sending])

    def _energy(self) -> Terms:
        parts: list[tuple[float, Terms]] = []
        for platform, power in self.costs.power.items():
            parts += [(power.watts, self._compute(platform)), (-power.idle, self._total(platform))]
            parts += [(self.costs.watts(*pair), self._sending(*pair)) for pair in self.crossing if pair[0] == platform]
            if power.idle:
                parts.append((power.idle, self._latency))
        return _sum(parts)

    def _by_unit(self, platform: str) -> list[Terms]:
        """What each unit of a platform computes."""
        units: dict[str, list[tuple[float, Terms]]] = {}
        for actor, own in self.places.items():
            part = (1e3 * self.costs.times[platform][actor], own.get(platform, {}))
            units.setdefault(self.costs.stage(platform, actor), []).append(part)
        for actor, seconds, terms in self._coding(platform):
            units.setdefault(self.costs.stage(platform, actor), []).append((1e3 * seconds, terms))
        return [_sum(parts) for parts in units.values()]

    def _compute(self, platform: str) -> Terms:
        return _sum((1, terms) for terms in self._by_unit(platform))

    def _coding(self, platform: str) -> Iterator[tuple[str, float, Terms]]:
        """The actors beside which a platform codes or decodes FIFOs that cross, and the seconds."""
        for pair, crossing in self.crossing.items():
            for stream, terms in crossing:
                coding = self.costs.coding(stream, *pair) if platform in pair else None
                if coding is not None and pair[0] == platform:
                    yield stream.source, coding.encode, terms
                elif coding is not None:
                    yield stream.target, coding.decode, terms

    def _sending(self, origin: str, to: str) -> Terms:
        crossing = self.crossing[origin, to]
        return _sum((1e3 * self.costs.sending(stream, origin, to), terms) for stream, terms in crossing)

    def _total(self, platform: str) -> Terms:
        sending = [self._sending(*pair) for pair in self.crossing if pair[0] == platform]
        return _sum((1, terms) for terms in (self._compute(platform), *sending))

    def _largest(self, sums: Sequence[Terms]) -> Terms:
        """The largest of some sums: a variable that is no less than any of them."""
        if len(sums) < 2:
            return sums[0] if sums else {}
        # Tolerances are absolute: a variable from 0 to about 1000 is far above them.
        unit = max(sum(map(abs, terms.values())) for terms in sums) / 1e3
        if not unit:
            return {}
        largest = {self.program.variable(high=math.inf): 1.0}
        for terms in sums:
            self.program.hold(_sum(((1, largest), (-1 / unit, terms))), 0)
        return dict.fromkeys(largest, unit)

    def _used(self) -> dict[tuple[str, str], Terms]:
        """For each link what is 1 where a FIFO crosses there."""
        used: dict[tuple[str, str], Terms] = {pair: {self.program.variable(): 1.0} for pair in self.crossing}
        for pair, crossing in self.crossing.items():
            for _, terms in crossing:
                self.program.hold(_sum(((1, used[pair]), (-1, terms))), 0)
        # What follows says nothing new of whole numbers, but makes the linear program far closer to them: a token that
        # reaches an actor elsewhere has left its source's platform, and has come to the actor's.
        for source in self.flow.sources:
            if len(self.places[source]) > 1:
                continue
            (home,) = self.places[source]
            leaving = _sum((1, terms) for (origin, _), terms in used.items() if origin == home)
            for actor in self.flow.after([source]):
                own = self.places[actor]
                self.program.hold(_sum(((1, leaving), (1, own.get(home, {})))), 1)
                for place in own if self.roles.edges else ():
                    if place != home:
                        coming = [(1, terms) for (_, to), terms in used.items() if to == place]
                        self.program.hold(_sum([*coming, (-1, own[place])]), 0)
        return used


def _sum(parts: Iterable[tuple[float, Terms]]) -> dict[int, float]:
    """A weighted sum of sums."""
    result: dict[int, float] = {}
    for weight, terms in parts:
        for variable, factor in terms.items():
            result[variable] = result.get(variable, 0.0) + weight * factor
    return {variable: factor for variable, factor in result.items() if factor}
