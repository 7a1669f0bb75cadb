#!/usr/bin/env python3
"""Fit the early exit of the vehicle classifier, write graphs/vehicle_exit.tflite, and evaluate it.

    python3 scripts/train_exit.py                    fit (two minutes, one core), write, evaluate; needs eprune[train]
    python3 scripts/train_exit.py --evaluate         evaluate the file that is there; needs no scikit-learn

The exit is a multinomial logistic regression on what L2 gives out, averaged over 3x3 places. Its pictures have a seed
of their own; those of the evaluation are the classifier's.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from train_vehicle import (
    CLASSES,
    HELD_OUT_SEED,
    ROOT,
    ModelWriter,
    Weights,
    choose,
    describe,
    infer,
    load,
    read_model,
    render_vehicle,
    slice_model,
    to_bfloat16,
    vehicle_class,
    write_file,
)

EXIT_SEED = 1004
#: rows, columns and channels that L2 gives out, and over how many places each way they are averaged
SHAPE, PLACES = (24, 24, 32), 3
#: the inverse strength of the regularisation, the best of 0.001, 0.003, 0.01 and 0.03 on other pictures
STRENGTH = 0.01
THRESHOLDS = (0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="fit nothing")
    parser.add_argument("--pictures", type=int, default=20000, help="pictures to fit to (default 20000)")
    parser.add_argument("--frames", type=int, default=4000, help="held-out pictures to evaluate with (default 4000)")
    parser.add_argument("--interpreter", default="auto", help="auto, ai-edge-litert or tflite-runtime")
    parser.add_argument("--folder", type=Path, default=ROOT / "graphs", help="where the files are (default graphs/)")
    options = parser.parse_args()
    path, interpreter = options.folder / "vehicle_exit.tflite", choose(options.interpreter)
    parts = Parts(options.folder / "vehicle.tflite", interpreter)
    if not options.evaluate:
        write_file(str(path), exit_model(fit(parts, options.pictures)))
    evaluate(parts, path, options.frames, interpreter)
    return 0


class Parts:
    """The classifier up to L2, and from there on."""

    def __init__(self, path: Path, interpreter: str) -> None:
        model = read_model(str(path))
        self.lower = load(interpreter, slice_model(model, range(4)))
        self.upper = load(interpreter, slice_model(model, range(4, 9)))

    def features(self, seed: int, index: int) -> np.ndarray:
        """What L2 gives out for a picture, [1, 24, 24, 32]."""
        return infer(self.lower, render_vehicle(seed, index)[None])


def averaged(features: np.ndarray) -> np.ndarray:
    """What the exit looks at: [8 * 8 * 32], each value the mean of 3x3 places."""
    rows, columns, channels = SHAPE
    places = features.reshape(rows // PLACES, PLACES, columns // PLACES, PLACES, channels)
    return places.mean(axis=(1, 3)).reshape(-1)


def fit(parts: Parts, pictures: int) -> Weights:
    """Weights [2048, 4] and biases [4] of the regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    seen = np.stack([averaged(parts.features(EXIT_SEED, index)) for index in range(pictures)])
    classes = np.array([vehicle_class(EXIT_SEED, index) for index in range(pictures)])
    scaler = StandardScaler().fit(seen)
    regression = LogisticRegression(C=STRENGTH, max_iter=500).fit(scaler.transform(seen), classes)
    # The scaling is folded into the weights.
    weights = regression.coef_ / scaler.scale_
    return to_bfloat16(weights.T), to_bfloat16(regression.intercept_ - weights @ scaler.mean_)


def exit_model(weights: Weights) -> bytes:
    """The exit as a model: average, fully connected, softmax; operators 0 to 2."""
    writer = ModelWriter("vehicle classifier, early exit")
    features = writer.tensor("features", (1, *SHAPE))
    fields = {"padding": writer.schema.Padding.VALID, "strideH": PLACES, "strideW": PLACES}
    fields.update(filterHeight=PLACES, filterWidth=PLACES)
    shape = (1, SHAPE[0] // PLACES, SHAPE[1] // PLACES, SHAPE[2])
    x = writer.operator("AVERAGE_POOL_2D", [features], shape, "Pool2DOptions", **fields)
    x = writer.dense(x, weights)
    return writer.finish([features], [writer.operator("SOFTMAX", [x], (1, len(CLASSES)), "SoftmaxOptions", beta=1.0)])


def evaluate(parts: Parts, path: Path, frames: int, interpreter: str) -> None:
    """Print, for several thresholds, how many held-out pictures leave early and how many are right."""
    head = load(interpreter, path.read_bytes())
    early, late = np.empty((frames, len(CLASSES))), np.empty((frames, len(CLASSES)))
    for index in range(frames):
        features = parts.features(HELD_OUT_SEED, index)
        early[index], late[index] = infer(head, features)[0], infer(parts.upper, features)[0]
    wanted = np.array([vehicle_class(HELD_OUT_SEED, index) for index in range(frames)])
    print(f"{path.name}: {frames} held-out frames, {path.stat().st_size} bytes")
    print(f"  {'threshold':>9}{'early':>9}{'right, of these':>17}{'right, of all':>15}")
    for threshold in THRESHOLDS:
        leaves = early.max(axis=1) >= threshold
        right = np.where(leaves, early.argmax(axis=1), late.argmax(axis=1)) == wanted
        of_these = f"{100 * right[leaves].mean():.2f} %" if leaves.any() else ""
        print(f"  {threshold:>9}{100 * leaves.mean():>7.1f} %{of_these:>17}{100 * right.mean():>13.2f} %")
    print(f"with {describe(interpreter)}")


if __name__ == "__main__":
    sys.exit(main())
