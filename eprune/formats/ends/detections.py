"""Outputs of detectors: those that select boxes by TFLite's own operator, and those of the project's own SSD."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.base import Choices, Ends, Sink
from eprune.model.token import TokenType

#: The operator, and the ports of ``DetectionLines`` for its outputs, in their order.
OPERATOR = "TFLite_Detection_PostProcess"
_PORTS = ("boxes", "classes", "scores", "count")
#: Rows and columns of the six maps of ``BoxDecoder``, and how many anchors there are at each of their cells.
_MAPS = ((19, 3), (10, 6), (5, 6), (3, 6), (2, 6), (1, 6))


@dataclass(frozen=True)
class Detector:
    """The outputs of a detector by tensor: the port that takes them, and their types.

    ``heads``: they are what ``BoxDecoder`` takes, and tell of so many ``classes``; else boxes, classes and scores.
    """

    ports: Mapping[int, str]
    types: Mapping[int, TokenType]
    heads: bool = False
    classes: int = 0


def detector_of(ends: Ends) -> Optional[Detector]:
    """What a model's outputs are, if they are those of a detector, and no others."""
    types = {end.tensor: end.token for end in ends.outputs}
    sink = detections(ends, Choices())
    if sink is not None:
        return Detector(sink.ports, types) if len(sink.ports) == len(ends.outputs) else None
    shapes = {end.name: end.token.shape for end in ends.outputs}
    classes = shapes.get("scores6", (0,))[-1] // 6 - 1
    wanted = {}
    for number, (size, anchors) in enumerate(_MAPS, 1):
        wanted[f"boxes{number}"] = (1, size, size, 4 * anchors)
        wanted[f"scores{number}"] = (1, size, size, (1 + classes) * anchors)
    if classes < 1 or shapes != wanted or not all(end.token.dtype == "float32" for end in ends.outputs):
        return None
    return Detector({end.tensor: end.name for end in ends.outputs}, types, True, classes)


def detections(ends: Ends, choices: Choices) -> Optional[Sink]:
    """The sink for the operator's outputs."""
    found = {end.place: end for end in ends.outputs if end.writer == OPERATOR}
    if not set(range(3)) <= set(found):
        return None
    labels = choices.labels or found[1].about.labels
    ports = {end.tensor: _PORTS[place] for place, end in found.items() if place < len(_PORTS)}
    return Sink("Detections", PythonBehaviour("detection_lines.py", "DetectionLines"), ports, labels=labels)
