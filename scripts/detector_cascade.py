#!/usr/bin/env python3
"""Rendered traffic for a cascade of detectors, and how well the cascade finds what is in it.

    python3 scripts/detector_cascade.py scenes.npz                write the pictures
    eprune apply cascade graphs/ssd_small.tflite graphs/ssd_mobilenet.tflite --data scenes.npz \\
        --mean 0.5 --std 0.5 -o app
    python3 scripts/detector_cascade.py scenes.npz --evaluate app

Mean average precision (IoU 0.5) against the scenes' own truth, which the cascade has not seen: of the small detector,
of the large one on JPEGs, and of the cascade, with the share of frames that the small one answers, and bytes per
frame. No scene has trained a detector, and none is in both parts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "actors"), str(ROOT / "scripts")]

from ssd_evaluation import Found, average_precision  # noqa: E402
from traffic_renderer import TrafficScene, Truth  # noqa: E402
from vehicle_renderer import CLASSES  # noqa: E402

from eprune.face import load  # noqa: E402
from eprune.measure.answers import SystemAnswers  # noqa: E402
from eprune.measure.pictures import Pictures  # noqa: E402

#: The first scene of each part, and the frames of a scene.
SEEDS = {"x_train": 30_000, "x_test": 35_000}
FRAMES = (12, 45, 78)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="the pictures, an .npz file")
    parser.add_argument("--scenes", type=int, default=100, help="of each part, three frames of each (default 100)")
    parser.add_argument("--evaluate", type=Path, metavar="APP", help="the folder that eprune apply cascade has written")
    options = parser.parse_args()
    if options.evaluate is None:
        parts = {part: np.stack([pixels for pixels, _ in frames(part, options.scenes)]) for part in SEEDS}
        np.savez(options.file, **parts)
    else:
        evaluate(options.file, options.evaluate)
    return 0


def frames(part: str, scenes: int) -> Iterator[tuple[np.ndarray, list[Truth]]]:
    """The frames of a part, and what is in them."""
    for seed in range(SEEDS[part], SEEDS[part] + scenes):
        scene = TrafficScene(seed)
        for index in FRAMES:
            yield scene.frame(index)


def evaluate(file: Path, app: Path) -> None:
    """Print how good small, large and cascade are on the test part."""
    system = load(str(app / "application.xml"), str(app / "platforms"), str(app / "mappings"), allow_outside=True)
    pixels = np.load(file)["x_test"]
    truths = [each for _, each in frames("x_test", len(pixels) // len(FRAMES))]
    with SystemAnswers(system) as answers:
        gate, pictures = answers.behaviour("Exit"), Pictures(answers.token)
        for name, threshold in (("small", -1.0), ("large, JPEG", 2.0), ("cascade", gate.threshold)):
            gate.threshold = threshold
            found, sent, early = [], 0.0, 0
            for picture, truth in zip(pixels, truths):
                frame = answers.frame(pictures(picture))
                rows = frame.answer[frame.answer[:, 4] > 0]
                found.append((Found(rows[:, :4], rows[:, 5].astype(int), rows[:, 4]), truth))
                sent += frame.nbytes.get(("endpoint", "server"), 0)
                early += gate.confidence >= threshold
            precision = np.mean([average_precision(found, kind) for kind in range(len(CLASSES))])
            print(
                f"{name:12} mAP@0.5 {100 * precision:5.1f} %, the small one answers {100 * early / len(found):5.1f} % "
                f"of {len(found)} frames, {sent / len(found):7.0f} bytes per frame"
            )


if __name__ == "__main__":
    raise SystemExit(main())
