"""An actor behind a link that makes pictures of what a JPEG encoder sent."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from checks import only_port
from jpeg_encoder import CODED, STORED
from resize import Image, picture_shape

from eprune.runtime import Actor


class JpegDecoder(Actor):
    """Gives back the pictures that a ``JpegEncoder`` has coded, but for what JPEG loses. Needs Pillow.

    A damaged or hostile token takes no more memory than a true one: the size is looked at before a pixel is decoded.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        self.source, source = only_port(self.inputs, "input")
        self.target, target = only_port(self.outputs, "output")
        self.height, self.width = picture_shape(self.target, target, ("uint8",))
        if source.dtype != "uint8" or not source.variable:
            raise ValueError(f"port {self.source!r}: expected tokens of variable size, uint8[<=n]")
        if Image is None:
            raise ValueError("decoding pictures needs Pillow: pip install pillow")

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Decode one picture. Raises ValueError for what is none of this size."""
        data, out = inputs[self.source], outputs[self.target]
        kind, rest = (int(data[0]), data[1:]) if len(data) else (-1, data)
        if kind == STORED and len(rest) == out.size:
            out[...] = rest.reshape(out.shape)
        elif kind == CODED:
            out[...] = self._pixels(rest.tobytes()).reshape(out.shape)
        else:
            raise ValueError(f"{len(data)} bytes are no picture of {self.width}x{self.height} pixels")

    def _pixels(self, data: bytes) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
                if image.size == (self.width, self.height) and image.mode == "RGB":
                    return np.asarray(image)
                found = f"{image.width}x{image.height} pixels, {image.mode}"
        except Exception as error:  # Pillow's decoders raise whatever they meet in damaged data
            raise ValueError(f"{len(data)} bytes are no JPEG: {error}") from None
        raise ValueError(f"a JPEG of {found}; expected {self.width}x{self.height}, RGB")
