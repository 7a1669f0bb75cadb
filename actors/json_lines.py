"""A sink that writes one line of JSON per frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from checks import only_port
from line_file import label, lines_of, read_labels
from quantized import Quantized

from eprune.runtime import Actor


class JsonLines(Actor):
    """The best class of each score vector: ``{"frame": 0, "class": "bus", "score": 0.98}``, one line per frame.

    Frames are counted from 0. A score is written with all the digits that its dtype holds, and as null if it is not a
    finite number. Lines are written at once, and never in part.

    Parameters:
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line. Without labels, the
            numbers of the classes are used.
        path: the file to write, ``-`` for standard output, unless there is an output port ``uint8[<=n]``: lines go
            there then, for example to an ``MqttSink``.
        scale, zero_point: for scores in integers: q stands for scale * (q - zero_point).
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "path": "write"}
    STATE = ("frame",)

    def __init__(self, labels: str = "", path: str = "-", scale: str = "", zero_point: str = "0") -> None:
        self.labels = read_labels(labels)
        self.quantized = Quantized(scale, zero_point)
        self.path = path
        self.frame = 0

    def initialize(self) -> None:
        """Create the file. Raises ValueError if the labels do not fit the token."""
        self.port, port = only_port(self.inputs, "input")
        classes = int(np.prod(port.shape))
        if self.labels and len(self.labels) != classes:
            raise ValueError(f"{len(self.labels)} labels for {classes} scores: {', '.join(self.labels[:5])}, ...")
        self.lines = lines_of(self.path, self.outputs, append=self.frame > 0)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one line."""
        scores = inputs[self.port].reshape(-1)
        best = int(scores.argmax())
        score = self.quantized.real(scores[best])
        line = {
            "frame": self.frame,
            "class": label(self.labels, best),
            "score": float(str(score)) if np.isfinite(score) else None,
        }
        self.lines.write(line, outputs)
        self.frame += 1

    def finalize(self) -> None:
        """Close the file."""
        self.lines.close()
