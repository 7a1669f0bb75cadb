"""A sink for a cascade of detectors: the objects of each frame, and which of the two has found them."""

from __future__ import annotations

from typing import Any

import numpy as np
from detection_lines import described
from detections import agreement, objects
from exit_lines import ExitLines

from eprune.runtime import PortType


class DetectionExits(ExitLines):
    """``{"frame": 0, "exit": "early", "objects": [{"class": "bus", "score": 0.98, "box": [...]}]}``, best first.

    The inputs carry what ``Detections`` makes of the outputs of detectors, float32[K,6]. An exit DA. In audited frames
    ``agree`` is the F1 of both answers' objects (see ``detections.agreement``), and their ``agreement`` at the end, and
    in status and record, its mean. All else is as in ``ExitLines``, but that there is no input ``wanted``.

    Parameters:
        labels: the names of the classes, ``car,bus,truck``, or a text file with one name per line.
        path: the file to write, ``-`` for standard output.
        wish: the agreement of all answers with the large detector's that is wished for, 0 to 1.
    """

    def check(self, answer: PortType) -> None:
        """Raises ValueError for ports other than those above."""
        if "wanted" in self.inputs:
            raise ValueError("has no input 'wanted'")
        if answer.dtype != "float32" or len(answer.shape) != 2 or answer.shape[1] != 6:
            raise ValueError(f"expected inputs float32[K,6], not {answer.dtype}{list(answer.shape)}")

    def told(self, token: np.ndarray) -> dict[str, Any]:
        """The objects."""
        return {"objects": [described(self.labels, row[5], row[4], row[:4]) for row in objects(token)]}

    def agree(self, early: np.ndarray, late: np.ndarray) -> float:
        """The F1 of the objects."""
        return round(agreement(early, late), 6)
