#!/usr/bin/env python3
"""Train the networks of docs/results/robust.md on handwritten digits in clutter, and write them and their pictures.

    python3 scripts/train_robust.py --mnist mnist.npz -o build/robust                train (minutes, one core), write
    python3 scripts/train_robust.py --mnist mnist.npz -o build/robust --data-only    only cluttered.npz

cluttered.npz is for ``--data``: each digit of MNIST at a random place of a larger picture, among pieces of other
digits; uint8, with the parts of MNIST. Two networks are trained, each with several seeds: ``conv``, convolutions with
pooling and two dense layers, and ``residual``, depthwise and pointwise convolutions in residual blocks. MNIST's arrays
are x_train, y_train, x_test, y_test or train_images, train_labels, test_images, test_labels. Needs eprune[train].
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from train_vehicle import ModelWriter, Weights, to_bfloat16, write_file

#: Rows and columns of a picture; pieces of other digits in it, and their rows and columns.
SIZE, PIECES, PIECE = 40, 6, 8
CLASSES = 10
DATA_SEED = 2001
BATCH = 64
#: Channels of the convolutional network, and its dense layer.
CONV, DENSE = (16, 32, 48), 64
#: Channels of the residual network's stages.
STAGES = (24, 48, 96)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", type=Path, required=True, help="MNIST as an .npz file")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--data-only", action="store_true", help="train nothing")
    parser.add_argument("--steps", type=int, default=2500, help=f"training steps of {BATCH} pictures (default 2500)")
    parser.add_argument("--seeds", type=int, default=3, help="networks of each kind (default 3)")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    data = cluttered(options.mnist)
    stream = io.BytesIO()
    np.savez_compressed(stream, **data)
    write_file(str(options.output / "cluttered.npz"), stream.getvalue())
    if options.data_only:
        return 0
    for seed in range(1, options.seeds + 1):
        for name, (network, write) in NETWORKS.items():
            weights = train(f"{name} {seed}", network, data, options.steps, seed)
            write_file(str(options.output / f"{name}_{seed}.tflite"), write(weights))
    return 0


# Pictures


def cluttered(path: Path) -> dict[str, np.ndarray]:
    """x_train, y_train, x_test, y_test: uint8 pictures [N, SIZE, SIZE] and the digits that they show."""
    with np.load(path) as file:
        names = {"x_train": "train_images", "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels"}
        found = {name: file[name if name in file else other] for name, other in names.items()}
    for part in ("train", "test"):
        rng = np.random.default_rng([DATA_SEED, part == "test"])
        found[f"x_{part}"] = np.stack(
            [_one(rng, found[f"x_{part}"], index) for index in range(len(found[f"x_{part}"]))]
        )
    return found


def _one(rng: np.random.Generator, digits: np.ndarray, index: int) -> np.ndarray:
    """A digit at a random place, over pieces of others of the same part."""
    picture = np.zeros((SIZE, SIZE), np.uint8)
    high, wide = digits.shape[1:]
    for _ in range(PIECES):
        row, column = rng.integers(0, (high - PIECE + 1, wide - PIECE + 1))
        piece = digits[rng.integers(len(digits)), row : row + PIECE, column : column + PIECE]
        row, column = rng.integers(0, SIZE - PIECE + 1, 2)
        place = picture[row : row + PIECE, column : column + PIECE]
        np.maximum(place, piece, out=place)
    row, column = rng.integers(0, (SIZE - high + 1, SIZE - wide + 1))
    place = picture[row : row + high, column : column + wide]
    np.maximum(place, digits[index], out=place)
    return picture


# Training


def conv_network(layers: Any, x: Any) -> Any:
    """Three convolutions with pooling, two dense layers."""
    for channels in CONV:
        x = layers.MaxPool2D(2)(_normal(layers, layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)))
    x = _normal(layers, layers.Dense(DENSE, use_bias=False)(layers.Flatten()(x)))
    return layers.Dense(CLASSES)(x)


def residual_network(layers: Any, x: Any) -> Any:
    """Stages of a convolution (pointwise but the first), pooling and a residual block; then the average of places."""
    for stage, channels in enumerate(STAGES):
        size = 1 if stage else 3
        x = _normal(layers, layers.Conv2D(channels, size, padding="same", use_bias=False)(x))
        x = layers.MaxPool2D(2)(x)
        y = _normal(layers, layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
        y = _normal(layers, layers.Conv2D(channels, 1, use_bias=False)(y), relu=False)
        x = layers.Add()([x, y])
    return layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x))


def _normal(layers: Any, x: Any, relu: bool = True) -> Any:
    x = layers.BatchNormalization(momentum=0.98)(x)
    return layers.ReLU()(x) if relu else x


def train(
    what: str, network: Callable[[Any, Any], Any], data: dict[str, np.ndarray], steps: int, seed: int
) -> list[Weights]:
    """Train a network on one core; the weights of its layers in the order of the network, normalisation folded."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    if not tf.config.threading.get_intra_op_parallelism_threads():
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        tf.config.experimental.enable_op_determinism()
    tf.keras.utils.set_random_seed(seed)
    picture = tf.keras.layers.Input((SIZE, SIZE, 1))
    model = tf.keras.Model(picture, network(tf.keras.layers, picture))
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(3e-3, steps))
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x: Any, y: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            scores = model(x, training=True)
            loss = loss_of(y, scores)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss, tf.reduce_mean(tf.cast(tf.argmax(scores, 1) == y, tf.float32))

    rng, recent = np.random.default_rng(seed), []
    for number in range(1, steps + 1):
        chosen = rng.integers(len(data["x_train"]), size=BATCH)
        pictures = data["x_train"][chosen, ..., None] / np.float32(255)
        recent.append([float(value) for value in step(pictures, data["y_train"][chosen].astype(np.int64))])
        if number % 250 == 0 or number == steps:
            loss, accuracy = np.mean(recent, 0)
            print(
                f"{what}: step {number}/{steps}  loss {loss:.3f}  accuracy {accuracy:.3f}", file=sys.stderr, flush=True
            )
            recent.clear()
    return folded(model)


def folded(model: Any) -> list[Weights]:
    """Weights and biases of each layer, each batch normalisation folded into the layer before it, as bfloat16."""
    found: list[tuple[np.ndarray, np.ndarray]] = []
    depthwise = False
    for layer in model.layers:
        values = layer.get_weights()
        if len(values) == 4:  # a batch normalisation, right behind a layer without bias
            gamma, beta, mean, variance = values
            scale = gamma / np.sqrt(variance + layer.epsilon)
            found[-1] = found[-1][0] * (scale[:, None] if depthwise else scale), beta - mean * scale
        elif values:
            depthwise = type(layer).__name__ == "DepthwiseConv2D"
            found.append((values[0], values[1] if len(values) > 1 else np.zeros(1)))
    return [(to_bfloat16(weights), to_bfloat16(biases)) for weights, biases in found]


# Writing


class Writer(ModelWriter):
    """Writes depthwise convolutions as well."""

    def depthwise(self, x: int, size: int, weights: Weights) -> int:
        """3x3 depthwise convolution with fused ReLU; weights as TensorFlow has them (h, w, channels, 1)."""
        kernel, bias = weights[0].transpose(3, 0, 1, 2), weights[1]
        return self.operator(
            "DEPTHWISE_CONV_2D",
            [x, *self.constants(kernel, bias)],
            (1, size, size, len(bias)),
            "DepthwiseConv2DOptions",
            padding=self.schema.Padding.SAME,
            strideH=1,
            strideW=1,
            depthMultiplier=1,
            dilationHFactor=1,
            dilationWFactor=1,
            fusedActivationFunction=self.schema.ActivationFunctionType.RELU,
        )

    def scores(self, picture: int, x: int, weights: Weights) -> bytes:
        """The file, ended by a dense layer and softmax."""
        x = self.dense(x, weights)
        return self.finish([picture], [self.operator("SOFTMAX", [x], (1, CLASSES), "SoftmaxOptions", beta=1.0)])


def conv_model(weights: list[Weights]) -> bytes:
    """The convolutional network's file."""
    writer = Writer("cluttered digits, convolutions")
    x = picture = writer.tensor("picture", (1, SIZE, SIZE, 1))
    size = SIZE
    for layer, channels in zip(weights, CONV):
        x = writer.pool("MAX", writer.convolution(x, size, layer), 2, size // 2, channels)
        size //= 2
    return writer.scores(picture, writer.dense(x, weights[-2], relu=True), weights[-1])


def residual_model(weights: list[Weights]) -> bytes:
    """The residual network's file."""
    writer = Writer("cluttered digits, residual blocks")
    x = picture = writer.tensor("picture", (1, SIZE, SIZE, 1))
    size = SIZE
    for stage, channels in enumerate(STAGES):
        first, second, third = weights[3 * stage : 3 * stage + 3]
        x = writer.pool("MAX", writer.convolution(x, size, first), 2, size // 2, channels)
        size //= 2
        y = writer.convolution(writer.depthwise(x, size, second), size, third, relu=False)
        x = writer.operator("ADD", [x, y], (1, size, size, channels), "AddOptions")
    return writer.scores(picture, writer.pool("AVERAGE", x, size, 1, channels), weights[-1])


NETWORKS = {"conv": (conv_network, conv_model), "residual": (residual_network, residual_model)}

if __name__ == "__main__":
    raise SystemExit(main())
