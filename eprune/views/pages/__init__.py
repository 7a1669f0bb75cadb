"""Pages that are served: each is HTML, a style sheet and a script beside this file, which load nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def part(name: str) -> str:
    """A file of a page."""
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
