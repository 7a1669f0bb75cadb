"""What is left of a mapped application when things fail: a closure, a verdict and a count of iterations.

Things that fail are platforms, units, links and declared groups with a common cause. A thing whose failure does exactly
what another's does is the same thing, under the first's name: the only unit that a platform uses is not counted beside
the platform.

What a broken FIFO does is asked of the part that has it, and only then of the service:

- An actor on a failed platform or unit is *gone*. A FIFO is *broken* if an end is gone or has ended, or if no link is
  left between its platforms.
- An actor *starves* if a required input is lost, or if fewer of its data inputs than its quorum (1, if it states none)
  are left. An input is lost if its FIFO is broken and its policy is ``drop``, or if its producer starves: that has a
  process which says so, whatever the policy. Over ``zero``, zeros come in both cases.
- A process *ends* that has an end of a broken ``stop`` FIFO, or of a FIFO within its platform whose other unit has
  failed. For its peers that is the failure of a platform.
- An actor *stands still* at the end of a broken ``wait`` FIFO, and if it has one to an actor that starves, which takes
  no tokens. So does what it hands that on to: all that hangs together with it, but over FIFOs that may lose tokens.
  Over ``drop`` an input is lost, over ``zero`` zeros come, and their producers wait for nobody's room.

A FIFO of a route (``analysis.routes``) is under ``drop``: its tokens go over the others. Where all of them say ``wait``
and no branch is left that answers, the actor that sends by the route stands still.

``newest`` is ``drop`` in all this. An input on ``hold`` is not lost unless its tokens have a ``max-age``, and neither
end of its FIFO waits for the other; but its actor starves with the last input that leads.

Then the run *stops* if the process of an essential actor ends, or every process. Otherwise the application is
*degraded* if the service goes on. If not, it *stalls* if an actor stands still, and else *fails*.

Whatever fails, a live graph with ``drop`` and ``zero`` stays live: no actor waits for a broken FIFO's tokens or room,
so the precedence graph only loses edges.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import Enum
from itertools import combinations
from math import comb
from typing import Optional, Union

from eprune.analysis.lookup import fifo_rates, some, windows
from eprune.analysis.routes import Routing, routes
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

    ``gone`` are actors, ``ended`` platforms whose process ends though nothing of them has failed, or not all.
    ``culprits`` are the FIFOs for which the run stops or stalls. ``iterations``: actor name -> how many iterations at
    least it completes after the failure, for those that a stall brings to a stand. ``zeros`` are the actors that go on
    with zeros for an input. ``missing`` is what the service lacks, for FAILS.
    """

    failed: tuple[Thing, ...]
    verdict: Verdict
    gone: tuple[str, ...]
    ended: tuple[str, ...]
    starved: tuple[str, ...]
    broken: tuple[str, ...]
    culprits: tuple[str, ...]
    iterations: Mapping[str, int]
    zeros: tuple[str, ...]
    missing: str


#: What a FIFO between platforms does with tokens that do not come: its consumer's input is lost.
_LOSING = (FaultPolicy.DROP, FaultPolicy.NEWEST)
#: Neither end waits for ever for the other.
_LOSSY = (*_LOSING, FaultPolicy.ZERO)


class FaultModel:
    """An application with its platforms and mappings, ready to be asked about failures.

    The system must have passed ``analysis.check``, and its mappings must be those of all platforms.
    """

    def __init__(self, system: System) -> None:
        graph = self.graph = system.graph
        self.system = system
        self.homes = system.homes
        self.rates, self.windows = fifo_rates(graph), windows(system)
        self.fifos = {fifo.name: fifo for fifo in graph.fifos}
        self.inputs: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        self.outputs: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        for fifo in graph.fifos:
            self.outputs[fifo.source.actor].append(fifo)
            self.inputs[fifo.target.actor].append(fifo)
        self.crossing = {fifo.name for fifo in graph.fifos if len(set(self._platforms(fifo))) == 2}
        #: the policies that act: of those within a platform, only ``newest`` does
        self.policies = {
            fifo.name: fifo.policy
            for fifo in graph.fifos
            if fifo.name in self.crossing or fifo.policy is FaultPolicy.NEWEST
        }
        #: the routes whose tokens are kept until a branch is back
        self.kept = [routing for routing in routes(graph) if routing.keeps]
        self.policies.update({fifo.name: FaultPolicy.DROP for each in self.kept for fifo in each.fifos})
        ports = dict(graph.ports())
        self.control = {fifo.name for fifo in graph.fifos if ports[fifo.target].control}
        #: FIFOs into inputs that give their last token again, and those of them where it grows too old for that
        self.held = {fifo.name for fifo in graph.fifos if ports[fifo.target].hold}
        self.ageing = {fifo.name for fifo in graph.fifos if ports[fifo.target].max_age is not None}
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
        fate = _Fate(self, failed)
        missing = self._missing(service, fate)
        if fate.ended and (fate.ended & set(service.essential) or fate.ended | fate.gone == self.inputs.keys()):
            verdict, culprits = Verdict.STOPS, fate.stopping
        elif not missing:
            verdict, culprits = Verdict.DEGRADED, []
        elif fate.standing:
            verdict, culprits = Verdict.STALLS, fate.waiting
        else:
            verdict, culprits = Verdict.FAILS, []
        platforms = {self.homes[actor] for actor in fate.ended}
        return Outcome(
            failed=tuple(failed),
            verdict=verdict,
            gone=self._in_order(fate.gone),
            ended=tuple(platform.name for platform in self.system.platforms if platform.name in platforms),
            starved=self._in_order(fate.starved),
            broken=tuple(name for name in self.fifos if name in fate.broken),
            culprits=tuple(fifo.name for fifo in culprits),
            iterations={actor: fate.standing[actor] for actor in self._in_order(fate.standing)},
            zeros=self._in_order(fate.on_zeros()),
            missing=missing if verdict is Verdict.FAILS else "",
        )

    def _in_order(self, actors: Iterable[str]) -> tuple[str, ...]:
        chosen = set(actors)
        return tuple(actor for actor in self.inputs if actor in chosen)

    def ahead(self, fifo: Fifo) -> tuple[int, int]:
        """By how many firings the producer, and the consumer, can be ahead of the other."""
        rate = self.rates[fifo.name]
        room = fifo.capacity + self.windows.get(fifo.name, 0) - fifo.delay
        return room // rate, fifo.delay // rate

    def _missing(self, service: Service, fate: _Fate) -> str:
        """What the service lacks, "" if it goes on."""
        sinks = [sink for sink in service.essential if sink not in fate.out]
        sources = [source for source in self.sources if source not in fate.dead]
        if not sinks:
            return f"no essential sink is left ({some(service.essential)})"
        if not sources:
            return "no source is left"
        if service.sources == "every":
            served = self._reaching(sinks, fate)
            lost = [source for source in sources if source not in served]
            if not lost:
                return ""
            return f"{some(lost)} {'reach' if len(lost) > 1 else 'reaches'} no essential sink"
        needed = 1 if service.sources == "some" else int(service.sources)
        best = max(len(self._reaching([sink], fate).intersection(sources)) for sink in sinks)
        return "" if best >= needed else f"no essential sink is reached by {needed} sources, at most by {best}"

    def _reaching(self, sinks: Sequence[str], fate: _Fate) -> set[str]:
        """The actors from which tokens reach one of the sinks, these included."""
        reached, stack = set(sinks), list(sinks)
        while stack:
            for fifo in self.inputs[stack.pop()]:
                source = fifo.source.actor
                if fifo.name not in fate.silent and source not in fate.out and source not in reached:
                    reached.add(source)
                    stack.append(source)
        return reached


class _Fate:
    """What becomes of actors and FIFOs when things fail: the closure.

    ``gone``, ``ended``, ``starved`` and ``standing`` are actors, the last with the iterations that they still complete.
    No tokens pass over ``silent`` FIFOs: those that are ``broken``, and those of actors that starve. ``stopping`` and
    ``waiting`` are the FIFOs that end the first processes, and that make actors stand.
    """

    def __init__(self, model: FaultModel, failed: Sequence[Thing]) -> None:
        self._model = model
        self._cut = frozenset[str]().union(*(thing.fifos for thing in failed))
        self.gone = set[str]().union(*(thing.actors for thing in failed))
        self.ended, self.starved = set[str](), set[str]()
        self.broken, self.silent = set(self._cut), set(self._cut)
        self.stopping: list[Fifo] = []
        self.waiting: list[Fifo] = []
        self.standing: dict[str, int] = {}
        self._end()
        self._starve(self.broken)
        self._stand()

    @property
    def dead(self) -> set[str]:
        """The actors that are gone, have ended or starve."""
        return self.gone | self.ended | self.starved

    @property
    def out(self) -> set[str]:
        """The actors that do not go on."""
        return self.dead | self.standing.keys()

    def on_zeros(self) -> set[str]:
        """The actors that go on with zeros for an input."""
        zeros = [fifo for name, fifo in self._model.fifos.items() if self._model.policies.get(name) is FaultPolicy.ZERO]
        lasting = self._model.held - self._model.ageing
        quiet = [fifo for fifo in zeros if fifo.name in self.silent or fifo.source.actor in self.standing]
        quiet = [fifo for fifo in quiet if fifo.name not in lasting]
        return {fifo.target.actor for fifo in quiet} - self.out

    def _end(self) -> None:
        """Which processes end, until no further one does."""
        model = self._model
        while stopping := [fifo for name, fifo in model.fifos.items() if name in self.broken and self._stops(fifo)]:
            self.stopping = self.stopping or stopping
            homes = {model.homes[actor] for fifo in stopping for actor in self._left(fifo)}
            fresh = {actor for actor, home in model.homes.items() if home in homes} - self.gone - self.ended
            self.ended |= fresh
            self.broken |= self._silence(fresh)

    def _stops(self, fifo: Fifo) -> bool:
        """Whether a broken FIFO ends a process that is left at an end of it."""
        if fifo.name in self._model.crossing:
            return fifo.policy is FaultPolicy.STOP and bool(self._left(fifo))
        return fifo.name in self._cut and bool(self._left(fifo))

    def _left(self, fifo: Fifo) -> set[str]:
        """The ends whose processes go on; an actor that starves is in one."""
        return {fifo.source.actor, fifo.target.actor} - self.gone - self.ended

    def _silence(self, actors: Iterable[str]) -> set[str]:
        """No tokens pass over any FIFO of these actors any more; those over which some did until now."""
        model = self._model
        own = {fifo.name for actor in actors for fifo in (*model.inputs[actor], *model.outputs[actor])}
        fresh = own - self.silent
        self.silent |= fresh
        return fresh

    def _starve(self, fresh: Iterable[str]) -> None:
        """Who starves because these FIFOs are silent, and so on."""
        queue = list(fresh)
        while queue:
            actor = self._model.fifos[queue.pop()].target.actor
            if actor not in self.dead and self._starves(actor):
                self.starved.add(actor)
                queue += self._silence([actor])

    def _loses(self, fifo: Fifo) -> bool:
        """Whether the consumer does without a FIFO, rather than to wait or to get zeros."""
        policy = self._model.policies.get(fifo.name)
        if fifo.name in self._model.held:
            return fifo.name in self.silent and fifo.name in self._model.ageing and policy is not FaultPolicy.ZERO
        if fifo.source.actor in self.starved and fifo.name not in self.broken:
            return policy is not FaultPolicy.ZERO
        return fifo.name in self.silent and (policy is None or policy in _LOSING)

    def _starves(self, actor: str) -> bool:
        model = self._model
        lost = {fifo.name for fifo in model.inputs[actor] if self._loses(fifo)}
        data = [fifo.name for fifo in model.inputs[actor] if fifo.name not in model.control]
        left = [name for name in data if name not in lost]
        if lost & model.required or (data and len(left) < model.quorum[actor]):
            return True
        return bool(data) and model.held.issuperset(left)  # nothing is left that leads

    def _stand(self) -> None:
        """Who stands still, and who starves because of that, until nothing changes any more."""
        model = self._model
        while True:
            self.waiting = [fifo for name, fifo in model.fifos.items() if name in self.silent and self._waits(fifo)]
            self.waiting += [fifo for routing in model.kept if self._unanswered(routing) for fifo in routing.fifos]
            self.standing = self._stall()
            late = {
                name
                for name, fifo in model.fifos.items()
                if (model.policies.get(name) in _LOSING or name in model.held) and fifo.source.actor in self.standing
            } - self.silent
            if not late:
                return
            self.silent |= late
            self._starve(late)

    def _waits(self, fifo: Fifo) -> bool:
        """Whether a silent FIFO makes an actor stand: at its end if it is broken, else before one that starves."""
        if self._model.policies.get(fifo.name) is not FaultPolicy.WAIT:
            return False
        if fifo.name in self.broken:
            ends = {fifo.source.actor} if fifo.name in self._model.held else {fifo.source.actor, fifo.target.actor}
            return bool(ends - self.gone - self.ended)
        return fifo.source.actor not in self.dead

    def _unanswered(self, routing: Routing) -> bool:
        """Whether the sender of a route is left, and no branch that answers."""
        out = {*self.dead, *(fifo.source.actor for fifo in routing.answers if fifo.name in self.silent)}
        lost = [
            fifo.name in self.silent or not out.isdisjoint(branch)
            for fifo, branch in zip(routing.fifos, routing.branches)
        ]
        return routing.source not in self.dead and all(lost)

    def _stall(self) -> dict[str, int]:
        """How many iterations each actor that comes to a stand completes after a failure between two iterations.

        Over a FIFO with rate r, delay d and capacity c, window included, the consumer can be floor(d/r) firings ahead
        of the producer, the producer floor((c-d)/r) ahead of the consumer; over a broken one that counts from the
        failure. So the counts are shortest paths.

        Who stands still because of a broken FIFO may do so before it starves, and hand that on.
        """
        for_sure = [fifo for fifo in self.waiting if fifo.name in self.broken]
        standing = self._spread(for_sure, self.gone | self.ended, self.broken)
        for actor, count in self._spread(self.waiting, self.dead, self.silent).items():
            standing[actor] = min(count, standing.get(actor, count))
        return standing

    def _spread(self, waiting: Sequence[Fifo], dead: Set[str], silent: Set[str]) -> dict[str, int]:
        """The counts from these FIFOs on, among those who are not ``dead``, over FIFOs that are not ``silent``."""
        model = self._model
        reached: dict[str, int] = {}
        queue: list[tuple[int, str]] = []
        for fifo in waiting:
            room, tokens = model.ahead(fifo)
            routed = fifo.route is not None
            queue.append((0 if routed else room, fifo.source.actor))
            if fifo.name not in model.held and not routed:
                queue.append((tokens, fifo.target.actor))
        heapq.heapify(queue)
        while queue:
            count, actor = heapq.heappop(queue)
            if actor in dead or actor in reached:
                continue
            reached[actor] = count
            for fifo in model.outputs[actor]:
                if self._hands_on(fifo, silent):
                    heapq.heappush(queue, (count + model.ahead(fifo)[1], fifo.target.actor))
            for fifo in model.inputs[actor]:
                if self._hands_on(fifo, silent):
                    heapq.heappush(queue, (count + model.ahead(fifo)[0], fifo.source.actor))
        return reached

    def _hands_on(self, fifo: Fifo, silent: Set[str]) -> bool:
        """Whether one end of the FIFO stands still where the other one does."""
        name, model = fifo.name, self._model
        return name not in silent and name not in model.held and model.policies.get(name) not in _LOSSY


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
