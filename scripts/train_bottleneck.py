#!/usr/bin/env python3
"""Train a bottleneck behind the second layer of the vehicle classifier; write and evaluate the file.

    python3 scripts/train_bottleneck.py                train (minutes, two cores), write, evaluate; needs eprune[train]
    python3 scripts/train_bottleneck.py --channels 2   codes of 72 bytes
    python3 scripts/train_bottleneck.py --dense 8      codes of 8 bytes, by a fully connected layer
    python3 scripts/train_bottleneck.py --evaluate     evaluate the file that is there; needs no TensorFlow

The first two layers are those of graphs/vehicle.tflite, and stay. Behind them come an encoder, two convolutions that
make the tensor of 73728 bytes a code of 6x6 numbers of 8 bits (or several for each place; or, with --dense, one layer
that sees all of it, and is as large as a projection), and a decoder, whose last layer stands for the third. In the
first half of the training the decoder learns to give what the third layer gives (head distillation: Matsubara et al.,
2020), so encoder and decoder are an autoencoder of what that layer needs; in the second half all behind the cut is
tuned to the classes and to the classifier's own scores. Codes are rounded in training, too; gradients pass by.
graphs/vehicle_bottleneck.xml is the application of the file: its cut is a FIFO.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors"), str(ROOT / "scripts")]

from train_vehicle import BATCH, ModelWriter, Weights, folded, infer, tensorflow  # noqa: E402
from vehicle_renderer import CLASSES, SIZE, render_vehicle, vehicle_class  # noqa: E402

from eprune.formats.atomic import write_file  # noqa: E402
from eprune.formats.model_files import read_model  # noqa: E402
from eprune.formats.models.slices import slice_model  # noqa: E402
from eprune.model.samples import Share  # noqa: E402
from eprune.runtime.fire.tflite import choose, describe, load  # noqa: E402

TRAINING_SEED, HELD_OUT_SEED = 3001, 3003
#: rows and columns of the tensor at the cut, of what is between the encoder's convolutions, and of codes
FIELD, HALF, CODES = 24, 12, 6
CHANNELS, BETWEEN, DECODED, L3 = 32, 16, 200, 100
#: a code q stands for q / 255
STEP = 1 / 255
#: Operators of the file with convolutions: the first two layers, the encoder, the decoder, and what is behind.
HEAD, ENCODER, DECODER, TAIL = range(4), range(4, 8), range(8, 11), range(11, 15)


class Writer(ModelWriter):
    """Tensors of 8 bits as well."""

    def quantize(self, x: int, shape: tuple[int, ...]) -> int:
        """Numbers from 0 to 1 as uint8."""
        made = self.operator("QUANTIZE", [x], shape, "QuantizeOptions")
        tensor = self.tensors[made]
        tensor.type, tensor.quantization = self.schema.TensorType.UINT8, self.schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = [STEP], [0]
        return made

    def dequantize(self, x: int, shape: tuple[int, ...]) -> int:
        """The numbers again."""
        return self.operator("DEQUANTIZE", [x], shape, "DequantizeOptions")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="train nothing")
    parser.add_argument("--channels", type=int, default=1, help="codes for each of 6x6 places (1)")
    parser.add_argument("--dense", type=int, default=0, help="so many codes of a fully connected layer instead")
    parser.add_argument("--steps", type=int, default=6000, help=f"training steps of {BATCH} pictures (6000)")
    parser.add_argument("--pictures", type=int, default=16000, help="rendered pictures to train on (16000)")
    parser.add_argument("--frames", type=int, default=4000, help="held-out pictures to evaluate with (4000)")
    parser.add_argument("--interpreter", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    parser.add_argument("--model", type=Path, default=ROOT / "graphs" / "vehicle_bottleneck.tflite", help="the file")
    options = parser.parse_args()
    whole = ROOT / "graphs" / "vehicle.tflite"
    interpreter = choose(options.interpreter)
    if not options.evaluate:
        shape = (options.dense,) if options.dense else (CODES, CODES, options.channels)
        learnt = train(shape, options.steps, *seen(whole, options.pictures, interpreter))
        write_file(str(options.model), bottleneck_model([*head_of(whole, interpreter), *learnt]))
    evaluate(options.model, whole, options.frames, interpreter)
    return 0


# Training


def seen(path: Path, frames: int, interpreter: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Of rendered pictures: what the first two layers give, as float16, the third, the scores, and the classes."""
    model = read_model(str(path))
    layers = [load(interpreter, slice_model(model, part)) for part in (range(4), range(4, 5), range(5, 9))]
    features = np.empty((frames, FIELD, FIELD, CHANNELS), np.float16)
    third, scores = np.empty((frames, L3), np.float32), np.empty((frames, len(CLASSES)), np.float32)
    for frame in range(frames):
        made = infer(layers[0], render_vehicle(TRAINING_SEED, frame)[None])
        features[frame] = made[0]
        third[frame] = infer(layers[1], made)[0]
        scores[frame] = infer(layers[2], third[frame][None])[0]
    return features, third, scores, np.array([vehicle_class(TRAINING_SEED, frame) for frame in range(frames)])


def train(
    shape: tuple[int, ...],
    steps: int,
    features: np.ndarray,
    third: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
) -> list[Weights]:
    """Weights of the encoder, whose codes are of that shape, of the decoder and of the layers behind."""
    tf = tensorflow()
    layers, bias = tf.keras.layers, {"use_bias": False}

    @tf.custom_gradient
    def rounded(x: Any) -> Any:
        return tf.round(x / STEP) * STEP, lambda slope: slope

    # Each batch normalisation is folded away afterwards.
    def convolution(channels: int, activation: str) -> list[Any]:
        same = layers.Conv2D(channels, 3, strides=2, padding="same", **bias)
        return [same, layers.BatchNormalization(), layers.Activation(activation)]

    def dense(outputs: int, activation: str) -> list[Any]:
        return [layers.Dense(outputs, **bias), layers.BatchNormalization(), layers.Activation(activation)]

    made = [layers.Flatten(), *dense(shape[0], "sigmoid")]
    if len(shape) > 1:
        made = [*convolution(BETWEEN, "relu"), *convolution(shape[-1], "sigmoid")]
    encoder = tf.keras.Sequential([layers.Input((FIELD, FIELD, CHANNELS)), *made])
    decoder = tf.keras.Sequential(
        [layers.Input(shape), layers.Flatten(), *dense(DECODED, "relu"), *dense(L3, "linear")]
    )
    tail = tf.keras.Sequential([layers.Input((L3,)), layers.ReLU(), *dense(100, "relu"), layers.Dense(len(CLASSES))])
    variables = [*encoder.trainable_variables, *decoder.trainable_variables, *tail.trainable_variables]
    optimizer = tf.keras.optimizers.Adam(tf.keras.optimizers.schedules.CosineDecay(1e-3, steps))
    optimizer.build(variables)
    spread = float(third.std())

    @tf.function
    def step(x: Any, wanted: Any, soft: Any, y: Any, tuned: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            made = decoder(rounded(encoder(x, training=True)), training=True)
            logits = tail(made, training=True)
            near = tf.reduce_mean(tf.square((made - wanted) / spread))
            hard = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))
            taught = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(soft, logits))
            loss = (1 - tuned) * near + hard + taught
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        return loss, tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == y, tf.float32))

    random, recent = np.random.default_rng(1), []
    for number in range(1, steps + 1):
        chosen = random.integers(len(classes), size=BATCH)
        batch, tuned = features[chosen].astype(np.float32), np.float32(number > steps // 2)
        recent.append([float(each) for each in step(batch, third[chosen], scores[chosen], classes[chosen], tuned)])
        if number % 500 == 0 or number == steps:
            loss, accuracy = np.mean(recent, 0)
            print(f"step {number}/{steps}  loss {loss:.3f}  accuracy {accuracy:.3f}", file=sys.stderr)
            recent.clear()
    return [weights for part in (encoder, decoder, tail) for weights in folded(part)]


# The file


def head_of(path: Path, interpreter: str) -> list[Weights]:
    """Weights of the first two layers, as TensorFlow has them."""
    loaded = load(interpreter, path.read_bytes())
    operators = [each for each in read_model(str(path)).operators[:4] if each.name == "CONV_2D"]
    pairs = [[loaded.get_tensor(index) for index in each.inputs[1:]] for each in operators]
    return [(kernel.transpose(1, 2, 3, 0), bias) for kernel, bias in pairs]


def bottleneck_model(weights: list[Weights]) -> bytes:
    """The file of these layers: two of the classifier, one or two of the encoder, two of the decoder, two behind."""
    writer = Writer("vehicle classifier with a learned bottleneck")
    image = writer.tensor("image", (1, SIZE, SIZE, 3))
    head, encoder, decoder = weights[:2], weights[2:-4], weights[-4:]
    x = writer.convolution_and_pool(image, SIZE, head[0])
    x = writer.convolution_and_pool(x, SIZE // 2, head[1])
    codes: tuple[int, ...] = (1, len(encoder[-1][1]))
    if len(encoder) == 1:
        x = writer.dense(x, encoder[0])
    else:
        codes = (1, CODES, CODES, *codes[1:])
        x = writer.convolution(x, HALF, encoder[0], 2)
        x = writer.convolution(x, CODES, encoder[1], 2, relu=False)
    x = writer.quantize(writer.operator("LOGISTIC", [x], codes), codes)
    x = writer.dense(writer.dequantize(x, codes), decoder[0], relu=True)
    x = writer.dense(x, decoder[1])
    return writer.finish([image], [writer.head(x, L3, decoder)])


def weights_of(path: Path, interpreter: str) -> list[Weights]:
    """What ``bottleneck_model`` was given, from the file."""
    loaded = load(interpreter, path.read_bytes())
    found = []
    for operator in read_model(str(path)).operators:
        if operator.name in ("CONV_2D", "FULLY_CONNECTED"):
            kernel, bias = (loaded.get_tensor(index) for index in operator.inputs[1:])
            found.append((kernel.transpose(1, 2, 3, 0) if kernel.ndim == 4 else kernel.T, bias))
    return found


# Evaluation


def evaluate(path: Path, whole: Path, frames: int, interpreter: str) -> None:
    """Print the bytes of a code, and accuracies on held-out pictures."""
    found = {name: load(interpreter, each.read_bytes()) for name, each in (("bottleneck", path), ("classifier", whole))}
    right = dict.fromkeys(found, 0)
    for frame in range(frames):
        picture = render_vehicle(HELD_OUT_SEED, frame)[None]
        for name, model in found.items():
            right[name] += int(infer(model, picture).argmax()) == vehicle_class(HELD_OUT_SEED, frame)
    model = read_model(str(path))
    codes = next(each.outputs[0] for each in model.operators if each.name == "QUANTIZE")
    print(f"{path.name}: {path.stat().st_size} bytes, codes {model.tensors[codes].token}")
    for name, count in right.items():
        share = Share(count, frames)
        print(f"{name}: {100 * share.value:.2f} % ({100 * share.low:.2f} to {100 * share.high:.2f} %) of {frames}")
    print(f"with {describe(interpreter)}")


if __name__ == "__main__":
    raise SystemExit(main())
