"""Sets of channels as parameters have them, and as numpy takes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np


def pairs(text: str) -> list[tuple[str, str]]:
    """``own=0-15 device2=16-31`` as pairs of port and channels; raises ValueError for anything else."""
    found = [part.partition("=")[::2] for part in text.split()]
    if not found or len({port for port, _ in found}) < len(found):
        raise ValueError(f"{text!r}: expected PORT=CHANNELS for each, as in 'own=0-15 device2=16-31'")
    return found


def channels(port: str, text: str) -> list[int]:
    """``0,4,8-12`` as numbers, each once; raises ValueError, which names the port, for anything else."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not re.fullmatch("[0-9]{1,7}", first) or (last and not re.fullmatch("[0-9]{1,7}", last)):
            raise ValueError(f"{port}={text!r}: expected channels, as in 0,4,8-12")
        found += range(int(first), int(last or first) + 1)
    if not found or len(set(found)) < len(found):
        raise ValueError(f"{port}={text!r}: expected channels, each once")
    return found


def index_of(places: Sequence[int]) -> Any:
    """A slice where these follow each other, which numpy copies faster; else an array."""
    first = places[0]
    if list(places) == list(range(first, first + len(places))):
        return slice(first, first + len(places))
    return np.array(places)
