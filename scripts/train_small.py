#!/usr/bin/env python3
"""Train a small vehicle classifier for cascades, and write graphs/vehicle_small.tflite.

    python3 scripts/train_small.py                   train (two minutes, one core), write, evaluate; needs eprune[train]
    python3 scripts/train_small.py --evaluate        evaluate the file that is there; needs no TensorFlow

It takes pictures of half the size, has a hundredth of the weights of the classifier of train_vehicle.py, and is wrong
more often. Pictures for training have a seed of their own; those of the evaluation are the classifier's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import train_vehicle
from train_vehicle import (
    CLASSES,
    HELD_OUT_SEED,
    ROOT,
    ModelWriter,
    Weights,
    choose,
    describe,
    folded,
    load,
    render_vehicle,
    vehicle_class,
    write_file,
)

SMALL_SEED = 1006
#: rows and columns of a picture, channels of the convolutions, and of the layer behind them
SIDE, CHANNELS, DENSE = 48, (8, 12, 16), 24


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="train nothing")
    parser.add_argument("--steps", type=int, default=1500, help="training steps of 32 pictures (default 1500)")
    parser.add_argument("--frames", type=int, default=4000, help="held-out pictures to evaluate with (default 4000)")
    parser.add_argument("--interpreter", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    parser.add_argument("--folder", type=Path, default=ROOT / "graphs", help="where the file is (default graphs/)")
    options = parser.parse_args()
    path = options.folder / "vehicle_small.tflite"
    if not options.evaluate:
        write_file(str(path), small_model(train(options.steps)))
    evaluate(path, options.frames, choose(options.interpreter))
    return 0


def train(steps: int) -> list[Weights]:
    """Train the network on one core."""
    tf = train_vehicle.tensorflow()
    layers, bias = tf.keras.layers, {"use_bias": False}
    network = [layers.Input((SIDE, SIDE, 3))]
    for channels in CHANNELS:
        network += [layers.Conv2D(channels, 5, padding="same", **bias), layers.BatchNormalization(), layers.ReLU()]
        network.append(layers.MaxPool2D(2))
    network += [layers.Flatten(), layers.Dense(DENSE, **bias), layers.BatchNormalization(), layers.ReLU()]
    model = tf.keras.Sequential([*network, layers.Dense(len(CLASSES))])
    pictures = ((halved(x), y) for x, y in train_vehicle.pictures(SMALL_SEED))
    train_vehicle.fit(tf, model, pictures, steps, "small classifier")
    return folded(model)


def halved(pictures: np.ndarray) -> np.ndarray:
    """Pictures at half of their size: the mean of each square of four pixels."""
    return pictures.reshape(len(pictures), SIDE, 2, SIDE, 2, 3).mean(axis=(2, 4))


def small_model(weights: list[Weights]) -> bytes:
    """The file: three convolutions, each with its pool, and two dense layers."""
    writer = ModelWriter("small vehicle classifier")
    image = x = writer.tensor("image", (1, SIDE, SIDE, 3))
    for place in range(len(CHANNELS)):
        x = writer.convolution_and_pool(x, SIDE >> place, weights[place])
    x = writer.dense(x, weights[-2], relu=True)
    x = writer.dense(x, weights[-1])
    x = writer.operator("SOFTMAX", [x], (1, len(CLASSES)), "SoftmaxOptions", beta=1.0)
    return writer.finish([image], [x])


def evaluate(path: Path, frames: int, interpreter: str) -> None:
    """Print the accuracy on held-out pictures."""
    model = load(interpreter, path.read_bytes())
    (given,), (made,) = model.get_input_details(), model.get_output_details()
    right = 0
    for index in range(frames):
        model.set_tensor(given["index"], halved(render_vehicle(HELD_OUT_SEED, index)[None]).astype(np.float32))
        model.invoke()
        right += int(model.get_tensor(made["index"]).argmax()) == vehicle_class(HELD_OUT_SEED, index)
    print(f"{path.name}: {100 * right / frames:.2f} % of {frames} held-out frames, {path.stat().st_size} bytes")
    print(f"with {describe(interpreter)}")


if __name__ == "__main__":
    sys.exit(main())
