"""A sink for segmentation: which share of each picture belongs to which class, and the pictures of the classes."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from checks import one_of, only_port
from line_file import LineFile, label, read_labels
from quantized import Quantized

from eprune.runtime import Actor

try:
    from PIL import Image
except ImportError:  # lines can be written without it
    Image = None  # type: ignore[assignment]

SMALLEST = 0.001  # shares below it are not written


class SegmentLines(Actor):
    """``{"frame": 0, "segments": {"background": 0.61, "cat": 0.39}}``: each class's share of the pixels, largest first.

    The input has scores of classes, [1,H,W,C] or, in ``planes``, [1,C,H,W], of which the largest counts, or is a map of
    classes, integers [1,H,W] or [1,H,W,1]; the leading 1 may be missing. Where C is 1, a score of 0.5 is class 1.

    Parameters:
        labels: the names of the classes, ``road,car``, or a text file with one name per line. Without labels, the
            numbers of the classes are used.
        path: the file to write, ``-`` for standard output.
        images: a folder for pictures of the classes, a colour each, 000000.png and so on; it is created if it is
            missing. Needs Pillow. Empty: no pictures.
        form: ``scores``, ``planes``, or ``map``.
        scale, zero_point: for scores in integers: q stands for scale * (q - zero_point).
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "path": "write", "images": "write"}
    STATE = ("frame",)

    def __init__(
        self,
        labels: str = "",
        path: str = "-",
        images: str = "",
        form: str = "scores",
        scale: str = "",
        zero_point: str = "0",
    ) -> None:
        self.labels = read_labels(labels)
        self.path = path
        self.images = Path(images) if images else None
        if self.images and Image is None:
            raise ValueError("drawing pictures needs Pillow: pip install pillow")
        self.form = one_of("form", form, ("scores", "planes", "map"))
        self.quantized = Quantized(scale, zero_point)
        self.frame = 0

    def initialize(self) -> None:
        """Create the file and the folder. Raises ValueError if the token does not fit the form."""
        self.port, port = only_port(self.inputs, "input")
        rank = 2 if self.form == "map" and port.shape[-1:] != (1,) else 3
        shape = port.shape[1:] if len(port.shape) == rank + 1 and port.shape[0] == 1 else port.shape
        if len(shape) != rank or (self.form == "map" and np.dtype(port.dtype).kind not in "iu"):
            raise ValueError(f"port {self.port!r}: {port.dtype}{list(port.shape)} is not {self.form} of a picture")
        self.shape = shape[:2] if self.form == "map" else shape
        if self.images:
            self.images.mkdir(parents=True, exist_ok=True)
        self.lines = LineFile(self.path, append=self.frame > 0)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one line, and one picture."""
        classes = self._classes(inputs[self.port].reshape(self.shape))
        numbers, counts = np.unique(classes, return_counts=True)
        shares = sorted(zip(counts / classes.size, numbers), key=lambda each: (-each[0], each[1]))
        segments = {label(self.labels, int(number)): round(float(share), 4) for share, number in shares}
        kept = {name: share for name, share in segments.items() if share >= SMALLEST}
        self.lines.write({"frame": self.frame, "segments": kept})
        if self.images:
            image = Image.fromarray((classes % 256).astype(np.uint8), "P")
            image.putpalette(PALETTE)
            image.save(self.images / f"{self.frame:06}.png")
        self.frame += 1

    def finalize(self) -> None:
        """Close the file."""
        self.lines.close()

    def _classes(self, token: np.ndarray) -> np.ndarray:
        if self.form == "map":
            return token
        scores = token.transpose(1, 2, 0) if self.form == "planes" else token
        return (
            scores.argmax(2) if scores.shape[2] > 1 else (self.quantized.real(scores[:, :, 0]) >= 0.5).astype(np.int64)
        )


def _palette() -> list[int]:
    """256 colours: black for 0, then such that neighbours are far apart."""
    rest = [colorsys.hsv_to_rgb(number * 0.382 % 1, 0.75, 1) for number in range(1, 256)]
    return [0, 0, 0, *(int(255 * value) for colour in rest for value in colour)]


PALETTE = _palette()
