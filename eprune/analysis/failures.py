"""What is left of a mapped application when things fail: a closure, a verdict and a count of iterations.

Things that fail are platforms, units, links and declared groups with a common cause. A thing whose failure does exactly
what another's does is the same thing, under the first's name: the only unit that a platform uses is not counted beside
the platform.

- An actor on a failed platform or unit is *gone*. A FIFO is *broken* if an end is gone or starved, or if no link is
  left between its platforms.
- An actor *starves* if a required input is lost, or if fewer of its data inputs than its quorum (1, if it states none)
  are left. An input is lost if its FIFO is broken and its policy is ``drop``. A FIFO within a platform has no policy;
  what starves passes nothing on over it, as over ``drop``.
- The run *stops* if a ``stop`` FIFO is broken, or a FIFO within a platform whose other unit has failed, and an end of
  it is not gone: that process notices. It *stalls* likewise for ``wait``: what hangs together with the end stands
  still. Otherwise the application is *degraded* if the service goes on, and *fails* if it does not.

Whatever fails, a live graph with ``drop`` and ``zero`` stays live: no actor waits for a broken FIFO's tokens or room,
so the precedence graph only loses edges.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations
from math import comb
from typing import Optional, Union

from eprune.analysis.lookup import fifo_rates, some
from eprune.model.finding import Location
from eprune.model.graph import FaultPolicy, Fifo, Graph
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System


class Verdict(str, Enum):
    """What becomes of a run; only DEGRADED is a survival."""

    STOPS = "stops"
    STALLS = "stalls"
    DEGRADED = "degraded"
    FAILS = "fails"


@dataclass(frozen=True)
class Thing:
    """What fails as one: the ``actors`` that are gone with it, and the ``fifos`` that it breaks by itself."""

    kind: str  # "platform", "unit", "link" or "group"
    name: str  # of a unit "PLATFORM/UNIT", of a link "PLATFORM - PLATFORM"
    actors: frozenset[str]
    fifos: frozenset[str]
    where: Location

    def __str__(self) -> str:
        return f"{self.kind} '{self.name}'"


@dataclass(frozen=True)
class Service:
    """What must go on: ``sources`` of the sources reach a sink of ``essential``.

    "some": at least one does; "every": every source that is left, and one is left; a number: that many reach the same
    sink.
    """

    essential: tuple[str, ...]
    sources: Union[str, int] = "every"


@dataclass(frozen=True)
class Outcome:
    """What a set of failures leads to; names are in file order.

    ``culprits`` are the FIFOs for which the run stops or stalls. ``iterations``: actor name -> how many iterations at
    least it completes after the failure, for those that a stall brings to a stand. ``missing`` is what the service
    lacks, for FAILS.
    """

    failed: tuple[Thing, ...]
    verdict: Verdict
    gone: tuple[str, ...]
    starved: tuple[str, ...]
    broken: tuple[str, ...]
    culprits: tuple[str, ...]
    iterations: Mapping[str, int]
    missing: str


class FaultModel:
    """An application with its platforms and mappings, ready to be asked about failures.

    The system must have passed ``analysis.check``, and its mappings must be those of all platforms.
    """

    def __init__(self, system: System) -> None:
        graph = self.graph = system.graph
        self.system = system
        self.homes = system.homes
        self.rates = fifo_rates(graph)
        self.fifos = {fifo.name: fifo for fifo in graph.fifos}
        self.inputs: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        self.outputs: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        for fifo in graph.fifos:
            self.outputs[fifo.source.actor].append(fifo)
            self.inputs[fifo.target.actor].append(fifo)
        self.crossing = {fifo.name for fifo in graph.fifos if len(set(self._platforms(fifo))) == 2}
        ports = dict(graph.ports())
        self.control = {fifo.name for fifo in graph.fifos if ports[fifo.target].control}
        self.required = {fifo.name for fifo in graph.fifos if ports[fifo.target].required} | self.control
        self.quorum = {actor.name: actor.quorum or 1 for actor in graph.actors}
        self.sources = [actor.name for actor in graph.actors if not actor.inputs]
        self.sinks = [actor.name for actor in graph.actors if not actor.outputs]
        self.things = self._things(system.platforms, system.mappings)

    def like(self, graph: Graph) -> FaultModel:
        """The same deployment of a graph with the same actors and FIFOs."""
        return FaultModel(replace(self.system, graph=graph))

    def _platforms(self, fifo: Fifo) -> tuple[str, str]:
        return self.homes[fifo.source.actor], self.homes[fifo.target.actor]

    def _things(self, platforms: Sequence[Platform], mappings: Sequence[PlatformMapping]) -> tuple[Thing, ...]:
        """What can fail and matters, each once, in the order platforms, units, links, groups."""
        units = {
            (mapping.platform, placement.unit, placement.actor)
            for mapping in mappings
            for placement in mapping.placements
            if placement.unit is not None
        }
        groups: dict[str, list[tuple[Location, set[str], set[str]]]] = {}
        listed: dict[str, list[Thing]] = {"platform": [], "unit": [], "link": [], "group": []}

        def add(kind: str, name: str, actors: set[str], fifos: set[str], thing: Union[Platform, Unit, Link]) -> None:
            listed[kind].append(self._thing(kind, name, actors, fifos, thing.where))
            for group in thing.groups:
                groups.setdefault(group, []).append((thing.where, actors, fifos))

        for platform in platforms:
            add(
                "platform",
                platform.name,
                {a for a, home in self.homes.items() if home == platform.name},
                set(),
                platform,
            )
            for unit in platform.units:
                actors = {actor for home, name, actor in units if (home, name) == (platform.name, unit.name)}
                add("unit", f"{platform.name}/{unit.name}", actors, set(), unit)
            for link in platform.links:
                ends = sorted((platform.name, link.to))
                fifos = {name for name in self.crossing if sorted(self._platforms(self.fifos[name])) == ends}
                add("link", " - ".join(ends), set(), fifos, link)
        for name, members in groups.items():
            actors = set().union(*(member[1] for member in members))
            fifos = set().union(*(member[2] for member in members))
            listed["group"].append(self._thing("group", name, actors, fifos, members[0][0]))
        distinct: dict[tuple[frozenset[str], frozenset[str]], Thing] = {}
        for kind in listed:
            for thing in listed[kind]:
                if thing.actors or thing.fifos:
                    distinct.setdefault((thing.actors, thing.fifos), thing)
        return tuple(distinct.values())

    def _thing(self, kind: str, name: str, actors: set[str], fifos: set[str], where: Location) -> Thing:
        incident = {fifo.name for actor in actors for fifo in (*self.inputs[actor], *self.outputs[actor])}
        return Thing(kind, name, frozenset(actors), frozenset(fifos | incident), where)

    def outcome(self, failed: Sequence[Thing], service: Service) -> Outcome:
        """What happens when these things, and no others, fail."""
        gone = set().union(*(thing.actors for thing in failed))
        cut = set().union(*(thing.fifos for thing in failed))
        broken, starved = self._starve(gone, cut)
        noticed = [
            fifo
            for name, fifo in self.fifos.items()
            if name in broken and not {fifo.source.actor, fifo.target.actor} <= gone
        ]
        stopping = [
            fifo
            for fifo in noticed
            if (fifo.policy is FaultPolicy.STOP if fifo.name in self.crossing else fifo.name in cut)
        ]
        waiting = [fifo for fifo in noticed if fifo.policy is FaultPolicy.WAIT and fifo.name in self.crossing]
        dead = gone | starved
        missing, iterations = "", {}
        if stopping:
            verdict = Verdict.STOPS
        elif waiting:
            verdict, iterations = Verdict.STALLS, self._stall(waiting, dead, broken)
        else:
            missing = self._missing(service, dead, broken)
            verdict = Verdict.FAILS if missing else Verdict.DEGRADED
        return Outcome(
            failed=tuple(failed),
            verdict=verdict,
            gone=self._in_order(gone),
            starved=self._in_order(starved),
            broken=tuple(name for name in self.fifos if name in broken),
            culprits=tuple(fifo.name for fifo in stopping or waiting),
            iterations={actor: iterations[actor] for actor in self._in_order(iterations)},
            missing=missing,
        )

    def _in_order(self, actors: Iterable[str]) -> tuple[str, ...]:
        chosen = set(actors)
        return tuple(actor for actor in self.inputs if actor in chosen)

    def _starve(self, gone: set[str], cut: set[str]) -> tuple[set[str], set[str]]:
        """The closure: all broken FIFOs, and the actors that starve."""
        broken, starved = set(cut), set[str]()
        queue = list(cut)
        while queue:
            actor = self.fifos[queue.pop()].target.actor
            if actor in gone or actor in starved or not self._starves(actor, broken):
                continue
            starved.add(actor)
            fresh = [fifo.name for fifo in (*self.inputs[actor], *self.outputs[actor]) if fifo.name not in broken]
            broken.update(fresh)
            queue += fresh
        return broken, starved

    def _starves(self, actor: str, broken: set[str]) -> bool:
        lost = {
            fifo.name
            for fifo in self.inputs[actor]
            if fifo.name in broken and (fifo.policy is FaultPolicy.DROP or fifo.name not in self.crossing)
        }
        data = [fifo.name for fifo in self.inputs[actor] if fifo.name not in self.control]
        left = sum(name not in lost for name in data)
        return bool(lost & self.required) or (bool(data) and left < self.quorum[actor])

    def _stall(self, waiting: Sequence[Fifo], dead: set[str], broken: set[str]) -> dict[str, int]:
        """How many iterations each actor that comes to a stand completes after a failure between two iterations.

        Over a FIFO with rate r, delay d and capacity c the consumer can be floor(d/r) firings ahead of the producer,
        the producer floor((c-d)/r) ahead of the consumer; over a broken one that counts from the failure. So the counts
        are shortest paths.
        """
        reached: dict[str, int] = {}
        queue: list[tuple[int, str]] = []
        for fifo in waiting:
            queue += [(self._ahead(fifo)[0], fifo.source.actor), (self._ahead(fifo)[1], fifo.target.actor)]
        heapq.heapify(queue)
        while queue:
            count, actor = heapq.heappop(queue)
            if actor in dead or actor in reached:
                continue
            reached[actor] = count
            for fifo in self.outputs[actor]:
                if fifo.name not in broken:
                    heapq.heappush(queue, (count + self._ahead(fifo)[1], fifo.target.actor))
            for fifo in self.inputs[actor]:
                if fifo.name not in broken:
                    heapq.heappush(queue, (count + self._ahead(fifo)[0], fifo.source.actor))
        return reached

    def _ahead(self, fifo: Fifo) -> tuple[int, int]:
        """By how many firings the producer, and the consumer, can be ahead of the other."""
        rate = self.rates[fifo.name]
        return (fifo.capacity - fifo.delay) // rate, fifo.delay // rate

    def _missing(self, service: Service, dead: set[str], broken: set[str]) -> str:
        """What the service lacks, "" if it goes on."""
        sinks = [sink for sink in service.essential if sink not in dead]
        sources = [source for source in self.sources if source not in dead]
        if not sinks:
            return f"no essential sink is left ({some(service.essential)})"
        if not sources:
            return "no source is left"
        if service.sources == "every":
            served = self._reaching(sinks, broken)
            lost = [source for source in sources if source not in served]
            if not lost:
                return ""
            return f"{some(lost)} {'reach' if len(lost) > 1 else 'reaches'} no essential sink"
        needed = 1 if service.sources == "some" else int(service.sources)
        best = max(len(self._reaching([sink], broken).intersection(sources)) for sink in sinks)
        return "" if best >= needed else f"no essential sink is reached by {needed} sources, at most by {best}"

    def _reaching(self, sinks: Sequence[str], broken: set[str]) -> set[str]:
        """The actors from which tokens reach one of the sinks, these included."""
        reached, stack = set(sinks), list(sinks)
        while stack:
            for fifo in self.inputs[stack.pop()]:
                if fifo.name not in broken and fifo.source.actor not in reached:
                    reached.add(fifo.source.actor)
                    stack.append(fifo.source.actor)
        return reached


#: More sets of failing things than this take minutes.
MAX_SETS = 300_000


def sets_to_try(things: int, most: int) -> int:
    """How many sets of at most ``most`` of so many things there are."""
    return sum(comb(things, size) for size in range(most + 1))


def minimal_failures(system: FaultModel, most: int, service: Service) -> tuple[Outcome, ...]:
    """The sets of at most ``most`` things that are not survived, and of which every smaller part is; small ones first.

    That one set is survived says nothing of its parts (with the last source of a lost server the service is whole
    again), so all sets are tried but those with a part that was found already: ``sets_to_try`` says how many.
    """
    found: list[Outcome] = []
    bad: set[tuple[Thing, ...]] = set()
    for size in range(min(most, len(system.things)) + 1):
        sizes = sorted({len(part) for part in bad})
        for failed in combinations(system.things, size):
            if any(part in bad for smaller in sizes for part in combinations(failed, smaller)):
                continue
            outcome = system.outcome(failed, service)
            if outcome.verdict is not Verdict.DEGRADED:
                found.append(outcome)
                bad.add(failed)
    return tuple(found)


def survived(most: int, failures: Sequence[Outcome]) -> Optional[int]:
    """The number k for which every set of at most k things is survived, up to ``most``; None: not even that of none."""
    smallest = min((len(outcome.failed) for outcome in failures), default=most + 1)
    return smallest - 1 if smallest else None
