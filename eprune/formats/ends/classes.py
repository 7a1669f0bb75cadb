"""Outputs that score classes."""

from __future__ import annotations

from typing import Optional

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.base import Choices, End, Ends, Sink, labels_for, sizes

_BEHAVIOUR = PythonBehaviour("json_lines.py", "JsonLines")


def classes(ends: Ends, choices: Choices) -> Optional[Sink]:
    """The sink for scores: of an output that is a vector and has labels or a softmax, or is the only one."""
    vectors = [end for end in ends.outputs if len(sizes(end.token)) == 1]
    likely = [end for end in vectors if _has_labels(end, choices) or end.writer in ("SOFTMAX", "Softmax")]
    chosen = likely[:1] or (vectors if len(ends.outputs) == 1 else [])
    if not chosen:
        return None
    [end] = chosen
    labels, notes = labels_for(sizes(end.token)[0], end, choices)
    return Sink("Classes", _BEHAVIOUR, {end.tensor: "scores"}, end.scaling, labels, notes)


def _has_labels(end: End, choices: Choices) -> bool:
    count = len(choices.labels or end.about.labels)
    return bool(count) and sizes(end.token)[0] - count in (0, 1)
