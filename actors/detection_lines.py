"""A sink for detectors: a line of JSON per frame with the objects that were found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from checks import fraction, shapes
from line_file import label, lines_of, read_labels

from eprune.runtime import Actor


class DetectionLines(Actor):
    """``{"frame": 0, "objects": [{"class": "bus", "score": 0.98, "box": [ymin, xmin, ymax, xmax]}]}``, best first.

    Inputs, as ``NonMaximumSuppression`` and TFLite's TFLite_Detection_PostProcess return them: ``boxes`` [N,4] in
    fractions of the picture, ``classes`` [N] and ``scores`` [N], all possibly with a leading 1; optionally ``count``,
    the number of valid rows.

    Parameters:
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line. Without labels, the
            numbers of the classes are used.
        score: objects below it are left out.
        path: the file to write, ``-`` for standard output, unless there is an output port ``uint8[<=n]``: lines go
            there then, for example to an ``MqttSink``.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "path": "write"}
    STATE = ("frame",)

    def __init__(self, labels: str = "", score: str = "0.4", path: str = "-") -> None:
        self.labels = read_labels(labels)
        self.score = fraction("score", score)
        self.path = path
        self.frame = 0

    def initialize(self) -> None:
        """Create the file. Raises ValueError for ports other than those above."""
        ports = {name: port for name, port in self.inputs.items() if name != "count"}
        found = shapes(ports, {"boxes": 2, "classes": 1, "scores": 1})
        [rows] = found["scores"]
        if [*found.values()] != [(rows, 4), (rows,), (rows,)]:
            raise ValueError(f"rows and columns do not fit together: {found}")
        self.lines = lines_of(self.path, self.outputs, append=self.frame > 0)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one line."""
        scores = inputs["scores"].reshape(-1)
        boxes, classes = inputs["boxes"].reshape(-1, 4), inputs["classes"].reshape(-1)
        count = int(inputs["count"].reshape(-1)[0]) if "count" in inputs else len(scores)
        # A score of 0 is no object: rows after the last one are 0.
        rows = [row for row in range(min(count, len(scores))) if scores[row] >= max(self.score, 1e-9)]
        rows.sort(key=lambda row: -scores[row])
        objects = [described(self.labels, classes[row], scores[row], boxes[row]) for row in rows]
        self.lines.write({"frame": self.frame, "objects": objects}, outputs)
        self.frame += 1

    def finalize(self) -> None:
        """Close the file."""
        self.lines.close()


def described(labels: list[str], kind: float, score: float, box: np.ndarray) -> dict[str, object]:
    """One object as it stands in a line."""
    numbers = [round(float(value), 4) for value in box]
    return {"class": label(labels, int(kind)), "score": round(float(score), 4), "box": numbers}
