"""Outputs of detectors that select boxes by TFLite's own operator."""

from __future__ import annotations

from typing import Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.base import Choices, Ends, Sink

#: The operator, and the ports of ``DetectionLines`` for its outputs, in their order.
OPERATOR = "TFLite_Detection_PostProcess"
_PORTS = ("boxes", "classes", "scores", "count")


def detections(ends: Ends, choices: Choices) -> Optional[Sink]:
    """The sink for the operator's outputs."""
    found = {end.place: end for end in ends.outputs if end.writer == OPERATOR}
    if not set(range(3)) <= set(found):
        return None
    labels = choices.labels or found[1].about.labels
    ports = {end.tensor: _PORTS[place] for place, end in found.items() if place < len(_PORTS)}
    return Sink("Detections", PythonBehaviour("detection_lines.py", "DetectionLines"), ports, labels=labels)
