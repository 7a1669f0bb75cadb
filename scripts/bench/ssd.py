"""SSD-MobileNet and its tracker, distributed in several ways, against the slower stage in a bare loop."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from scripts.bench.harness import say

ROOT = Path(__file__).resolve().parents[2]
PAIRS = 5
FRAMES, FEW = 55, 5
#: What is run: a mapping of mappings/ssd_mobilenet_*, an option of ``eprune codegen``, one of the programs.
WAYS = {
    "53 actors, unfused, a thread each": ("local", "--no-fuse", "--threads=actor"),
    "53 actors, unfused, in static order": ("local", "--no-fuse", "--threads=cluster"),
    "fused": ("local", "--fuse", "--threads=cluster"),
    "two processes, cut before the network": ("resize", "--fuse", "--threads=cluster"),
    "two processes, cut after dw9": ("dw9", "--fuse", "--threads=cluster"),
    "two processes, cut after dw12": ("dw12", "--fuse", "--threads=cluster"),
}


def ssd(folder: Path) -> None:
    """SSD-MobileNet: all on one core, and two processes of one core each, against the slower stage in a bare loop."""
    graph = application(folder)
    say(
        "distribution",
        "slower stage in a bare loop, ms",
        "eprune, ms",
        "frames/s",
        "throughput ratio",
        "CPU time ratio",
    )
    say("---", "---", "---", "---", "---", "---")
    for name, (mapping, fuse, threads) in WAYS.items():
        place = folder / name.replace(" ", "_")
        place.mkdir()
        programs = generate(graph, mapping, fuse, place)
        for stage in (*programs, *programs):  # so that each has the tokens of the other
            bare(stage, 10, place)
        measured = [(*ours(programs, place, threads), *bound(programs, place)) for _ in range(PAIRS)]
        our_s, our_cpu, bare_s, bare_cpu = zip(*measured)
        times = [statistics.median(column) for column in (bare_s, our_s)]
        ratios = [
            statistics.median(one / other for one, other in zip(*columns))
            for columns in ((bare_s, our_s), (our_cpu, bare_cpu))
        ]
        cells = [f"{seconds * 1e3:.2f}" for seconds in times]
        say(name, *cells, f"{1 / times[1]:.1f}", *(f"{ratio:.3f}" for ratio in ratios))


def ours(programs: list[Path], place: Path, threads: str) -> tuple[float, float]:
    """Seconds, and CPU seconds of all programs, a frame. What starting costs is taken off."""
    period, cpu = run(programs, place, FRAMES, threads)
    _, start = run(programs, place, FEW, threads)
    return period, (cpu - start) / (FRAMES - FEW)


def bound(programs: list[Path], place: Path) -> tuple[float, float]:
    """Seconds per frame of the slowest stage in a bare loop, and CPU seconds of all."""
    seconds, cpu = zip(*(bare(stage, FRAMES, place) for stage in programs))
    return max(seconds), sum(cpu)


def application(folder: Path) -> Path:
    """The application with frames from a file, as drawing a street takes longer than finding the vehicles in it."""
    sys.path[:0] = [str(ROOT / "actors")]
    from resize import resized
    from traffic_renderer import TrafficScene

    scene = TrafficScene(1)
    frames = [resized(scene.frame(index)[0], 360, 480) for index in range(20)]
    np.save(folder / "frames.npy", np.stack(frames))
    text = (ROOT / "graphs" / "ssd_mobilenet.xml").read_text()
    for old, new in (
        ('<param name="path" value=""/>', f'<param name="path" value="{folder / "frames.npy"}"/>'),
        ('<param name="count" value="100"/>', '<param name="repeat" value="0"/>'),
        ('model="ssd_mobilenet.tflite"', f'model="{ROOT / "graphs" / "ssd_mobilenet.tflite"}"'),
    ):
        if old not in text:
            raise SystemExit(f"graphs/ssd_mobilenet.xml has no {old}")
        text = text.replace(old, new, 1 if "param" in old else -1)
    graph = folder / "ssd_mobilenet.xml"
    graph.write_text(text)
    return graph


def generate(graph: Path, mapping: str, fuse: str, place: Path) -> list[Path]:
    """A program for each platform of a mapping."""
    mappings = ROOT / "mappings" / f"ssd_mobilenet_{mapping}"
    names = sorted(path.name for path in mappings.glob("*.xml"))
    command = [sys.executable, "-m", "eprune", "codegen", str(graph), "-m", str(mappings), fuse, "-o", f"{place}/"]
    for name in names:
        command += ["-p", str(ROOT / "graphs" / name)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return [place / f"{Path(name).stem}.py" for name in names]


def run(programs: list[Path], place: Path, frames: int, threads: str) -> tuple[float, float]:
    """Run programs side by side: seconds between two frames at the last actor, and CPU seconds of all."""
    paths = [place / f"{path.stem}.json" for path in programs]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = [
        subprocess.Popen(
            [sys.executable, str(program), threads, "--frames", str(frames), "--record", str(path)],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for program, path in zip(programs, paths)
    ]
    codes = [process.wait() for process in started]
    if any(codes):
        raise SystemExit("a program failed")
    records = [json.loads(path.read_text()) for path in paths]
    writer = next(record["actors"]["Writer"] for record in records if "Writer" in record["actors"])
    period = (writer["last_s"] - writer["first_s"]) / (writer["firings"] - 1)
    return period, sum(record["user_s"] + record["system_s"] for record in records)


def bare(program: Path, frames: int, place: Path) -> tuple[float, float]:
    """Seconds and CPU seconds per frame of a program's actors in a bare loop."""
    command = [sys.executable, "-m", "scripts.bench.stage", str(program), str(frames), str(place)]
    done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    told = json.loads(done.stderr.splitlines()[-1])
    return told["frame_s"], told["cpu_s"]
