"""What faults cost: `wait` against `stop` on a healthy link, and the time to notice and to get over each fault."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Callable, Optional

from eprune.deploy.ports import free_base_port
from scripts.bench.harness import say
from scripts.bench.replicas import command
from scripts.chaos import faults as kinds
from scripts.chaos import topologies
from scripts.chaos.case import Case, run_case
from scripts.chaos.faults import Fault
from scripts.chaos.running import DEAD_AFTER, build
from scripts.chaos.topologies import Topology

ROOT = Path(__file__).resolve().parents[2]
ACTORS = ROOT / "scripts" / "bench" / "actors.py"
#: Pairs of runs, and runs of each fault; medians count.
PAIRS, RUNS = 7, 5
#: Frames of the classifier.
FRAMES = 1000
POLICIES, FAST = ("stop", "wait"), "as fast as it goes"


def healthy(folder: Path) -> None:
    """A link that only could break, against one that may not."""
    say("token", "pace", "stop, us a token", "wait, us a token", "CPU of wait / stop", "wait / stop (at most 1.03)")
    say("---", "---", "---", "---", "---", "---")
    for nbytes, count in ((73728, 4000), (400, 20000)):
        for pace in (0.0, 1e-3):
            paced = f"one every {1e3 * pace:g} ms" if pace else FAST
            frames = 1000 if pace else count
            runs = [partial(_token, folder, nbytes, frames, policy, pace) for policy in POLICIES]
            _compare(f"{nbytes:,} B", paced, runs)
    runs = [partial(_frame, _classifier(folder / policy, policy)) for policy in POLICIES]
    _compare("vehicle classifier, split after L2", FAST, runs)


def _compare(what: str, paced: str, runs: Sequence[Callable[[], tuple[float, float]]]) -> None:
    """Run both in turn, several times; a line of the table. What they return are seconds, and CPU seconds, a token."""
    pairs = [[run() for run in runs] for _ in range(PAIRS)]
    stop, wait = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
    cpu, wall = (statistics.median(pair[1][kind] / pair[0][kind] for pair in pairs) for kind in (1, 0))
    say(what, paced, f"{1e6 * stop:.1f}", f"{1e6 * wait:.1f}", f"{cpu:.2f}", f"{wall:.3f}")


def _classifier(folder: Path, policy: str) -> list[Path]:
    """The programs of the split vehicle classifier, with a source and a sink that do nothing."""
    text = (ROOT / "graphs" / "vehicle.xml").read_text()
    text = text.replace("frame_source.py:FrameSource", f"{ACTORS}:Constant")
    text = text.replace("json_lines.py:JsonLines", f"{ACTORS}:Discard")
    text = text.replace('"vehicle.tflite"', f'"{ROOT}/graphs/vehicle.tflite"')
    text = text.replace('to="L3.in"', f'to="L3.in" policy="{policy}"')
    folder.mkdir()
    path = folder / "vehicle.xml"
    path.write_text("\n".join(line for line in text.splitlines() if "<param" not in line))
    platforms = [ROOT / "graphs" / f"{name}.xml" for name in ("endpoint", "server")]
    mapping = ROOT / "mappings" / "vehicle_split"
    command("codegen", path, "--allow-outside", "-p", *platforms, "-m", mapping, "-o", f"{folder}/programs/")
    return [folder / "programs" / f"{name}.py" for name in ("endpoint", "server")]


def _frame(programs: list[Path]) -> tuple[float, float]:
    """Seconds, and CPU seconds of both processes, a frame."""
    port = free_base_port(1)
    peers = zip(programs, ("server", "endpoint"))
    records = _run({path: [f"--link={peer}=127.0.0.1:{port}", f"--frames={FRAMES}"] for path, peer in peers})
    told = records[1]["actors"]["Sink"]
    cpu = sum(record["user_s"] + record["system_s"] for record in records)
    return (told["last_s"] - told["first_s"]) / (told["firings"] - 1), cpu / FRAMES


def _run(programs: dict[Path, list[str]]) -> list[dict]:
    """Run programs with these options side by side; their records."""
    started = [
        subprocess.Popen(
            [sys.executable, str(path), f"--record={path.with_suffix('.json')}", *options],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for path, options in programs.items()
    ]
    if sum(process.wait() != 0 for process in started):
        raise SystemExit(f"{next(iter(programs))}: the programs failed")
    return [json.loads(path.with_suffix(".json").read_text()) for path in programs]


def _token(folder: Path, nbytes: int, count: int, policy: str, pace: float) -> tuple[float, float]:
    """Seconds, and CPU seconds of both processes, a token."""
    port = free_base_port(1)
    shape = f"'uint8', ({nbytes},), capacity=4, policy={policy!r}, port={port}"
    texts = {
        "tx": (
            f"actor('A', 'ACTORS:Paced', 'cpu', {{'count': '{count}', 'pace': '{pace}'}})",
            f"tx('f', 'A.out', {shape}, to='rx', address='127.0.0.1')",
        ),
        "rx": ("actor('B', 'ACTORS:Discard', 'cpu')", f"rx('f', 'B.in', {shape}, frm='tx')"),
    }
    paths = []
    for core, (name, declarations) in enumerate(texts.items()):
        text = ["from eprune.runtime import Program", f"program = Program('bench', {name!r}, 'd', __file__)"]
        text += [f"program.unit('cpu', {core})", *(f"program.{each}" for each in declarations)]
        paths.append(folder / f"{name}.py")
        paths[-1].write_text("\n".join([*text, "raise SystemExit(program.main())"]).replace("ACTORS:", f"{ACTORS}:"))
    records = _run({path: [] for path in paths})
    told = records[1]["actors"]["B"]
    cpu = sum(record["user_s"] + record["system_s"] for record in records)
    return (told["last_s"] - told["first_s"]) / (told["firings"] - 1), cpu / count


def recovery(folder: Path) -> None:
    """From a fault to the next result of those that go on, and from its end to the next result of all."""
    say("application", "fault", "longest pause, ms", "back after, ms")
    say("---", "---", "---", "---")
    fired = topologies.split("wait", 'ack="fired"')
    k = topologies.k(2, 1, "drop")
    chosen: tuple[tuple[Topology, Fault, str], ...] = (
        (k, kinds.KILL, "server1"),
        (k, kinds.FREEZE, "server1"),
        (k, kinds.UNPLUG, "endpoint1 - server1"),
        (k, kinds.RESET, "endpoint1 - server1"),
        (k, kinds.RESTART, "server1"),
        (topologies.k(1, 2, "drop"), kinds.KILL, "endpoint1"),
        (topologies.k(1, 2, "drop"), kinds.FREEZE, "endpoint1"),
        (fired, kinds.RESET, "endpoint - server"),
        (fired, kinds.UNPLUG, "endpoint - server"),
        (fired, kinds.FREEZE, "server"),
        (fired, kinds.RESTART, "server"),
    )
    for number, (topology, fault, thing) in enumerate(chosen):
        place = folder / str(number)
        place.mkdir()
        built = build(topology, place)
        results = [run_case(Case(topology, fault, (thing,)), built) for _ in range(RUNS)]
        wrong = next((result.wrong[0] for result in results if result.wrong), "")
        pauses, backs = ([getattr(result, what) for result in results] for what in ("pause", "back"))
        say(topology.name, f"{thing} {fault.name}{wrong and f' ({wrong})'}", _median(pauses), _median(backs))


def _median(seconds: list[Optional[float]]) -> str:
    seen = [each for each in seconds if each is not None]
    return f"{1e3 * statistics.median(seen):.0f}" if seen else ""


def faults(folder: Path) -> None:
    """Print both tables."""
    healthy(folder)
    print(f"\nA silent peer is dead after {1e3 * DEAD_AFTER:g} ms here; sources make a token every 2 ms.\n", flush=True)
    recovery(folder)
