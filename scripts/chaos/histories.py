"""Random histories of several faults in one run, and what must hold whatever they are.

Some things of a topology, its victims, fail and come back again and again, several at a time: platforms are killed,
frozen, continued and restarted, links are reset, unplugged and refused. Who does not need any of the victims goes on,
without pausing for longer than the time-outs on its path. When all are well again, all sinks have results of all
sources; tokens come in order, none of an incarnation of its source after one of a later incarnation; none is lost or
doubled that must not be; counts of records add up; and when the sources end, all processes do, with exit code 0.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import NamedTuple

from eprune.analysis.failures import FaultModel, Thing
from scripts.chaos import checks, faults, topologies
from scripts.chaos.case import END, PATIENCE, RECOVER, START, Moment, Result, too_long
from scripts.chaos.expect import expect
from scripts.chaos.network import joined
from scripts.chaos.running import Built, Run
from scripts.chaos.topologies import Topology

#: What happens in a history, and the seconds between two faults, at most.
STEPS, APART = 14, 0.9
#: What can happen to a thing, by its kind and state: act -> the state after it.
ACTS = {
    ("platform", "well"): {"kill": "dead", "freeze": "frozen"},
    ("platform", "frozen"): {"continue": "well", "kill": "dead"},
    ("platform", "dead"): {"restart": "well"},
    ("link", "well"): {"reset": "well", "unplug": "down", "refuse": "down"},
    ("link", "down"): {"mend": "well"},
}
#: What the acts do.
DONE = {
    "kill": faults.KILL.apply,
    "restart": faults.RESTART.heal,
    "freeze": faults.FREEZE.apply,
    "continue": faults.FREEZE.heal,
    "reset": faults.reset,
    "unplug": faults.UNPLUG.apply,
    "refuse": faults.REFUSE.apply,
    "mend": faults.UNPLUG.heal,
}
#: A consumer that was killed while its reports could not get through fires again on what was under way, too.
AGAIN = 4


class Step(NamedTuple):
    """After so many seconds, something happens to a thing."""

    wait: float
    act: str
    thing: Thing

    def __str__(self) -> str:
        return f"{self.act} {self.thing.name} after {self.wait:.2f} s"


class History(NamedTuple):
    """A history of a topology, the same for the same seed."""

    topology: Topology
    seed: int

    def __str__(self) -> str:
        return f"{self.topology.name}: {self.failing} {self.how}"

    @property
    def failing(self) -> str:
        """What fails."""
        return "several, again and again"

    @property
    def how(self) -> str:
        """In which way."""
        return f"history {self.seed}"

    def run(self, built: Built) -> Result:
        """What comes of it."""
        system = built.system
        with joined(system, namespaces=False) as network, Run(built, network, PATIENCE) as run:
            return _run(self, run, steps(system, self.seed))


def steps(system: FaultModel, seed: int) -> list[Step]:
    """The history of that seed; in the end, all is well."""
    chance = random.Random(seed)
    things = [thing for thing in system.things if thing.kind in ("platform", "link")]
    victims = chance.sample(things, chance.randint(2, max(2, (len(things) + 1) // 2)))
    states = dict.fromkeys(victims, "well")
    found = []
    for number in range(STEPS):
        thing = victims[number] if number < len(victims) else chance.choice(victims)
        acts = ACTS[thing.kind, states[thing]]
        act = chance.choice(list(acts))
        states[thing] = acts[act]
        found.append(Step(chance.uniform(0.02, APART), act, thing))
    for thing in chance.sample(victims, len(victims)):
        while states[thing] != "well":
            acts = ACTS[thing.kind, states[thing]]
            act = next(act for act in acts if acts[act] == "well")
            states[thing] = "well"
            found.append(Step(chance.uniform(0.02, APART), act, thing))
    return found


def _run(history: History, run: Run, history_steps: Sequence[Step]) -> Result:
    system = run.system
    healthy = expect(system, ())
    independent = expect(system, list(dict.fromkeys(step.thing for step in history_steps))).serving
    wrong: list[str] = []
    pause = back = None

    def result() -> Result:
        told = [*wrong, *map(str, history_steps)] if wrong else []
        seen = f"differs: {wrong[0]}" if wrong else str(healthy)
        return Result(history, str(healthy), seen, checks.lost(run), pause, back, tuple(told))

    start = Moment(run, 0)
    if not run.wait(lambda: not any(start.lacking(healthy)), START):
        wrong += [f"before anything failed: {what}" for what in start.lacking(healthy)]
        return result()
    begin = Moment(run, 0)
    for step in history_steps:
        end = time.monotonic() + step.wait
        run.wait(lambda end=end: time.monotonic() >= end, step.wait)  # type: ignore[misc]
        DONE[step.act](run, [step.thing])  # type: ignore[misc]
    recovery = Moment(run, 0)
    if run.wait(lambda: not any(recovery.lacking(healthy)), RECOVER):
        back = recovery.served(healthy)
    else:
        wrong += [f"after all is well again: {what}" for what in recovery.lacking(healthy)]
    pause = begin.pause(independent)
    wrong += too_long(run, begin, pause)
    run.stop()
    if not run.wait(lambda: run.over(run.processes), END):
        wrong += [f"{platform} hangs" for platform in run.processes if run.code(platform) is None]
        return result()
    wrong += [*checks.codes(run, healthy, healed=True), *checks.accounts(run), *checks.streams(run, 0, AGAIN)]
    wrong += checks.incarnations(run)
    return result()


def histories(count: int, seed: int = 1) -> list[History]:
    """So many histories of each kind of application, with seeds from this one on."""
    t = topologies
    fired = 'ack="fired"'
    listed = [t.k(2, 2, "drop"), t.k(1, 2, "newest"), t.split("wait", fired), t.split("drop")]
    listed += [t.diamond("wait", fired), t.join("zero")]
    return [History(topology, number) for number in range(seed, seed + count) for topology in listed]
