#!/usr/bin/env python3
"""Train the vehicle classifier, write graphs/vehicle.tflite and graphs/vehicle_dual_head.tflite, and evaluate them.

    python3 scripts/train_vehicle.py                 train (minutes, one core), write, evaluate; needs eprune[train]
    python3 scripts/train_vehicle.py --evaluate      evaluate the files that are there; needs no TensorFlow

Every picture is rendered (actors/vehicle_renderer.py) and used once. Training, the second head and the evaluation draw
from different seeds, so no picture of one is in another.

The files are written operator by operator, not by TensorFlow's converter, which would fuse the third layer with its
activation: eprune cuts between the two, where the Edge-PRUNE papers do. Weights are rounded to bfloat16 and stored as
float32, so that they compress to about half.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors")]

from vehicle_renderer import CLASSES, SIZE, render_vehicle, vehicle_class  # noqa: E402

from eprune.formats.atomic import write_file  # noqa: E402
from eprune.formats.model_files import read_model  # noqa: E402
from eprune.formats.models.slices import slice_model  # noqa: E402
from eprune.runtime.fire.tflite import choose, describe, load  # noqa: E402

TRAINING_SEED, HEAD_SEED, HELD_OUT_SEED = 1001, 1002, 1003
BATCH = 32
Weights = tuple[np.ndarray, np.ndarray]  # of one layer: weights as TensorFlow has them, biases


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="train nothing")
    parser.add_argument("--steps", type=int, default=2700, help=f"training steps of {BATCH} pictures (default 2700)")
    parser.add_argument("--frames", type=int, default=4000, help="held-out pictures to evaluate with (default 4000)")
    parser.add_argument("--interpreter", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    parser.add_argument("--folder", type=Path, default=ROOT / "graphs", help="where the files are (default graphs/)")
    options = parser.parse_args()
    paths = options.folder / "vehicle.tflite", options.folder / "vehicle_dual_head.tflite"
    if not options.evaluate:
        train(options.steps, *paths)
    evaluate(*paths, options.frames, choose(options.interpreter))
    return 0


# Training


def train(steps: int, single: Path, dual: Path) -> None:
    """Train both networks on one core and write their files, ``single`` and ``dual``."""
    tf = tensorflow()
    layers, bias = tf.keras.layers, {"use_bias": False}

    # Batch normalisation is what makes this train at all; it is folded away afterwards.
    def convolution() -> list[Any]:
        same = layers.Conv2D(32, 5, padding="same", **bias)
        return [same, layers.BatchNormalization(), layers.ReLU(), layers.MaxPool2D(2)]

    def dense() -> list[Any]:
        return [layers.Dense(100, **bias), layers.BatchNormalization()]

    def head() -> list[Any]:
        return [layers.ReLU(), *dense(), layers.ReLU(), layers.Dense(len(CLASSES))]

    classifier = tf.keras.Sequential(
        [layers.Input((SIZE, SIZE, 3)), *convolution(), *convolution(), layers.Flatten(), *dense(), *head()]
    )
    fit(tf, classifier, pictures(TRAINING_SEED), steps, "classifier")
    write_file(str(single), single_model(folded(classifier)))

    features, classes = [], []
    below = load(choose(), slice_model(read_model(str(single)), range(5)))
    for views_of, labels in itertools.islice(pictures(HEAD_SEED, views=2), max(1, steps // 12)):
        features += [np.concatenate([infer(below, view[None]) for view in views], axis=1)[0] for views in views_of]
        classes += list(labels)
    joined = tf.keras.Sequential([layers.Input((200,)), *head()])
    fit(tf, joined, _drawn(np.array(features), np.array(classes)), steps, "dual head")
    write_file(str(dual), dual_model(folded(joined)))


def tensorflow() -> Any:
    """TensorFlow, on one core, and the same in each run."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(1)
    tf.config.experimental.enable_op_determinism()
    return tf


def fit(tf: Any, model: Any, batches: Iterator[tuple[np.ndarray, np.ndarray]], steps: int, what: str) -> None:
    """Train a network of logits, and say how it goes."""
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(2e-3, steps))
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x: Any, y: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            scores = model(x, training=True)
            loss = loss_of(y, scores)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss, tf.reduce_mean(tf.cast(tf.argmax(scores, 1) == y, tf.float32))

    recent = []
    for number in range(1, steps + 1):
        loss, accuracy = step(*next(batches))
        recent.append((float(loss), float(accuracy)))
        if number % 100 == 0 or number == steps:
            loss, accuracy = np.mean(recent, 0)
            print(f"{what}: step {number}/{steps}  loss {loss:.3f}  accuracy {accuracy:.3f}", file=sys.stderr)
            recent.clear()


def folded(model: Any) -> list[Weights]:
    """Weights and biases of each layer, each batch normalisation folded into the layer before it, as bfloat16."""
    found: list[list[np.ndarray]] = []
    for layer in model.layers:
        values = layer.get_weights()
        if len(values) == 4:  # a batch normalisation, right behind a layer without bias
            gamma, beta, mean, variance = values
            scale = gamma / np.sqrt(variance + layer.epsilon)
            found[-1] = [found[-1][0] * scale, beta - mean * scale]
        elif values:
            found.append(values)
    return [(to_bfloat16(weights), to_bfloat16(biases)) for weights, biases in found]


def pictures(seed: int, views: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of fresh pictures, (BATCH, 96, 96, 3) or with several views (BATCH, views, 96, 96, 3), and classes."""
    first = 0
    while True:
        indices = range(first, first + BATCH)
        images = np.stack([[render_vehicle(seed, index, view) for view in range(views)] for index in indices])
        classes = np.array([vehicle_class(seed, index) for index in indices])
        yield (images if views > 1 else images[:, 0]), classes
        first += BATCH


def _drawn(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches drawn at random, for ever."""
    rng = np.random.default_rng(1)
    while True:
        chosen = rng.integers(len(x), size=BATCH)
        yield x[chosen], y[chosen]


def to_bfloat16(array: np.ndarray) -> np.ndarray:
    """Round float32 to the nearest bfloat16 (ties to even), kept as float32."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


# Writing .tflite files


class ModelWriter:
    """Builds a .tflite file of float32 tensors, operator by operator. All operators are at version 1."""

    def __init__(self, name: str) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema = schema
        self.name = name
        self.tensors: list[Any] = []
        self.buffers: list[Any] = [schema.BufferT()]  # buffer 0 is the empty one, by convention
        self.codes: list[int] = []
        self.operators: list[Any] = []

    def tensor(self, name: str, shape: Sequence[int], values: np.ndarray | None = None) -> int:
        """Add a tensor, a constant one if it has values. Returns its index."""
        tensor = self.schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, list(shape), self.schema.TensorType.FLOAT32
        tensor.buffer = 0
        if values is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values, "<f4").tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def operator(self, code: str, inputs: Sequence[int], shape: Sequence[int], options: str = "", **fields: Any) -> int:
        """Add an operator with one output of ``shape``. Returns the output's tensor index."""
        builtin = getattr(self.schema.BuiltinOperator, code)
        if builtin not in self.codes:
            self.codes.append(builtin)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = self.codes.index(builtin)
        operator.inputs = list(inputs)
        operator.outputs = [self.tensor(f"{code.lower()}_{len(self.operators)}", shape)]
        if options:
            operator.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(self.schema, f"{options}T")()
            for field, value in fields.items():
                setattr(operator.builtinOptions, field, value)
        self.operators.append(operator)
        return operator.outputs[0]

    def constants(self, kernel: np.ndarray, bias: np.ndarray) -> list[int]:
        """The weights and biases of the next operator, as tensors."""
        number = len(self.operators)
        return [
            self.tensor(f"{name}_{number}", each.shape, each) for name, each in (("kernel", kernel), ("bias", bias))
        ]

    def convolution(self, x: int, size: int, weights: Weights, stride: int = 1, relu: bool = True) -> int:
        """Convolution to ``size`` rows and columns; weights as TensorFlow has them (h, w, in, out)."""
        kinds = self.schema.ActivationFunctionType
        kernel, bias = weights[0].transpose(3, 0, 1, 2), weights[1]
        return self.operator(
            "CONV_2D",
            [x, *self.constants(kernel, bias)],
            (1, size, size, len(bias)),
            "Conv2DOptions",
            padding=self.schema.Padding.SAME,
            strideH=stride,
            strideW=stride,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=kinds.RELU if relu else kinds.NONE,
        )

    def pool(self, kind: str, x: int, window: int, size: int, channels: int) -> int:
        """The ``kind``, MAX or AVERAGE, of each square of ``window`` rows and columns, to ``size`` of them."""
        fields = {"strideH": window, "strideW": window, "filterHeight": window, "filterWidth": window}
        shape = (1, size, size, channels)
        return self.operator(f"{kind}_POOL_2D", [x], shape, "Pool2DOptions", padding=self.schema.Padding.SAME, **fields)

    def convolution_and_pool(self, x: int, size: int, weights: Weights) -> int:
        """5x5 convolution with fused ReLU, then 2x2 maximum."""
        return self.pool("MAX", self.convolution(x, size, weights), 2, size // 2, len(weights[1]))

    def dense(self, x: int, weights: Weights, relu: bool = False) -> int:
        """Fully connected, over all of ``x`` but its first dimension."""
        kernel, bias = weights[0].T, weights[1]
        kinds = self.schema.ActivationFunctionType
        return self.operator(
            "FULLY_CONNECTED",
            [x, *self.constants(kernel, bias)],
            (1, len(bias)),
            "FullyConnectedOptions",
            fusedActivationFunction=kinds.RELU if relu else kinds.NONE,
        )

    def head(self, x: int, width: int, weights: list[Weights]) -> int:
        """L4-L5: ReLU, dense 100, ReLU, dense 4, softmax."""
        x = self.operator("RELU", [x], (1, width))
        x = self.dense(x, weights[-2], relu=True)
        x = self.dense(x, weights[-1])
        return self.operator("SOFTMAX", [x], (1, len(CLASSES)), "SoftmaxOptions", beta=1.0)

    def finish(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        import flatbuffers

        graph, model = self.schema.SubGraphT(), self.schema.ModelT()
        graph.name, graph.tensors, graph.operators = "main", self.tensors, self.operators
        graph.inputs, graph.outputs = list(inputs), list(outputs)
        model.version, model.description, model.subgraphs, model.buffers = 3, self.name, [graph], self.buffers
        model.operatorCodes = []
        for builtin in self.codes:
            code = self.schema.OperatorCodeT()
            code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, builtin, 1
            model.operatorCodes.append(code)
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


def single_model(weights: list[Weights]) -> bytes:
    """The classifier. Operators 0-1 are L1, 2-3 L2, 4 L3, 5-8 L4-L5."""
    writer = ModelWriter("vehicle classifier")
    image = writer.tensor("image", (1, SIZE, SIZE, 3))
    x = writer.convolution_and_pool(image, SIZE, weights[0])
    x = writer.convolution_and_pool(x, SIZE // 2, weights[1])
    x = writer.dense(x, weights[2])
    return writer.finish([image], [writer.head(x, 100, weights)])


def dual_model(weights: list[Weights]) -> bytes:
    """L4-L5 for two cameras: the two inputs are joined, then as in the classifier."""
    writer = ModelWriter("vehicle classifier, head for two inputs")
    inputs = [writer.tensor(f"features_{view}", (1, 100)) for view in (1, 2)]
    x = writer.operator("CONCATENATION", inputs, (1, 200), "ConcatenationOptions", axis=1)
    return writer.finish(inputs, [writer.head(x, 200, weights)])


# Evaluation


def evaluate(single: Path, dual: Path, frames: int, interpreter: str) -> None:
    """Print accuracy, confusion and sizes of both files on held-out pictures."""
    confusions = confusion(single, dual, HELD_OUT_SEED, frames, interpreter)
    for path, matrix in zip((single, dual), confusions):
        accuracy = np.trace(matrix) / matrix.sum()
        print(f"{path.name}: {100 * accuracy:.2f} % of {frames} held-out frames, {path.stat().st_size} bytes")
        print(f"  {'is / said':<12}" + "".join(f"{name:>12}" for name in CLASSES))
        for name, row in zip(CLASSES, matrix):
            print(f"  {name:<12}" + "".join(f"{count:>12}" for count in row))
    print(f"with {describe(interpreter)}")


def confusion(single: Path, dual: Path, seed: int, frames: int, interpreter: str) -> list[np.ndarray]:
    """Rows are the true classes, columns the answers; of the classifier on view 0, and of the dual head on both."""
    model = read_model(str(single))
    trunk = load(interpreter, slice_model(model, range(5)))
    heads = load(interpreter, slice_model(model, range(5, 9))), load(interpreter, dual.read_bytes())
    matrices = [np.zeros((len(CLASSES), len(CLASSES)), int) for _ in heads]
    for index in range(frames):
        features = [infer(trunk, render_vehicle(seed, index, view)[None]) for view in (0, 1)]
        for head, inputs, matrix in zip(heads, (features[:1], features), matrices):
            matrix[vehicle_class(seed, index), int(infer(head, *inputs).argmax())] += 1
    return matrices


def infer(interpreter: Any, *inputs: np.ndarray) -> np.ndarray:
    """The output of a model, or of a part of one, for its inputs."""
    for detail, value in zip(interpreter.get_input_details(), inputs):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


if __name__ == "__main__":
    raise SystemExit(main())
