"""What hides numbers from whoever sees them: noise on them, and some of them left out."""

from __future__ import annotations

import secrets

import numpy as np
from checks import fraction, number, numbers, one_of, whole_number

DRAWS = ("frame", "scene")


class Disturbance:
    """Noise, and gaps, for arrays of one shape; drawn anew for each frame, or for each scene.

    Takes the texts of parameters, and raises ValueError for what does not fit. A new scene is what is further from the
    first frame of the scene than ``change`` times the length of that; who sees several frames of a scene sees the same
    noise in all of them, and cannot average it away. Without ``seed``, nobody can draw the same again.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        noise: str = "0",
        drop: str = "0",
        draw: str = "frame",
        change: str = "0.5",
        seed: str = "",
    ) -> None:
        self.noise = numbers("noise", noise).astype(np.float32)
        channels = shape[-1] if shape else 1
        if len(self.noise) not in (1, channels) or (self.noise < 0).any():
            raise ValueError(f"noise: expected one number from 0 on, or {channels}, one for each channel")
        self.drop = fraction("drop", drop)
        if self.drop == 1:
            raise ValueError("drop=1: nothing would be left")
        self.draw = one_of("draw", draw, DRAWS)
        self.change = number("change", change)
        self.shape = shape
        self.random = np.random.default_rng(whole_number("seed", seed) if seed else secrets.randbits(128))
        self.first = np.zeros(0, np.float32)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The numbers, disturbed: float32. What is not left out is larger, so that the mean stays."""
        values = values.astype(np.float32)
        if self.draw == "frame" or self._other_scene(values):
            self.first = values.copy()
            self.added = self.random.standard_normal(self.shape, np.float32) * self.noise
            self.kept = self.random.random(self.shape, np.float32) >= self.drop
        disturbed: np.ndarray = (values + self.added) * self.kept / np.float32(1 - self.drop)
        return disturbed

    def _other_scene(self, values: np.ndarray) -> bool:
        if not self.first.size:
            return True
        return float(np.linalg.norm(values - self.first)) > self.change * float(np.linalg.norm(self.first))
