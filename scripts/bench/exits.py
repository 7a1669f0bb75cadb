"""The early exit at 0, 50 and 100 % of the frames, against the static split and the endpoint alone."""

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
FRAMES, ROUNDS = 2000, 5
#: Pictures that are shown again and again: rendering one takes longer than classifying it.
PICTURES = 200


def exits(folder: Path) -> None:
    """Print the table: each configuration once over loopback and once over the platform files' links, in turn."""
    thresholds = _prepared(folder / "pictures.npy")
    graphs = {name: _graph(folder, name) for name in ("vehicle", "vehicle_exit")}
    built = {
        deployment: _built(folder / deployment, graphs[deployment.rpartition("_")[0]], deployment)
        for deployment in ("vehicle_local", "vehicle_split", "vehicle_exit_split", "vehicle_exit_local")
    }
    rows = {
        "endpoint only, no exit": ("vehicle_local", None),
        "static split after L2": ("vehicle_split", None),
        **{f"split, {share} leave early": ("vehicle_exit_split", each) for share, each in thresholds.items()},
        **{f"endpoint only, {share} leave early": ("vehicle_exit_local", each) for share, each in thresholds.items()},
    }
    times: dict[tuple[str, bool], list[float]] = {}
    sent: dict[str, str] = {}
    for _ in range(ROUNDS):
        for title, (deployment, threshold) in rows.items():
            for emulated in (False, True):
                seconds, nbytes = _run(built[deployment], threshold, emulated)
                times.setdefault((title, emulated), []).append(seconds)
                sent[title] = f"{nbytes:.0f}"
    say(
        "",
        "bytes per frame",
        "loopback, ms per frame",
        "of the static split",
        "emulated Ethernet, ms per frame",
        "of it",
    )
    say(*["---"] * 6)
    for title in rows:
        cells = []
        for emulated in (False, True):
            base = times["static split after L2", emulated]
            ratio = statistics.median(own / other for own, other in zip(times[title, emulated], base))
            cells += [f"{statistics.median(times[title, emulated]) * 1e3:.3f}", f"{ratio:.2f}"]
        say(title, sent[title], *cells)


def _prepared(path: Path) -> dict[str, str]:
    """Write the pictures; the thresholds at which none, half and all of them leave."""
    sys.path += [str(ROOT / "actors"), str(ROOT / "scripts")]
    from train_exit import Parts, infer
    from vehicle_renderer import render_vehicle

    from eprune.explore.sweep import bin_edges
    from eprune.runtime.fire.tflite import choose, load

    np.save(path, np.stack([render_vehicle(1, index) for index in range(PICTURES)]))
    parts = Parts(ROOT / "graphs" / "vehicle.tflite", choose())
    head = load(choose(), (ROOT / "graphs" / "vehicle_exit.tflite").read_bytes())
    confidences = [float(infer(head, parts.features(1, index)).max()) for index in range(PICTURES)]
    every, half, none = bin_edges(confidences, 2)
    return {"0 %": none, "50 %": half, "100 %": every}


def _graph(folder: Path, name: str) -> Path:
    """The application with pictures from the file, and a sink that writes nothing."""
    text = (ROOT / "graphs" / f"{name}.xml").read_text()
    for source in ("frame_source.py:FrameSource", "vehicle_source.py:VehicleSource"):
        text = text.replace(source, "npy_source.py:NpySource")
    for sink in ("json_lines.py:JsonLines", "exit_lines.py:ExitLines"):
        text = text.replace(sink, f"{ROOT}/scripts/bench/actors.py:Discard")
    text = text.replace('model="vehicle', f'model="{ROOT}/graphs/vehicle')
    lines = [line for line in text.splitlines() if not any(word in line for word in ('"labels"', '"path"', "wanted"))]
    parameters = f'<param name="path" value="{folder}/pictures.npy"/><param name="repeat" value="0"/>'
    path = folder / f"{name}.xml"
    path.write_text("\n".join(lines).replace('<param name="count" value="100"/>', parameters))
    return path


def _built(folder: Path, graph: Path, deployment: str) -> list[Path]:
    platforms = sorted(file.name for file in (ROOT / "mappings" / deployment).glob("*.xml"))
    files = [word for name in platforms for word in ("-p", str(ROOT / "graphs" / name))]
    command = [sys.executable, "-m", "eprune", "codegen", str(graph), *files, "--allow-outside"]
    command += ["-m", str(ROOT / "mappings" / deployment), "-o", f"{folder}/"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return sorted(folder.glob("*.py"))


def _run(programs: list[Path], threshold: str | None, emulated: bool) -> tuple[float, float]:
    """Seconds from frame to frame at the sink, and bytes per frame over all links."""
    started = {}
    for path in programs:
        options = ["--frames", str(FRAMES), "--record", str(path.with_suffix(".json")), *["--emulate"] * emulated]
        if threshold is not None and path.stem == "endpoint":
            options.append(f"--set=Exit.threshold={threshold}")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, str(path), *options]
        started[path] = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    for path, process in started.items():
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(f"{path}: {said}")
    records = [json.loads(path.with_suffix(".json").read_text()) for path in programs]
    [sink] = [record["actors"]["Sink"] for record in records if "Sink" in record["actors"]]
    nbytes = sum(fifo["bytes"] for record in records for fifo in record["fifos"].values() if fifo["kind"] == "tx")
    return (sink["last_s"] - sink["first_s"]) / (sink["firings"] - 1), nbytes / sink["firings"]
