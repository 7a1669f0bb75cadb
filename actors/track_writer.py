"""A sink that writes tracks as lines of JSON, and draws them."""

from __future__ import annotations

import colorsys
from collections import defaultdict, deque
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from checks import shapes
from line_file import LineFile, label, read_labels
from resize import picture_shape

from eprune.runtime import Actor

try:
    from PIL import Image, ImageDraw
except ImportError:  # lines can be written without it
    Image = None  # type: ignore[assignment]

TRAIL = 30  # frames of a track's way that are drawn
TRAILS = 500  # ways that are remembered: those of tracks long gone are dropped


class TrackWriter(Actor):
    """``{"frame": 0, "tracks": [{"id": 1, "class": "bus", "box": [ymin, xmin, ymax, xmax]}]}``, one line per frame.

    Boxes are in fractions of the picture. Inputs are the outputs of ``Tracker``, ``boxes``, ``classes`` and ``ids``,
    and, for pictures, ``frame``: uint8 [1,H,W,3].

    Parameters:
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line. Without labels, the
            numbers of the classes are used.
        path: the file to write, ``-`` for standard output.
        images: a folder for the frames, with boxes and the paths of tracks drawn, 000000.jpg and so on; it is created
            if it is missing. Needs Pillow. Empty: no pictures.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "path": "write", "images": "write"}
    STATE = ("frame",)

    def __init__(self, labels: str = "", path: str = "-", images: str = "") -> None:
        self.labels = read_labels(labels)
        self.path = path
        self.images = Path(images) if images else None
        if self.images and Image is None:
            raise ValueError("drawing pictures needs Pillow: pip install pillow")
        self.trails: dict[int, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=TRAIL))
        self.frame = 0

    def initialize(self) -> None:
        """Create the file and the folder. Raises ValueError for ports other than those above."""
        ports = {name: port for name, port in self.inputs.items() if name != "frame"}
        found = shapes(ports, {"boxes": 2, "classes": 1, "ids": 1})
        [rows] = found["ids"]
        if [*found.values()] != [(rows, 4), (rows,), (rows,)]:
            raise ValueError(f"rows and columns do not fit together: {found}")
        if "frame" in self.inputs:
            picture_shape("frame", self.inputs["frame"], ("uint8",))
        elif self.images:
            raise ValueError("drawing pictures needs an input port 'frame'")
        if self.images:
            self.images.mkdir(parents=True, exist_ok=True)
        self.lines = LineFile(self.path, append=self.frame > 0)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one line, and one picture."""
        boxes = inputs["boxes"].reshape(-1, 4)
        classes, identities = inputs["classes"].reshape(-1), inputs["ids"].reshape(-1)
        tracks = [
            {"id": int(identities[row]), "class": self._label(int(classes[row])), "box": _rounded(boxes[row])}
            for row in np.flatnonzero(identities)
        ]
        self.lines.write({"frame": self.frame, "tracks": tracks})
        if self.images:
            pixels = inputs["frame"].reshape(inputs["frame"].shape[-3:])
            self._drawn(pixels, tracks).save(self.images / f"{self.frame:06}.jpg", quality=90)
        self.frame += 1

    def finalize(self) -> None:
        """Close the file."""
        self.lines.close()

    def _label(self, kind: int) -> str:
        return label(self.labels, kind)

    def _drawn(self, pixels: np.ndarray, tracks: list[dict]) -> Image.Image:
        image = Image.fromarray(pixels)
        draw = ImageDraw.Draw(image)
        for track in tracks:
            ymin, xmin, ymax, xmax = (value * image.size[1 - axis % 2] for axis, value in enumerate(track["box"]))
            trail = self.trails[track["id"]]
            trail.append(((xmin + xmax) / 2, (ymin + ymax) / 2))
            colour = _colour(track["id"])
            draw.rectangle((xmin, ymin, xmax, ymax), outline=colour, width=2)
            draw.line([*trail], fill=colour, width=2)
            text, corner = f"{track['class']} {track['id']}", (xmin + 2, max(0, ymin - 12))
            draw.rectangle(draw.textbbox(corner, text), fill=(0, 0, 0))
            draw.text(corner, text, fill=colour)
        while len(self.trails) > TRAILS:
            del self.trails[next(iter(self.trails))]
        return image


def _rounded(box: np.ndarray) -> list[float]:
    return [round(float(value), 4) for value in box]


def _colour(identity: int) -> tuple[int, int, int]:
    """Colours far apart for numbers close together."""
    red, green, blue = (int(255 * value) for value in colorsys.hsv_to_rgb(identity * 0.382 % 1, 0.75, 1))
    return red, green, blue
