#!/usr/bin/env python3
"""Fit the intermediate classifier of graphs/vehicle_nested.xml, write graphs/vehicle_nested_head.tflite, and evaluate.

    python3 scripts/fit_nested_head.py               fit (a minute), write, evaluate; needs scikit-learn
    python3 scripts/fit_nested_head.py --evaluate    evaluate the file that is there

It is a logistic regression on averages of what the stem of graphs/vehicle_skipping.tflite makes of rendered vehicles.
The evaluation says how good it is where the first gate leaves out block 1, and where it does not.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors"), str(ROOT / "scripts")]

from train_vehicle import infer  # noqa: E402
from vehicle_renderer import CLASSES, render_vehicle, vehicle_class  # noqa: E402

from eprune.formats.atomic import write_file  # noqa: E402
from eprune.formats.model_files import read_model  # noqa: E402
from eprune.formats.models.slices import slice_model  # noqa: E402
from eprune.formats.tflite.head import head_model, pool_of  # noqa: E402
from eprune.measure.exits import Head, fitted, values_of  # noqa: E402
from eprune.model.token import parse_token  # noqa: E402
from eprune.runtime.fire.tflite import choose, load  # noqa: E402

MODEL, HEAD = ROOT / "graphs" / "vehicle_skipping.tflite", ROOT / "graphs" / "vehicle_nested_head.tflite"
STEM, GATE = range(3), range(3, 7)
FEATURES, ANSWER = parse_token("float32[1,12,12,28]"), parse_token("float32[1,4]")
SEED, HELD_OUT_SEED = 1008, 3008
#: as in the graph: of the first gate, and of the exit
NEEDED, SURE = 0.05, 0.9


class Frames(NamedTuple):
    """What the stem makes of pictures, their classes, and what the gate says of them."""

    features: list[np.ndarray]
    classes: np.ndarray
    needed: np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="fit nothing")
    parser.add_argument("--frames", type=int, default=4000, help="pictures to fit on, and to evaluate with")
    options = parser.parse_args()
    if not options.evaluate:
        write_file(str(HEAD), fit(seen(SEED, options.frames)))
    evaluate(seen(HELD_OUT_SEED, options.frames))
    return 0


def seen(seed: int, count: int) -> Frames:
    """So many pictures."""
    model = read_model(str(MODEL))
    stem, gate = (load(choose(), slice_model(model, operators)) for operators in (STEM, GATE))
    features = [infer(stem, render_vehicle(seed, index)[None]) for index in range(count)]
    classes = np.array([vehicle_class(seed, index) for index in range(count)])
    return Frames(features, classes, np.array([float(infer(gate, each).item()) for each in features]))


def fit(frames: Frames) -> bytes:
    """The classifier's file."""
    pool = pool_of(FEATURES.shape, 4)
    blank = Head(pool, np.empty((0, 0)), np.empty(0))
    values = np.stack([values_of(each, blank) for each in frames.features])
    return head_model(FEATURES, pool, *fitted(values, frames.classes, len(CLASSES)), ANSWER)


def evaluate(frames: Frames) -> None:
    """Print how good it is on either path."""
    head = load(choose(), HEAD.read_bytes())
    scores = np.concatenate([infer(head, each) for each in frames.features])
    right, sure = scores.argmax(1) == frames.classes, scores.max(1) >= SURE
    for path, taken in (("skipped", frames.needed < NEEDED), ("run", frames.needed >= NEEDED)):
        print(
            f"block 1 is {path} for {100 * taken.mean():.1f} %: of these {100 * right[taken].mean():.1f} % right, "
            f"{100 * sure[taken].mean():.1f} % exit, {100 * right[taken & sure].mean():.1f} % of those right"
        )


if __name__ == "__main__":
    raise SystemExit(main())
