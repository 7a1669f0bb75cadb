"""Rules F3 (what ``newest`` drops is missed where ways meet again) and F4 (time-outs and room fit times and rates).

Both are warnings. FIFOs with a delay are left out: their tokens are taken in order, and belong to no common firing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import Optional

from eprune.analysis.faults import LOSSY
from eprune.analysis.lookup import exact, fifo_rates, some, token_bytes, windows
from eprune.analysis.matching import Matching, matching
from eprune.analysis.precedence import Edge, Precedence, postorder
from eprune.analysis.routes import routes
from eprune.analysis.rules import violation
from eprune.model.finding import Finding
from eprune.model.graph import Actor, FaultPolicy, Fifo, Graph, Match
from eprune.model.platform import Link
from eprune.model.quantity import format_time
from eprune.model.system import System

#: Rates that differ by no more than this factor are alike: a buffer evens out what clocks are apart.
_ALIKE = Fraction(101, 100)


def meetings(graph: Graph) -> Iterator[Finding]:
    """F3: where ways from one source meet again, none has lost tokens, or the number of the firing, on its own."""
    if not any(fifo.policy in LOSSY for fifo in graph.fifos):
        return
    ways = _Ways(graph)
    for fifo in ways.fifos:
        if fifo.policy is FaultPolicy.NEWEST:
            for meeting, fork, ports in ways.met(fifo.__eq__, {fifo.source.actor}):
                message = f"ways from '{fork}' meet again at '{meeting}', and FIFO '{fifo.name}' on one drops tokens"
                hint = f"write hold=\"true\" at {some(ports)}, or let newest stand before '{fork}'"
                yield violation("F3", fifo.where, message, hint)
    found = matching(graph)
    for actor in graph.actors:
        if found.numbers(actor.name):
            sources = {fifo.source.actor for fifo in ways.into[actor.name]}
            for meeting, fork, ports in ways.met(_out_of(actor.name), sources):
                message = (
                    f"ways from '{fork}' meet again at '{meeting}', and '{actor.name}' on one numbers its own firings, "
                    "for its inputs have no source in common"
                )
                hint = f'write hold="true" at {some(ports)}, or match="index" at \'{actor.name}\''
                yield violation("F3", actor.where, message, hint)


class _Ways:
    """The FIFOs over which tokens of one firing pass on."""

    def __init__(self, graph: Graph) -> None:
        self.fifos = [fifo for fifo in graph.fifos if not fifo.delay]
        #: the FIFOs of routes, and those of the answers
        self.routed = {fifo.name for each in routes(graph) for fifo in (*each.fifos, *each.answers)}
        self.actors = {actor.name: actor for actor in graph.actors}
        self.into: dict[str, list[Fifo]] = {name: [] for name in self.actors}
        self.out: dict[str, list[Fifo]] = {name: [] for name in self.actors}
        for fifo in self.fifos:
            self.into[fifo.target.actor].append(fifo)
            self.out[fifo.source.actor].append(fifo)

    def met(self, cut: Callable[[Fifo], bool], sources: set[str]) -> Iterator[tuple[str, str, list[str]]]:
        """Where ways through the FIFOs that are ``cut`` and ways around them meet again: the actor, an actor where they
        part, and the inputs through which the ways come that are cut.

        ``sources`` are the actors before them.
        """
        through = self._forth(filter(cut, self.fifos), lambda fifo: True)
        before = self._back(sources)
        around = self._forth((fifo for actor in before for fifo in self.out[actor] if not cut(fifo)), _not(cut))
        for name, actor in self.actors.items():
            if actor.match is Match.ARRIVAL:
                continue
            led = [fifo for fifo in self.into[name] if self._leads(actor, fifo)]
            lost = [fifo for fifo in led if fifo in through and fifo not in around]
            kept = [fifo for fifo in led if fifo in around and fifo not in through]
            if lost and kept:
                forks = (
                    actor for actor in before if kept[0] in self._forth(filter(_not(cut), self.out[actor]), _not(cut))
                )
                yield name, next(forks), [str(fifo.target) for fifo in lost]

    @staticmethod
    def _leads(actor: Actor, fifo: Fifo) -> bool:
        port = actor.port(fifo.target.port)
        return port is not None and not port.hold and not port.control

    def _forth(self, fifos: Iterable[Fifo], passes: Callable[[Fifo], bool]) -> set[Fifo]:
        """These FIFOs and all that tokens of theirs pass on over."""
        found = set(fifos)
        stack = list(found)
        while stack:
            fresh = {fifo for fifo in self.out[stack.pop().target.actor] if passes(fifo)} - found
            found |= fresh
            stack += fresh
        return found

    def _back(self, actors: Iterable[str]) -> list[str]:
        """These actors and all that lead to them, the nearest first."""
        found = dict.fromkeys(actors)
        queue = list(found)
        for actor in queue:
            for fifo in self.into[actor]:
                if fifo.source.actor not in found:
                    found[fifo.source.actor] = None
                    queue.append(fifo.source.actor)
        return list(found)


def _out_of(actor: str) -> Callable[[Fifo], bool]:
    return lambda fifo: fifo.source.actor == actor


def _not(condition: Callable[[Fifo], bool]) -> Callable[[Fifo], bool]:
    return lambda fifo: not condition(fifo)


# F4


def lateness(system: System) -> Iterator[Finding]:
    """F4: what waits for whom, and for how long, where the files state enough to tell."""
    graph = system.graph
    yield from _unlike_rates(graph)
    if not any(fifo.policy in LOSSY for fifo in graph.fifos):
        return
    ways, found = _Ways(graph), matching(graph)
    timing = _Timing(system, ways, found)
    yield from _growing(ways)
    for actor in graph.actors:
        for group in found.groups[actor.name]:
            yield from _apart(timing, [fifo for fifo in ways.into[actor.name] if fifo.target.port in group])
    yield from _round_trips(timing, graph)


def _unlike_rates(graph: Graph) -> Iterator[Finding]:
    """Sources of unlike rates that meet without ``hold``: the slowest sets the pace of all that wait for each other."""
    paces = {actor.name: _source_pace(actor) for actor in graph.actors if not actor.inputs}
    stated = {name: pace for name, pace in paces.items() if pace is not None}
    if len(set(stated.values())) < 2:
        return
    ways = _Ways(graph)
    for name, actor in ways.actors.items():
        led = [fifo for fifo in ways.into[name] if ways._leads(actor, fifo)]
        before = {fifo: ways._back([fifo.source.actor]) for fifo in led} if len(led) > 1 else {}
        sources = {fifo: [each for each in actors if each in stated] for fifo, actors in before.items()}
        known = [fifo for fifo in before if sources[fifo]]
        awaited = [fifo for fifo in known if not _done_without(actor, fifo)]
        slow = min(awaited, key=lambda fifo: min(stated[each] for each in sources[fifo]), default=None)
        if slow is None:
            continue
        slowest = min(sources[slow], key=stated.__getitem__)
        for fifo in known:
            fastest = min(sources[fifo], key=stated.__getitem__)
            apart = not set(before[fifo]) & set(before[slow])
            if not apart or fifo.policy is FaultPolicy.NEWEST or stated[fastest] <= stated[slowest] * _ALIKE:
                continue
            times = [ways.actors[each].time for fifo in known for each in (*before[fifo], name)]
            result = min([stated[slowest], *(1 / time for time in times if time)])
            yield violation(
                "F4",
                actor.where,
                f"actor '{name}': '{fastest}' with {_per_second(stated[fastest])} and '{slowest}' with "
                f"{_per_second(stated[slowest])} meet at its inputs '{fifo.target.port}' and '{slow.target.port}', and "
                f"it takes one token of each: all of these run at {_per_second(result)}",
                f'write hold="true" at {slow.target} for the pace of \'{fastest}\', or policy="newest" on FIFO '
                f"'{fifo.name}' if only its newest tokens count",
                related=((ways.actors[slowest].where, f"'{slowest}' is here"),),
            )
            break


def _done_without(actor: Actor, fifo: Fifo) -> bool:
    """Whether an actor fires without a token of a FIFO that is late."""
    port = actor.port(fifo.target.port)
    optional = port is not None and not port.required
    return fifo.policy is FaultPolicy.ZERO or (fifo.policy in LOSSY and optional)


def _source_pace(actor: Actor) -> Optional[Fraction]:
    """Tokens per second of a source: what it states, or what its time allows at most; None: unknown."""
    if actor.pace is not None:
        return exact(actor.pace)
    return 1 / actor.time if actor.time else None


def _per_second(pace: Fraction) -> str:
    return f"{float(pace):.4g}/s"


class _Timing:
    """When tokens arrive, and how often; None where the files do not tell."""

    def __init__(self, system: System, ways: _Ways, found: Matching) -> None:
        graph, self.homes = system.graph, system.homes
        self.links = {(platform.name, link.to): link for platform in system.platforms for link in platform.links}
        self.rates, self.sizes, self.windows = fifo_rates(graph), token_bytes(graph), windows(system)
        #: FIFO -> seconds from the firing of its sources to its tokens' arrival
        self.arrival: dict[str, Optional[Fraction]] = {}
        #: actor -> firings per second
        self.pace: dict[str, Optional[Fraction]] = {}
        edges = tuple(Edge(fifo.source.actor, fifo.target.actor, "token", fifo.name) for fifo in ways.fifos)
        outgoing = Precedence(tuple(ways.actors), edges).outgoing()
        order = postorder(ways.actors, {name: [edge.target for edge in own] for name, own in outgoing.items()})
        for name in reversed(order):
            actor = ways.actors[name]
            groups = found.groups[name]
            led = [fifo for fifo in ways.into[name] if groups and fifo.target.port in groups[0]]
            self.pace[name] = self._pace(actor, led if len(groups) == 1 else [])
            begin = _sum(*(self.arrival.get(fifo.name) for fifo in led), join=max) if led else Fraction(0)
            for fifo in ways.out[name]:
                self.arrival[fifo.name] = _sum(begin, actor.time, self._transfer(fifo))

    def _pace(self, actor: Actor, led: list[Fifo]) -> Optional[Fraction]:
        if not actor.inputs:
            return None if actor.pace is None else exact(actor.pace)
        return _sum(*(self.pace.get(fifo.source.actor) for fifo in led), join=min) if led else None

    def link(self, fifo: Fifo) -> Optional[Link]:
        """The link that the FIFO crosses."""
        ends = self.homes.get(fifo.source.actor, ""), self.homes.get(fifo.target.actor, "")
        return None if ends[0] == ends[1] else self.links.get(ends)

    def _transfer(self, fifo: Fifo) -> Optional[Fraction]:
        ends = self.homes.get(fifo.source.actor), self.homes.get(fifo.target.actor)
        if None in ends or ends[0] == ends[1]:
            return Fraction(0)
        link = self.link(fifo)
        if link is None or (link.latency is None and not link.bandwidth):
            return None
        nbytes = self.rates[fifo.name] * self.sizes[fifo.name]
        return exact(link.latency or 0) + (nbytes / exact(link.bandwidth) if link.bandwidth else 0)

    def room(self, fifo: Fifo) -> int:
        """Tokens that may be under way."""
        return fifo.capacity + self.windows.get(fifo.name, 0)

    def tokens(self, fifo: Fifo, seconds: Fraction) -> Optional[int]:
        """How many tokens of the FIFO are made in so many seconds."""
        pace = self.pace[fifo.source.actor]
        return None if pace is None else math.ceil(pace * seconds) * self.rates[fifo.name]


def _sum(*values: Optional[Fraction], join: Callable[[list[Fraction]], Fraction] = sum) -> Optional[Fraction]:  # type: ignore[assignment]
    """The sum of the values, or what ``join`` makes of them; None where one is unknown."""
    known = [value for value in values if value is not None]
    return join(known) if len(known) == len(values) else None


def _growing(ways: _Ways) -> Iterator[Finding]:
    """Time-outs that are stated grow from a FIFO to those behind it: else the later one cannot wait for the earlier."""
    stated = [fifo for fifo in ways.fifos if fifo.policy in LOSSY and fifo.timeout is not None]
    # Of a route, the sender alone decides what is late: it sends the token again.
    stated = [fifo for fifo in stated if fifo.name not in ways.routed]
    given_up = [fifo for fifo in stated if _given_up(ways, fifo)]
    for fifo in stated:
        before = set(ways._back([fifo.source.actor]))
        port = ways.actors[fifo.target.actor].port(fifo.target.port)
        longer = [
            other
            for other in given_up
            if other is not fifo and other.target.actor in before and not _longer(fifo, other)
        ]
        if longer and not (port and port.hold):
            first = max(longer, key=lambda other: other.timeout or 0)
            message = (
                f"FIFO '{fifo.name}': its time-out of {_range(fifo)} is not longer than that of "
                f"'{first.name}' before it, {_range(first)}: both give up at once"
            )
            hint = f"give it a time-out of more than {_range(first)}"
            yield violation("F4", fifo.where, message, hint, related=((first.where, f"FIFO '{first.name}' is here"),))


def _given_up(ways: _Ways, fifo: Fifo) -> bool:
    """Whether an actor goes on without a token that is late: a required one it waits for."""
    port = ways.actors[fifo.target.actor].port(fifo.target.port)
    return fifo.policy is FaultPolicy.ZERO or port is None or not port.required


def _longer(fifo: Fifo, other: Fifo) -> bool:
    """Whether a FIFO always waits longer than the other one; time-outs that are ranges are the same share of each."""
    least, most = other.timeout_floor or other.timeout or 0, other.timeout or 0
    return (fifo.timeout_floor or fifo.timeout or 0) > least and (fifo.timeout or 0) > most


def _range(fifo: Fifo) -> str:
    longest = format_time(fifo.timeout or 0)
    return longest if fifo.timeout_floor is None else f"{format_time(fifo.timeout_floor)}..{longest}"


def _apart(timing: _Timing, fifos: list[Fifo]) -> Iterator[Finding]:
    """Ways that meet again: no time-out is shorter than one is longer than the others, and there is room meanwhile."""
    known = {fifo.name: timing.arrival[fifo.name] for fifo in fifos}
    arrivals = [arrival for arrival in known.values() if arrival is not None]
    if len(fifos) < 2 or len(arrivals) < len(fifos):
        return
    for fifo in [fifo for fifo in fifos if fifo.policy in LOSSY]:
        own: Fraction = known[fifo.name] or Fraction(0)
        behind, ahead = own - min(arrivals), max(arrivals) - own
        if fifo.timeout is not None and behind >= fifo.timeout:
            message = (
                f"FIFO '{fifo.name}': its tokens come {format_time(float(behind))} after the others of one firing, "
                f"and its time-out is {format_time(fifo.timeout)}: it is always late"
            )
            yield violation("F4", fifo.where, message, f"give it a time-out of more than {format_time(float(behind))}")
        needed = timing.tokens(fifo, ahead)
        if needed is not None and needed > timing.room(fifo) and fifo.policy is not FaultPolicy.NEWEST:
            message = (
                f"FIFO '{fifo.name}': its tokens come {format_time(float(ahead))} before the others of one firing, "
                f"in which {needed} are made, and {timing.room(fifo)} have room: some are dropped"
            )
            more = needed + timing.rates[fifo.name] - timing.windows.get(fifo.name, 0)
            yield violation("F4", fifo.where, message, f"give it a capacity of {more}")


def _round_trips(timing: _Timing, graph: Graph) -> Iterator[Finding]:
    """A FIFO over a link has room for the tokens that are made until the first one's release is known."""
    for fifo in graph.fifos:
        link = timing.link(fifo)
        if fifo.policy not in LOSSY or fifo.policy is FaultPolicy.NEWEST or link is None or not link.latency:
            continue
        needed = timing.tokens(fifo, 2 * exact(link.latency))
        if needed is not None and needed > timing.room(fifo):
            message = (
                f"FIFO '{fifo.name}': a round trip of its link takes {format_time(2 * link.latency)}, in which "
                f"{needed} tokens are made, and {timing.room(fifo)} have room: some are dropped"
            )
            yield violation("F4", fifo.where, message, f'write window="{needed - fifo.capacity}"')
