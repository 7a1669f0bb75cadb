"""What the fault analysis predicts of a run in which things have failed, put so that logs can be compared with it."""

from __future__ import annotations

import zlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

from eprune.analysis.failures import FaultModel, Outcome, Service, Thing
from eprune.model.graph import FaultPolicy, Fifo


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
        if not self.going and not self.stalled and not self.starved:
            return f"{self.outcome.verdict.value}: {len(self.ended)} processes end"
        text = f"{self.outcome.verdict.value}: {len(self.serving)} sinks go on"
        if self.ended:
            text += f", {len(self.ended)} processes end"
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
    outcome = system.outcome(failed, service(system))
    most = late(system).outcome(failed, service(system)).iterations
    # What is under way when it happens takes room that nobody gives back.
    crossing = [fifo for name, fifo in system.fifos.items() if name in system.crossing]
    taken = max((fifo.capacity + (fifo.window or 0) for fifo in crossing), default=0)
    stalled = {actor: (max(least - taken, 0), most[actor]) for actor, least in outcome.iterations.items()}
    left = _left(system, outcome)
    starved = frozenset(outcome.starved) & left
    going = left - starved - stalled.keys()
    still = {fifo.name for actor in (*stalled, *starved) for fifo in system.outputs[actor]}
    serving = {sink: sources(system, sink, still.union(outcome.broken)) for sink in system.sinks if sink in going}
    tired, last = _tired(system, failed, outcome)
    fed = _reached(system, [actor for actor in system.sources if actor in _left(system, last)], last.broken)
    orphans = {system.homes[actor] for actor in _left(system, last)} - {system.homes[actor] for actor in fed}
    ended = frozenset(outcome.ended)
    return Expected(outcome, ended, frozenset(tired), stalled, starved, frozenset(going), serving, frozenset(orphans))


def _left(system: FaultModel, outcome: Outcome) -> set[str]:
    """The actors whose processes go on."""
    return {a for a, home in system.homes.items() if a not in outcome.gone and home not in outcome.ended}


def _tired(system: FaultModel, failed: Sequence[Thing], outcome: Outcome) -> tuple[set[str], Outcome]:
    """The platforms whose processes end when they have waited for too long at the end of a ``wait`` FIFO, and the
    outcome for those that are left: for them, that is the failure of a platform.
    """
    tired: set[str] = set()
    while True:
        left = _left(system, outcome)
        waiting = [fifo for name, fifo in system.fifos.items() if name in outcome.broken and _waits(system, fifo)]
        ends = {end.actor for fifo in waiting for end in (fifo.source, fifo.target)} & left
        if not ends:
            return tired, outcome
        tired |= {system.homes[actor] for actor in ends}
        outcome = system.outcome([*failed, *_platforms(system, tired)], service(system))


def _waits(system: FaultModel, fifo: Fifo) -> bool:
    return fifo.name in system.crossing and fifo.policy is FaultPolicy.WAIT


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


def sources(system: FaultModel, actor: str, broken: Container[str]) -> frozenset[int]:
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
