"""The objective by partition point, a series for each link; of the endpoint's time this is the papers' chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

from eprune.views.figures import figure_of, quiet

_COMPUTE, _ALONE, _MEASURED, _BEST = "#4878a8", "#b00020", "#222222", "#2f7d3b"
_SENDING = ("#e8a33d", "#6aa84f", "#a35fa8", "#8c6d4f")
#: A triangle whose tip points down at the place: matplotlib's CARETDOWN.
_CARET = 7
#: Inches.
_HEIGHT, _WIDTH, _BAR = 4.6, (8.0, 14.0), 0.24


@dataclass(frozen=True)
class Chart:
    """What a frame takes, in ``unit`` ("" for a weighted sum), for each of ``labels``.

    ``computing`` is the part that no link changes, empty where the figure has no such part; ``sending`` what each link
    adds, by its name (one alone needs none), ``added`` what that is; ``measured`` what was measured, None where nothing
    was. ``alone`` is the endpoint without a cut, ``best`` the best of all cuts where no point is as good, None if
    unknown; ``chosen`` the place of the chosen point.
    """

    title: str
    labels: Sequence[str]
    computing: Sequence[float]
    sending: Mapping[str, Sequence[float]]
    measured: Sequence[Optional[float]] = field(default=())
    alone: Optional[float] = None
    best: Optional[float] = None
    chosen: Optional[int] = None
    unit: str = "ms"
    added: str = "sending"
    places: str = "partition point"

    @property
    def axis(self) -> str:
        """What is along y."""
        return f"{self.unit} per frame" if self.unit else self.added

    def top(self, place: int) -> float:
        """How high the first column of a point is."""
        parts = [*[self.computing] * bool(self.computing), *list(self.sending.values())[:1]]
        return sum(values[place] for values in parts)


def series_name(added: str, name: str) -> str:
    """``sending``, ``sending, wifi``."""
    return f"{added}, {name}" if name else added


def draw(chart: Chart, kind: str) -> bytes:
    """The chart as ``svg`` or ``png``. Same arguments, same bytes. Raises ImportError where matplotlib is missing."""
    count, series = len(chart.labels), max(len(chart.sending), 1)
    low, high = _WIDTH
    width = min(max(low, 1.5 + _BAR * count * (series + 0.6)), high)
    with figure_of(width, _HEIGHT, kind) as (figure, stream):
        axes = figure.subplots()
        places, bar = range(count), 0.8 / series
        shifts = [bar * (index - (series - 1) / 2) for index in range(series)]
        base = chart.computing or [0.0] * count
        for index, shift in enumerate(shifts if chart.computing else ()):
            label = "computing" if index == 0 else None
            axes.bar([x + shift for x in places], base, bar * 0.94, color=_COMPUTE, label=label)
        colours = _SENDING if chart.computing else (_COMPUTE, *_SENDING)
        for index, (name, sending) in enumerate(chart.sending.items()):
            xs, colour = [x + shifts[index] for x in places], colours[index % len(colours)]
            label = series_name(chart.added, name)
            axes.bar(xs, sending, bar * 0.94, bottom=base, color=colour, label=label)
        measured = [(x, value) for x, value in zip(places, chart.measured) if value is not None]
        if measured:
            axes.plot(*zip(*measured), "D", color=_MEASURED, markersize=4, label="measured")
        if chart.alone is not None:
            axes.axhline(chart.alone, color=_ALONE, linestyle="--", linewidth=1.2, label="endpoint only")
        if chart.best is not None:
            axes.axhline(chart.best, color=_BEST, linestyle=":", linewidth=1.4, label="best of all cuts")
        if chart.chosen is not None:
            at = [chart.chosen + shifts[0]], [chart.top(chart.chosen)]
            axes.plot(*at, marker=_CARET, color=_ALONE, markersize=9, linestyle="", label="chosen")
        turn, ha, size = (90, "center", 7) if count > 12 else (30, "right", 9)
        axes.set_xticks(list(places), chart.labels, rotation=turn, ha=ha, fontsize=size)
        axes.set_xlim(-0.7, count - 0.3)
        axes.set_ylabel(chart.axis)
        axes.set_title(chart.title, loc="left", fontsize=11)
        quiet(axes, "y")
        if chart.labels:
            axes.legend(frameon=False, ncols=6, loc="upper left", bbox_to_anchor=(0, 1.0))
        axes.margins(y=0.15)
    return stream.getvalue()
