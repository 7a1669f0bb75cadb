"""ONNX models: how long reading and cutting takes, what slices cost that run as one, and levels of optimisation.

All times are processor times. Of reading the median of five counts, of runs, which take turns, the fastest tenth.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

from eprune.formats.model_files import parse_model, read_model
from eprune.formats.models.cuts import layers, pieces
from eprune.formats.models.flow import flow
from eprune.formats.models.parts import Model
from eprune.formats.models.slices import slice_model
from eprune.measure.stated import stated
from eprune.runtime.fire import onnxruntime
from scripts.bench.harness import MODELS, say

#: Model -> the shapes of the inputs that it leaves open.
CASES = {
    "ch_ppocr_mobile_v2.0_cls_infer": ["x=1,3,48,192"],
    "ch_PP-OCRv4_det_infer": ["x=1,3,320,320"],
    "magika": [],
    "nmp": [],
    "silero_vad_16k_op15": ["input=1,576"],
}
PAIRS = 101


def onnx(folder: Path) -> None:
    """ONNX models: reading and cutting; slices as one segment, and one by one, beside the whole; the level "all"."""
    models = {
        name: stated(str(MODELS / "onnx" / f"{name}.onnx"), shapes=shapes).model for name, shapes in CASES.items()
    }
    say("model", "operators", "layers", "read, ms", "cut into layers, ms")
    say(*["---"] * 5)
    for name, model in models.items():
        (folder / "m.onnx").write_bytes(model.data)
        flows = flow(model)
        parts = layers(model, flows, pieces(model, flows))
        read = _seconds(lambda: _fresh(folder / "m.onnx"))
        cut = _seconds(lambda model=model, parts=parts: [slice_model(model, part) for part in parts])
        say(name, str(len(model.operators)), str(len(parts)), f"{1e3 * read:.1f}", f"{1e3 * cut:.0f}")
    print()
    say("model", "whole, ms", "layers as one segment, of the whole (at most 1.01)", "layers one by one", "level all")
    say(*["---"] * 5)
    for name, model in models.items():
        flows = flow(model)
        parts = layers(model, flows, pieces(model, flows))
        whole = _Running(model.data)
        sides = [
            _Running(slice_model(model, sorted(index for part in parts for index in part))),
            _Chain(model, parts),
            _Running(model.data, "all"),
        ]
        found = [_pairs(whole, side) for side in sides]
        say(name, f"{1e3 * min(base for base, _ in found):.2f}", *(f"{ratio:.3f}" for _, ratio in found))


def _fresh(path: Path) -> Model:
    from eprune.formats.onnx.model import proto_of

    proto_of.cache_clear()
    return read_model(str(path))


def _seconds(call: Callable[[], object]) -> float:
    taken = []
    for _ in range(5):
        begin = time.process_time()
        call()
        taken.append(time.process_time() - begin)
    return statistics.median(taken)


def _values(details: Any) -> list[Any]:
    random = np.random.default_rng(0)
    return [np.asarray(random.random(tuple(each["shape"]))).astype(each["dtype"]) for each in details]


class _Running:
    """A model in onnxruntime, with inputs."""

    def __init__(self, data: bytes, level: str = "extended") -> None:
        self.interpreter = onnxruntime.load(data, 1, {"optimization": level})
        details = self.interpreter.get_input_details()
        for detail, value in zip(details, _values(details)):
            self.interpreter.set_tensor(detail["index"], value)

    def __call__(self) -> None:
        self.interpreter.invoke()


class _Chain:
    """The layers of a model, one after the other, each with what those before it gave."""

    def __init__(self, model: Model, parts: Any) -> None:
        self.steps = []
        self.known: dict[str, Any] = {}
        for part in parts:
            data = slice_model(model, part)
            sliced = parse_model(data, "m.onnx")
            names = [[sliced.tensors[index].name for index in ends] for ends in (sliced.inputs, sliced.outputs)]
            self.steps.append((onnxruntime.load(data, 1), *names))
        ends = onnxruntime.load(model.data, 1).get_input_details()
        self.known.update(zip((model.tensors[index].name for index in model.inputs), _values(ends)))

    def __call__(self) -> None:
        for interpreter, inputs, outputs in self.steps:
            for index, name in enumerate(inputs):
                interpreter.tensor(index)()[...] = self.known[name]
            interpreter.invoke()
            self.known.update((name, interpreter.tensor(len(inputs) + k)()) for k, name in enumerate(outputs))


def _pairs(one: Callable[[], None], other: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the first, and the ratio of the second to it, in turns; the fastest tenth of each counts."""
    taken: list[list[float]] = []
    for number in range(PAIRS + 1):
        pair = [0.0, 0.0]
        for place in (0, 1) if number % 2 else (1, 0):
            begin = time.thread_time()
            (one, other)[place]()
            pair[place] = time.thread_time() - begin
        taken.append(pair)
    first, second = (sorted(column)[PAIRS // 10] for column in zip(*taken[1:]))
    return first, second / first
