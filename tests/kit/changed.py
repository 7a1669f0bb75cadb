"""Files with changes, to see what is said of each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def write(name: str, text: str, changes: Iterable[tuple[str, str]] = ()) -> None:
    """Write a text as a file of the current folder, all that is old in it replaced by what is new."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path(name).write_text(text)
