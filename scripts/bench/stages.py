"""DeepLab in two stages, a process and a core each: eprune beside bare sockets and, where installed, dora and pyzmq."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from eprune.deploy.ports import free_base_port
from scripts.bench.harness import BARE, MODELS, bare, generate, period, run, say, told
from scripts.bench.local import application, where

PEERS = Path(__file__).with_name("peers.py")
FRAMES, ROUNDS = 120, 5
#: Where DeepLab is cut, as a share of its multiplications: both stages take about the same time there.
AT = 0.5


def stages(folder: Path) -> None:
    """DeepLab in two stages of one core each: the throughput of the slower stage alone is 1."""
    model = MODELS / "deeplabv3_257_mv_gpu.tflite"
    if not model.exists():
        say("the model is not here")
        return
    graph = application(folder, model, AT, ("first", "second"))
    programs = [generate(graph, where(folder, name), folder / f"{name}.py") for name in ("first", "second")]
    halves = [next((folder / f"{path.stem}.models").iterdir()) for path in programs]
    ways = {
        "bare sockets": lambda: _pair([sys.executable, str(BARE)], halves),
        "eprune": lambda: period(run(folder, *programs, arguments=("--frames", str(FRAMES)))[1], "Sink"),
    }
    if importlib.util.find_spec("zmq"):
        ways["pyzmq"] = lambda: _pair([sys.executable, str(PEERS), "zmq"], halves)
    if importlib.util.find_spec("dora"):
        ways["dora"] = lambda: _dora(folder, halves)
    say("way", "ms per frame", "throughput, of the slower stage alone")
    say("---", "---", "---")
    measured: dict[str, list[float]] = {name: [] for name in ways}
    alone: list[float] = []
    for _ in range(ROUNDS):
        alone.append(max(bare("loop", half, FRAMES, core)["frame_s"] for core, half in enumerate(halves)))
        for name, way in ways.items():
            measured[name].append(way())
    say("the slower stage alone", f"{1e3 * statistics.median(alone):.2f}", "1")
    for name, seconds in measured.items():
        ratio = statistics.median(bound / each for bound, each in zip(alone, seconds))
        say(name, f"{1e3 * statistics.median(seconds):.2f}", f"{ratio:.3f}")
    if set(ways) != {"bare sockets", "eprune", "pyzmq", "dora"}:
        print("\nmake bench-peers installs and measures dora and pyzmq as well.")


def _pair(command: Sequence[str], halves: Sequence[Path]) -> float:
    port = str(free_base_port(1))
    tail = subprocess.Popen([*command, "tail", str(halves[1]), port, str(FRAMES)], stdout=subprocess.PIPE)
    head = subprocess.Popen([*command, "head", str(halves[0]), port, str(FRAMES)])
    seconds = told(tail)["frame_s"]
    head.wait()
    return seconds


def _dora(folder: Path, halves: Sequence[Path]) -> float:
    result = folder / "dora.json"
    result.unlink(missing_ok=True)
    nodes = [
        {"id": "head", "path": str(PEERS), "args": f"dora head {halves[0]} - {FRAMES}", "outputs": ["out"]},
        {
            "id": "tail",
            "path": str(PEERS),
            "args": f"dora tail {halves[1]} {result} {FRAMES}",
            "inputs": {"in": {"source": "head/out", "queue_size": 2}},
        },
    ]
    flow = folder / "flow.yml"
    flow.write_text(json.dumps({"nodes": nodes}))  # JSON is YAML
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        ["dora", "run", str(flow)], cwd=folder, env={**os.environ, "PATH": path}, stdout=subprocess.DEVNULL, check=True
    )
    return json.loads(result.read_text())["frame_s"]
