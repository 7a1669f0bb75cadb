"""Resizing of pictures to the size that a network takes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import numbers, only_port

from eprune.runtime import Actor, PortType

try:
    from PIL import Image
except ImportError:  # without it, pictures that have the right size already still pass
    Image = None  # type: ignore[assignment]


class Resize(Actor):
    """Resizes uint8 pictures, [1,H,W,3] or [H,W,3], or 1 in place of 3, without keeping proportions. Needs Pillow.

    The output is uint8 as well, int8 (the value less 128), or float32: (value / 255 - mean) / std.

    Parameters:
        mean, std: for float32 outputs; a number, or one for each channel: ``0.485,0.456,0.406``.
    """

    def __init__(self, mean: str = "0", std: str = "1") -> None:
        self.mean, self.std = numbers("mean", mean), numbers("std", std)
        if not self.std.all():
            raise ValueError(f"std={std!r}: must not be 0")

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if a token is not a picture."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        shape = picture_shape(self.source, source, ("uint8",), (1, 3))
        self.height, self.width = picture_shape(self.target, target, ("uint8", "float32", "int8"), (1, 3))
        channels, self.dtype = target.shape[-1], target.dtype
        if source.shape[-1] != channels:
            raise ValueError(f"port {self.target!r}: {channels} channels of a picture that has {source.shape[-1]}")
        if self.dtype != "float32" and (self.mean.any() or (self.std != 1).any()):
            raise ValueError(f"port {self.target!r}: mean and std are for float32 tokens, not {self.dtype}")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values.size not in (1, channels):
                raise ValueError(f"{name}: {values.size} numbers for {channels} channels")
        if Image is None and shape != (self.height, self.width):
            raise ValueError("resizing pictures needs Pillow: pip install pillow")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Resize one picture."""
        frame = inputs[self.source]
        pixels = resized(frame.reshape(frame.shape[-3:]), self.height, self.width)
        if self.dtype == "float32":
            outputs[self.target][...] = scaled(pixels, self.mean, self.std)
        else:
            outputs[self.target][...] = pixels if self.dtype == "uint8" else (pixels ^ np.uint8(128)).view(np.int8)


def picture_shape(
    name: str, port: PortType, dtypes: tuple[str, ...], channels: tuple[int, ...] = (3,)
) -> tuple[int, int]:
    """Height and width of a port's pictures; raises ValueError unless they are [1,H,W,3] or [H,W,3] of such dtypes."""
    shape = port.shape[1:] if len(port.shape) == 4 and port.shape[0] == 1 else port.shape
    if port.dtype not in dtypes or len(shape) != 3 or shape[2] not in channels:
        raise ValueError(
            f"port {name!r}: expected {' or '.join(dtypes)}, [1,H,W,3] or [H,W,3], not {port.dtype}{list(port.shape)}"
        )
    return shape[0], shape[1]


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture, uint8 (H, W, 3), at another size."""
    if pixels.shape[:2] == (height, width):
        return pixels
    plain = pixels if pixels.shape[2] == 3 else pixels[:, :, 0]
    small = np.asarray(Image.fromarray(np.ascontiguousarray(plain)).resize((width, height), Image.BILINEAR))
    return small.reshape(height, width, pixels.shape[2])


def scaled(pixels: np.ndarray, mean: float | np.ndarray, std: float | np.ndarray) -> np.ndarray:
    """``(value / 255 - mean) / std`` as float32; numbers, or one for each channel."""
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    return pixels * (1 / 255 / std).astype(np.float32) - (mean / std).astype(np.float32)
