"""The objects that a detector has found in a frame as one token, and how much two of them have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from boxes import overlap
from checks import only_port, shapes

from eprune.runtime import Actor

#: Objects whose boxes overlap by so much (intersection over union) are the same, if their class is.
MATCH = 0.5
#: Rows with a smaller score are no objects: as in ``DetectionLines`` and ``Tracker``.
OBJECT = 0.4


class Detections(Actor):
    """Rows (ymin, xmin, ymax, xmax, score, class), best first, float32[K,6]; unused rows are 0.

    Inputs, as ``NonMaximumSuppression`` and TFLite's TFLite_Detection_PostProcess return them: ``boxes`` [N,4],
    ``classes`` [N] and ``scores`` [N], all possibly with a leading 1; optionally ``count``, the number of valid rows.
    Of more than K objects, the best are kept.
    """

    def initialize(self) -> None:
        """Check the ports. Raises ValueError for others than those above."""
        found = shapes({n: p for n, p in self.inputs.items() if n != "count"}, {"boxes": 2, "classes": 1, "scores": 1})
        [rows] = found["scores"]
        if [*found.values()] != [(rows, 4), (rows,), (rows,)]:
            raise ValueError(f"rows and columns do not fit together: {found}")
        self.out, port = only_port(self.outputs, "output")
        if port.dtype != "float32" or len(port.shape) != 2 or port.shape[1] != 6:
            raise ValueError(f"port {self.out!r}: expected float32[K,6], not {port.dtype}{list(port.shape)}")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the rows of one frame."""
        scores = inputs["scores"].reshape(-1)
        count = int(inputs["count"].reshape(-1)[0]) if "count" in inputs else len(scores)
        out = outputs[self.out]
        rows = np.argsort(-scores[:count], kind="stable")[: len(out)]
        rows = rows[scores[rows] > 0]
        out[: len(rows), :4] = inputs["boxes"].reshape(-1, 4)[rows]
        out[: len(rows), 4] = scores[rows]
        out[: len(rows), 5] = inputs["classes"].reshape(-1)[rows]
        out[len(rows) :] = 0


def objects(token: np.ndarray) -> np.ndarray:
    """The rows of a token that are objects: those whose score is ``OBJECT`` or more."""
    rows = token.reshape(-1, 6)
    return rows[rows[:, 4] >= np.float32(OBJECT)]


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """F1 of the objects of two tokens, 0 to 1: twice the pairs, by the objects of both; 1 where there are none.

    The best object of ``one`` first takes the object of its class in ``other`` that it overlaps most, if by ``MATCH``
    and not taken before.
    """
    ours, theirs = objects(one), objects(other)
    if not len(ours) + len(theirs):
        return 1.0
    shared = np.where(ours[:, None, 5] == theirs[None, :, 5], overlap(ours[:, :4], theirs[:, :4]), 0)
    pairs = 0
    for row in shared if len(theirs) else ():
        best = int(row.argmax())
        if row[best] >= MATCH:
            pairs += 1
            shared[:, best] = 0
    return 2 * pairs / (len(ours) + len(theirs))


def certainty(token: np.ndarray) -> float:
    """How sure a detector is of a frame, 0 to 1: the F1 to be expected of its objects, if scores are chances.

    That is twice the sum of the objects' scores, by their number and the sum of all rows' scores, those included that
    are too low for an object; 1 for a frame without rows.
    """
    scores = token.reshape(-1, 6)[:, 4].astype(np.float64)
    found = scores[scores >= np.float32(OBJECT)]
    return float(2 * found.sum() / (len(found) + scores.sum())) if scores.any() else 1.0
