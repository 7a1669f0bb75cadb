"""Boxes and scores from the outputs of the heads of the SSD detector."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ssd_anchors import MAPS, anchors, decode

from eprune.runtime import Actor

EXTENTS = 4  # numbers that say where a box is


class BoxDecoder(Actor):
    """One box, and one score per class, for each of the 1917 anchors (see ``ssd_anchors``), from the 12 heads.

    Box heads return four numbers per anchor; class heads return one for "nothing" and one for each class. Scores are
    the softmax of the latter, without "nothing". Boxes are (ymin, xmin, ymax, xmax) in fractions of the picture, and
    may extend beyond it.
    """

    INPUTS = {  # noqa: RUF012
        "boxes1": "float32[1,19,19,12]",
        "boxes2": "float32[1,10,10,24]",
        "boxes3": "float32[1,5,5,24]",
        "boxes4": "float32[1,3,3,24]",
        "boxes5": "float32[1,2,2,24]",
        "boxes6": "float32[1,1,1,24]",
        "scores1": "float32[1,19,19,15]",
        "scores2": "float32[1,10,10,30]",
        "scores3": "float32[1,5,5,30]",
        "scores4": "float32[1,3,3,30]",
        "scores5": "float32[1,2,2,30]",
        "scores6": "float32[1,1,1,30]",
    }
    OUTPUTS = {"boxes": "float32[1917,4]", "scores": "float32[1917,4]"}  # noqa: RUF012

    def initialize(self) -> None:
        """Compute the anchors."""
        self.anchors = anchors()

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Decode the outputs for one picture."""
        numbers = range(1, len(MAPS) + 1)
        outputs["boxes"][...] = decode(_rows(inputs, "boxes", numbers, EXTENTS), self.anchors)
        answers = _rows(inputs, "scores", numbers, 1 + outputs["scores"].shape[1])
        powers = np.exp(answers - answers.max(1, keepdims=True))
        outputs["scores"][...] = (powers / powers.sum(1, keepdims=True))[:, 1:]


def _rows(inputs: Mapping[str, np.ndarray], what: str, numbers: range, width: int) -> np.ndarray:
    return np.concatenate([inputs[f"{what}{number}"].reshape(-1, width) for number in numbers])
