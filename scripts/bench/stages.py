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
from scripts.bench.harness import BARE, MODELS, ROOT, bare, generate, own_path, period, run, say, told
from scripts.bench.local import application, where
from tests.kit import zenoh_router

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
    if importlib.util.find_spec("zenoh"):
        carried = _carried(folder, graph)
        ways["eprune over zenoh"] = lambda: _over_zenoh(folder, carried)
    if importlib.util.find_spec("dora"):
        ways["dora"] = lambda: _dora(folder, halves)
        flow = _nodes(folder, graph)
        ways["eprune on dora"] = lambda: _eprune_on_dora(flow)
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
    if not {"pyzmq", "dora", "eprune over zenoh"} <= set(ways):
        print("\nmake bench-peers installs and measures dora, zenoh and pyzmq as well.")


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
    _run_dora(folder, flow.name)
    return json.loads(result.read_text())["frame_s"]


def _run_dora(folder: Path, flow: str) -> None:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PATH": own_path(), "PYTHONPATH": str(ROOT)}
    subprocess.run(["dora", "run", flow], cwd=folder, env=environment, check=True, **quiet)


def _carried(folder: Path, graph: Path) -> list[Path]:
    """The programs of the same application with a link over zenoh."""
    texts = {path: path.read_text() for path in (folder / "first.xml", folder / "second.xml")}
    for path, text in texts.items():
        path.write_text(text.replace("<link ", '<link via="zenoh" '))
    programs = [generate(graph, where(folder, path.stem), folder / f"{path.stem}_over.py") for path in texts]
    for path, text in texts.items():
        path.write_text(text)
    return programs


def _nodes(folder: Path, graph: Path) -> Path:
    """The same application as a dataflow, whose nodes leave records; its folder."""
    flow = folder / "flow"
    files = [word for name in ("first", "second") for word in where(folder, name)]
    flow.mkdir()
    generate(graph, files, flow, "--target=dora")
    text = (flow / "dataflow.yml").read_text()
    for name in ("first", "second"):
        options = f"--dora --frames {FRAMES} --record {flow / name}.json"
        text = text.replace('args: "--dora"', f'args: "{options}"', 1)
    (flow / "dataflow.yml").write_text(text)
    return flow


def _eprune_on_dora(flow: Path) -> float:
    _run_dora(flow, "dataflow.yml")
    return period(json.loads((flow / "second.json").read_text()), "Sink")


def _over_zenoh(folder: Path, programs: Sequence[Path]) -> float:
    place = free_base_port(1)
    router = zenoh_router.start(place)
    try:
        arguments = ("--frames", str(FRAMES), f"--zenoh=tcp/127.0.0.1:{place}")
        return period(run(folder, *programs, arguments=arguments)[1], "Sink")
    finally:
        zenoh_router.stop(router)
