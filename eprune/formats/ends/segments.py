"""Outputs that say of each place of the input's picture what is there."""

from __future__ import annotations

from typing import Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.base import Choices, End, Ends, Sink, labels_for

_BEHAVIOUR = PythonBehaviour("segment_lines.py", "SegmentLines")
#: More classes, or a coarser grid in pixels from cell to cell, are features rather than segments.
_CLASSES, _STEP = 256, 16
#: The channels of a picture, which only labels tell from scores of as many classes.
COLOURS = 3


def segments(ends: Ends, choices: Choices) -> Optional[Sink]:
    """The sink for such an output: scores of classes or a map of classes, about as large as the picture."""
    given = {end.token for end in ends.inputs}
    for end in ends.outputs:
        form, classes = _form(end, ends)
        if not form or end.token in given:  # a state, say, that is given again with the next frame
            continue
        if classes == COLOURS and len(choices.labels or end.about.labels) not in (COLOURS - 1, COLOURS):
            continue  # a picture
        labels, notes = labels_for(classes, end, choices) if classes > 1 else (choices.labels or end.about.labels, ())
        return Sink("Segments", _BEHAVIOUR, {end.tensor: "classes"}, (("form", form), *end.scaling), labels, notes)
    return None


def _form(end: End, ends: Ends) -> tuple[str, int]:
    """What the output is (a form of SegmentLines), "" if it is none, and its number of classes, 0 where unknown."""
    shape = end.token.shape[1:] if end.token.shape[:1] == (1,) else end.token.shape
    if ends.picture is None:
        return "", 0
    plain = end.token.dtype.startswith(("int", "uint")) and end.quantization is None
    if plain and len(shape) >= 2 and shape[2:] in ((), (1,)) and _covers(shape[:2], ends.picture):
        return "map", 0
    if len(shape) != 3:
        return "", 0
    if _covers(shape[:2], ends.picture) and shape[2] <= _CLASSES:
        return "scores", shape[2]
    if _covers(shape[1:], ends.picture) and shape[0] <= _CLASSES:
        return "planes", shape[0]
    return "", 0


def _covers(grid: tuple[int, ...], picture: tuple[int, int, int]) -> bool:
    """Whether a grid has the proportions of a picture, and cells that are not too coarse."""
    steps = [side / cells for cells, side in zip(grid, picture)]
    return 1 <= max(steps) <= _STEP and max(steps) < 1.5 * min(steps) and min(grid) > 1
