"""A chart of a trade-off, by matplotlib: a dot for each point, a line through those of the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eprune.views.figures import figure_of, quiet

_DOT, _FRONT, _CHOSEN = "#9db8d2", "#4878a8", "#b00020"
#: Inches.
_SIZE = (7.0, 4.6)
#: Points of the front that are labelled at most.
_LABELLED = 12


@dataclass(frozen=True)
class Dot:
    """A point: its place, its label, whether it is Pareto-optimal, and whether it is the one that was chosen."""

    x: float
    y: float
    label: str
    front: bool
    chosen: bool = False


def draw(title: str, axes: tuple[str, str], dots: Sequence[Dot], kind: str) -> bytes:
    """The chart as ``svg`` or ``png``; ``axes`` are the labels of x and y.

    Same arguments, same bytes. Raises ImportError where matplotlib is missing.
    """
    with figure_of(*_SIZE, kind) as (figure, stream):
        plot = figure.subplots()
        others = [dot for dot in dots if not dot.front]
        front = sorted((dot for dot in dots if dot.front), key=lambda dot: (dot.x, dot.y))
        plot.plot([dot.x for dot in others], [dot.y for dot in others], "o", color=_DOT, label="dominated")
        plot.plot([dot.x for dot in front], [dot.y for dot in front], "o-", color=_FRONT, label="Pareto front")
        for dot in dots:
            if dot.chosen:
                plot.plot([dot.x], [dot.y], "o", color=_CHOSEN, markersize=9, fillstyle="none", label="chosen")
        step = -(-len(front) // _LABELLED)
        for index, dot in enumerate(front):
            if dot.chosen or index % step == 0:
                plot.annotate(dot.label, (dot.x, dot.y), xytext=(5, -11), textcoords="offset points", fontsize=7)
        plot.set_xlabel(axes[0])
        plot.set_ylabel(axes[1])
        plot.set_title(title, loc="left", fontsize=11)
        quiet(plot)
        plot.legend(frameon=False)
        plot.margins(0.1)
    return stream.getvalue()
