#!/usr/bin/env python3
"""Learned and training-free codes at the cut behind L2 of the vehicle classifier, for docs/results/compression.md.

    python -m scripts.compression_study vehicles.npz dense8.tflite graphs/vehicle_bottleneck.tflite

The files are those of scripts/train_bottleneck.py. Accuracies are of the test part of the pictures, ranges of the
calibration part; latencies are those of lone frames, measured with the application's own programs over emulated links.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from eprune.face import load
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.model_files import read_model
from eprune.measure.answers import SystemAnswers, on_disk
from eprune.measure.data import TEST, read_data, token_of
from eprune.measure.evaluate import evaluate
from eprune.measure.executor import Firing
from eprune.measure.pictures import Pictures
from eprune.measure.plans import compress as plans
from eprune.model.graph import PortRef
from eprune.model.system import System
from eprune.passes import compress
from eprune.passes.compress import Method, Options
from scripts.reuse_study import LINKS, lone_times, over, quantiles, share, split

ROOT = Path(__file__).resolve().parents[1]
RANKS = (4, 8, 16, 32, 36, 64)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="pictures with labels")
    parser.add_argument("models", nargs="*", help="networks with a bottleneck")
    parser.add_argument("--no-links", action="store_true", help="accuracies and bytes only")
    given = parser.parse_args()
    for name, system in ways(given.data, given.models):
        found = evaluate(system, read_data(given.data))
        sent = sum(found.bytes_per_frame.values())
        cells = [name, f"{sent:.0f}", share(found.share), f"{coding(system, given.data):.2f}"]
        for bandwidth, latency in LINKS.values() if not given.no_links else ():
            cells += [f"{each:.1f}" for each in quantiles(lone_times(over(system, bandwidth, latency), given.data))]
        print(f"| {' | '.join(cells)} |")
        sys.stdout.flush()
    return 0


def ways(data: str, models: list[str]) -> Iterator[tuple[str, System]]:
    """The cut as it is, rounded, projected, and learned."""
    plain = split()
    yield "as it is", plain
    options = [(Method.INT8, 0), (Method.INT4, 0), *((Method.RANK, rank) for rank in RANKS)]
    for method, rank in options:
        made = plans.planned(plain, Options(("f3",), data=data, method=method, rank=rank, frames=500))
        yield f"{method.value} {rank or ''}".strip(), compress.apply(plain, made).system
    for path in models:
        yield f"learned, {Path(path).stem}", learned(path)


def learned(path: str) -> System:
    """graphs/vehicle_bottleneck.xml with another network of the kind."""
    files = [str(ROOT / f"graphs/{name}.xml") for name in ("endpoint", "server")]
    system = load(str(ROOT / "graphs/vehicle_bottleneck.xml"), files, str(ROOT / "mappings/vehicle_bottleneck_split"))
    model = read_model(path)
    rounding = next(each for each in model.operators if each.name == "QUANTIZE")
    token, end = model.tensors[rounding.outputs[0]].token, rounding.index
    assert token is not None
    last = len(model.operators) - 1
    parts = {"L1": (0, 1), "L2": (2, 3), "Encode": (4, end), "Decode": (end + 1, end + 3), "L4-L5": (end + 4, last)}
    codes = {PortRef("Encode", "out"), PortRef("Decode", "in")}
    actors = tuple(
        replace(
            each,
            behaviour=ModelSlice(Path(path).name, *parts[each.name], path) if each.name in parts else each.behaviour,
            ports=tuple(replace(p, token=token) if PortRef(each.name, p.name) in codes else p for p in each.ports),
        )
        for each in system.graph.actors
    )
    made = replace(system, graph=replace(system.graph, actors=actors), interfaces={}, problems=())
    return replace(made, files={Path(path).name: Path(path).read_bytes()})


def coding(system: System, data: str) -> float:
    """Milliseconds, median, of what is in front of the cut only for the cut's sake."""
    seconds: list[float] = []

    def watch(firing: Firing) -> None:
        if firing.node.startswith(("Compress", "Encode")):
            seconds.append(firing.seconds)

    with on_disk(system) as stored, SystemAnswers(stored, fused=False, observe=watch) as answers:
        pictures = Pictures(answers.token, answers.parameters)
        for example in read_data(data).part(TEST).examples[:50]:
            answers.frame(token_of(pictures, example))
    return 1e3 * float(np.median(seconds)) if seconds else 0.0


if __name__ == "__main__":
    raise SystemExit(main())
