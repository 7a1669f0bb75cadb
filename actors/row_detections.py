"""A sink for detectors of YOLO's kind: rows with a box, and a score for each class, that still overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from checks import fraction, one_of, only_port, whole_number
from detection_lines import described
from line_file import LineFile, read_labels
from nms import CANDIDATES, suppress
from quantized import Quantized

from eprune.runtime import Actor

#: What the columns are: centre x, centre y, width, height, then scores of classes, which are to be multiplied with the
#: column before them ("objectness"); the same without that column; and xmin, ymin, xmax, ymax, score, class.
FORMS = ("objectness", "classes", "corners")
#: Numbers of a box that is stated in fractions of the picture may stick out a little. Larger ones are pixels.
FRACTIONS = 2.0


class RowDetections(Actor):
    """Lines of JSON as ``DetectionLines`` writes them, from one tensor: [1,N,columns] or [1,columns,N].

    The best of overlapping boxes of one class are kept. Boxes in the tensor are fractions of the picture, or pixels: a
    frame in which a box of an object is larger than 2 is in pixels of the model's picture, as are all after it.

    Parameters:
        form: what the columns are. ``objectness``: x, y, width, height, objectness, a score for each class (YOLOv5);
            ``classes``: the same without objectness (YOLOv8); ``corners``: xmin, ymin, xmax, ymax, score, class.
        size: height and width of the model's picture, ``640,640``: for boxes in pixels.
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line. Without labels, the
            numbers of the classes are used.
        path: the file to write, ``-`` for standard output.
        score: objects below it are left out.
        overlap: two boxes of a class with a larger overlap (intersection over union) show the same object.
        scale, zero_point: for tokens of integers: q stands for scale * (q - zero_point).
    """

    PATHS: ClassVar[Mapping[str, str]] = {"labels": "list", "path": "write"}
    STATE = ("frame",)

    def __init__(
        self,
        form: str,
        size: str,
        labels: str = "",
        score: str = "0.25",
        overlap: str = "0.45",
        path: str = "-",
        scale: str = "",
        zero_point: str = "0",
    ) -> None:
        self.form = one_of("form", form, FORMS)
        numbers = [whole_number("size", text) for text in size.split(",")]
        if len(numbers) != 2 or not all(numbers):
            raise ValueError(f"size={size!r}: expected height and width, 640,640")
        self.height, self.width = numbers
        self.labels = read_labels(labels)
        self.score, self.overlap = fraction("score", score), fraction("overlap", overlap)
        self.quantized = Quantized(scale, zero_point)
        self.path = path
        self.frame = 0
        self.pixels = False

    def initialize(self) -> None:
        """Create the file. Raises ValueError if the token does not fit the form, or the labels the token."""
        self.port, port = only_port(self.inputs, "input")
        shape = port.shape[1:] if len(port.shape) == 3 and port.shape[0] == 1 else port.shape
        first = 6 if self.form == "corners" else 5 if self.form == "objectness" else 4
        if len(shape) != 2 or min(shape) < first:
            raise ValueError(f"port {self.port!r}: {port.dtype}{list(port.shape)} does not have rows of that form")
        self.turned = shape[0] < shape[1]  # there are more rows than columns
        classes = min(shape) - first
        if self.form != "corners" and self.labels and len(self.labels) != classes:
            raise ValueError(f"{len(self.labels)} labels for {classes} classes: {', '.join(self.labels[:5])}, ...")
        self.lines = LineFile(self.path, append=self.frame > 0)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one line."""
        token = inputs[self.port]
        rows = self.quantized.real(token.reshape(token.shape[-2:])).astype(np.float32)
        boxes, classes, scores = self._read(rows.T if self.turned else rows)
        order = np.argsort(-scores, kind="stable")[:CANDIDATES]
        boxes, classes, scores = self._fractions(boxes[order]), classes[order], scores[order]
        # Classes far apart from each other, so that only boxes of one class overlap.
        kept = suppress(boxes + 4 * classes[:, None], self.overlap) if self.form != "corners" else range(len(order))
        objects = [described(self.labels, classes[row], scores[row], boxes[row].clip(0, 1)) for row in kept]
        self.lines.write({"frame": self.frame, "objects": objects})
        self.frame += 1

    def finalize(self) -> None:
        """Close the file."""
        self.lines.close()

    def _read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (ymin, xmin, ymax, xmax) as they are scaled there, classes and scores, of what reaches the score."""
        if self.form == "corners":
            rows = rows[rows[:, 4] >= max(self.score, 1e-9)]
            return rows[:, [1, 0, 3, 2]], rows[:, 5], rows[:, 4]
        scores = rows[:, 5:] * rows[:, 4:5] if self.form == "objectness" else rows[:, 4:]
        best = scores.max(1)
        chosen = best >= max(self.score, 1e-9)
        centres, halves = rows[chosen][:, [1, 0]], rows[chosen][:, [3, 2]] / 2
        boxes = np.concatenate([centres - halves, centres + halves], 1)
        return boxes, scores[chosen].argmax(1).astype(np.float32), best[chosen]

    def _fractions(self, boxes: np.ndarray) -> np.ndarray:
        self.pixels = self.pixels or bool(boxes.size and boxes.max() > FRACTIONS)
        return boxes / np.float32([self.height, self.width] * 2) if self.pixels else boxes
