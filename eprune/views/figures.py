"""What all charts by matplotlib have in common: their files, and how their axes look."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def figure_of(width: float, height: float, kind: str) -> Iterator[tuple[Any, io.BytesIO]]:
    """A figure of so many inches, and where its file is afterwards, ``svg`` or ``png``.

    Same drawing, same bytes. Raises ImportError where matplotlib is missing.
    """
    import matplotlib
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    # Text stays text, and names within the picture do not come of a clock.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "eprune", "font.size": 9}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, stream
        figure.savefig(stream, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else {"Software": None})


def quiet(axes: Any, lines: str = "both") -> None:
    """Light ``lines`` (``both``, or those of ``x`` or ``y`` only) behind what is drawn, and no frame."""
    axes.grid(axis=lines, color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
