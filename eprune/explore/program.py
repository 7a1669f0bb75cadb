"""The integer program of a search: which cuts there are, and what their figures are.

An actor's variables say how far from its owner it is, along a tree of the platforms that it may be on: at least there,
or beyond. Whether it is on one of them is a difference of these, and so is, as long as there is one way only between
any two platforms, whether a FIFO crosses a link. Of platforms with several units further variables say on which one.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Optional, Union

from eprune.explore.cost import buffer_bytes, weights
from eprune.explore.flow import Stream
from eprune.explore.integer import IntegerProgram, Terms
from eprune.explore.network import Pair
from eprune.explore.required import Required

if TYPE_CHECKING:
    from eprune.explore.search import Search


#: So many ways through an application at most, of which each is a bound for a single frame.
PATHS = 5


class Program:
    """The variables and conditions of a search. ``most``: a latency that the best cut does not exceed, in ms."""

    def __init__(self, search: Search, most: Optional[float] = None) -> None:
        self.search, self._most = search, most
        self.integers = IntegerProgram()
        self.roles, self.costs, self.flow, self.network = search.roles, search.costs, search.flow, search.network
        #: actor -> platform -> 1 where it is
        self.places = {actor: self._place(choices) for actor, choices in search.choices.items()}
        #: actor -> platform -> unit -> 1 where it is, of platforms whose units are to be chosen
        self._on = {actor: self._choose(actor) for actor in search.choices}
        #: link -> the FIFOs that may cross there, each with what is 1 where it does
        self._each: dict[Pair, list[tuple[Stream, Terms]]] = defaultdict(list)
        for stream in self.flow.streams:
            if stream.source != stream.target:
                self._join(stream)
        #: the same, with one of those that carry the same tokens
        self.crossing = {pair: self._shared(own) for pair, own in self._each.items()}
        self._hops = {platform: list(self._hopping(platform)) for platform in self.costs.on}
        self._constrain()
        self._fit()
        if self.network.order is None:
            self._go_forward()

    def _place(self, choices: Sequence[str]) -> dict[str, Terms]:
        """Place -> what is 1 where an actor is there; all places together are 1."""
        before = self.network.tree(choices)
        roots = [place for place, other in before.items() if other is None]
        beyond = {
            place: self.integers.one if [place] == roots else self.integers.variable(whole=True) for place in before
        }
        if len(roots) > 1:
            self.integers.hold(dict.fromkeys((beyond[place] for place in roots), 1.0), 1, 1)
        found: dict[str, Terms] = {}
        for place in choices:
            further = [beyond[other] for other in before if before[other] == place]
            found[place] = {beyond[place]: 1.0, **dict.fromkeys(further, -1.0)}
            if (further and beyond[place] != self.integers.one) or len(further) > 1:
                self.integers.hold(found[place], 0)
        return found

    def _choose(self, actor: str) -> dict[str, dict[str, Terms]]:
        found: dict[str, dict[str, Terms]] = {}
        for platform, there in self.places[actor].items():
            units = self.search.units(platform, actor)
            if units:
                *others, last = units
                own: dict[str, Terms] = {unit: {self.integers.variable(whole=True): 1.0} for unit in others}
                own[last] = total([(1, there), *((-1, terms) for terms in own.values())])
                if others:
                    self.integers.hold(own[last], 0)
                found[platform] = own
        return found

    def _join(self, stream: Stream) -> None:
        """A FIFO crosses from where its source is to where its target is, or stays with both.

        What is at a platform of the source, but not of the target, leaves it: as flow in a network whose links are the
        possible crossings. In a tree of links this says all; a further link needs a variable.
        """
        source, target = self.places[stream.source], self.places[stream.target]
        surplus = {p: total(((1, source.get(p, {})), (-1, target.get(p, {})))) for p in (*source, *target)}
        links = self.search.crossings(stream)
        tree: list[Pair] = []
        found: dict[Pair, Terms] = {}
        part = {place: place for place in surplus}
        for pair in links:
            origin, to = pair
            if part[origin] != part[to]:
                old, new = part[to], part[origin]
                part = {place: new if name == old else name for place, name in part.items()}
                tree.append(pair)
            else:
                found[pair] = {self.integers.variable(): 1.0}
                surplus[origin] = total(((1, surplus[origin]), (-1, found[pair])))
                surplus[to] = total(((1, surplus[to]), (1, found[pair])))
        while tree:
            ends = [place for pair in tree for place in pair]
            place = next(place for place in ends if ends.count(place) == 1)
            pair = next(pair for pair in tree if place in pair)
            tree.remove(pair)
            other = pair[0] if place == pair[1] else pair[1]
            found[pair] = total(((1 if place == pair[0] else -1, surplus[place]),))
            self.integers.hold(found[pair], 0)
            surplus[other] = total(((1, surplus[other]), (1, surplus.pop(place))))
        for terms in surplus.values():
            self.integers.hold(terms, 0, 0)
        for pair in links:
            self._each[pair].append((stream, found[pair]))
        for place in source:
            leaving = [(-1, found[pair]) for pair in links if pair[0] == place]
            if leaving and any(pair[1] == place for pair in links):
                self.integers.hold(total([(1, source[place]), *leaving]), 0)

    def _shared(self, crossing: Sequence[tuple[Stream, Terms]]) -> list[tuple[Stream, Terms]]:
        """Of FIFOs that carry the same tokens to one platform, one crosses: where any of them would."""
        groups: dict[str, list[tuple[Stream, Terms]]] = defaultdict(list)
        for stream, terms in crossing:
            groups[stream.same or stream.name].append((stream, terms))
        return [self._any(group) for group in groups.values()]

    def _any(self, group: Sequence[tuple[Stream, Terms]]) -> tuple[Stream, Terms]:
        """The first FIFO of a group, with what is 1 where one of them crosses."""
        if len(group) == 1:
            return group[0]
        crosses = {self.integers.variable(): 1.0}
        for _, terms in group:
            self.integers.hold(total(((1, crosses), (-1, terms))), 0)
        self.integers.hold(total([(-1, crosses), *((1, terms) for _, terms in group)]), 0)
        return group[0][0], crosses

    def _leaving(self, platform: str) -> dict[str, Terms]:
        """FIFO -> what is 1 where it crosses from that platform."""
        found: dict[str, list[tuple[float, Terms]]] = {}
        for (origin, _), crossing in self._each.items():
            for stream, terms in crossing if origin == platform else ():
                found.setdefault(stream.name, []).append((1, terms))
        return {name: total(parts) for name, parts in found.items()}

    def _hopping(self, platform: str) -> Iterator[tuple[str, str, float, Terms]]:
        """Source, unit, seconds, and what is 1 where a FIFO leads from that unit to another one of the platform."""
        leaving = self._leaving(platform)
        for stream in self.flow.streams:
            own, other = (self._on[actor].get(platform, {}) for actor in (stream.source, stream.target))
            if stream.source == stream.target or not other or len({*own, *other}) < 2:
                continue
            for unit, terms in own.items():
                hops: Terms = {self.integers.variable(): 1.0}
                stays = ((-1, terms), (1, other.get(unit, {})), (1, leaving.get(stream.name, {})))
                self.integers.hold(total([(1, hops), *stays]), 0)
                yield stream.source, unit, self.costs.hand_over(stream), hops

    def _constrain(self) -> None:
        constraints = self.search.constraints
        for platform in constraints.must_use:
            self.integers.hold(total((1, own.get(platform, {})) for own in self.places.values()), 1)
        if constraints.max_bytes >= 0:
            unit = max(constraints.max_bytes, 1)
            crossing = self.crossing.items()
            most = total((self.costs.most(stream, *pair), terms) for pair, own in crossing for stream, terms in own)
            terms = {variable: nbytes / unit for variable, nbytes in most.items()}
            self.integers.hold(terms, most=constraints.max_bytes / unit)
        for ratio in self._ratios(constraints.required):
            # Tolerances are absolute: 1000 is far above them.
            self.integers.hold(total(((1e3, ratio),)), most=1e3)

    def _fit(self) -> None:
        """What each platform holds fits its memory, as ``cost.memory_use`` counts."""
        for platform, memory in self.costs.memory.items():
            parts = [(self.flow.weights.get(actor, 0), own.get(platform, {})) for actor, own in self.places.items()]
            leaving = self._leaving(platform) if platform in self.roles.platforms else {}
            for stream in self.flow.streams:
                inside = buffer_bytes(stream, self.costs, platform, platform)
                parts.append((inside, self.places[stream.source].get(platform, {})))
                parts.append((-inside, leaving.get(stream.name, {})))
            for pair, crossing in self._each.items():
                if platform in pair:
                    parts += [(buffer_bytes(stream, self.costs, *pair), terms) for stream, terms in crossing]
            unit = max(memory, 1)
            self.integers.hold(total((nbytes / unit, terms) for nbytes, terms in parts), most=memory / unit)

    def _go_forward(self) -> None:
        """No frame comes back: the platforms have numbers, and links that are used lead to higher ones."""
        count = len(self.roles.platforms)
        used = self._used(onward=True)
        number = {platform: self.integers.variable(high=count - 1) for platform in self.roles.platforms}
        for (origin, to), terms in used.items():
            if (to, origin) in used and origin < to:
                self.integers.hold(total(((1, terms), (1, used[to, origin]))), most=1)
            rises = ((1, {number[to]: 1.0}), (-1, {number[origin]: 1.0}), (-count, terms))
            self.integers.hold(total(rises), 1 - count)

    def homes(self, values: Sequence[float]) -> dict[str, str]:
        """Where the actors are, by what the variables are."""
        return {actor: _most(own, values) for actor, own in self.places.items()}

    def units(self, values: Sequence[float]) -> dict[str, dict[str, str]]:
        """Platform -> actor -> unit, of platforms whose units are chosen; actors elsewhere are where they would be."""
        homes = self.homes(values)
        return {
            platform: {
                actor: _most(own[platform], values)
                for actor, own in self._on.items()
                if platform in own and homes[actor] == platform
            }
            for platform in self.costs.on
        }

    def objective(self, objective: Union[str, Required]) -> Terms:
        """The sum to minimise, in the units of the objective's figures; of what is required, how far that is missed."""
        if isinstance(objective, Required):
            return self._largest(list(self._ratios(objective)))
        figures = {
            "endpoint": self._endpoint,
            "latency": lambda: self._latency,
            "throughput": self._throughput,
            "bytes": self._bytes,
            "energy": self._energy,
        }
        return total((weight, figures[name]()) for name, weight in weights(objective).items())

    def _bytes(self) -> Terms:
        crossing = self.crossing.items()
        return total((self.costs.nbytes(stream, *pair), terms) for pair, found in crossing for stream, terms in found)

    def _endpoint(self) -> Terms:
        return self._largest([self._total(platform) for platform in self.roles.endpoints])

    @cached_property
    def _latency(self) -> Terms:
        first = {platform: self._total(platform, last=False) for platform in self.roles.platforms}
        done = self._done(first)
        ways = [done[platform] for platform in self.roles.platforms if not self._goes_on(platform)]
        # Of a line of platforms that is all; else ways through the application make the linear program far closer.
        more = [self._through(path) for path in self._paths()] if len(ways) > 1 else []
        return total(((1, self._largest([*ways, *more])), (1, self._results())))

    def _paths(self) -> list[list[str]]:
        """Ways through the application, without sinks, that take longest, and together have most of its actors."""
        least = {
            actor: min(self.costs.times[platform].get(actor, 0.0) for platform in own)
            for actor, own in self.places.items()
        }
        into: dict[str, list[str]] = {}
        for stream in self.flow.streams:
            if stream.waits and stream.target not in self.flow.sinks:
                into.setdefault(stream.target, []).append(stream.source)
        found: list[list[str]] = []
        for _ in range(PATHS):
            longest: dict[str, tuple[float, str]] = {}
            for actor in self.flow.actors:
                if actor not in self.flow.sinks:
                    before = max(((longest[each][0], each) for each in into.get(actor, ())), default=(0.0, ""))
                    longest[actor] = (before[0] + least[actor], before[1])
            end = max(longest, key=lambda actor: longest[actor][0], default="")
            path = [end] if end else []
            while path and longest[path[-1]][1]:
                path.append(longest[path[-1]][1])
            found.append(path[::-1])
            least.update(dict.fromkeys(path, 0.0))
            if not any(least.values()):
                break
        return found

    def _through(self, path: Sequence[str]) -> Terms:
        """What the actors of a path take, and its FIFOs over links: a frame takes no less."""
        pairs = set(zip(path, path[1:]))
        parts = [part for actor in path for part in self._alone(actor)]
        for link, crossing in self._each.items():
            taken: set[Pair] = set()
            for stream, terms in crossing:
                ends = stream.source, stream.target
                if stream.waits and ends in pairs and ends not in taken:
                    taken.add(ends)  # one of those that are parallel
                    parts.append((self.costs.sending(stream, *link) + self.costs.seconds(*link)[1], terms))
        return total((1e3 * seconds, terms) for seconds, terms in parts)

    def _alone(self, actor: str) -> Iterator[tuple[float, Terms]]:
        """The seconds that an actor takes, with what is 1 where it takes them."""
        for platform, there in self.places[actor].items():
            if platform not in self._on[actor]:
                yield self.costs.times[platform][actor], there
            for unit, terms in self._on[actor].get(platform, {}).items():
                yield self.costs.on[platform][unit][actor], terms

    def _done(self, first: Mapping[str, Terms]) -> dict[str, Terms]:
        """Platform -> when it has done all but its sinks: after those from which it gets something, if it does."""
        used = self._used(onward=True)
        # Any time at all is less.
        most = self._most or 1e3 * (
            sum(max((own.get(actor, 0.0) for own in self._slowest.values()), default=0.0) for actor in self.flow.actors)
            + sum(self.costs.sending(stream, *pair) for pair, own in self.crossing.items() for stream, _ in own)
            + sum(self.costs.seconds(*pair)[1] for pair in self.crossing)
            + sum(seconds for own in self._hops.values() for _, _, seconds, _ in own)
            + sum(seconds for platform in self.roles.platforms for _, _, seconds, _ in self._coding(platform))
        )
        done: dict[str, Terms] = {}
        unit = most / 1e3 or 1.0
        waiting = [p for p in self.network.order or self.roles.platforms if self._only_from(p) is None]
        for platform in waiting:
            into = self.network.into(platform)
            done[platform] = {self.integers.variable(high=math.inf): unit} if into else first[platform]
        for platform in self.network.order or ():
            origin = self._only_from(platform)
            if origin is not None:
                done[platform] = total(
                    ((1, done[origin]), (1, self._delay(origin, platform, used)), (1, first[platform]))
                )
        for platform in waiting:
            for origin in self.network.into(platform):
                late = [(1 / unit, done[platform]), (-1 / unit, first[platform])]
                self.integers.hold(total(late), 0)
                late += [(-1 / unit, done[origin])]
                if self._surely(origin, platform):
                    late += [(-1 / unit, self._delay(origin, platform, used))]
                    self.integers.hold(total(late), 0)
                else:
                    delay = 1e3 * self.costs.seconds(origin, platform)[1]
                    beyond = most + delay
                    terms = used.get((origin, platform), {})
                    self.integers.hold(total([*late, (-beyond / unit, terms)]), (delay - beyond) / unit)
        return done

    @cached_property
    def _slowest(self) -> dict[str, dict[str, float]]:
        """Platform -> actor -> the most seconds that it can take there."""
        found = {platform: dict(own) for platform, own in self.costs.times.items()}
        for platform, units in self.costs.on.items():
            for own in units.values():
                for actor, seconds in own.items():
                    found[platform][actor] = max(seconds, found[platform].get(actor, 0.0))
        return found

    def _delay(self, origin: str, to: str, used: Mapping[Pair, Terms]) -> Terms:
        return total(((1e3 * self.costs.seconds(origin, to)[1], used.get((origin, to), {})),))

    def _only_from(self, platform: str) -> Optional[str]:
        """The platform from which everything comes that is done here, if there is one such."""
        into = self.network.into(platform)
        if self.network.order is None or len(into) != 1 or platform in self.network.starts:
            return None
        return into[0]

    def _surely(self, origin: str, to: str) -> bool:
        """Whether something always goes that way: a source's tokens that are needed there, and have no other way."""
        if self.network.out_of(origin) != (to,) or self.network.order is None:
            return False
        fixed = [source for source in self.flow.sources if self.search.choices[source] == [origin]]
        there = [a for a in self.flow.actors if self.search.choices[a] == [to] and a not in self.flow.sinks]
        return bool(self._after(fixed) & set(there))

    def _after(self, actors: Iterable[str]) -> set[str]:
        """The actors that wait for what comes of these."""
        return replace(self.flow, streams=tuple(each for each in self.flow.streams if each.waits)).after(actors)

    def _goes_on(self, platform: str) -> bool:
        """Whether some other platform is never done before this one."""
        return any(
            self._only_from(to) == platform or self._surely(platform, to) for to in self.network.out_of(platform)
        )

    def _results(self) -> Terms:
        """What comes when all else is done: the way to the sinks, and what they take; the longest of these."""
        used = self._used(onward=False)
        delays = {pair: self._delay(*pair, used) for pair in used}
        last = {platform: self._compute(platform, sinks=True) for platform in self.roles.platforms}
        into = [stream for stream in self.flow.streams if stream.target in self.flow.sinks]
        if len(into) == 1:
            return total((1, terms) for terms in (*last.values(), *delays.values()))
        ways = [total(((1, last[to]), (1, terms))) for (_, to), terms in delays.items()]
        return self._largest([*(terms for terms in last.values() if terms), *ways])

    def _throughput(self) -> Terms:
        return self._largest([*self._stages(), *self._rooms()])

    def _stages(self) -> list[Terms]:
        """What takes its time at the same time as the others: units and links."""
        sending = [self._sending(*pair) for pair in self.crossing]
        units = [terms for platform in self.roles.platforms for terms in self._by_unit(platform).values()]
        return [*units, *sending]

    def _ratios(self, required: Required) -> Iterator[Terms]:
        """Sums of which none is above 1 where a cut keeps what is required."""
        if required.latency is not None:
            yield total(((1e-3 / required.latency, self._latency),))
        if required.rate is not None:
            for terms in (*self._stages(), *self._rooms()):
                yield total(((1e-3 * required.rate, terms),))

    def _rooms(self) -> Iterator[Terms]:
        """For each FIFO whose room may set the pace: what a frame takes where it crosses, else 0 or less."""
        working: dict[str, Terms] = {}
        for (origin, to), crossing in self._each.items():
            before: dict[str, list[Terms]] = defaultdict(list)
            for stream, terms in crossing:
                # Of FIFOs that carry the same tokens the first one that crosses counts.
                others = before[stream.same or stream.name]
                room = self.costs.room(stream, origin, to)
                if room:
                    for platform in (origin, to):
                        if platform not in working:
                            working[platform] = self._largest([self._compute(platform), {}])
                    most = sum(self._most_work(platform) for platform in (origin, to))
                    there, back = (self.costs.seconds(*pair)[1] for pair in ((origin, to), (to, origin)))
                    under_way = 1e3 * (self.costs.sending(stream, origin, to) + there + back)
                    parts = [(1.0, working[origin]), (1.0, working[to]), (under_way + most, terms)]
                    parts += [(-most, {self.integers.one: 1.0}), *((-most, other) for other in others)]
                    yield total((weight / room, each) for weight, each in parts)
                others.append(terms)

    def _most_work(self, platform: str) -> float:
        """No cut computes for more milliseconds there."""
        coding = sum(seconds for _, _, seconds, _ in self._coding(platform))
        hops = sum(seconds for _, _, seconds, _ in self._hops.get(platform, ()))
        return 1e3 * (sum(self._slowest.get(platform, {}).values()) + coding + hops)

    def _energy(self) -> Terms:
        parts: list[tuple[float, Terms]] = []
        for platform, power in self.costs.power.items():
            alone = next(iter(self.costs.units.get(platform, {}).values()), "")
            for stage, terms in self._by_unit(platform).items():
                parts.append((power.units.get(stage.partition("/")[2] or alone, power.watts), terms))
            parts.append((-power.idle, self._total(platform)))
            parts += [(self.costs.watts(*pair), self._sending(*pair)) for pair in self.crossing if pair[0] == platform]
            if power.idle:
                parts.append((power.idle, self._latency))
        return total(parts)

    def _by_unit(self, platform: str, sinks: Optional[bool] = None) -> dict[str, Terms]:
        """What each unit of a platform computes; ``sinks``: only these, or only the others."""
        units: dict[str, list[tuple[float, Terms]]] = {}

        def add(actor: str, stage: str, seconds: float, terms: Terms) -> None:
            if sinks is None or sinks == (actor in self.flow.sinks):
                units.setdefault(stage, []).append((1e3 * seconds, terms))

        for actor, own in self.places.items():
            for unit, terms in self._on[actor].get(platform, {}).items():
                add(actor, f"{platform}/{unit}", self.costs.on[platform][unit][actor], terms)
            if platform in own and platform not in self._on[actor]:
                add(actor, self.costs.stage(platform, actor), self.costs.times[platform][actor], own[platform])
        for actor, stage, seconds, terms in self._coding(platform):
            add(actor, stage, seconds, terms)
        for actor, unit, seconds, terms in self._hops.get(platform, ()):
            add(actor, f"{platform}/{unit}", seconds, terms)
        return {stage: total(parts) for stage, parts in units.items()}

    def _compute(self, platform: str, sinks: Optional[bool] = None) -> Terms:
        return total((1, terms) for terms in self._by_unit(platform, sinks).values())

    def _coding(self, platform: str) -> Iterator[tuple[str, str, float, Terms]]:
        """The actors beside which a platform codes or decodes FIFOs that cross, on which unit, and the seconds."""
        for pair, crossing in self.crossing.items():
            for stream, terms in crossing:
                coding = self.costs.coding(stream, *pair) if platform in pair else None
                if coding is not None and pair[0] == platform:
                    yield stream.source, self.costs.stage(platform, stream.source), coding.encode, terms
                elif coding is not None:
                    yield stream.target, self.costs.stage(platform, stream.target), coding.decode, terms

    def _sending(self, origin: str, to: str) -> Terms:
        crossing = self.crossing[origin, to]
        return total((1e3 * self.costs.sending(stream, origin, to), terms) for stream, terms in crossing)

    def _total(self, platform: str, last: bool = True) -> Terms:
        """What a platform computes and sends; without its sinks, unless ``last``."""
        sending = [self._sending(*pair) for pair in self.crossing if pair[0] == platform]
        return total((1, terms) for terms in (self._compute(platform, None if last else False), *sending))

    def _largest(self, sums: Sequence[Terms]) -> Terms:
        """The largest of some sums: a variable that is no less than any of them."""
        if len(sums) < 2:
            return sums[0] if sums else {}
        # Tolerances are absolute: a variable from 0 to about 1000 is far above them.
        unit = max(sum(map(abs, terms.values())) for terms in sums) / 1e3
        if not unit:
            return {}
        largest = {self.integers.variable(high=math.inf): 1.0}
        for terms in sums:
            self.integers.hold(total(((1, largest), (-1 / unit, terms))), 0)
        return dict.fromkeys(largest, unit)

    def _used(self, onward: bool) -> dict[Pair, Terms]:
        """For each link what is 1 where a FIFO crosses there, with which a frame goes ``onward``, or to a sink."""
        return self._links_used[0 if onward else 1]

    @cached_property
    def _links_used(self) -> tuple[dict[Pair, Terms], dict[Pair, Terms]]:
        found: tuple[dict[Pair, Terms], dict[Pair, Terms]] = ({}, {})
        for pair, crossing in self._each.items():
            for stream, terms in crossing:
                last = stream.target in self.flow.sinks
                if not last and not stream.waits:
                    continue
                used = found[last].setdefault(pair, {self.integers.variable(): 1.0})
                self.integers.hold(total(((1, used), (-1, terms))), 0)
        # What follows says nothing new of whole numbers, but makes the linear program far closer to them: a token that
        # reaches an actor elsewhere has left its source's platform, and has come to the actor's.
        both = [*found[0].items(), *found[1].items()]
        for source in self.flow.sources:
            if len(self.places[source]) > 1:
                continue
            (home,) = self.places[source]
            leaving = total((1, terms) for (origin, _), terms in both if origin == home)
            for actor in self._after([source]):
                own = self.places[actor]
                self.integers.hold(total(((1, leaving), (1, own.get(home, {})))), 1)
                for place in own if self.roles.edges or self.roles.anywhere else ():
                    if place != home:
                        coming = [(1, terms) for (_, to), terms in both if to == place]
                        self.integers.hold(total([*coming, (-1, own[place])]), 0)
        return found


def total(parts: Iterable[tuple[float, Terms]]) -> dict[int, float]:
    """A weighted sum of sums."""
    result: dict[int, float] = {}
    for weight, terms in parts:
        for variable, factor in terms.items():
            result[variable] = result.get(variable, 0.0) + weight * factor
    return {variable: factor for variable, factor in result.items() if factor}


def _most(own: Mapping[str, Terms], values: Sequence[float]) -> str:
    return max(own, key=lambda place: sum(values[each] * factor for each, factor in own[place].items()))
