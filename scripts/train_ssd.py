#!/usr/bin/env python3
"""Train SSD-MobileNet v1 on rendered traffic, write graphs/ssd_mobilenet.tflite, and evaluate it.

    python3 scripts/train_ssd.py                 train (half an hour, one core), write, evaluate; needs eprune[train]
    python3 scripts/train_ssd.py --evaluate      evaluate the file that is there; needs no TensorFlow

Every scene is rendered (actors/traffic_renderer.py) and used once, a few frames of it. Training and evaluation draw
from different seeds, so no scene of one is in another.

The network (scripts/ssd_network.py) is that of the Edge-PRUNE papers, 47 convolutions, at half its width. Batch
normalisation is folded into the weights, and those are rounded to bfloat16, so that the file compresses to about half.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors"), str(ROOT / "scripts")]

from box_decoder import BoxDecoder  # noqa: E402
from boxes import overlap  # noqa: E402
from nms import NonMaximumSuppression  # noqa: E402
from resize import Resize, resized, scaled  # noqa: E402
from ssd_anchors import MAPS, anchors, encode  # noqa: E402
from ssd_evaluation import LEAST_VISIBLE, Found, average_precision, tracking  # noqa: E402
from ssd_network import SIZE, TAPS, WIDTH, heads, layers, ssd_model  # noqa: E402
from tracker import Tracker  # noqa: E402
from traffic_renderer import FRAMES, TrafficScene, Truth  # noqa: E402
from vehicle_renderer import CLASSES  # noqa: E402

from eprune.formats.atomic import write_file  # noqa: E402
from eprune.formats.xml.application import read_application  # noqa: E402
from eprune.runtime import PortType  # noqa: E402
from eprune.runtime.fire.tflite import choose, describe, load  # noqa: E402

TRAINING_SEED = 1_000_000  # and upwards: each scene has a seed of its own
DETECTION_SEED, TRACKING_SEED = 10_000, 20_000
BATCH = 8
FRAMES_OF_A_SCENE = (12, 45, 78)  # far enough apart for other vehicles to be there
POSITIVE = 0.4  # anchors that overlap a vehicle by so much are to find it
VAGUE = 0.3  # anchors that overlap one by less than POSITIVE and more than this do not count
NEGATIVES = 3  # for each positive anchor, the hardest ones
LEARNING_RATE = 1.5e-3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="train nothing")
    parser.add_argument("--minutes", type=float, default=31, help="how long to train (default 31)")
    parser.add_argument("--width", type=float, default=WIDTH, help="of the layers, against the papers' (default 0.5)")
    parser.add_argument("--checkpoint", type=Path, help="a file .weights.h5 to save the weights in as training goes on")
    parser.add_argument("--scenes", type=int, default=20, help="held-out scenes of 100 frames to track in (default 20)")
    parser.add_argument("--interpreter", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    parser.add_argument("--model", type=Path, default=ROOT / "graphs" / "ssd_mobilenet.tflite", help="the file")
    options = parser.parse_args()
    if not options.evaluate:
        write_file(
            str(options.model), ssd_model(train(options.minutes, options.checkpoint, options.width), options.width)
        )
    evaluate(options.model, options.scenes, choose(options.interpreter))
    return 0


# Training


def train(minutes: float, checkpoint: Path | None, width: float = WIDTH) -> list[tuple[np.ndarray, np.ndarray]]:
    """Train for so many minutes on one core; weights and biases of the 47 convolutions."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.keras.utils.set_random_seed(1)
    model = build(tf, width)
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE, clipnorm=5.0)

    @tf.function
    def step(pictures: Any, classes: Any, codes: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            losses = loss(tf, model(pictures, training=True), classes, codes)
            total = losses[0] + losses[1]
        optimizer.apply_gradients(zip(tape.gradient(total, model.trainable_variables), model.trainable_variables))
        return losses

    start, saved, recent = time.monotonic(), 0.0, []
    for number, batch in enumerate(batches(TRAINING_SEED), 1):
        spent = (time.monotonic() - start) / 60
        if spent >= minutes:
            break
        # Up for the first steps, then down along a cosine to (nearly) nothing.
        rate = LEARNING_RATE * min(1, number / 200) * (0.5 + 0.5 * np.cos(np.pi * spent / minutes))
        optimizer.learning_rate.assign(max(rate, 1e-5))
        recent.append([float(value) for value in step(*batch)])
        if number % 100 == 0:
            scores, boxes = np.mean(recent, 0)
            print(f"step {number}  minute {spent:.1f}  scores {scores:.3f}  boxes {boxes:.3f}", file=sys.stderr)
            recent.clear()
        if checkpoint and spent > saved + 3:
            model.save_weights(str(checkpoint))
            saved = spent
    if checkpoint:
        model.save_weights(str(checkpoint))
    return folded(model, width)


def build(tf: Any, width: float = WIDTH) -> Any:
    """The network as it is trained: pictures in, (batch, anchors, 1 + classes + 4) out."""
    keras = tf.keras.layers
    x = picture = keras.Input((SIZE, SIZE, 3))
    taps = {}
    for layer in layers(width):
        shape = {"strides": layer.stride, "padding": "same", "use_bias": False, "name": layer.name}
        if layer.kind == "depthwise":
            x = keras.DepthwiseConv2D(layer.size, **shape)(x)
        else:
            x = keras.Conv2D(layer.channels, layer.size, **shape)(x)
        x = keras.BatchNormalization(momentum=0.97, name=f"{layer.name}_norm")(x)
        x = taps[layer.name] = keras.ReLU()(x)
    found = []
    for tap, (_, shapes) in zip(TAPS, MAPS):
        outputs = [
            keras.Conv2D(len(shapes) * numbers, 1, name=f"{tap}_{what}")(taps[tap])
            for what, numbers in (("boxes", 4), ("scores", 1 + len(CLASSES)))
        ]
        rows = [keras.Reshape((-1, numbers))(y) for y, numbers in zip(outputs, (4, 1 + len(CLASSES)))]
        found.append(keras.Concatenate(axis=2)(rows))
    return tf.keras.Model(picture, keras.Concatenate(axis=1)(found))


def loss(tf: Any, answers: Any, classes: Any, codes: Any) -> tuple[Any, Any]:
    """The SSD paper's loss: cross entropy at positive anchors and the hardest others, Huber's at positive ones.

    ``classes`` (batch, anchors) is 0 for nothing, -1 for anchors that do not count, else 1 + the class.
    """
    positive = tf.cast(classes > 0, tf.float32)
    count = tf.reduce_sum(positive)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(classes, 0), answers[:, :, 4:])
    negative = tf.where(classes == 0, entropy, 0.0)
    wanted = tf.maximum(NEGATIVES * tf.reduce_sum(positive, 1), 8)
    rank = tf.argsort(tf.argsort(negative, axis=1, direction="DESCENDING"), axis=1)
    hardest = tf.stop_gradient(tf.cast(tf.cast(rank, tf.float32) < wanted[:, None], tf.float32))
    scores = tf.reduce_sum(entropy * positive) + tf.reduce_sum(negative * hardest)
    wrong = tf.abs(answers[:, :, :4] - codes)
    huber = tf.reduce_sum(tf.where(wrong < 1, 0.5 * wrong * wrong, wrong - 0.5), 2)
    return scores / tf.maximum(count, 1), tf.reduce_sum(huber * positive) / tf.maximum(count, 1)


def batches(seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Pictures (BATCH, 300, 300, 3), and for each anchor class (BATCH, 1917) and code (BATCH, 1917, 4), for ever."""
    boxes = anchors()
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    while True:
        scene = TrafficScene(seed)
        seed += 1
        for frame in FRAMES_OF_A_SCENE:
            pixels, truths = scene.frame(frame)
            rows.append((network_input(pixels), *targets(truths, boxes)))
        while len(rows) >= BATCH:
            pictures, classes, codes = zip(*rows[:BATCH])
            del rows[:BATCH]
            yield np.stack(pictures), np.stack(classes), np.stack(codes)


def network_input(pixels: np.ndarray) -> np.ndarray:
    """What the application's Resize makes of a frame."""
    return scaled(resized(pixels, SIZE, SIZE), 0.5, 0.5)


def targets(truths: list[Truth], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each anchor is to say: its class (see ``loss``) and its box's code."""
    classes, codes = np.zeros(len(boxes), np.int32), np.zeros((len(boxes), 4), np.float32)
    if not truths:
        return classes, codes
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
    wanted = np.array([truth.box for truth in truths], np.float32)
    shared = overlap(wanted, corners)
    vague = np.array([truth.visible < LEAST_VISIBLE for truth in truths])
    clear = np.flatnonzero(~vague)
    if vague.any():
        classes[(shared[vague] > VAGUE).any(0)] = -1
    if len(clear):
        best = clear[shared[clear].argmax(0)]
        score = shared[clear].max(0)
        classes[(score > VAGUE) & (score <= POSITIVE)] = -1
        positive = score > POSITIVE
        for truth in clear:  # a vehicle that no anchor fits well takes the one that fits it best
            anchor = shared[truth].argmax()
            best[anchor], positive[anchor] = truth, True
        kinds = np.array([truth.kind for truth in truths])
        classes[positive] = 1 + kinds[best[positive]]
        codes[positive] = encode(wanted[best[positive]], boxes[positive])
    return classes, codes


def folded(model: Any, width: float = WIDTH) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weights and biases of the layers and then of the heads, batch normalisation folded in."""
    found = []
    for layer in layers(width):
        [kernel] = model.get_layer(layer.name).get_weights()
        norm = model.get_layer(f"{layer.name}_norm")
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        axis = (1, 1, -1, 1) if layer.kind == "depthwise" else (1, 1, 1, -1)
        found.append((kernel * scale.reshape(axis), beta - mean * scale))
    for tap in TAPS:
        found += [tuple(model.get_layer(f"{tap}_{what}").get_weights()) for what in ("boxes", "scores")]
    return found


# Evaluation


def evaluate(path: Path, scenes: int, interpreter: str) -> None:
    """Print mean average precision and tracking accuracy on held-out scenes."""
    network = load(interpreter, path.read_bytes())
    frames = [pair for scene in range(10 * scenes) for pair in detections(network, DETECTION_SEED + scene)]
    precisions = [average_precision(frames, kind) for kind in range(len(CLASSES))]
    each = ", ".join(f"{name} {100 * value:.1f}" for name, value in zip(CLASSES, precisions))
    average = 100 * np.mean(precisions)
    print(f"mAP@0.5 {average:.1f} % on {len(frames)} frames of {10 * scenes} held-out scenes: {each}")
    counts = tracking(tracks(network, TRACKING_SEED + scene) for scene in range(scenes))
    right = counts.right_class / max(1, counts.vehicles - counts.missed)
    print(
        f"MOTA {100 * counts.accuracy:.1f} % on {scenes} held-out scenes of {FRAMES} frames: "
        f"{counts.vehicles} vehicles, {counts.missed} missed, {counts.false} false, "
        f"{counts.switched} identity switches; the class is right for {100 * right:.1f} % of those found"
    )
    print(f"{path.name}: {path.stat().st_size} bytes, with {describe(interpreter)}")


def detections(network: Any, seed: int) -> list[tuple[Found, list[Truth]]]:
    """What is found in a few frames of a scene, down to very low scores, and what is there."""
    pipeline = Pipeline(network, {"NMS": {"score": "0.01"}})
    scene, frames = TrafficScene(seed), []
    for frame in FRAMES_OF_A_SCENE:
        pixels, truths = scene.frame(frame)
        kept = pipeline.detect(pixels)
        frames.append((_found(kept["boxes"], kept["classes"], kept["scores"]), truths))
    return frames


def tracks(network: Any, seed: int) -> list[tuple[Found, list[Truth]]]:
    """What is tracked in all frames of a scene, and what is there."""
    pipeline = Pipeline(network)
    scene, frames = TrafficScene(seed), []
    for frame in range(FRAMES):
        pixels, truths = scene.frame(frame)
        told = pipeline.fire("Tracker", pipeline.detect(pixels))
        frames.append((_found(told["track_boxes"], told["track_classes"], told["track_ids"]), truths))
    return frames


def _found(boxes: np.ndarray, classes: np.ndarray, values: np.ndarray) -> Found:
    real = values > 0
    return Found(boxes[real], classes[real], values[real])


BEHAVIOURS = {"Resize": Resize, "Decoder": BoxDecoder, "NMS": NonMaximumSuppression, "Tracker": Tracker}


class Pipeline:
    """The actors of graphs/ssd_mobilenet.xml behind one another, with its parameters but for ``changes`` of some."""

    def __init__(self, network: Any, changes: Mapping[str, Mapping[str, str]] = MappingProxyType({})) -> None:
        self.network = network
        self.actors = {}
        for actor in read_application(str(ROOT / "graphs" / "ssd_mobilenet.xml")).actors:
            if actor.name in BEHAVIOURS:
                behaviour = BEHAVIOURS[actor.name](**{**dict(actor.parameters), **changes.get(actor.name, {})})
                behaviour.inputs, behaviour.outputs = (
                    {port.name: PortType(port.token.dtype, port.token.shape, 1) for port in ports}
                    for ports in (actor.inputs, actor.outputs)
                )
                behaviour.initialize()
                self.actors[actor.name] = behaviour

    def fire(self, name: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What one of the actors makes of its inputs."""
        outputs = {port: np.empty(kind.shape, kind.dtype) for port, kind in self.actors[name].outputs.items()}
        self.actors[name].fire(inputs, outputs)
        return outputs

    def detect(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """The boxes, classes and scores that non-maximum suppression leaves of a frame."""
        picture = self.fire("Resize", {"in": pixels[None]})["out"]
        self.network.set_tensor(self.network.get_input_details()[0]["index"], picture)
        self.network.invoke()
        tensors = [self.network.get_tensor(detail["index"]) for detail in self.network.get_output_details()]
        answers = {head.name: tensor for head, tensor in zip(heads(), tensors)}
        kept = self.fire("NMS", self.fire("Decoder", answers))
        return {name: kept[f"kept_{name}"] for name in ("boxes", "classes", "scores")}


if __name__ == "__main__":
    raise SystemExit(main())
