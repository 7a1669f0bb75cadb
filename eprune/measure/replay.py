"""How a network that is offloaded frame by frame does on a trace of its link and its platforms, beside fixed cuts.

Each way of deciding is run over the same emulated trace, one frame under way at a time. The oracle knows the trace.
"""

from __future__ import annotations

import csv
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Optional

from eprune.deploy.build import write_programs
from eprune.deploy.local import launch
from eprune.deploy.options import link_options
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.system import files_in, read_system, write_system
from eprune.measure.progress import SILENT, Progress
from eprune.measure.summary import summarize
from eprune.measure.timing import time_platform
from eprune.model.exit_codes import INTERRUPTED
from eprune.model.graph import Actor
from eprune.model.system import System
from eprune.passes import offload, relocate
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.net.conditions import Change, read_changes

#: The ways that are not fixed cuts: the decider, with exits, with exits at random, and one that knows the trace.
OFFLOAD, EXITS, RANDOM, ORACLE = "offload", "exits", "random", "oracle"
#: Seconds of the trace for which one latency counts, that of the frames that began in them.
BIN = 0.1
#: So many frames after a change are counted apart: what they take tells the decider that there was one.
LEARNING = 30
#: Seconds for which each cut is tried before the trace, for the oracle.
CALIBRATION = 2.0


@dataclass(frozen=True)
class AnsweredFrame:
    """A frame: the second of the trace at which it began, the blocks that ran on the device, its latency in seconds,
    and the number of the exit at which it left (0: none).
    """

    begun: float
    blocks: int
    latency: float
    exit: int = 0


def _bin(frame: AnsweredFrame) -> int:
    return int(frame.begun / BIN + 1e-6)


@dataclass(frozen=True)
class WayRun:
    """A way of deciding over the trace. ``bytes_per_frame`` left the device."""

    name: str
    frames: tuple[AnsweredFrame, ...]
    bytes_per_frame: float

    @property
    def latencies(self) -> list[float]:
        """Seconds, frame by frame."""
        return [frame.latency for frame in self.frames]

    def mean(self, seconds: float, apart: Sequence[float] = ()) -> float:
        """The mean latency over the trace's ``seconds``, each part of it counting the same, however many frames it had.

        Parts in which the first frames after one of the moments ``apart`` began do not count. NaN without frames.
        """
        left_out = set()
        for moment in apart:
            behind = [frame for frame in self.frames if frame.begun >= moment][:LEARNING]
            left_out |= {_bin(frame) for frame in behind}
        found: dict[int, list[float]] = {}
        for frame in self.frames:
            found.setdefault(_bin(frame), []).append(frame.latency)
        values, last = [], math.nan
        for place in range(math.ceil(seconds / BIN)):
            if place in found:
                last = statistics.mean(found[place])
            if not math.isnan(last) and place not in left_out:
                values.append(last)
        return statistics.mean(values) if values else math.nan

    @property
    def p95(self) -> float:
        """The latency that one of twenty frames exceeds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)] if ordered else math.nan

    def within(self, wish: float) -> float:
        """The share of the frames with at most that latency."""
        return sum(latency <= wish for latency in self.latencies) / max(len(self.frames), 1)

    @property
    def switches(self) -> int:
        """How often the cut changed, of the frames that left at no exit."""
        blocks = [frame.blocks for frame in self.frames if not frame.exit]
        return sum(one != other for one, other in zip(blocks, blocks[1:]))

    @property
    def left(self) -> tuple[int, ...]:
        """How many frames left at the first, the second, ... exit."""
        exits = [frame.exit for frame in self.frames]
        return tuple(exits.count(number) for number in range(1, max(exits, default=0) + 1))


@dataclass(frozen=True)
class Replay:
    """All ways over one trace; ``blocks``: the actors of each, ``changes``: the seconds at which something changed."""

    blocks: tuple[tuple[str, ...], ...]
    here: tuple[float, ...]
    there: tuple[float, ...]
    seconds: float
    changes: tuple[float, ...]
    ways: tuple[WayRun, ...]

    def way(self, name: str) -> Optional[WayRun]:
        """The way of that name, or None."""
        return next((way for way in self.ways if way.name == name), None)

    @property
    def best_static(self) -> Optional[WayRun]:
        """The fixed cut of the least mean latency."""
        fixed = [way for way in self.ways if way.name.isdigit()]
        return min(fixed, key=lambda way: way.mean(self.seconds), default=None)

    def regret(self, way: WayRun, settled: bool = False) -> float:
        """By which part a way's mean latency exceeds the oracle's; ``settled``: without the frames after changes."""
        oracle = self.way(ORACLE)
        if oracle is None:
            return math.nan
        apart = self.changes if settled else ()
        return way.mean(self.seconds, apart) / oracle.mean(self.seconds, apart) - 1


def read_trace(trace: str) -> tuple[Change, ...]:
    """The changes in a trace file. Raises ValueError for what is none."""
    try:
        with Path(trace).open(encoding="utf-8-sig", newline="") as lines:
            return tuple(read_changes(lines, trace))
    except UnicodeDecodeError as error:
        raise ValueError(f"{trace}: {error}") from None
    except (OSError, UsageError) as error:
        raise ValueError(str(error)) from None


def moments(trace: str) -> tuple[float, ...]:
    """The seconds at which something changes in a trace file. Raises ValueError for what is none."""
    return tuple(change.seconds for change in read_trace(trace))


def read_frames(lines: Sequence[str]) -> tuple[AnsweredFrame, ...]:
    """The log of an ``OffloadDecider``."""
    return tuple(
        AnsweredFrame(float(row["seconds"]), int(row["blocks"]), float(row["latency"]), int(row["exit"]))
        for row in csv.DictReader(lines)
    )


def blocks_of(system: System, options: offload.Options) -> tuple[tuple[str, ...], ...]:
    """The actors of each block. Raises ValueError as the pass does."""
    return tuple(map(tuple, offload.apply(system, options).report.figures["blocks"]))


def block_times(
    system: System, application: str, options: offload.Options, blocks: Sequence[Sequence[str]],
    interpreter: Optional[str],
) -> list[list[float]]:  # fmt: skip
    """The blocks' seconds on the device and on the server: timed here, each actor on the unit of
    its platform that is fastest, by the units' slowdowns.

    Raises RuntimeError with the reason of a failure.
    """
    times = []
    for name in (options.device, *options.server):
        platform = system.platform(name)
        assert platform is not None
        found = time_platform(
            application, platform, interpreter, allow_outside=True, emulate=True
        )  # it has been checked
        times.append([found["slowdown"] * sum(found["actors"][actor] for actor in block) for block in blocks])
    return times


def ways_of(blocks: int, exits: bool) -> tuple[str, ...]:
    """The names of all ways: a fixed number of blocks on the device, the decider, with exits too, the oracle."""
    return (*map(str, range(blocks + 1)), OFFLOAD, *((EXITS, RANDOM) if exits else ()), ORACLE)


def replay(
    system: System,
    options: offload.Options,
    trace: str,
    changes: Sequence[float],
    seconds: float,
    blocks: tuple[tuple[str, ...], ...],
    times: Sequence[Sequence[float]],
    ways: Sequence[str],
    settings: Mapping[str, Sequence[str]],
    progress: Progress = SILENT,
) -> Replay:
    """Run each of the ``ways`` over a trace file. ``settings``: platform -> ``--set`` arguments of its program.

    Exits, if the ``options`` have some, are for the ways that have exits. Raises RuntimeError with a program's message
    where a run fails, KeyboardInterrupt if it is interrupted.
    """
    here, there = (",".join(f"{each:g}" for each in side) for side in times)
    given = replace(options, here=here, there=(there,), frames=1)
    made = offload.apply(system, replace(given, made=(), shares=(), lines=(), figures={})).system
    runs = []
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        usual = _Programs(made, str(Path(folder, OFFLOAD)), settings)
        systems = dict.fromkeys(ways, usual)
        if options.made:
            left = offload.apply(system, given).system
            systems[EXITS] = _Programs(left, str(Path(folder, EXITS)), settings)
            systems[RANDOM] = _Programs(_at_random(left, options.shares), str(Path(folder, RANDOM)), settings)
        if ORACLE in ways:
            near = _near(usual, len(blocks), progress)
            systems[ORACLE] = _Programs(_knowing(made, trace, near), str(Path(folder, ORACLE)), settings)
        for name in ways:
            progress.begin(name)
            own = [f"seconds={seconds}"] + [f"fixed={name}"] * name.isdigit()
            runs.append(systems[name].run(name, own, trace, progress))
    progress.clear()
    at = tuple(each for each in dict.fromkeys(changes) if 0 < each < seconds)
    return Replay(blocks, tuple(times[0]), tuple(times[1]), seconds, at, tuple(runs))


class _Programs:
    """The programs of a system that ``offload`` has made, written once and run as often as wanted."""

    def __init__(self, system: System, folder: str, settings: Mapping[str, Sequence[str]]) -> None:
        self.decider = _decider(system).name
        written = write_system(relocate.apply(system, relocate.Options(folder)).system, folder)
        platforms, mappings = files_in([written.platforms], "platform"), files_in([written.mappings], "mapping")
        # It is read again for what its behaviours say of themselves.
        self.system = read_system(written.application, platforms, mappings, allow_outside=True)
        self.home, self.settings = self.system.homes[self.decider], settings
        self.paths = write_programs(self.system, folder)

    def run(self, name: str, own: Sequence[str], trace: Optional[str], progress: Progress) -> WayRun:
        """One run, with these settings of the decider; without a ``trace``, links and units stay as they are stated."""
        emulated = "--emulate" if trace is None else f"--emulate-trace={trace}"
        arguments = {platform: [emulated, *each] for platform, each in link_options(self.system).items()}
        for platform, given in self.settings.items():
            arguments[platform] += given
        messages: list[str] = []

        def on_status(status: Mapping[str, Any]) -> None:
            progress.update(min(status["firings"].values(), default=0))

        with tempfile.TemporaryDirectory(prefix="eprune-") as folder, tempfile.TemporaryFile() as stdout:
            log = Path(folder, "frames.csv")
            arguments[self.home] += [f"--set={self.decider}.{setting}" for setting in (*own, f"log={log}")]
            outcome = launch(self.paths, arguments, on_status, messages.append, stdout=stdout.fileno())
            if outcome.exit_code == INTERRUPTED:
                raise KeyboardInterrupt
            if outcome.exit_code:
                raise RuntimeError("\n".join(messages) or f"exit code {outcome.exit_code}")
            frames = read_frames(log.read_text(encoding="utf-8").splitlines())
        links = summarize(self.system.graph.name, outcome.records).links
        sent = sum(link.bytes_per_frame or 0.0 for link in links if link.source == self.home)
        return WayRun(name, frames, sent)


def _decider(system: System) -> Actor:
    """The actor that decides on the device."""
    entry = next(dpg.entry for dpg in system.graph.dpgs if dpg.name == offload.OUTER)
    actor = system.graph.actor(entry)
    assert actor is not None
    return actor


def _near(programs: _Programs, blocks: int, progress: Progress) -> str:
    """The seconds that the device takes for 0, 1, ... all blocks, by runs with fixed cuts before the trace begins.

    What the decider expects of the link and the server is taken off: the oracle must know how things are, not how they
    were timed.
    """
    far = expected_far(dict(_decider(programs.system).parameters))
    found = []
    for cut in range(blocks + 1):
        progress.begin(f"before the trace, {cut} blocks here")
        run = programs.run(str(cut), [f"seconds={CALIBRATION}", f"fixed={cut}"], None, progress)
        if not run.frames:
            raise RuntimeError("no frame was answered before the source ended")
        found.append(max(statistics.median(run.latencies) - far[cut], 0.0))
    return ",".join(f"{seconds:g}" for seconds in found)


def expected_far(parameters: Mapping[str, str]) -> tuple[float, ...]:
    """The seconds that a decider with these parameters expects of link and server, for 0, 1, ... all blocks here."""
    rest, nbytes = ([float(each) for each in parameters[name].split(",")] for name in ("rest", "bytes"))
    bandwidth, latency = float(parameters.get("bandwidth", "1e9")), float(parameters.get("latency", "0"))
    return (*(2 * latency + size / bandwidth + there for size, there in zip(nbytes, rest)), 0.0)


def _with_actor(system: System, changed: Actor) -> System:
    actors = tuple(changed if actor.name == changed.name else actor for actor in system.graph.actors)
    return replace(system, graph=replace(system.graph, actors=actors))


def _knowing(system: System, trace: str, near: str) -> System:
    """The system whose decider knows the trace."""
    behaviour = PythonBehaviour.of_library("offload_oracle.py:OffloadOracle")
    decider = _decider(system)
    parameters = {**dict(decider.parameters), "foretold": trace, "near": near}
    return _with_actor(system, replace(decider, behaviour=behaviour, parameters=tuple(parameters.items())))


def _at_random(system: System, shares: Sequence[float]) -> System:
    """The system whose exits let as many frames go, whichever."""
    for number, share in enumerate(shares, 1):
        gate = system.graph.actor(f"Exit{number}")
        assert gate is not None
        parameters = {**dict(gate.parameters), "measure": "random", "threshold": f"{1 - share:.7g}"}
        system = _with_actor(system, replace(gate, parameters=tuple(parameters.items())))
    return system
