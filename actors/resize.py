"""Resizing of pictures to the size that a network takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import number, only_port

from eprune.runtime import Actor, PortType

try:
    from PIL import Image
except ImportError:  # without it, pictures that have the right size already still pass
    Image = None  # type: ignore[assignment]


class Resize(Actor):
    """Resizes uint8 pictures, [1,H,W,3] or [H,W,3], without keeping proportions. Needs Pillow.

    The output is uint8 as well, or float32: (value / 255 - mean) / std.

    Parameters:
        mean, std: two numbers, for float32 outputs.
    """

    def __init__(self, mean: str = "0", std: str = "1") -> None:
        self.mean, self.std = number("mean", mean), number("std", std)
        if not self.std:
            raise ValueError(f"std={std!r}: must not be 0")

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if a token is not a picture."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        shape = picture_shape(self.source, source, ("uint8",))
        self.height, self.width = picture_shape(self.target, target, ("uint8", "float32"))
        self.scaled = target.dtype == "float32"
        if not self.scaled and (self.mean, self.std) != (0, 1):
            raise ValueError(f"port {self.target!r}: mean and std are for float32 tokens, not uint8")
        if Image is None and shape != (self.height, self.width):
            raise ValueError("resizing pictures needs Pillow: pip install pillow")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Resize one picture."""
        frame = inputs[self.source]
        pixels = resized(frame.reshape(frame.shape[-3:]), self.height, self.width)
        outputs[self.target][...] = scaled(pixels, self.mean, self.std) if self.scaled else pixels


def picture_shape(name: str, port: PortType, dtypes: tuple[str, ...]) -> tuple[int, int]:
    """Height and width of a port's pictures; raises ValueError unless they are [1,H,W,3] or [H,W,3] of such dtypes."""
    shape = port.shape[1:] if len(port.shape) == 4 and port.shape[0] == 1 else port.shape
    if port.dtype not in dtypes or len(shape) != 3 or shape[2] != 3:
        raise ValueError(
            f"port {name!r}: expected {' or '.join(dtypes)}, [1,H,W,3] or [H,W,3], not {port.dtype}{list(port.shape)}"
        )
    return shape[0], shape[1]


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture, uint8 (H, W, 3), at another size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.BILINEAR))


def scaled(pixels: np.ndarray, mean: float, std: float) -> np.ndarray:
    """``(value / 255 - mean) / std`` as float32."""
    return pixels * np.float32(1 / 255 / std) - np.float32(mean / std)
