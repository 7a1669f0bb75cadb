"""A case: things of a topology fail while it runs, and what is seen is held against what the analysis predicts."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace
from typing import NamedTuple, Optional, Protocol

from eprune.analysis.failures import FaultModel, Thing
from eprune.model.graph import FaultPolicy
from scripts.chaos import checks
from scripts.chaos.expect import Expected, expect, identity
from scripts.chaos.faults import Fault, platforms
from scripts.chaos.network import joined
from scripts.chaos.running import Built, Run
from scripts.chaos.surroundings import Surroundings, full_disk
from scripts.chaos.topologies import Topology

#: Seconds that a start, a failure's consequences, a recovery and an end may take on a busy machine.
START, FAIL, RECOVER, END = 30.0, 8.0, 20.0, 30.0
#: Seconds for which programs wait for a peer: one that comes back must find them there, one that does not ends them.
PATIENCE, IMPATIENCE = FAIL + RECOVER, 2.5
#: Seconds in which what was gone is back, however long it was gone.
BACK = 2.0
#: Seconds after which a token is late, unless its FIFO says, the share of that for room, and a margin for pauses.
TIMEOUT, ROOM, MARGIN = 2.0, 0.2, 0.1
#: Firings by which something is seen to go on, and seconds without one by which it is seen to stand.
FIRINGS, STILL = 20, 0.4


class Trial(Protocol):
    """Something that is tried: in a topology, something fails in some way."""

    @property
    def topology(self) -> Topology:
        """The application."""

    @property
    def failing(self) -> str:
        """What fails."""

    @property
    def how(self) -> str:
        """In which way."""

    def run(self, built: Built) -> Result:
        """What comes of it. Raises NotPermitted where this machine does not allow it."""


class Case(NamedTuple):
    """``things`` are names of what fails, for ``seconds`` at least."""

    topology: Topology
    fault: Fault
    things: tuple[str, ...]
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.topology.name}: {self.failing} {self.how}"

    @property
    def failing(self) -> str:
        """What fails."""
        return " and ".join(self.things)

    @property
    def how(self) -> str:
        """In which way."""
        return self.fault.name + f", after {self.seconds:g} s" * (self.seconds > 0)

    def run(self, built: Built) -> Result:
        """What comes of it. Raises NotPermitted where this machine does not allow it."""
        return run_case(self, built)


class Result(NamedTuple):
    """What came of a case. ``pause``: the longest one, until the end of the run, between results at a sink of a source
    that do not need what failed; ``back``: from the recovery of what failed to the first result of all sources at all
    sinks; seconds. ``wrong``: where prediction and reality differ.
    """

    case: Trial
    predicted: str
    seen: str
    lost: int
    pause: Optional[float]
    back: Optional[float]
    wrong: tuple[str, ...]


def run_case(case: Case, built: Built) -> Result:
    """Run it. Raises NotPermitted where this machine does not allow it."""
    system = built.system
    things = [next(thing for thing in system.things if thing.name == name) for name in case.things]
    fault, healthy = case.fault, expect(system, ())
    expected = expect(system, things)
    if fault.harmless or not (fault.lasting or expected.ended):
        expected = healthy
    patience = PATIENCE + case.seconds if fault.heal else IMPATIENCE
    names = frozenset(platforms(things))
    with (
        joined(system, fault.namespaces) as network,
        full_disk() if fault.full else contextlib.nullcontext() as disk,
        Run(built, network, patience, Surroundings(names, disk, fault.piped)) as run,
    ):
        return _run(case, run, things, healthy, expected)


def _run(case: Case, run: Run, things: list[Thing], healthy: Expected, expected: Expected) -> Result:
    fault, period = case.fault, case.topology.period
    independent = healthy.serving if fault.full else expect(run.system, things).serving
    wrong: list[str] = []

    def result(pause: Optional[float] = None, back: Optional[float] = None) -> Result:
        told = tuple(dict.fromkeys(wrong))
        seen = f"differs: {told[0]}" if told else str(expected)
        return Result(case, str(expected), seen, 0 if period else checks.lost(run), pause, back, told)

    start = Moment(run, period)
    if not run.wait(lambda: not any(start.lacking(healthy)), START):
        wrong += [f"before anything failed: {what}" for what in start.lacking(healthy)]
        return result()
    failure = Moment(run, period)
    fault.apply(run, things)
    failure.happened()
    if not run.wait(lambda: not any(failure.lacking(expected)), FAIL):
        wrong += failure.lacking(expected)
    run.wait(lambda: time.monotonic() >= failure.time + case.seconds, case.seconds + 1)
    back = None
    healed = fault.heal is not None and not expected.ended
    if healed:
        recovery = Moment(run, period)
        fault.heal(run, things)
        if run.wait(lambda: not any(recovery.lacking(healthy)), RECOVER):
            back = recovery.served(healthy)
            if case.seconds and back > BACK + run.calm.pause(recovery.time, recovery.time + back):
                wrong.append(f"back only after {back:.1f} s")
        else:
            wrong += [f"after recovery: {what}" for what in recovery.lacking(healthy)]
    pause = failure.pause(independent)
    wrong += too_long(run, failure, pause)
    run.stop()
    for platform in run.processes:
        run.signal(platform, signal.SIGCONT)
    orphans = set() if healed else expected.orphans
    if not run.wait(lambda: run.over(run.processes.keys() - orphans), END):
        wrong += [f"{platform} hangs" for platform in run.processes if run.code(platform) is None]
        return result(pause, back)
    for platform in orphans:
        run.signal(platform, signal.SIGTERM)
    if not run.wait(lambda: run.over(run.processes), END):
        wrong += [f"{platform} does not heed SIGTERM" for platform in orphans]
        return result(pause, back)
    ended = expected.ended | _drawn(run.system, set(platforms(things)), expected.ended)
    if fault.full:
        ended |= set(platforms(things))
    wrong += [*checks.codes(run, replace(expected, ended=ended), healed), *checks.accounts(run)]
    wrong += checks.streams(run, period)
    return result(pause, back)


def too_long(run: Run, since: Moment, pause: Optional[float]) -> list[str]:
    """What is wrong if the longest pause of those that do not need the failed is longer than it may be."""
    most = longest_pause(run, since.time)
    if pause is None or pause <= most:
        return []
    return [f"a pause of {pause:.2f} s of what does not need the failed, not {most:.2f} at most"]


def longest_pause(run: Run, begin: float) -> float:
    """Seconds that may pass since ``begin`` between two results that do not need what failed: the time-outs on the
    longest path, a margin, and what this machine does to everybody.
    """
    system = run.system
    steps = [system.fifos[name] for name in system.crossing]
    timeouts = [(fifo.timeout or TIMEOUT) + (fifo.room_timeout or (fifo.timeout or TIMEOUT) * ROOM) for fifo in steps]
    path = _path(system, system.sinks)
    return path * max(timeouts, default=0.0) + MARGIN + run.calm.pause(begin, time.monotonic())


def _path(system: FaultModel, actors: Iterable[str]) -> int:
    """The most FIFOs between platforms on a way to one of these actors."""
    return max(
        (
            (fifo.name in system.crossing) + _path(system, [fifo.source.actor])
            for actor in actors
            for fifo in system.inputs[actor]
            if not fifo.delay
        ),
        default=0,
    )


def _drawn(system: FaultModel, failed: set[str], ended: Set[str]) -> set[str]:
    """Those of the failed platforms that end if they come back: they have a ``stop`` FIFO with one that ended."""
    stopping = [fifo for fifo in system.graph.fifos if fifo.policy is FaultPolicy.STOP and fifo.name in system.crossing]
    ends = [{system.homes[fifo.source.actor], system.homes[fifo.target.actor]} for fifo in stopping]
    return {platform for platform in failed if any(platform in pair and (pair - failed) & ended for pair in ends)}


class Moment:
    """A moment of a run, and what has become of its actors since."""

    def __init__(self, run: Run, period: int) -> None:
        run.update()
        self._run = run
        self._period = period
        self.time = time.monotonic()
        self._firings = {actor: len(log.firings) for actor, log in run.logs.items()}
        self._latest = dict(self._firings)
        #: (source, incarnation) -> tokens made until then
        self._made: dict[tuple[int, int], int] = {}
        for source in run.system.sources:
            for firing in run.logs[source].firings:
                for token in firing.tokens:
                    self._made[token.source, token.incarnation] = token.number + 1

    def happened(self) -> None:
        """What was done at this moment, which takes a while, is done."""
        self._run.update()
        self._latest = {actor: len(log.firings) for actor, log in self._run.logs.items()}

    def _since(self, actor: str):  # type: ignore[no-untyped-def]
        return self._run.logs[actor].firings[self._firings[actor] :]

    def lacking(self, expected: Expected) -> Iterator[str]:
        """What was predicted and has not been seen yet."""
        run, now = self._run, time.monotonic()
        for sink, sources in expected.serving.items():
            fresh = self._fresh(sink)
            for source in sources:
                if len(fresh.get(source, ())) < FIRINGS:
                    names = {identity(name): name for name in run.system.sources}
                    yield f"{sink} has {len(fresh.get(source, ()))} results of {names[source]}"
        for actor in expected.going & self._run.logged:
            if len(self._since(actor)) < FIRINGS:
                yield f"{actor} does not go on"
        stalled = expected.stalled.keys() & self._run.logged
        for actor in stalled | (expected.starved & self._run.logged):
            log = run.logs[actor].firings
            if log and now - log[-1].time < STILL:
                yield f"{actor} does not stand still"
        before, latest = [[counts[actor] for actor in stalled] for counts in (self._firings, self._latest)]
        for actor in stalled:
            least, most = expected.stalled[actor]
            count = len(run.logs[actor].firings)
            # A firing that was counted before may have been going on still.
            if not min(before) - 1 + least <= count <= max(latest) + most:
                done = count - self._firings[actor]
                yield f"{actor} stands after {done} iterations, not {least} to {most}"
        for platform in run.processes:
            code = run.code(platform)
            if (code is None) == (platform in expected.ended):
                yield f"{platform} goes on" if code is None else f"{platform} ends with {code}: {run.errors(platform)}"

    def _fresh(self, sink: str) -> dict[int, list[float]]:
        """Source -> when the sink got tokens that were made since."""
        found: dict[int, list[float]] = {}
        for firing in self._since(sink):
            for token in firing.tokens:
                if self._period:
                    for source in self._run.system.sources:
                        found.setdefault(identity(source), []).append(firing.time)
                elif token.number >= self._made.get((token.source, token.incarnation), 0):
                    found.setdefault(token.source, []).append(firing.time)
        return found

    def pause(self, serving: Mapping[str, Set[int]]) -> Optional[float]:
        """The longest pause until now between results of a source at a sink, of those in ``serving``, in seconds."""
        now, pauses = time.monotonic(), []
        for sink, sources in serving.items():
            for source in sources:
                firings = self._since(sink)
                if not self._period:
                    firings = [each for each in firings if any(token.source == source for token in each.tokens)]
                times = [self.time, *(firing.time for firing in firings), now]
                pauses += [later - sooner for sooner, later in zip(times, times[1:])]
        return max(pauses, default=None)

    def served(self, expected: Expected) -> float:
        """Seconds until each sink had a fresh token of each source."""
        return max(self._fresh(sink)[source][0] for sink, sources in expected.serving.items() for source in sources) - (
            self.time
        )
