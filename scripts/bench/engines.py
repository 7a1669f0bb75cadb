"""The engines side by side on the shared models: time, bits, memory; and what a call of an actor in C costs.

Times are processor times, in one thread, so that other load on the machine matters little; of many frames the fastest
tenth counts, of calls the fastest round.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import subprocess
import sys
import time
import timeit
from pathlib import Path
from types import MethodType

import numpy as np

from eprune.measure.stated import stated
from eprune.runtime.fire import c_actor, c_build
from eprune.runtime.kernel.actor import PortType
from scripts.bench.harness import MODELS, ROOT, VEHICLE, say
from scripts.bench.onnx import CASES

ROUNDS, CALLS = 21, 50_000
#: One after the other: TFLite's interpreters, and OpenVINO where it is installed.
SIDES = (("tflite", "ai-edge-litert"), ("tflite", "tflite-runtime"), ("openvino", "auto"))
#: Of .onnx models, whose open shapes are stated first.
ONNX = (("onnxruntime", "auto"),)

RELU = """
#include "eprune_actor.h"
#include <stdlib.h>
void *relu_new(const eprune_context *context, char *error, size_t size) {
    size_t *count = malloc(sizeof *count);
    (void)error, (void)size;
    *count = context->input[0].bytes / sizeof(float);
    return count;
}
int relu_fire(void *count, const void *const *in, void *const *out) {
    const float *source = in[0];
    float *target = out[0];
    for (size_t i = 0; i < *(size_t *)count; i++) target[i] = source[i] > 0 ? source[i] : 0;
    return EPRUNE_OK;
}
void relu_free(void *count) { free(count); }
"""
#: One side in a process of its own: milliseconds of a frame, megabytes, and the outputs as a file.
ALONE = """
import json, sys, time
import numpy as np
from eprune.runtime.fire.engines import ModelEngine
name, interpreter, threads, model, output = sys.argv[1:]
def memory():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
begin = memory()
engine = ModelEngine(name, interpreter, int(threads))
made = engine.load(open(model, "rb").read())
rng = np.random.default_rng(1)
for detail in made.get_input_details():
    values = rng.random(tuple(detail["shape"]))
    scale = 1 if np.issubdtype(detail["dtype"], np.floating) else 255
    made.set_tensor(detail["index"], (values * scale).astype(detail["dtype"]))
made.invoke()
np.savez(output, *[made.get_tensor(each["index"]) for each in made.get_output_details()])
taken, end = [], time.perf_counter() + 2
while len(taken) < 5 or time.perf_counter() < end:
    start = time.process_time(); made.invoke(); taken.append(time.process_time() - start)
taken = 1e3 * sorted(taken)[len(taken) // 10]
print(json.dumps({"ms": taken, "mb": (memory() - begin) / 1e6, "as": engine.describe()}))
"""


def engines(folder: Path) -> None:
    """Print both tables."""
    calls(folder)
    say("model", "engine", "ms per frame", "memory, MB", "largest difference, of the largest value")
    say(*["---"] * 5)
    models = [VEHICLE, *sorted(MODELS.glob("*.tflite")), *_stated(folder)]
    for model in models:
        right = None
        for side in ONNX if model.suffix == ".onnx" else SIDES:
            found = _alone(folder, model, side)
            if isinstance(found, str):
                say(model.stem, side[0] if side[0] != "tflite" else side[1], found, "", "")
                continue
            one, outputs = found
            right = outputs if right is None else right
            amount = _difference(right, outputs)
            same = "the same bits" if amount == 0 else f"{amount:.1g}"
            say(model.stem, one["as"], f"{one['ms']:.3g}", f"{one['mb']:.0f}", same)


def _stated(folder: Path) -> list[Path]:
    """The shared .onnx models, with all shapes stated."""
    made = []
    for name, shapes in CASES.items():
        path = MODELS / "onnx" / f"{name}.onnx"
        if path.exists():
            made.append(folder / path.name)
            made[-1].write_bytes(stated(str(path), shapes=shapes).model.data)
    return made


def calls(folder: Path) -> None:
    """What an actor in C costs a call: by ctypes as it is, by ours, and as a function of Python that does nothing."""
    say("call", "microseconds", "median of the rounds")
    say(*["---"] * 3)
    library = c_build.build("relu.c", {"relu.c": RELU.encode()})
    actor = c_actor.CActor(library, "relu", {}, (("in",), ("out",)), {})
    actor.name = "actor"
    actor.inputs, actor.outputs = {"in": PortType("float32", (1,), 1)}, {"out": PortType("float32", (1,), 1)}
    actor.initialize()
    given, room = np.ones((1,), np.float32), np.zeros((1,), np.float32)
    inputs, outputs, fire = {"in": given}, {"out": room}, actor.fire
    pointers = [(ctypes.c_void_p * 1)(each.ctypes.data) for each in (given, room)]
    function = ctypes.CDLL(library).relu_fire
    handle = actor._made

    class Nothing:
        def fire(self, inputs: object, outputs: object) -> None:
            """As a Python actor does."""

    nothing = MethodType(Nothing.fire, Nothing())
    each = {
        "ctypes, bare": lambda: function(handle, *pointers),
        "an actor in C": lambda: fire(inputs, outputs),
        "an actor in Python that does nothing": lambda: nothing(inputs, outputs),
        "an actor in Python: np.maximum": lambda: np.maximum(inputs["in"], 0, out=outputs["out"]),
    }
    empty = min(timeit.repeat(lambda: None, timer=time.thread_time, number=CALLS, repeat=ROUNDS)) / CALLS
    taken: dict[str, list[float]] = {name: [] for name in each}
    for _ in range(ROUNDS):
        for name, call in each.items():
            taken[name].append(timeit.timeit(call, timer=time.thread_time, number=CALLS) / CALLS - empty)
    for name, times in taken.items():
        say(name, f"{1e6 * min(times):.2f}", f"{1e6 * statistics.median(times):.2f}")


def _alone(folder: Path, model: Path, side: tuple[str, str]) -> object:
    output = folder / "outputs.npz"
    command = [sys.executable, "-c", ALONE, *side, "1", str(model), str(output)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return f"refused: {(done.stderr.strip().splitlines() or ['it crashes'])[-1]}"
    with np.load(output) as stored:
        outputs = [stored[name] for name in stored.files]
    return json.loads(done.stdout.strip().splitlines()[-1]), outputs


def _difference(right: list[np.ndarray], other: list[np.ndarray]) -> float:
    from eprune.measure.on_unit import largest

    return max(largest(a, b.reshape(a.shape)) for a, b in zip(right, other))
