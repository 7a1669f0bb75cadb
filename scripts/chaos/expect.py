"""What the fault analysis predicts of a run in which things have failed, put so that logs can be compared with it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from eprune.analysis.failures import FaultModel, Outcome, Service, Thing, Verdict
from eprune.model.graph import FaultPolicy


@dataclass(frozen=True)
class Expected:
    """What is predicted, beyond the ``outcome``.

    ``ended``: the platforms whose processes end with exit code 1 at once, ``tired``: those that do when they have
    waited for too long. ``stalled``: actor -> iterations after the failure, at least and at most. ``starved``: actors
    that stand still. ``going``: actors that go on, ``serving``: sink -> the sources whose tokens reach it still, as
    numbers. ``orphans``: platforms that no source reaches any more, so that nothing tells them of the end, once the
    tired ones have ended.
    """

    outcome: Outcome
    ended: frozenset[str]
    tired: frozenset[str]
    stalled: Mapping[str, tuple[int, int]]
    starved: frozenset[str]
    going: frozenset[str]
    serving: Mapping[str, frozenset[int]]
    orphans: frozenset[str]

    def __str__(self) -> str:
        if self.ended:
            return f"{self.outcome.verdict.value}: {len(self.ended)} processes end"
        text = f"{self.outcome.verdict.value}: {len(self.serving)} sinks go on"
        if self.stalled:
            least = max(low for low, _ in self.stalled.values())
            text += f", {len(self.stalled)} actors stand after up to {least}"
        return text


def service(system: FaultModel) -> Service:
    """Every source that is left reaches a sink."""
    return Service(tuple(system.sinks))


def identity(actor: str) -> int:
    """The number that a source's tokens carry."""
    return zlib.crc32(actor.encode())


def expect(system: FaultModel, failed: Sequence[Thing]) -> Expected:
    """What happens when these things fail."""
    first = system.outcome(failed, service(system))
    ended, outcome = _without_ends(system, failed, Verdict.STOPS)
    failing = [*failed, *_platforms(system, ended)]
    stalled = {}
    if outcome.verdict is Verdict.STALLS:
        most = late(system).outcome(failing, service(system)).iterations
        stalled = {actor: (least, most[actor]) for actor, least in outcome.iterations.items()}
    left = {actor for actor in system.inputs if actor not in outcome.gone}
    starved = frozenset(outcome.starved)
    going = left - starved - stalled.keys()
    serving = {sink: sources(system, sink, outcome.broken) for sink in system.sinks if sink in going}
    tired, last = _without_ends(system, failing, Verdict.STALLS, Verdict.STOPS)
    left -= set(last.gone)
    fed = _reached(system, [actor for actor in system.sources if actor in left], last.broken)
    orphans = {system.homes[actor] for actor in left} - {system.homes[actor] for actor in fed}
    return Expected(
        first, frozenset(ended), frozenset(tired), stalled, starved, frozenset(going), serving, frozenset(orphans)
    )


def _without_ends(system: FaultModel, failed: Sequence[Thing], *verdicts: Verdict) -> tuple[set[str], Outcome]:
    """The platforms whose processes end while the verdict is one of these, for they have an end of a FIFO for which
    it is; and the outcome for those that are left. A process that ends is a platform that fails, for the others.
    """
    ended: set[str] = set()
    while True:
        outcome = system.outcome([*failed, *_platforms(system, ended)], service(system))
        culprits = [system.fifos[name] for name in outcome.culprits] if outcome.verdict in verdicts else []
        ends = {end.actor for fifo in culprits for end in (fifo.source, fifo.target)} - set(outcome.gone)
        if not ends:
            return ended, outcome
        ended |= {system.homes[actor] for actor in ends}


def _platforms(system: FaultModel, names: set[str]) -> list[Thing]:
    return [thing for thing in system.things if thing.kind == "platform" and thing.name in names]


def late(system: FaultModel) -> FaultModel:
    """The system at the moment at which most can still be done: what is under way is all with the consumer already, or
    none of it has been made yet. An observer learns of the failure only later.
    """

    def widened(fifo):  # type: ignore[no-untyped-def]
        if fifo.name not in system.crossing or fifo.policy is FaultPolicy.STOP:
            return fifo
        return replace(fifo, delay=fifo.delay + fifo.capacity, capacity=fifo.delay + 3 * fifo.capacity)

    return system.like(replace(system.graph, fifos=tuple(widened(fifo) for fifo in system.graph.fifos)))


def sources(system: FaultModel, actor: str, broken: Sequence[str]) -> frozenset[int]:
    """The sources from which tokens reach an actor, as numbers."""
    reached, stack = {actor}, [actor]
    while stack:
        for fifo in system.inputs[stack.pop()]:
            if fifo.name not in broken and fifo.source.actor not in reached:
                reached.add(fifo.source.actor)
                stack.append(fifo.source.actor)
    return frozenset(identity(name) for name in reached if not system.inputs[name])


def _reached(system: FaultModel, sources: Sequence[str], broken: Sequence[str]) -> set[str]:
    """The actors that tokens of these sources reach, these included."""
    reached, stack = set(sources), list(sources)
    while stack:
        fresh = {fifo.target.actor for fifo in system.outputs[stack.pop()] if fifo.name not in broken} - reached
        reached |= fresh
        stack += fresh
    return reached


def upstream(system: FaultModel, actor: str) -> set[str]:
    """The platforms of all that leads to an actor, but for those of sources; its own only if it is fed from within."""
    reached, stack = set(), list(system.inputs[actor])
    found: set[str] = set()
    while stack:
        fifo = stack.pop()
        source = fifo.source.actor
        if fifo.name not in system.crossing:
            found.add(system.homes[fifo.target.actor])
        if source not in reached and system.inputs[source]:
            reached.add(source)
            found.add(system.homes[source])
            stack += system.inputs[source]
    return found
