"""Rendered vehicles as a camera at a road sees them, one after the other: for `eprune apply cache`.

    python -m scripts.vehicle_stream slow.npz                          60 scenes of slow traffic
    python -m scripts.vehicle_stream fast.npz --scenes 400 --speed 4 --length 8

A scene is one vehicle that moves through the picture (the camera's crop moves over a rendered picture), with new noise
and a little flicker in each frame. Frames are uint8 in `x`, classes in `y`, and the numbers of scenes in `source`, so
that calibration and test have none in common.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "actors"))

from vehicle_renderer import SIZE, render_vehicle, vehicle_class  # noqa: E402

#: Pixels per frame and frames per scene: a queue, and flowing traffic.
SLOW, FAST = (0.3, 30), (3.0, 8)
#: Pixels at each side that a vehicle moves at most.
_MARGIN = 16


def stream(
    scenes: int, speed: float, length: int, seed: int, noise: float = 2.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames uint8 [n,96,96,3], classes and scenes [n]; ``speed`` in pixels per frame, ``noise`` of 255 steps."""
    random = np.random.default_rng((seed, 1))
    frames, classes, sources = [], [], []
    for scene in range(scenes):
        picture = 255 * render_vehicle(seed, scene)
        wide = np.pad(picture, ((0, 0), (_MARGIN, _MARGIN), (0, 0)), mode="edge")
        count = max(1, round(length * random.uniform(0.5, 1.5)))
        for frame in range(count):
            move = np.clip(speed * (frame - count / 2), -_MARGIN, _MARGIN)
            left = round(_MARGIN + float(move))
            seen = wide[:, left : left + SIZE] * random.uniform(0.97, 1.03)
            seen = seen + random.normal(0, noise, seen.shape)
            frames.append(np.rint(np.clip(seen, 0, 255)).astype(np.uint8))
            classes.append(vehicle_class(seed, scene))
            sources.append(scene)
    return np.stack(frames), np.array(classes), np.array(sources)


def save(path: str, scenes: int, speed: float, length: int, seed: int, noise: float = 2.0) -> int:
    """Write such a stream; how many frames it has."""
    x, y, source = stream(scenes, speed, length, seed, noise)
    np.savez_compressed(path, x=x, y=y, source=source)
    return len(x)


def main() -> None:
    """Write a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", metavar="FILE.npz")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--speed", type=float, default=SLOW[0], help="pixels per frame (0.3)")
    parser.add_argument("--length", type=int, default=SLOW[1], help="frames per scene, on average (30)")
    parser.add_argument("--noise", type=float, default=2.0, help="of a pixel, of 255 steps (2)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    frames = save(given.output, given.scenes, given.speed, given.length, given.seed, given.noise)
    print(f"{given.output}: {frames} frames of {given.scenes} scenes")


if __name__ == "__main__":
    main()
