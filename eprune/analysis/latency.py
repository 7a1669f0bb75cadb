"""Latency: how old tokens are when a sink begins to fire on them, from the beginning of the source's firing on.

It is asked of the graph of ``throughput``: in which each firing begins as soon as those have ended that it waits for,
by FIFOs, threads and links (``recurrence``).

- A source with a rate or a clock that the graph keeps up with fires at its period P, always. Then no firing is later,
  in the long run, than the longest path from the source by which each token takes P off: that is the latency, exactly,
  and no later one is longer, unless a cycle takes as long as P: then what is late at first remains so. Latency grows
  with the times of actors and links, so that the greatest times give the greatest one, whatever the others do.
- Any other source is held up by the room of FIFOs alone, which it fills. The recurrence then repeats itself after a
  while, and the latency is that of the oldest token in a round.

Where ``newest`` and ``hold`` divide the graph, latency is a bound: within a component the greatest that any pace of its
tokens can cause, and between two what a token waits, at most, until the reader takes it, or on hold until there
is a newer one.

It is exact for static graphs, where each unit has one thread and each link is written to by one. Rates that vary are
at their upper limits. Of threads that share a unit each firing may have to wait for one of each of the others, and all
firings of a thread's iteration for two of a source that keeps to its period, and no more, for the unit takes what comes
first (first come, first served, without preemption). Both are bounds where sources set the pace.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Optional, Protocol

from eprune.analysis.component import Component, Part, connected
from eprune.analysis.cycle_ratio import Cycle
from eprune.analysis.domains import dividing, rate_domains
from eprune.analysis.lookup import fifo_rates, some
from eprune.analysis.precedence import firing_order
from eprune.analysis.throughput import ALONE, Resources, held_over_link, timed, transfer_node
from eprune.analysis.timeline import paces
from eprune.model.graph import FaultPolicy, Fifo, Graph


@dataclass(frozen=True)
class Latency:
    """How old tokens of ``source`` are, in seconds, when ``sink`` begins a firing on them.

    ``kind``: whether ``steady`` is ``exact``, a ``bound`` or an ``estimate``; ``why`` says why it is not exact.
    ``first``: of its first firing. ``steady``: in the long run, at most. ``most``: in all firings that were looked at.
    ``parts``: where the time goes of a token that is ``steady`` old. ``period``: the seconds between two firings of the
    sink in the long run. ``keeps_up``: whether the source fires as often as it states.
    """

    source: str
    sink: str
    first: Fraction
    steady: Fraction
    most: Fraction
    period: Fraction
    parts: tuple[Part, ...]
    kind: str
    why: tuple[str, ...]
    keeps_up: bool

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        parts = [{**part._asdict(), "seconds": float(part.seconds)} for part in self.parts]
        return {
            "source": self.source,
            "sink": self.sink,
            "first_s": float(self.first),
            "steady_s": float(self.steady),
            "most_s": float(self.most),
            "period_s": float(self.period),
            "kind": self.kind,
            "why": list(self.why),
            "keeps_up": self.keeps_up,
            "parts": parts,
        }


class Asking(Protocol):
    """What is asked of a system in time, whatever its model of computation."""

    def __call__(self, source: str, sink: str) -> Latency:
        """That from a source to a sink. Raises ValueError where no tokens get there without a delay."""

    def ways(self) -> list[tuple[str, str]]:
        """All pairs of a source and a sink that its tokens get to, in file order."""

    def pace(self, actor: str) -> tuple[Fraction, Optional[Cycle]]:
        """Seconds between two firings in the long run, and the cycle that is why; None where a source's pace is."""

    def seconds(self, node: str) -> Fraction:
        """Of a firing, a transfer or another node of the timed graph."""


class Latencies:
    """The latencies of a sound system, each on demand. ``times``: actor -> seconds per firing."""

    def __init__(self, graph: Graph, times: Mapping[str, Fraction], resources: Resources = ALONE) -> None:
        self.graph, self.resources = graph, resources
        self._times = times
        self._model = timed(graph, times, resources)
        self._waits = self._for_unit()
        self._dividing = set(dividing(graph))
        self._rates = fifo_rates(graph)
        control = {ref for ref, port in graph.ports() if port.control}
        self._held = {ref for ref, port in graph.ports() if port.hold}
        #: actor -> the FIFOs over which it gives tokens an age
        self._out: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        for fifo in graph.fifos:
            if not fifo.delay and fifo.target not in control:
                self._out[fifo.source.actor].append(fifo)
        self._sources = [actor.name for actor in graph.actors if not actor.inputs]
        stated = {name: (Fraction(0), pace) for name, pace in paces(graph).items()}
        self._components = [Component(model, stated, self._waits) for model in connected(self._model)]
        self._component = {node: each for each in self._components for node in each.model.times}

    def __call__(self, source: str, sink: str) -> Latency:
        """That from a source to a sink. Raises ValueError where no tokens get there without a delay."""
        into = self._into(source)
        if sink not in into:
            raise ValueError(f"no tokens get from '{source}' to '{sink}' without a delay")
        component = self._component[source]
        before, stack = {sink}, [sink]
        while stack:
            for fifo in into.get(stack.pop(), ()):
                if fifo in self._dividing:
                    return self._bound(source, sink, into)
                if fifo.source.actor not in before:
                    before.add(fifo.source.actor)
                    stack.append(fifo.source.actor)
        carrying = {fifo.name for own in self._out.values() for fifo in own if fifo not in self._dividing}
        ages, why = component.ages(source, sink), self._why(component, source)
        parts = tuple(component.way(source, sink, ages.oldest, carrying))
        why += unsettled(ages.unsettled)
        period, kept = self.pace(sink)[0], component.keeps_up
        return Latency(source, sink, ages.first, ages.steady, ages.most, period, parts, *kind_of(why), kept)

    def ways(self) -> list[tuple[str, str]]:
        """All pairs of a source and a sink that its tokens get to, in file order."""
        sinks = [actor.name for actor in self.graph.actors if actor.inputs and not actor.outputs]
        reached = {source: self._reached(source, across=True) for source in self._sources}
        return [(source, sink) for source in self._sources for sink in sinks if sink in reached[source]]

    def pace(self, actor: str) -> tuple[Fraction, Optional[Cycle]]:
        """Seconds between two firings in the long run, and the cycle that is why; None where a source's pace is."""
        return self._paces[self._component[actor]]

    def seconds(self, node: str) -> Fraction:
        """Of an actor, a transfer or another node of the graph."""
        return self._model.times[node]

    @cached_property
    def _paces(self) -> dict[Component, tuple[Fraction, Optional[Cycle]]]:
        """That of each component: its own, or that of one whose tokens it has to wait for, if that is slower."""
        found = {}
        for component in self._components:
            slowest = component.cycle is not None and component.cycle.ratio == component.period
            found[component] = component.period, component.cycle if slowest else None
        feeding = [fifo for fifo in self._dividing if fifo.target not in self._held]
        for _ in self._components:
            for fifo in feeding:
                before, behind = self._component[fifo.source.actor], self._component[fifo.target.actor]
                found[behind] = max(found[behind], found[before], key=lambda pace: pace[0])
        return found

    def _reached(self, source: str, across: bool = False) -> set[str]:
        """The actors that tokens of a source get to, and what is made of them, within its component or beyond."""
        found, stack = {source}, [source]
        while stack:
            for fifo in self._out[stack.pop()]:
                if (across or fifo not in self._dividing) and fifo.target.actor not in found:
                    found.add(fifo.target.actor)
                    stack.append(fifo.target.actor)
        return found

    def _for_unit(self) -> dict[str, tuple[Fraction, str]]:
        """First actor of a thread -> what its iteration may have to wait for other threads of the unit, at most."""
        stated, found = paces(self.graph), {}
        domain = {name: members for members in rate_domains(self.graph) for name in members}
        for unit, threads in self.resources.units.items():
            for thread in threads:
                seconds = Fraction(0)
                for other in threads:
                    if other is not thread:
                        paced = other[0] in stated and domain[other[0]] is domain[thread[0]]
                        firings = min(2, len(thread)) if paced else len(thread)
                        seconds += firings * max(self._times[name] for name in other)
                if seconds:
                    found[thread[0]] = seconds, unit
        return found

    def _into(self, source: str) -> dict[str, list[Fifo]]:
        """Actor -> the FIFOs over which its tokens are of a source: those into inputs on hold only if there are no
        others.
        """
        into: dict[str, list[Fifo]] = {}
        for name in self._reached(source, across=True):
            for fifo in self._out[name]:
                into.setdefault(fifo.target.actor, []).append(fifo)
        return {name: [fifo for fifo in own if fifo.target not in self._held] or own for name, own in into.items()}

    def _why(self, component: Component, source: str, counted: Collection[Fifo] = ()) -> list[tuple[str, str]]:
        """Why a latency within a component is not exact: what it is instead, and a line.

        It is a bound of what is counted from a time that is kept; the firings of any other source may begin earlier.
        """
        bound = "bound" if component.sets_pace(source) else "estimate"
        reasons = self._also_awaited(component, source, counted)
        if any(fifo.route is not None for fifo in self.graph.fifos):
            reasons.append(("estimate", "of a route's branches each takes part of the time, for part of the tokens"))
        if any(not port.static for ref, port in self.graph.ports() if ref.actor in component.model.times):
            reasons.append((bound, "all rates are taken at their upper limits"))
        units = dict.fromkeys(unit for name, (_, unit) in self._waits.items() if name in component.model.times)
        reasons += [(bound, f"threads share {unit}, and wait for each other as long as they can") for unit in units]
        apart = {fifo.name for fifo in self._dividing}
        return reasons + contended(self.graph, self.resources, component.model.times.keys(), apart)

    def _also_awaited(self, component: Component, source: str, counted: Collection[Fifo]) -> list[tuple[str, str]]:
        """What a component waits for besides: tokens of others that take their own time, ``counted`` FIFOs aside."""
        others = [
            fifo.name
            for fifo in self.graph.fifos
            if fifo in self._dividing
            and fifo not in counted
            and fifo.target not in self._held
            and fifo.target.actor in component.model.times
        ]
        reasons = [("estimate", f"what comes over {some(others)} is taken as if it were there")] * bool(others)
        if counted:
            sources = [name for name in self._sources if name in component.model.times and name != source]
            if sources:
                reasons.append(("estimate", f"what {some(sources)} makes is taken as if it were there"))
        return reasons

    def _bound(self, source: str, sink: str, into: Mapping[str, Sequence[Fifo]]) -> Latency:
        """Over FIFOs that divide the graph."""
        found = {source: _Bound(Fraction(0), self._component[source].gap(source), ())}
        entries: dict[Component, list[str]] = {self._component[source]: [source]}
        for name in firing_order(self.graph):
            if name == source or name not in into:
                continue
            component = self._component[name]
            across = [self._across(fifo, found[fifo.source.actor]) for fifo in into[name] if fifo in self._dividing]
            if across:
                entries.setdefault(component, []).append(name)
            within = [
                found[entry].then(component.spread(entry, name))
                for entry in entries.get(component, ())
                if entry != name and name in self._reached(entry)
            ]
            found[name] = max([*across, *within], key=lambda bound: bound.age)
        why = [("bound", "no token waits longer for a reader that takes the newest, or is held longer")]
        for component, own in entries.items():
            counted = [fifo for name in own for fifo in into.get(name, ())]
            inside = own[0] == source
            reasons = self._why(component, own[0], () if inside else counted)
            why += [each for each in reasons if each not in why]
            if own[1:]:
                why.append(("estimate", f"what meets behind {some(own)} is taken as if it came when it is wanted"))
        bound, period, kept = found[sink], self.pace(sink)[0], self._component[source].keeps_up
        return Latency(source, sink, bound.least, bound.age, bound.age, period, bound.parts, *kind_of(why), kept)

    def _across(self, fifo: Fifo, before: _Bound) -> _Bound:
        """How old tokens of a FIFO that divides the graph are when its reader begins, at most."""
        transfer = self.resources.transfers.get(fifo.name)
        writer, reader = fifo.source.actor, fifo.target.actor
        gap = self._component[reader].gap(reader)
        seconds, unsteady = self._model.times[writer], Fraction(0)
        bound = before.then(Part(writer, "fires", seconds))
        if transfer is not None:
            if held_over_link(fifo, transfer):
                sent = transfer_node(fifo, transfer)
                unsteady = self._component[writer].spread(writer, sent).seconds - seconds
                bound = bound.then(Part(fifo.name, "waits", unsteady, "its turn on the link"), certain=False)
            if fifo.policy is FaultPolicy.NEWEST:
                # Kept until what was sent before is taken, and until the link is free.
                kept = transfer.busy + transfer.latency + gap + transfer.back + self._busy(transfer.link)
                bound = bound.then(Part(fifo.name, "waits", kept, "the reader to take the one before"), certain=False)
            bound = bound.then(Part(fifo.name, "is sent", transfer.busy))
            bound = bound.then(Part(fifo.name, "is under way", transfer.latency))
        if fifo.target in self._held:
            wait = Part(fifo.name, "is held", before.gap + unsteady, "a newer one")
        else:
            ahead = 1 if transfer is not None else max(fifo.capacity // self._rates[fifo.name] - 1, 1)
            wait = Part(fifo.name, "waits", ahead * gap, f"'{reader}' to be ready")
        bound = bound.then(wait, certain=False)
        return replace(bound, gap=max(gap, before.gap + bound.age) + bound.age)

    def _busy(self, link: str) -> Fraction:
        """Seconds for which a link is busy with an iteration of all that it carries."""
        return sum((each.busy for each in self.resources.transfers.values() if each.link == link), Fraction(0))


@dataclass(frozen=True)
class _Bound:
    """At the beginning of an actor's firings: the age of tokens, at most and at least, what it is made of, and how far
    apart the source's firings are that two successive ones come from.
    """

    age: Fraction
    gap: Fraction
    parts: tuple[Part, ...]
    least: Fraction = Fraction(0)

    def then(self, part: Part, certain: bool = True) -> _Bound:
        """After one more part of the way; ``certain``: it takes that long in any case."""
        parts = (*self.parts, part) if part.seconds else self.parts
        return _Bound(self.age + part.seconds, self.gap, parts, self.least + certain * part.seconds)


def contended(
    graph: Graph, resources: Resources, actors: Collection[str], apart: Collection[str] = ()
) -> list[tuple[str, str]]:
    """Why a latency is not exact, of each link that these actors write to and that several threads write to.

    FIFOs that are ``apart`` count as threads of their own.
    """
    threads = {name: thread for own in resources.units.values() for thread in own for name in thread}
    writers: dict[str, set[object]] = {}
    used = set()
    for fifo in graph.fifos:
        transfer, name = resources.transfers.get(fifo.name), fifo.source.actor
        if transfer is not None:
            writers.setdefault(transfer.link, set()).add(fifo.name if fifo.name in apart else threads.get(name, name))
            used |= {transfer.link} if name in actors else set()
    several = [link for link, own in writers.items() if link in used and len(own) > 1]
    return [("estimate", f"what {link} carries is taken to come in a fixed order") for link in several]


def unsettled(firings: int) -> list[tuple[str, str]]:
    """Why a latency is not exact, where firings do not repeat themselves yet: so many were looked at, 0 if they do."""
    line = f"it is the greatest of {firings} firings, which do not repeat themselves yet"
    return [("estimate", line)] * bool(firings)


def kind_of(why: Sequence[tuple[str, str]]) -> tuple[str, tuple[str, ...]]:
    """What a latency is, and the lines that say why."""
    kinds = [kind for kind, _ in why]
    kind = "estimate" if "estimate" in kinds else "bound" if kinds else "exact"
    return kind, tuple(line for _, line in why)
