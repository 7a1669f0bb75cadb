"""Tensors for an input, as they are: .npy files."""

from __future__ import annotations

from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.ends.base import Choices, End, Ends, InputKind, Source


def _source(end: End, choices: Choices, ends: Ends) -> Source:
    return Source(PythonBehaviour("tensor_source.py", "TensorSource"))


KIND = InputKind("tensors", (".npy",), lambda end: True, _source, single=True)
