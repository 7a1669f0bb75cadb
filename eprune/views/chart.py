"""The papers' chart, by matplotlib: time of the endpoint per frame by partition point, a series for each link."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

from eprune.views.figures import figure_of, quiet

_COMPUTE, _ALONE, _MEASURED = "#4878a8", "#b00020", "#222222"
_SENDING = ("#e8a33d", "#6aa84f", "#a35fa8", "#8c6d4f")
#: Inches.
_HEIGHT, _WIDTH, _BAR = 4.6, (8.0, 14.0), 0.24


@dataclass(frozen=True)
class Chart:
    """Milliseconds of the endpoint a frame, for each of ``labels``.

    ``computing`` is the part that no link changes, ``sending`` that of each link, by its name (one alone needs none);
    ``measured`` what was measured, None where nothing was; ``alone`` the endpoint without a cut, None if unknown.
    """

    title: str
    labels: Sequence[str]
    computing: Sequence[float]
    sending: Mapping[str, Sequence[float]]
    measured: Sequence[Optional[float]] = field(default=())
    alone: Optional[float] = None


def draw(chart: Chart, kind: str) -> bytes:
    """The chart as ``svg`` or ``png``. Same arguments, same bytes. Raises ImportError where matplotlib is missing."""
    count, series = len(chart.labels), max(len(chart.sending), 1)
    low, high = _WIDTH
    width = min(max(low, 1.5 + _BAR * count * (series + 0.6)), high)
    with figure_of(width, _HEIGHT, kind) as (figure, stream):
        axes = figure.subplots()
        places, bar = range(count), 0.8 / series
        shifts = [bar * (index - (series - 1) / 2) for index in range(series)]
        for index, shift in enumerate(shifts):
            label = "computing" if index == 0 else None
            axes.bar([x + shift for x in places], chart.computing, bar * 0.94, color=_COMPUTE, label=label)
        for index, (name, sending) in enumerate(chart.sending.items()):
            xs, colour = [x + shifts[index] for x in places], _SENDING[index % len(_SENDING)]
            axes.bar(
                xs,
                sending,
                bar * 0.94,
                bottom=chart.computing,
                color=colour,
                label=f"sending, {name}" if name else "sending",
            )
        measured = [(x, value) for x, value in zip(places, chart.measured) if value is not None]
        if measured:
            axes.plot(*zip(*measured), "D", color=_MEASURED, markersize=4, label="measured")
        if chart.alone is not None:
            axes.axhline(chart.alone, color=_ALONE, linestyle="--", linewidth=1.2, label="endpoint only")
        turn, ha, size = (90, "center", 7) if count > 12 else (30, "right", 9)
        axes.set_xticks(list(places), chart.labels, rotation=turn, ha=ha, fontsize=size)
        axes.set_xlim(-0.7, count - 0.3)
        axes.set_ylabel("ms per frame")
        axes.set_title(chart.title, loc="left", fontsize=11)
        quiet(axes, "y")
        axes.legend(frameon=False, ncols=6, loc="upper left", bbox_to_anchor=(0, 1.0))
        axes.margins(y=0.15)
    return stream.getvalue()
