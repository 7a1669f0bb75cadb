"""What would meet a requirement that is missed: the smallest change of each kind, tried before it is named.

How much faster something has to be is found by Newton's method: a period and a latency are convex in the time of what
they are made of, so that each step along the critical cycle, or the critical way, ends no further than the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, NamedTuple, Optional

from eprune.analysis.check import check
from eprune.analysis.clusters import Clustering
from eprune.analysis.latency import Asking
from eprune.analysis.lookup import fifo_rates, slot_bytes
from eprune.analysis.methods import methods
from eprune.analysis.order import firing_order
from eprune.analysis.sdf.repetition import rates_at_ends, repetition
from eprune.analysis.sdf.sizes import step_of
from eprune.analysis.throughput import Resources, resources, room_for, subject, window_of
from eprune.analysis.timeline import paces
from eprune.model.finding import has_errors
from eprune.model.graph import Fifo, Graph, Requirement
from eprune.model.mapping import Placement
from eprune.model.quantity import format_size, format_time
from eprune.model.system import System

#: Changes of one kind that are tried, and how many actors' answers that may take in all: fewer of large graphs.
TRIES, ACTORS = 6, 60_000
#: So many times as many cuts are tried.
CUTS = 5
#: Steps of Newton's method, and of raising capacities.
STEPS = 40
#: Two times that differ by less than this share are one.
_SAME = Fraction(1, 10**6)


@dataclass(frozen=True)
class Change:
    """``kind``: capacity, actor, unit, link, source or cut; ``about``: which; ``value``: what it should be.

    Values are in SI units; a unit's is how many times as fast it has to be, and a cut's how many actors move.
    ``homes``: of a cut, actor -> platform.
    """

    kind: str
    about: str
    value: Mapping[str, float]
    text: str
    homes: Mapping[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        data = {"kind": self.kind, "about": self.about, "value": dict(self.value), "text": self.text}
        return {**data, "homes": dict(self.homes)} if self.homes else data


class _Try(NamedTuple):
    """A system to be, and what is asked of it."""

    system: System
    times: Mapping[str, Fraction]
    shared: Resources

    @property
    def graph(self) -> Graph:
        return self.system.graph


class _Seen(NamedTuple):
    """What came out: the figure, and the seconds in it of each actor and of each FIFO's transfers.

    ``room``: the FIFOs whose room it waits for.
    """

    value: Fraction
    shares: Mapping[str, Fraction]
    room: tuple[str, ...]


def changes(
    system: System,
    required: Requirement,
    times: Mapping[str, Fraction],
    shared: Resources,
    on: Mapping[str, Mapping[str, Fraction]],
    clustering: Clustering,
) -> Iterator[Change]:
    """The changes that help, each by itself, with which the requirement is kept. ``on``: see ``timing.ActorTimes``.

    ``clustering`` is asked anew of each changed system: a source that states its rate has a thread of its own then.
    """
    search = _Search(required, _Try(system, times, shared), clustering)
    yield from search.rooms()
    yield from search.pace()
    yield from search.cut(on)
    yield from search.faster()


class _Search:
    def __init__(self, required: Requirement, now: _Try, clustering: Clustering) -> None:
        self.required, self.now, self.clustering = required, now, clustering
        self.source, self.sink = required.source.actor, required.target.actor
        self.tries = max(min(TRIES, ACTORS // (10 * len(now.graph.actors))), 1)

    def _goals(self) -> list[tuple[Callable[[Asking], _Seen], Fraction]]:
        goals: list[tuple[Callable[[Asking], _Seen], Fraction]] = []
        if self.required.rate is not None:
            goals.append((self._period, 1 / self.required.rate))
        if self.required.latency is not None:
            goals.append((self._latency, self.required.latency))
        return goals

    def _period(self, asked: Asking) -> _Seen:
        period, cycle = asked.pace(self.sink)
        if cycle is None:
            return _Seen(period, {}, ())
        shares: dict[str, Fraction] = {}
        for edge in cycle.edges:
            name = subject(edge.source).partition("#")[0]
            shares[name] = shares.get(name, Fraction(0)) + asked.seconds(edge.source) / cycle.tokens
        return _Seen(period, shares, tuple(edge.about for edge in cycle.edges if edge.kind == "room"))

    def _latency(self, asked: Asking) -> _Seen:
        found = asked(self.source, self.sink)
        shares: dict[str, Fraction] = {}
        for part in found.parts:
            if part.does in ("fires", "is sent"):
                shares[part.about] = shares.get(part.about, Fraction(0)) + part.seconds
        room = tuple(part.why[len("room in ") :] for part in found.parts if part.why.startswith("room in "))
        return _Seen(found.steady, shares, room)

    @cached_property
    def _asked(self) -> Asking:
        """The system as it is."""
        return _asked(self.now)

    def _with(self, graph: Graph) -> _Try:
        """The system with a changed graph."""
        return self._tried(replace(self.now.system, graph=graph), self.now.times)

    def _tried(self, system: System, times: Mapping[str, Fraction]) -> _Try:
        return _Try(system, times, resources(system, self.clustering(system)))

    def _missed(self, attempt: _Try) -> Optional[tuple[_Seen, Fraction]]:
        """What is missed first, and the goal; None if all is kept."""
        asked = self._asked if attempt is self.now else _asked(attempt)
        for look, goal in self._goals():
            seen = look(asked)
            if seen.value > goal * (1 + _SAME):
                return seen, goal
        return None

    # Room

    def rooms(self) -> Iterator[Change]:
        """More room where firings wait for it."""
        attempt, raised = self.now, {}
        rates, sizes = self._steps(), slot_bytes(attempt.graph)
        for _ in range(STEPS):
            missed = self._missed(attempt)
            if missed is None:
                break
            names = [name for name in dict.fromkeys(missed[0].room) if name in rates]
            if not names:
                return
            name = min(names, key=lambda each: sizes[each] * rates[each])
            fifos = {fifo.name: fifo for fifo in attempt.graph.fifos}
            raised[name] = self._raised(fifos[name], rates[name], attempt.shared)
            fifos[name] = raised[name]
            attempt = self._with(replace(attempt.graph, fifos=tuple(fifos.values())))
        else:
            return
        if raised:
            yield self._room_change(raised)

    def _steps(self) -> Mapping[str, int]:
        """FIFO -> tokens: less room than for so many more changes nothing."""
        if not self.now.graph.is_sdf:
            return fifo_rates(self.now.graph)
        ends = zip(self.now.graph.fifos, rates_at_ends(self.now.graph))
        return {fifo.name: step_of(rates, 1) for fifo, rates in ends}

    def _raised(self, fifo: Fifo, rate: int, shared: Resources) -> Fifo:
        """With room for one firing more, or for ``rate`` tokens more where each end has rates of its own."""
        transfer = shared.transfers.get(fifo.name)
        if self.now.graph.is_sdf:
            needed = rate + fifo.capacity + (0 if transfer is None else window_of(fifo, transfer))
        else:
            needed = fifo.delay + rate * (room_for(fifo, rate, transfer) + 1)
        return replace(fifo, capacity=needed) if transfer is None else replace(fifo, window=needed - fifo.capacity)

    def _room_change(self, raised: Mapping[str, Fifo]) -> Change:
        before = {fifo.name: fifo for fifo in self.now.graph.fifos}
        texts, value = [], {}
        sizes, more = slot_bytes(self.now.graph), 0
        for name, fifo in raised.items():
            transfer = self.now.shared.transfers.get(name)
            word, size = ("capacity", fifo.capacity) if transfer is None else ("window", fifo.window or 0)
            own = before[name].capacity if transfer is None else window_of(before[name], transfer)
            more += (size - own) * sizes[name]
            texts.append(f"{name} a {word} of {size}")
            value[f"{name}.{word}"] = float(size)
        text = f"give {' and '.join(texts)} ({format_size(more)} more)"
        return Change("capacity", " ".join(raised), value, text)

    # Sources

    def pace(self) -> Iterator[Change]:
        """A source that states how often it fires, so that it does not fill the buffers."""
        if self.required.latency is None or paces(self.now.graph).get(self.source):
            return
        period = self._asked.pace(self.sink)[0]
        if not period:
            return
        firings = repetition(self.now.graph).firings if self.now.graph.is_sdf else {}
        each = Fraction(firings.get(self.source, 1), firings.get(self.sink, 1))  # of the source, for one of the sink
        rate = _below(each / period)
        if self.required.rate is not None and self.required.rate <= 1 / period:
            rate = self.required.rate * each
        actors = tuple(
            replace(actor, rate=float(rate)) if actor.name == self.source else actor for actor in self.now.graph.actors
        )
        if self._missed(self._with(replace(self.now.graph, actors=actors))) is None:
            text = f"let '{self.source}' fire no more than {float(rate):.4g} times per second, and state its rate"
            yield Change("source", self.source, {"rate": float(rate)}, text)

    # Cuts

    def cut(self, on: Mapping[str, Mapping[str, Fraction]]) -> Iterator[Change]:
        """The nearest cut between two platforms that keeps it: all up to one actor on the first, the rest beyond.

        Sources and sinks stay where they are. There is none where times on both platforms are not known.
        """
        graph, homes = self.now.system.graph, self.now.system.homes
        near = homes.get(self.source, "")
        ends = {actor.name for actor in graph.actors if not (actor.inputs and actor.outputs)}
        own = [name for name in firing_order(graph) if name not in ends]
        for far in on:
            both = {near, far}
            if far == near or near not in on or not {homes.get(name) for name in own} <= both:
                continue
            cuts = [
                {**homes, **{name: near if k < place else far for k, name in enumerate(own)}}
                for place in range(len(own) + 1)
            ]
            moved = [sum(homes[name] != cut[name] for name in own) for cut in cuts]
            for place in sorted(range(len(cuts)), key=moved.__getitem__)[: CUTS * self.tries]:
                if moved[place] and self._kept_by(cuts[place], on):
                    after = own[place - 1] if place else self.source
                    text = f"cut after '{after}' ({_moving(moved[place])})"
                    yield Change("cut", after, {"moved": float(moved[place])}, text, cuts[place])
                    return

    def _kept_by(self, homes: Mapping[str, str], on: Mapping[str, Mapping[str, Fraction]]) -> bool:
        times = {name: on[home].get(name) for name, home in homes.items() if home in on}
        known = {name: time for name, time in times.items() if time is not None}
        if len(known) < len(self.now.graph.actors):
            return False
        system = self._moved(homes)
        if system is None or has_errors(check(system)):
            return False
        return self._missed(self._tried(system, known)) is None

    def _moved(self, homes: Mapping[str, str]) -> Optional[System]:
        """The system with actors on these platforms: on the units that they had, else on the first that takes them."""
        units = self.now.system.units
        mappings = []
        for mapping in self.now.system.mappings:
            platform = self.now.system.platform(mapping.platform)
            placements = []
            for actor in self.now.system.graph.actors:
                home = homes[actor.name]
                unit = platform.unit_for(actor) if platform is not None else None
                if home != mapping.platform:
                    placements.append(Placement(actor.name, platform=home))
                elif units.get(actor.name, ("", ""))[0] == home:
                    placements.append(Placement(actor.name, unit=units[actor.name][1]))
                elif unit is not None:
                    placements.append(Placement(actor.name, unit=unit.name))
                else:
                    return None
            mappings.append(replace(mapping, placements=tuple(placements)))
        return replace(self.now.system, mappings=tuple(mappings))

    # Faster

    def faster(self) -> Iterator[Change]:
        """Units, actors and links that take less time."""
        missed = self._missed(self.now)
        if missed is None:
            return
        shares = sorted(missed[0].shares, key=missed[0].shares.__getitem__, reverse=True)
        units = self.now.system.units
        transfers = self.now.shared.transfers
        tried: dict[tuple[str, str], tuple[str, ...]] = {}
        for name in shares:
            if name in transfers:
                link = transfers[name].link
                tried["link", link] = tuple(each for each, own in transfers.items() if own.link == link)
            else:
                tried["actor", name] = (name,)
                if name in units:
                    home = units[name]
                    tried["unit", "/".join(home)] = tuple(each for each, own in units.items() if own == home)
        for (kind, about), names in sorted(tried.items(), key=lambda each: each[0][0] == "actor")[: self.tries]:
            scale = self._scale(names)
            if scale is not None and 0 < scale < 1:
                yield self._faster(kind, about, names, scale)

    def _scale(self, names: tuple[str, ...]) -> Optional[Fraction]:
        """To what part of it the time of these has to come down; None where that is not enough."""
        scale, attempt = Fraction(1), self.now
        for _ in range(STEPS):
            missed = self._missed(attempt)
            if missed is None:
                return scale
            seen, goal = missed
            own = sum((seen.shares.get(name, Fraction(0)) for name in names), Fraction(0))
            if not own:
                return None
            scale = (scale * (own - (seen.value - goal)) / own).limit_denominator(10**9) * (1 - _SAME)
            if scale <= 0:
                return None
            attempt = self._scaled(names, scale)
        return None

    def _scaled(self, names: tuple[str, ...], scale: Fraction) -> _Try:
        times = {name: time * scale if name in names else time for name, time in self.now.times.items()}
        transfers = {
            name: replace(each, busy=each.busy * scale) if name in names else each
            for name, each in self.now.shared.transfers.items()
        }
        return self.now._replace(times=times, shared=replace(self.now.shared, transfers=transfers))

    def _faster(self, kind: str, about: str, names: tuple[str, ...], scale: Fraction) -> Change:
        times = float(1 / scale)
        if kind == "actor":
            (name,) = names
            seconds = self.now.times[name]
            text = f"make '{name}' take {format_time(float(seconds * scale))}, not {format_time(float(seconds))}"
            return Change(kind, about, {"time_s": float(seconds * scale)}, text)
        if kind == "unit":
            return Change(kind, about, {"times_as_fast": times}, f"make {about} {times:.3g} times as fast")
        origin, _, to = about.partition(" -> ")
        platform = self.now.system.platform(origin)
        link = None if platform is None else platform.link(to)
        bandwidth = 0.0 if link is None or link.bandwidth is None else link.bandwidth * times
        much = f" ({bandwidth / 1e6:.4g}MB/s)" if bandwidth else ""
        text = f"give the link {about} {times:.3g} times its bandwidth{much}"
        return Change(kind, about, {"bandwidth": bandwidth, "times_as_fast": times}, text)


def _asked(attempt: _Try) -> Asking:
    return methods(attempt.graph).latencies(attempt.graph, attempt.times, attempt.shared)


def _moving(number: int) -> str:
    """``1 actor moves``, ``2 actors move``."""
    return "1 actor moves" if number == 1 else f"{number} actors move"


def _below(rate: Fraction) -> Fraction:
    """A rate with three digits that is not above this one."""
    unit = Fraction(1)
    while rate / unit >= 1000:
        unit *= 10
    while rate / unit < 100:
        unit /= 10
    return rate // unit * unit
