"""What importing costs, and what an imported model costs against the bare interpreter. Also, as a program, the latter:

python -m scripts.bench.imported MODEL.tflite FRAMES     set_tensor, invoke, get_tensor, of all inputs and outputs; JSON
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable

import numpy as np

from scripts.bench.harness import say

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT.parent / "shared" / "models"
ACTORS = ROOT / "scripts" / "bench" / "actors.py"
PAIRS = 11


def imported(folder: Path) -> None:
    """Importing 185 operators; whole imported models on one core against the bare interpreter; the tracker."""
    importing(folder)
    whole(folder)
    tracker()


def importing(folder: Path) -> None:
    """Seconds and peak memory of ``eprune import``."""
    model = MODELS / "traffic_model.tflite"
    say("eprune import, 185 operators", "seconds", "peak memory")
    say("---", "---", "---")
    if not model.exists():
        say("the model is not here", "", "")
        return
    for per in ("operator", "layer"):
        runs = [
            measured(["-m", "eprune", "import", str(model), "-o", str(folder / per), "--per", per]) for _ in range(5)
        ]
        seconds, peak = (statistics.median(column) for column in zip(*runs))
        say(f"--per {per}", f"{seconds:.2f}", f"{peak / 2**20:.0f} MiB")


def whole(folder: Path) -> None:
    """Imported by layers, fused again to one segment on one core: time and peak memory, as ratios."""
    print()
    say(
        "model, --per layer, fused",
        "bare, ms",
        "eprune, ms",
        "time ratio (at most 1.01)",
        "CPU time ratio",
        "peak memory ratio (at most 1.2)",
    )
    say("---", "---", "---", "---", "---", "---")
    for name, frames in (("deeplabv3_257_mv_gpu", 60), ("mobilenet_v2_1.0_224_quant", 200), ("traffic_model", 100)):
        model = MODELS / f"{name}.tflite"
        if not model.exists():
            say(name, "the model is not here", "", "", "", "")
            continue
        program = fused(folder / name, model)
        record = folder / f"{name}.json"
        pairs = []
        for _ in range(PAIRS):
            told: list[str] = []
            _, our_peak = measured([str(program), "--frames", str(frames), "--record", str(record)], told.append)
            sink = json.loads(record.read_text())["actors"]["Output"]
            our_s = (sink["last_s"] - sink["first_s"]) / (frames - 1)
            pairs.append((our_s, json.loads(told[0])["cpu_s"], our_peak, *bare(model, frames)))
        our_s, our_cpu, our_peak, bare_s, bare_cpu, bare_peak = zip(*pairs)
        times = [f"{statistics.median(column) * 1e3:.3f}" for column in (bare_s, our_s)]
        ratios = [f"{ratio(ours, theirs):.3f}" for ours, theirs in ((our_s, bare_s), (our_cpu, bare_cpu))]
        say(name, *times, *ratios, f"{ratio(our_peak, bare_peak):.2f}")


def fused(folder: Path, model: Path) -> Path:
    """The program of an imported model, with sources and a sink that cost nothing."""
    eprune("import", model, "-o", folder, "--per", "layer")
    graph = folder / "application.xml"
    text = graph.read_text().replace("tensor_source.py:TensorSource", f"{ACTORS}:Constant")
    text = text.replace("tensor_sink.py:TensorSink", f"{ACTORS}:Spent")
    graph.write_text(text.replace('<param name="path" value=""/>', ""))
    platform = folder / "platform.xml"
    platform.write_text(platform.read_text().replace('<unit name="cpu"/>', '<unit name="cpu" core="0"/>'))
    program = folder / "program.py"
    eprune("codegen", graph, "--allow-outside", "-p", platform, "-m", folder / "mapping.xml", "-o", program)
    if program.read_text().count("program.segment(") != 1:
        raise SystemExit(f"{model.name} is not one segment")
    return program


def tracker() -> None:
    """Frames a second of the tracker by itself: vehicles that drive on, each seen with noise."""
    sys.path[:0] = [str(ROOT / "actors")]
    from tracker import Tracker

    from eprune.runtime import PortType

    print()
    say("tracker, boxes a frame", "frames/s")
    say("---", "---")
    for count in (5, 20, 100):
        noise = np.random.default_rng(1)
        shapes = {"boxes": (count, 4), "classes": (count,), "scores": (count,)}
        outputs = {"track_boxes": (count, 4), "track_classes": (count,), "track_ids": (count,)}
        actor = Tracker()
        actor.inputs = {name: PortType("float32", shape, 1) for name, shape in shapes.items()}
        actor.outputs = {
            name: PortType("float32" if name == "track_boxes" else "int32", shape, 1) for name, shape in outputs.items()
        }
        actor.initialize()
        places = noise.random((count, 2)) * 0.9
        frames = []
        for _ in range(200):
            places = (places + noise.normal(0.003, 0.001, places.shape)) % 0.9
            frames.append(np.hstack([places, places + 0.1]).astype(np.float32))
        rest = {"classes": np.zeros(count, np.float32), "scores": np.ones(count, np.float32)}
        results = {name: np.empty(port.shape, port.dtype) for name, port in actor.outputs.items()}
        begin = time.perf_counter()
        for boxes in frames:
            actor.fire({"boxes": boxes, **rest}, results)
        say(f"{count}", f"{len(frames) / (time.perf_counter() - begin):.0f}")


def bare(model: Path, frames: int) -> tuple[float, float, int]:
    """Seconds and CPU seconds per frame of the bare interpreter, and its peak memory in bytes."""
    told: list[str] = []
    _, peak = measured(["-m", "scripts.bench.imported", str(model), str(frames)], told.append)
    result = json.loads(told[0])
    return result["frame_s"], result["cpu_s"], peak


def measured(arguments: list[str], tell: Callable[[str], object] = lambda _: None) -> tuple[float, int]:
    """Seconds and peak memory (bytes) of a Python process; ``tell`` gets what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        tell(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{arguments} failed")
    return time.perf_counter() - begin, usage.ru_maxrss * 1024


def ratio(ours: tuple[float, ...], theirs: tuple[float, ...]) -> float:
    """The median of the ratios of runs side by side."""
    return statistics.median(one / other for one, other in zip(ours, theirs))


def eprune(*arguments: object) -> None:
    measured(["-m", "eprune", *map(str, arguments)])


def loop(path: str, count: str) -> None:
    """The bare interpreter on one thread and core 0, with the tokens of ``actors.Constant``."""
    from ai_edge_litert.interpreter import Interpreter

    os.sched_setaffinity(0, {0})
    model = Interpreter(path, num_threads=1)
    model.allocate_tensors()
    tokens = {}
    for detail in model.get_input_details():
        values = np.random.default_rng(1).random(detail["shape"])
        scale = 1 if np.dtype(detail["dtype"]).kind == "f" else 255
        tokens[detail["index"]] = (values * scale).astype(detail["dtype"])
    outputs = [detail["index"] for detail in model.get_output_details()]
    frames = int(count)
    for turn in range(frames):
        for index, token in tokens.items():
            model.set_tensor(index, token)
        model.invoke()
        for index in outputs:
            model.get_tensor(index)
        if turn == 0:
            # As for the sink, between the first frame and the last.
            begin, spent = time.perf_counter(), time.process_time()
    wall, cpu = time.perf_counter() - begin, time.process_time() - spent
    print(json.dumps({"frame_s": wall / (frames - 1), "cpu_s": cpu / (frames - 1)}))


if __name__ == "__main__":
    loop(*sys.argv[1:])
