"""Tokens of several clients at once: what a model's invocation on 1, 2, 4 and 8 takes for each."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np

from eprune.formats.model_files import read_model
from eprune.formats.models.slices import slice_model
from eprune.runtime.fire.tflite import choose, load
from scripts.bench.harness import say
from scripts.bench.replicas import ROOT

SIZES, SECONDS = (1, 2, 4, 8), 2.0
#: first operator of the vehicle classifier -> what it is from there on
PARTS = {0: "the whole network", 4: "L3 to L5, fully connected", 5: "L4 and L5"}


def each(data: bytes, size: int) -> float:
    """Milliseconds for each token of a batch: the median."""
    [tensor] = load(choose(), data).get_input_details()
    shape = (size, *tuple(tensor["shape"])[1:])
    interpreter = load(choose(), data, shapes={tensor["index"]: shape})
    interpreter.set_tensor(tensor["index"], np.random.default_rng(1).random(shape, np.float32))
    times = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        begin = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) / size * 1e3


def batch(folder: Path) -> None:
    """Milliseconds for each token, by how many there are at once."""
    model = read_model(str(ROOT / "graphs" / "vehicle.tflite"))
    say("part of the vehicle classifier", *(f"{size} at once" for size in SIZES))
    say(*["---"] * (1 + len(SIZES)))
    for first, name in PARTS.items():
        data = slice_model(model, range(first, 9))
        say(name, *(f"{each(data, size):.4f}" for size in SIZES))
