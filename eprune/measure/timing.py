"""Times the actors of an application, one thread on one core, for the predictions of ``eprune report``.

Operators timed one by one cost 1.4 to 1.5 times the whole model. So segments are timed as they would run: with the
first k actors on the platform, for each k; what the k-th adds is its time. Between other actors, whose data takes the
place of its own in the caches, a segment is slower than over and over: all times are stretched by what that makes of
the whole network. It runs in a process of its own, pinned.
Time in which others had the core does not count, where the system knows. Other work on the host slows a core down for
seconds: so all segments have their turn several times, and the median is one of all turns.

A unit that is emulated waits after each firing, and one that works on single frames waits for the others: what is in
the caches then is not its own any more, and the same firing takes up to twice as long. So it waits here as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform as host
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import accumulate
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from eprune.analysis.check import check
from eprune.analysis.nests import Nests
from eprune.codegen.lower import lower
from eprune.codegen.program import PlatformProgram
from eprune.deploy.build import cut
from eprune.explore.flow import flow
from eprune.explore.space import fastest, mapping
from eprune.formats.system import read_system
from eprune.measure import apart
from eprune.measure.engines import PLAIN, as_text, describe, from_text, model_engine, with_plain
from eprune.measure.executor import Executor, Firing, choices
from eprune.measure.node_times import fill, node_times
from eprune.measure.progress import SILENT, Progress
from eprune.model.behaviour import Cut
from eprune.model.finding import EpruneError, errors
from eprune.model.graph import Graph, PortRef
from eprune.model.platform import Link, Platform, Unit
from eprune.model.samples import percentile
from eprune.model.system import System
from eprune.passes import fuse
from eprune.runtime.fire.engines import ONNXRUNTIME, ModelEngine
from eprune.runtime.main.early import compute_in_one_thread, keep_freed_memory

#: How often each segment has its turn.
TURNS = 3
#: Seconds for the repetitions of one segment in each turn, and how many there are at least.
SECONDS = 0.03
LEAST = 2
#: Repetitions where a unit waits in between, enough for a 95th percentile, and seconds for those of all segments.
RESTED, RESTED_SECONDS = 20, 30.0
#: Seconds that a unit waits at most: longer ones make a firing hardly slower.
REST = 0.2
#: Frames and seconds for the actors that are Python classes.
FRAMES = 30
#: Frames where rates vary, to see how often each row of a control table is chosen.
DYNAMIC_FRAMES = 200
FRAMES_SECONDS = 3.0


@dataclass(frozen=True)
class Pace:
    """How a unit is timed: after each firing it waits, as one that is ``slowdown`` times slower, or ``rest`` seconds.

    What an emulated unit takes goes by the processor time of a firing, so that is what counts there.
    """

    slowdown: float = 1.0
    rest: float = 0.0

    @property
    def waits(self) -> bool:
        """Whether it waits at all."""
        return self.slowdown > 1 or self.rest > 0

    def clocked(self, call: Callable[[], object]) -> float:
        """Seconds that a call takes; then it waits."""
        if self.slowdown > 1:
            begin = time.thread_time()
            call()
            taken = time.thread_time() - begin
        else:
            taken = timed(call)
        if self.waits:
            time.sleep(min(max((self.slowdown - 1) * taken, self.rest), REST))
        return taken


AT_ONCE = Pace()


class Spread(NamedTuple):
    """Seconds: the least, the median, and what 95 of 100 do not exceed."""

    least: float
    median: float
    p95: float

    @classmethod
    def of(cls, taken: Sequence[float]) -> Spread:
        """Of some times, of which there is at least one."""
        ordered = sorted(taken)
        return cls(ordered[0], statistics.median(ordered), percentile(ordered, 95))


NOTHING = Spread(0.0, 0.0, 0.0)


def time_actors(
    application: str,
    unit: Unit,
    interpreter: Optional[str],
    progress: Progress = SILENT,
    allow_outside: bool = False,
    pace: Pace = AT_ONCE,
) -> dict[str, Any]:
    """Actor -> seconds on a unit, of those that it takes, with the interpreter, as JSON has it.

    ``spread`` are for each actor what it adds to the least time of all before it, and to the 95th percentile.

    ``progress`` shows how many actors are done. Raises RuntimeError with the reason of a failure.
    """
    command = [sys.executable, "-m", "eprune.measure.timing", application, f"--interpreter={interpreter or 'auto'}"]
    command += ["--allow-outside"] * allow_outside
    command += [f"--unit={as_text(unit)}", f"--slowdown={pace.slowdown!r}", f"--rest={pace.rest!r}"]
    environment = apart.environment()
    compute_in_one_thread(environment)
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        result = None
        for line in process.stdout:
            answer = json.loads(line)
            if "step" in answer:
                progress.update(answer["step"])
            else:
                result = answer
        if process.wait() or result is None:
            errors.seek(0)
            raise RuntimeError((errors.read().strip().splitlines() or [f"exit code {process.returncode}"])[-1])
    return result


def time_platform(
    application: str,
    platform: Platform,
    interpreter: Optional[str],
    progress: Progress = SILENT,
    allow_outside: bool = False,
    emulate: bool = False,
    rest: float = 0.0,
) -> dict[str, Any]:
    """What ``time_actors`` gives for the unit on which each actor takes the least time; of several units also

    ``units``: unit -> actor -> seconds, and ``fastest``: actor -> unit. With ``emulate``, ``slowdown`` says how much
    slower the first unit is than its core; the times of the others have theirs, relative to it. ``rest``: the seconds
    that each unit waits after a firing.
    """
    units = platform.units or (PLAIN,)
    paces = [Pace(unit.slowdown if emulate else 1.0, rest) for unit in units]
    timed = [
        time_actors(application, unit, interpreter, progress, allow_outside, pace) for unit, pace in zip(units, paces)
    ]
    first = units[0].slowdown if emulate else 1
    result = {**timed[0], "slowdown": first}
    if len(units) > 1:
        factors = [unit.slowdown / first if emulate else 1.0 for unit in units]
        times = {
            unit.name: {actor: factor * seconds for actor, seconds in own["actors"].items()}
            for unit, own, factor in zip(units, timed, factors)
        }
        best = fastest(times)
        result["actors"] = {actor: times[unit][actor] for actor, unit in best.items()}
        own = {unit.name: (each["spread"], factor) for unit, each, factor in zip(units, timed, factors)}
        result["rested"] = all(each["rested"] for each in timed)
        result["spread"] = {
            actor: [own[unit][1] * seconds for seconds in own[unit][0][actor]] for actor, unit in best.items()
        }
        result.update(units=times, fastest=best)
        result["interpreter"] = "; ".join(f"{unit.name}: {each['interpreter']}" for unit, each in zip(units, timed))
    return result


def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("application")
    parser.add_argument("--unit", type=from_text, default=PLAIN)
    parser.add_argument("--interpreter", default="auto")
    parser.add_argument("--allow-outside", action="store_true")
    parser.add_argument("--slowdown", type=float, default=1.0)
    parser.add_argument("--rest", type=float, default=0.0)
    options = parser.parse_args()
    keep_freed_memory()  # as programs do
    # What actors print must not come between the lines of the answer.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    notes = []
    unit: Unit = options.unit
    if unit.cores:
        if hasattr(os, "sched_setaffinity") and os.sched_getaffinity(0).issuperset(unit.cores):
            os.sched_setaffinity(0, unit.cores)
        else:
            missing = (
                f"core {unit.cores[0]} is" if len(unit.cores) == 1 else f"cores {', '.join(map(str, unit.cores))} are"
            )
            notes.append(f"not pinned: {missing} not there for this process")

    def send(line: dict[str, Any]) -> None:
        print(json.dumps(line), file=answer, flush=True)

    system = read_system(options.application, allow_outside=options.allow_outside)
    models = dict.fromkeys(actor.behaviour.path for actor in system.graph.actors if actor.is_slice and actor.behaviour)
    described = describe(unit, options.interpreter, models)
    pace = Pace(options.slowdown, options.rest)
    found, rates = _times(
        system, unit, options.interpreter, pace, lambda step, steps: send({"step": step, "steps": steps})
    )
    send(
        {
            "actors": {actor: each.median for actor, each in found.items()},
            "spread": {actor: [each.least, each.p95] for actor, each in found.items()},
            "rested": pace.waits,
            "rates": rates,
            "interpreter": described,
            "python": host.python_version(),
            "machine": host.machine(),
            "host": host.node(),
            "core": unit.cores[0] if len(unit.cores) == 1 else list(unit.cores) or None,
            "time": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **({"notes": notes} if notes else {}),
        }
    )


def _times(
    system: System, unit: Unit, interpreter: str, pace: Pace, on_progress: Callable[[int, int], None]
) -> tuple[dict[str, Spread], dict[str, float]]:
    """Actor that the unit takes -> seconds per frame; and dynamic FIFO -> the average part of its upper rate limit."""
    wrong = errors(check(system))
    if wrong:
        raise EpruneError(*wrong)
    order = flow(system.graph, system.interfaces).actors
    whole = _program(system, order, unit)
    engine = model_engine(unit, interpreter)
    times, chosen = _in_turn(whole, interpreter, pace)
    between = sum(times.pop(node.name).median for node in whole.segments)
    active, rates = averages(system.graph, chosen)
    profiled = {
        (part.path, index): taken
        for part in (node.declaration.cuts[0] for node in whole.segments)
        if engine.of(part.path).name == ONNXRUNTIME
        for index, taken in node_times(part, engine).items()
    }

    prefixes = [
        [node.declaration.cuts[0] for node in _program(system, order[:count], unit).segments]
        for count in range(1, len(order) + 1)
    ]
    parts = {_key(part): part for own in prefixes for part in own if engine.of(part.path).name != ONNXRUNTIME}
    taken: dict[Any, list[float]] = {key: [] for key in parts}
    for turn in range(TURNS):
        for number, (key, part) in enumerate(parts.items(), 1):
            on_progress(len(order) * (turn * len(parts) + number) // (TURNS * len(parts)), len(order))
            taken[key] += _segment(part, engine, pace, RESTED_SECONDS / TURNS / len(order))
    on_progress(len(order), len(order))
    spreads = {key: Spread.of(own) for key, own in taken.items()}

    def of_part(part: Cut) -> Spread:
        if _key(part) in spreads:
            return spreads[_key(part)]
        seconds = sum(profiled.get((part.path, index), 0.0) for index in part.operators)
        return Spread(seconds, seconds, seconds)

    grown = [Spread(*map(sum, zip(*map(of_part, own)))) if own else NOTHING for own in prefixes]
    last = grown[-1].median
    stretch = max(between / last, 1.0) if last and not system.graph.dpgs else 1.0
    for actor, each in zip(order, zip(*(steps(column) for column in zip(*grown)))):
        times.setdefault(actor, Spread(*(stretch * seconds * active.get(actor, 1) for seconds in each)))
    refused = {actor.name for actor in system.graph.actors if actor.misplaced(unit)}
    return {actor: times[actor] for actor in order if actor not in refused}, rates


def averages(graph: Graph, chosen: Mapping[str, Mapping[int, int]]) -> tuple[dict[str, float], dict[str, float]]:
    """How often actors of dynamic processing graphs are active, and the part of their FIFOs' upper rate limits.

    Both from 0 to 1, by how often each row was ``chosen``: graph -> control value -> firings.
    """
    active: dict[str, float] = {}
    parts: dict[PortRef, float] = {}
    limits = {ref: port.url for ref, port in graph.ports()}
    nests = Nests(graph)
    for dpg in graph.dpgs:
        counts = chosen.get(dpg.name, {})
        outermost = nests.chain(dpg)[-1]
        total = sum(chosen.get(outermost.name, {}).values())  # an inner one does not work in each frame
        if not total:
            continue
        if dpg.inside:
            active.update(dict.fromkeys(nests.actors(dpg), sum(counts.values()) / total))
        rows = [(counts.get(row.value, 0) / total, dpg.rates(row)) for row in dpg.rows]
        for ref in dpg.ports:
            parts[ref] = sum(share * rates[ref] for share, rates in rows) / limits[ref]
        for member in dpg.members:
            own = [ref for ref in dpg.ports if ref.actor == member]
            if own:
                active[member] = sum(share for share, rates in rows if any(rates[ref] for ref in own))
    return active, {fifo.name: parts[fifo.source] for fifo in graph.fifos if fifo.source in parts}


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes, less those in which this thread was ready to run but another one had its core."""
    delayed = _delayed()
    begin = time.perf_counter()
    call()
    taken = time.perf_counter() - begin
    return max(taken - (_delayed() - delayed), 0.0)


def _delayed() -> float:
    """Seconds that this thread has waited for a core since it began; 0 where only the system knows."""
    try:
        return 1e-9 * int(Path("/proc/thread-self/schedstat").read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0


def steps(grown: Sequence[float]) -> list[float]:
    """What each prefix adds to the one before it.

    More actors never take less time, and other load on the machine only ever adds to it. So no prefix has taken longer
    than any that is longer than it.
    """
    least = list(accumulate(reversed(grown), min))[::-1]
    return [now - before for now, before in zip(least, [0.0, *least])]


def _program(system: System, near: Sequence[str], unit: Unit) -> PlatformProgram:
    """The program of a platform that runs these actors, on the unit if it takes them; the others run elsewhere."""
    homes = {actor.name: "near" if actor.name in near else "far" for actor in system.graph.actors}
    platform = Platform("near", with_plain(unit), (Link("far"),))
    placed = replace(system, platforms=(platform,), mappings=(mapping(system.graph, platform, homes),))
    (program,) = lower(fuse.apply(placed).system)
    return program


def _key(part: Cut) -> Any:
    """The same for parts that compute the same."""
    return (part.path, part.operators, part.input_tensors, part.output_tensors, part.kept)


def _segment(part: Cut, engine: ModelEngine, pace: Pace, most: float) -> list[float]:
    """Seconds of some runs of a segment, on random values; where it waits in between, of those in ``most`` seconds."""
    model = engine.load(cut(part))
    fill(model)
    model.invoke()
    if pace.waits:
        pace.clocked(model.invoke)
    taken: list[float] = []
    begin = time.perf_counter()
    while (
        len(taken) < LEAST
        or time.perf_counter() < begin + SECONDS
        or (pace.waits and TURNS * len(taken) < RESTED and time.perf_counter() < begin + most)
    ):
        taken.append(pace.clocked(model.invoke))
    return taken


def _in_turn(
    program: PlatformProgram, interpreter: str, pace: Pace
) -> tuple[dict[str, Spread], dict[str, Counter[int]]]:
    """Actor or segment -> seconds per firing: all fire in turn, on real tokens.

    The medians of a dynamic actor's modes count as often as these occur. The second result is how often each control
    value was chosen, for each dynamic processing graph.
    """
    taken: dict[str, list[tuple[int, float]]] = {node.name: [] for node in program.nodes}
    every: list[Firing] = []
    end = time.perf_counter() + FRAMES_SECONDS
    with Executor(program, interpreter, clocked=pace.clocked) as executor:
        for count, firings in enumerate(executor.run(DYNAMIC_FRAMES if program.rows else FRAMES), 1):
            # Tokens that were kept would have each firing take new memory, as none does in a run.
            every += [replace(firing, outputs={}) for firing in firings]
            for firing in firings:
                taken[firing.node].append((firing.mode or 0, firing.seconds))
            if count > (RESTED if pace.waits else 1) and time.perf_counter() > end:
                break
    # Frames differ, and other load on the machine adds to some firings; the first one also warms up.
    times = {}
    for name, each in taken.items():
        later = each[1:] or each
        least, _, p95 = Spread.of([seconds for _, seconds in later])
        times[name] = Spread(least, _typical(later), p95)
    return times, choices(every, program)


def _typical(taken: Sequence[tuple[int, float]]) -> float:
    """The median of the seconds of each mode, as often as it occurs."""
    modes: dict[int, list[float]] = {}
    for mode, seconds in taken:
        modes.setdefault(mode, []).append(seconds)
    return sum(statistics.median(each) * len(each) for each in modes.values()) / max(len(taken), 1)


if __name__ == "__main__":
    try:
        _main()
    except Exception as error:  # the parent reports it to the user
        sys.exit(str(error) or type(error).__name__)
