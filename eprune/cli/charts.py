"""Charts that commands write: the kind that a file's name says, and what is missing where none can be drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Optional, TypeVar

import click

T = TypeVar("T")


def kind_of(path: Optional[str], option: str) -> str:
    """``svg`` or ``png``, as the file's name says; "" without a file. Raises BadParameter for another name."""
    kind = Path(path).suffix[1:].lower() if path else ""
    if path and kind not in ("svg", "png"):
        raise click.BadParameter(f"{path!r} ends in neither .svg nor .png", param_hint=option)
    return kind


def drawn(draw: Callable[[], T]) -> T:
    """What ``draw`` makes, by matplotlib. Raises a usage error where that is not installed."""
    try:
        return draw()
    except ImportError:
        raise click.UsageError("a chart needs matplotlib, which is not installed: pip install 'eprune[plot]'") from None
