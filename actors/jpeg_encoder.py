"""An actor in front of a link that sends pictures as JPEG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from checks import only_port, whole_number
from resize import Image, picture_shape

from eprune.runtime import Actor

#: The first byte of a token: what follows is the picture as it is, or a JPEG.
STORED, CODED = 0, 1


class JpegEncoder(Actor):
    """Codes each picture, uint8 [1,H,W,3] or [H,W,3], as a JPEG in a token uint8[<=n]; ``JpegDecoder`` is its reverse.

    A picture that the JPEG would not make smaller is sent as it is: n is the bytes of the picture and 1. Needs Pillow.

    Parameters:
        quality: of the JPEG, 1 to 95; 0 sends every picture as it is.
    """

    def __init__(self, quality: str = "90") -> None:
        self.quality = whole_number("quality", quality)
        if self.quality > 95:
            raise ValueError(f"quality={quality}: expected 0 to 95")
        if Image is None and self.quality:
            raise ValueError("coding pictures needs Pillow: pip install pillow")

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        height, width = picture_shape(self.source, source, ("uint8",))
        self.most = 3 * height * width
        if target.dtype != "uint8" or not target.variable or target.shape[0] < self.most + 1:
            raise ValueError(f"port {self.target!r}: expected tokens uint8[<={self.most + 1}], or more")

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Code one picture."""
        pixels, out = inputs[self.source], outputs[self.target]
        coded = self._jpeg(pixels.reshape(pixels.shape[-3:])) if self.quality else None
        if coded is None or len(coded) >= self.most:
            out[0], out.used = STORED, self.most + 1
            out[1 : self.most + 1] = pixels.reshape(-1)
        else:
            out[0], out.used = CODED, len(coded) + 1
            out[1 : len(coded) + 1] = coded

    def _jpeg(self, pixels: np.ndarray) -> np.ndarray:
        stream = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "JPEG", quality=self.quality)
        return np.frombuffer(stream.getbuffer(), np.uint8)
