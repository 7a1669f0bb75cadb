#!/usr/bin/env python3
"""Train a residual network that works without any of its blocks, and gates that choose; write and evaluate the file.

    python3 scripts/train_skipping.py                train (minutes, one core), write, evaluate; needs eprune[train]
    python3 scripts/train_skipping.py --gates        fit only the gates of the file that is there; needs no TensorFlow
    python3 scripts/train_skipping.py --evaluate     evaluate the file that is there; needs no TensorFlow

The network, graphs/vehicle_skipping.tflite, tells the vehicles of actors/vehicle_renderer.py apart. In training each
block is left out of each frame by chance (stochastic depth, Huang et al. 2016), so that none of them is indispensable.
Then each block gets a gate (as in SkipNet, Wang et al. 2018, but fitted, not learnt by reinforcement): two small layers
that tell from what comes to the block, averaged over a few squares, how much of the true class's probability is lost
without it. Training, gates and evaluation draw from different seeds, so no picture of one is in another.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors"), str(ROOT / "scripts")]

from train_vehicle import BATCH, ModelWriter, Weights, folded, infer, pictures, to_bfloat16  # noqa: E402
from vehicle_renderer import CLASSES, SIZE, render_vehicle, vehicle_class  # noqa: E402

from eprune.formats.atomic import write_file  # noqa: E402
from eprune.formats.model_files import parse_model, read_model  # noqa: E402
from eprune.formats.models.slices import slice_model  # noqa: E402
from eprune.runtime.fire.tflite import choose, describe, load  # noqa: E402

TRAINING_SEED, GATE_SEED, HELD_OUT_SEED = 2001, 2002, 2003
BLOCKS = 3
#: rows and columns of what the blocks work on, and its channels
FIELD, CHANNELS = 12, 28
#: of the stem's first convolution, and of the head's
FIRST, LAST = 16, 32
#: a gate looks at averages over squares of so many rows and columns, through so many hidden numbers
WINDOW, HIDDEN = 4, 16
AVERAGES = CHANNELS * (FIELD // WINDOW) ** 2
GATE_FRAMES = 12000
#: how probable a block is to be there in training
KEPT = 0.6
THRESHOLDS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 1.0)

#: Operators of the file: the stem, then for each block its gate, itself and the sum, then the head.
STEM, HEAD = range(3), range(3 + 7 * BLOCKS, 6 + 7 * BLOCKS)
GATES = [range(3 + 7 * block, 7 + 7 * block) for block in range(BLOCKS)]
INSIDE = [range(7 + 7 * block, 9 + 7 * block) for block in range(BLOCKS)]
#: Whether a block runs, for each block.
Choice = tuple[bool, ...]
Gate = tuple[Weights, Weights]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gates", action="store_true", help="train nothing but the gates")
    parser.add_argument("--evaluate", action="store_true", help="train nothing")
    parser.add_argument("--steps", type=int, default=2500, help=f"training steps of {BATCH} pictures (default 2500)")
    parser.add_argument("--frames", type=int, default=4000, help="held-out pictures to evaluate with (default 4000)")
    parser.add_argument("--interpreter", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    parser.add_argument("--model", type=Path, default=ROOT / "graphs" / "vehicle_skipping.tflite", help="the file")
    options = parser.parse_args()
    interpreter = choose(options.interpreter)
    if not options.evaluate:
        weights = weights_of(options.model, interpreter) if options.gates else train(options.steps)
        shut = blank(AVERAGES, HIDDEN), blank(HIDDEN, 1)
        seen = watch(skipping_model(weights, [shut] * BLOCKS), GATE_SEED, GATE_FRAMES, interpreter)
        write_file(str(options.model), skipping_model(weights, [fit_gate(seen, block) for block in range(BLOCKS)]))
    evaluate(options.model, options.frames, interpreter)
    return 0


# Training


def train(steps: int) -> list[Weights]:
    """Train the network on one core; the weights of its convolutions and, last, of its dense layer."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(1)
    tf.config.experimental.enable_op_determinism()
    layers = tf.keras.layers

    def convolution(x: Any, channels: int, size: int, stride: int = 1, relu: bool = True) -> Any:
        x = layers.Conv2D(channels, size, strides=stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.98)(x)
        return layers.ReLU()(x) if relu else x

    picture, kept = layers.Input((SIZE, SIZE, 3)), layers.Input((BLOCKS, 1, 1, 1))
    x = convolution(picture, FIRST, 5, 2)
    x = layers.MaxPool2D(2)(x)
    x = convolution(x, CHANNELS, 3, 2)
    for block in range(BLOCKS):
        made = convolution(convolution(x, CHANNELS, 3), CHANNELS, 3, relu=False)
        x = layers.Add()([x, layers.Multiply()([made, kept[:, block]])])
    x = convolution(x, LAST, 3, 2)
    model = tf.keras.Model([picture, kept], layers.Dense(len(CLASSES))(layers.Flatten()(x)))
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(3e-3, steps))
    loss_of = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    @tf.function
    def step(x: Any, kept: Any, y: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            scores = model([x, kept], training=True)
            loss = loss_of(y, scores)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss, tf.reduce_mean(tf.cast(tf.argmax(scores, 1) == y, tf.float32))

    rng, recent = np.random.default_rng(1), []
    for number, (batch, classes) in enumerate(itertools.islice(pictures(TRAINING_SEED), steps), 1):
        drawn = (rng.random((BATCH, BLOCKS, 1, 1, 1)) < KEPT).astype(np.float32)
        recent.append([float(value) for value in step(batch, drawn, classes)])
        if number % 100 == 0 or number == steps:
            loss, accuracy = np.mean(recent, 0)
            print(f"step {number}/{steps}  loss {loss:.3f}  accuracy {accuracy:.3f}", file=sys.stderr)
            recent.clear()
    return folded(model)


def skipping_model(weights: list[Weights], gates: list[Gate]) -> bytes:
    """The file: all blocks run in it. Outputs are the scores of the classes, and those of the gates."""
    writer = ModelWriter("vehicle classifier of residual blocks, with gates")
    picture = writer.tensor("picture", (1, SIZE, SIZE, 3))
    first, second, *inside, third, dense = weights
    x = writer.convolution(picture, SIZE // 2, first, 2)
    x = writer.pool("MAX", x, 2, SIZE // 4, FIRST)
    x = writer.convolution(x, FIELD, second, 2)
    outputs = []
    for gate, before, after in zip(gates, inside[::2], inside[1::2]):
        averages = writer.pool("AVERAGE", x, WINDOW, FIELD // WINDOW, CHANNELS)
        score = writer.dense(writer.dense(averages, gate[0], relu=True), gate[1])
        outputs.append(writer.operator("LOGISTIC", [score], (1, 1)))
        made = writer.convolution(writer.convolution(x, FIELD, before), FIELD, after, relu=False)
        x = writer.operator("ADD", [x, made], (1, FIELD, FIELD, CHANNELS), "AddOptions")
    x = writer.dense(writer.convolution(x, FIELD // 2, third, 2), dense)
    return writer.finish(
        [picture], [writer.operator("SOFTMAX", [x], (1, len(CLASSES)), "SoftmaxOptions", beta=1.0), *outputs]
    )


def weights_of(path: Path, interpreter: str) -> list[Weights]:
    """What ``train`` gave, from the file."""
    model = read_model(str(path))
    loaded = load(interpreter, path.read_bytes())
    gates = {index for gate in GATES for index in gate}
    weights = []
    for operator in model.operators:
        if operator.name in ("CONV_2D", "FULLY_CONNECTED") and operator.index not in gates:
            kernel, bias = (loaded.get_tensor(index) for index in operator.inputs[1:])
            weights.append((kernel.transpose(1, 2, 3, 0) if kernel.ndim == 4 else kernel.T, bias))
    return weights


# Gates


class Seen(NamedTuple):
    """What the network makes of some frames, for each choice of the blocks.

    ``classes`` [frames]; ``scores`` choice of all blocks -> [frames, classes]; ``averages`` choice of the blocks before
    one -> what its gate takes the score of [frames, AVERAGES], ``gates`` likewise -> the gate's score [frames].
    """

    classes: np.ndarray
    scores: dict[Choice, np.ndarray]
    averages: dict[Choice, np.ndarray]
    gates: dict[Choice, np.ndarray]


def choices(blocks: int) -> list[Choice]:
    return list(itertools.product((False, True), repeat=blocks))


def watch(file: bytes, seed: int, frames: int, interpreter: str) -> Seen:
    """Run all choices on rendered frames."""
    model = parse_model(file)
    stem, head, *parts = (
        load(interpreter, slice_model(model, operators))
        for operators in (STEM, HEAD, *(gate[:1] for gate in GATES), *(gate[1:] for gate in GATES), *INSIDE)
    )
    averages, gates, inside = parts[:BLOCKS], parts[BLOCKS:-BLOCKS], parts[-BLOCKS:]
    seen = Seen(
        np.array([vehicle_class(seed, index) for index in range(frames)]),
        {choice: np.zeros((frames, len(CLASSES)), np.float32) for choice in choices(BLOCKS)},
        {choice: np.zeros((frames, AVERAGES)) for n in range(BLOCKS) for choice in choices(n)},
        {choice: np.zeros(frames) for n in range(BLOCKS) for choice in choices(n)},
    )
    for frame in range(frames):
        reached = {(): infer(stem, render_vehicle(seed, frame)[None])}
        for block in range(BLOCKS):
            for choice in choices(block):
                x = reached[choice]
                average = infer(averages[block], x)
                seen.averages[choice][frame] = average.reshape(-1)
                seen.gates[choice][frame] = infer(gates[block], average)[0, 0]
                reached[(*choice, False)], reached[(*choice, True)] = x, x + infer(inside[block], x)
        for choice in choices(BLOCKS):
            seen.scores[choice][frame] = infer(head, reached[choice])[0]
    return seen


def fit_gate(seen: Seen, block: int, steps: int = 1500, rate: float = 3e-3, decay: float = 1.0) -> Gate:
    """Layers that tell from a frame's averages what of the true class's probability is lost without the block.

    Whichever other blocks run. By Adam with decoupled weight decay, on standardised averages.
    """
    truth = {choice: scores[np.arange(len(scores)), seen.classes] for choice, scores in seen.scores.items()}
    averages, lost = [], []
    for before in choices(block):
        for after in choices(BLOCKS - block - 1):
            averages.append(seen.averages[before])
            lost.append(np.clip(truth[(*before, True, *after)] - truth[(*before, False, *after)], 0, 1))
    x, y = np.concatenate(averages), np.concatenate(lost)
    mean, spread = x.mean(0), x.std(0) + 1e-6
    x = ((x - mean) / spread).astype(np.float32)
    rng = np.random.default_rng(1)
    values = [rng.standard_normal(shape) / shape[0] ** 0.5 for shape in ((AVERAGES, HIDDEN), (HIDDEN, 1))]
    values += [np.zeros(HIDDEN), np.zeros(1)]
    moments = [(np.zeros_like(value), np.zeros_like(value)) for value in values]
    for step in range(1, steps + 1):
        drawn = rng.integers(len(x), size=512)
        first, second, bias, offset = values
        hidden = np.maximum(x[drawn] @ first + bias, 0)
        wrong = (1 / (1 + np.exp(-(hidden @ second + offset))) - y[drawn, None]) / len(drawn)
        back = (wrong @ second.T) * (hidden > 0)
        slopes = x[drawn].T @ back, hidden.T @ wrong, back.sum(0), wrong.sum(0)
        pace = rate * (0.5 + 0.5 * np.cos(np.pi * step / steps))
        for value, slope, (one, two) in zip(values, slopes, moments):
            one += 0.1 * (slope - one)
            two += 0.001 * (slope**2 - two)
            value *= 1 - pace * decay
            value -= pace * (one / (1 - 0.9**step)) / (np.sqrt(two / (1 - 0.999**step)) + 1e-8)
    first, second, bias, offset = values
    kernel = to_bfloat16(first / spread[:, None])
    return (kernel, (bias - mean @ kernel).astype(np.float32)), (to_bfloat16(second), offset.astype(np.float32))


def blank(inputs: int, outputs: int) -> Weights:
    """A layer whose outputs are 0."""
    return np.zeros((inputs, outputs), np.float32), np.zeros(outputs, np.float32)


# Evaluation


def evaluate(path: Path, frames: int, interpreter: str) -> None:
    """Print accuracies on held-out pictures: of every choice of blocks, and of the gates at some thresholds."""
    seen = watch(path.read_bytes(), HELD_OUT_SEED, frames, interpreter)
    right = {choice: scores.argmax(1) == seen.classes for choice, scores in seen.scores.items()}
    print(f"{path.name}: {path.stat().st_size} bytes, {frames} held-out frames")
    print("blocks  accuracy")
    for choice in sorted(right, key=sum):
        text = "".join(str(number) if runs else "-" for number, runs in enumerate(choice, 1))
        print(f"{text:<6}  {100 * right[choice].mean():6.2f} %")
    print("threshold  blocks run  accuracy  the same choices, dealt to other frames")
    for threshold in THRESHOLDS:
        chosen = decide(seen, threshold)
        dealt = [chosen[place] for place in np.random.default_rng(1).permutation(frames)]
        run = np.mean([sum(choice) for choice in chosen])
        ours, others = (np.mean([right[choice][frame] for frame, choice in enumerate(c)]) for c in (chosen, dealt))
        print(f"{threshold:9.2f}  {run:10.2f}  {100 * ours:6.2f} %  {100 * others:6.2f} %")
    print(f"with {describe(interpreter)}")


def decide(seen: Seen, threshold: float) -> list[Choice]:
    """What the gates choose for each frame."""
    chosen: list[Choice] = []
    for frame in range(len(seen.classes)):
        choice: Choice = ()
        for _ in range(BLOCKS):
            choice = (*choice, bool(seen.gates[choice][frame] >= threshold))
        chosen.append(choice)
    return chosen


if __name__ == "__main__":
    raise SystemExit(main())
