"""Outputs of detectors of YOLO's kind: one tensor, a row for each place of a picture where something may be."""

from __future__ import annotations

from typing import Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.base import Choices, End, Ends, Sink, labels_for, sizes

_BEHAVIOUR = PythonBehaviour("row_detections.py", "RowDetections")
#: The grids over a picture that such detectors have, by the pixels from cell to cell, and the boxes of each cell.
_GRIDS = ((8, 16, 32), (16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_BOXES = (1, 3)
#: Detectors that select by themselves give up to so many rows of xmin, ymin, xmax, ymax, score, class.
_SELECTED, _COLUMNS = 1000, 6


def rows(ends: Ends, choices: Choices) -> Optional[Sink]:
    """The sink for such a tensor."""
    found = find_rows(ends, choices)
    if found is None or ends.picture is None:
        return None
    end, form, classes = found
    labels, notes = (choices.labels or end.about.labels, ()) if not classes else labels_for(classes, end, choices)
    size = f"{ends.picture[0]},{ends.picture[1]}"
    parameters = (("form", form), ("size", size), *end.scaling)
    return Sink("Detections", _BEHAVIOUR, {end.tensor: "rows"}, parameters, labels, notes)


def find_rows(ends: Ends, choices: Choices) -> Optional[tuple[End, str, int]]:
    """Such an output, what its columns are (``FORMS`` of RowDetections), and how many classes it has, 0 if unknown."""
    for end in ends.outputs:
        shape = end.token.shape
        if ends.picture is None or len(shape) != 3 or shape[0] != 1 or len(sizes(end.token)) != 2:
            continue
        count, columns = max(shape), min(sizes(end.token))
        if columns == _COLUMNS == shape[2] and count <= _SELECTED:
            return end, "corners", 0
        if columns > 4 and count in _counts(*ends.picture[:2]):
            # Detectors with objectness have a row for each box; those without, a column. Labels tell for sure.
            labels = len(choices.labels or end.about.labels)
            form = "objectness" if shape[2] == columns else "classes"
            form = {columns - 5: "objectness", columns - 4: "classes"}.get(labels, form) if labels else form
            classes = columns - (5 if form == "objectness" else 4)
            if classes:
                return end, form, classes
    return None


def _counts(height: int, width: int) -> set[int]:
    """How many rows there can be for a picture."""
    cells = (sum(-(-height // step) * -(-width // step) for step in grid) for grid in _GRIDS)
    return {count * boxes for count in cells for boxes in _BOXES}
