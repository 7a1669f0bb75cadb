"""Fits the taps of graphs/predistorter.xml to the amplifier of actors/amplifier.py, and prints them.

python -m scripts.fit_predistorter

Indirect learning: the filter that turns the amplifier's output back into what drove it goes in front of the amplifier;
then once more with what now drives it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "actors"))

GROUPS, TAPS = 4, 8
#: what the amplifier's output should be of its input; less than 1, as it cannot give a stronger signal back unharmed
GAIN = 0.8


def basis(signal: np.ndarray) -> np.ndarray:
    """[samples, groups * taps]: odd powers of the newest and of earlier samples; without the first TAPS - 1 samples."""
    count = len(signal) - TAPS + 1
    powers = [signal ** (2 * group + 1) for group in range(GROUPS)]
    return np.stack([p[TAPS - 1 - back : TAPS - 1 - back + count] for p in powers for back in range(TAPS)], axis=1)


def fit(samples: int = 100_000, rounds: int = 3) -> np.ndarray:
    """The taps, [GROUPS, TAPS], from noise up to a magnitude of 1."""
    from amplifier import amplify

    wanted = np.random.default_rng(1).uniform(-1, 1, samples)
    wanted[: TAPS - 1] = 0
    drive, taps = wanted, np.zeros(GROUPS * TAPS)
    for _ in range(rounds):
        given = np.concatenate([np.zeros(2), amplify(drive)]) / GAIN
        taps = np.linalg.lstsq(basis(given), drive[TAPS - 1 :], rcond=None)[0]
        drive = np.concatenate([np.zeros(TAPS - 1), basis(wanted) @ taps])
    return taps.reshape(GROUPS, TAPS)


if __name__ == "__main__":
    print(";".join(",".join(f"{tap:.6f}" for tap in group) for group in fit()))
