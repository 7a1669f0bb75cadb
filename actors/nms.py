"""Selection among the many boxes of a detector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from boxes import overlap
from checks import fraction, shapes

from eprune.runtime import Actor

CANDIDATES = 300  # more boxes than that are never compared with each other


class NonMaximumSuppression(Actor):
    """Keeps the best of overlapping boxes: the best of all, then the best of those that hardly overlap a kept one.

    Each box counts with its best class only, and suppresses boxes of other classes as well: a vehicle is one object.
    Inputs: ``boxes`` float32[N,4] and ``scores`` float32[N,classes]. Outputs, best first: ``kept_boxes`` float32[K,4],
    cut to the picture, ``kept_classes`` int32[K] and ``kept_scores`` float32[K]; unused rows are 0.

    Parameters:
        score: boxes below it are not kept.
        overlap: two boxes with a larger overlap (intersection over union) show the same object.
    """

    def __init__(self, score: str = "0.3", overlap: str = "0.5") -> None:
        self.score = fraction("score", score)
        self.overlap = fraction("overlap", overlap)

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if ports or shapes differ from those above."""
        found = shapes(self.inputs, {"boxes": 2, "scores": 2})
        kept = shapes(self.outputs, {"kept_boxes": 2, "kept_classes": 1, "kept_scores": 1})
        [rows] = kept["kept_scores"]
        if found["boxes"] != (found["scores"][0], 4) or [*kept.values()] != [(rows, 4), (rows,), (rows,)]:
            raise ValueError(f"rows and columns do not fit together: {found}, {kept}")
        self.rows = rows
        self.crowded = self.compared = 0  # frames

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Select the boxes of one picture."""
        scores = inputs["scores"].reshape(-1, inputs["scores"].shape[-1])
        best = scores.max(1)
        candidates = np.flatnonzero(best >= self.score)
        self.compared += len(candidates) > CANDIDATES
        candidates = candidates[np.argsort(-best[candidates], kind="stable")][:CANDIDATES]
        boxes = inputs["boxes"].reshape(-1, 4)[candidates]
        found = candidates[suppress(boxes, self.overlap)]
        kept = found[: outputs["kept_scores"].size]
        self.crowded += len(found) > len(kept)
        for name, values in (
            ("kept_boxes", np.clip(inputs["boxes"].reshape(-1, 4)[kept], 0, 1)),
            ("kept_classes", scores[kept].argmax(1)),
            ("kept_scores", best[kept]),
        ):
            out = outputs[name].reshape(-1, *values.shape[1:])
            out[: len(kept)] = values
            out[len(kept) :] = 0

    def finalize(self) -> None:
        """Say in how many frames boxes were left out."""
        if self.compared:
            self.note(f"{self.compared} frames had more than {CANDIDATES} boxes; the best {CANDIDATES} were looked at")
        if self.crowded:
            self.note(
                f"{self.crowded} frames had more objects than the {self.rows} rows of the output; the best are there"
            )


def suppress(boxes: np.ndarray, limit: float) -> np.ndarray:
    """Indices of the boxes to keep, where ``boxes`` are in order of falling score."""
    crowded = overlap(boxes, boxes) > limit
    left = np.ones(len(boxes), bool)
    for index in range(len(boxes)):
        if left[index]:
            left[index + 1 :] &= ~crowded[index, index + 1 :]
    return np.flatnonzero(left)
