"""The signatures of a model: functions with names, each a graph of the file, its inputs and outputs named."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional


@dataclass(frozen=True)
class Signature:
    """One of them: ``inputs`` and ``outputs`` map its names to tensors of graph ``graph``."""

    key: str
    graph: int
    inputs: Mapping[str, int] = field(default_factory=dict)
    outputs: Mapping[str, int] = field(default_factory=dict)

    @property
    def names(self) -> dict[int, str]:
        """Tensor -> its name here; the first, where it has several."""
        found: dict[int, str] = {}
        for name, index in (*self.inputs.items(), *self.outputs.items()):
            found.setdefault(index, name)
        return found


def chosen(signatures: Sequence[Signature], key: Optional[str]) -> Optional[Signature]:
    """The signature of that name; without one, that of the file's first graph, if there is one.

    Raises ValueError, with what there is, where there is none of that name.
    """
    if key is None:
        return next((each for each in signatures if each.graph == 0), None)
    for each in signatures:
        if each.key == key:
            return each
    keys = [each.key for each in signatures]
    near = difflib.get_close_matches(key, keys, 1)
    there = f"did you mean {near[0]!r}?" if near else f"it has {listed(keys)}" if keys else "it has none"
    raise ValueError(f"has no signature {key!r} ({there})")


def several(signatures: Sequence[Signature]) -> bool:
    """Whether signatures mean different graphs, so that one must be chosen."""
    return len({each.graph for each in signatures}) > 1


def listed(keys: Sequence[str]) -> str:
    """``'add', 'mul'``, and how many more."""
    return ", ".join(map(repr, keys[:8])) + (f" and {len(keys) - 8} more" if len(keys) > 8 else "")
