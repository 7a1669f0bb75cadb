"""A case: things of a topology fail while it runs, and what is seen is held against what the analysis predicts."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Set
from dataclasses import replace
from typing import NamedTuple, Optional

from eprune.analysis.failures import FaultModel, Thing
from eprune.model.graph import FaultPolicy
from scripts.chaos import checks
from scripts.chaos.expect import Expected, expect, identity
from scripts.chaos.faults import Fault, platforms
from scripts.chaos.network import joined
from scripts.chaos.running import Built, Run
from scripts.chaos.topologies import Topology

#: Seconds that a start, a failure's consequences, a recovery and an end may take on a busy machine.
START, FAIL, RECOVER, END = 30.0, 8.0, 20.0, 30.0
#: Seconds for which programs wait for a peer: one that comes back must find them there, one that does not ends them.
PATIENCE, IMPATIENCE = FAIL + RECOVER, 2.5
#: Firings by which something is seen to go on, and seconds without one by which it is seen to stand.
FIRINGS, STILL = 20, 0.4


class Case(NamedTuple):
    """``things`` are names of what fails."""

    topology: Topology
    fault: Fault
    things: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.topology.name}: {' and '.join(self.things)} {self.fault.name}"


class Result(NamedTuple):
    """What came of a case. ``pause``: the longest pause of a sink that goes on; ``back``: from the recovery of what
    failed to the first result of all sources at all sinks; seconds. ``wrong``: where prediction and reality differ.
    """

    case: Case
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
    with (
        joined(system, fault.namespaces) as network,
        Run(built, network, PATIENCE if fault.heal else IMPATIENCE) as run,
    ):
        return _run(case, run, things, healthy, expected)


def _run(case: Case, run: Run, things: list[Thing], healthy: Expected, expected: Expected) -> Result:
    fault, period = case.fault, case.topology.period
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
    if not run.wait(lambda: not any(failure.lacking(expected)), FAIL):
        wrong += failure.lacking(expected)
    pause = failure.pause(expected)
    back = None
    healed = fault.heal is not None and not expected.ended
    if healed:
        recovery = Moment(run, period)
        fault.heal(run, things)
        if run.wait(lambda: not any(recovery.lacking(healthy)), RECOVER):
            back = recovery.served(healthy)
        else:
            wrong += [f"after recovery: {what}" for what in recovery.lacking(healthy)]
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
    ended = replace(expected, ended=expected.ended | _drawn(run.system, set(platforms(things)), expected.ended))
    wrong += [*checks.codes(run, ended, healed), *checks.accounts(run), *checks.streams(run, period)]
    return result(pause, back)


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
        #: (source, incarnation) -> tokens made until then
        self._made: dict[tuple[int, int], int] = {}
        for source in run.system.sources:
            for firing in run.logs[source].firings:
                for token in firing.tokens:
                    self._made[token.source, token.incarnation] = token.number + 1

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
        before = [self._firings[actor] for actor in stalled]
        for actor in stalled:
            least, most = expected.stalled[actor]
            count = len(run.logs[actor].firings)
            # A firing that was counted before may have been going on still.
            if not min(before) - 1 + least <= count <= max(before) + most:
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

    def pause(self, expected: Expected) -> Optional[float]:
        """The longest pause of a sink that goes on, in seconds."""
        pauses = []
        for sink in expected.serving:
            times = [self.time, *(firing.time for firing in self._since(sink))]
            pauses += [later - sooner for sooner, later in zip(times, times[1:])]
        return max(pauses, default=None)

    def served(self, expected: Expected) -> float:
        """Seconds until each sink had a fresh token of each source."""
        return max(self._fresh(sink)[source][0] for sink, sources in expected.serving.items() for source in sources) - (
            self.time
        )
