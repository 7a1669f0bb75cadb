"""The papers' chart: endpoint and communication time by partition point, a line for the endpoint alone. By hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple, Optional

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 900, 420, 70, 120, 40
_COMPUTE, _SEND, _LINE = "#4878a8", "#e8a33d", "#c00000"


class Bar(NamedTuple):
    """A partition point: milliseconds a frame that the endpoint computes, and that it sends."""

    label: str
    compute: float
    send: float


def svg(title: str, bars: Sequence[Bar], alone: Optional[float]) -> str:
    """The chart as SVG text; ``alone`` is the time of the endpoint alone, in milliseconds, if known."""
    top = max([bar.compute + bar.send for bar in bars] + [alone or 0.0, 1e-9]) * 1.1
    depth = _HEIGHT - _BOTTOM - _TOP
    step = (_WIDTH - _LEFT - 20) / max(len(bars), 1)

    def y(value: float) -> float:
        return _TOP + depth * (1 - value / top)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for tick in range(6):
        value = top * tick / 5
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g} ms</text>')
    for index, bar in enumerate(bars):
        x, width = _LEFT + step * (index + 0.15), step * 0.7
        for low, high, colour, what in (
            (0.0, bar.compute, _COMPUTE, "computing"),
            (bar.compute, bar.compute + bar.send, _SEND, "sending"),
        ):
            parts.append(
                f'<rect x="{x:.1f}" y="{y(high):.1f}" width="{width:.1f}" height="{y(low) - y(high):.1f}" '
                f'fill="{colour}"><title>{escape(bar.label)}: {what} {high - low:.4g} ms</title></rect>'
            )
        middle, foot = x + width / 2, _HEIGHT - _BOTTOM + 14
        parts.append(
            f'<text x="{middle:.1f}" y="{foot}" text-anchor="end" transform="rotate(-40 {middle:.1f} {foot})">'
            f"{escape(bar.label)}</text>"
        )
    if alone is not None:
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{y(alone):.1f}" y2="{y(alone):.1f}" stroke="{_LINE}" '
            f'stroke-dasharray="6 4"><title>endpoint only: {alone:.4g} ms</title></line>'
        )
    for place, (colour, what) in enumerate(((_COMPUTE, "computing"), (_SEND, "sending"), (_LINE, "endpoint only"))):
        x = _WIDTH - 320 + 100 * place
        parts.append(f'<rect x="{x}" y="10" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 16}" y="20">{what}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def png(title: str, bars: Sequence[Bar], alone: Optional[float], path: str) -> None:
    """The same as a PNG file, by matplotlib. Raises ImportError where that is not installed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    places = range(len(bars))
    axes.bar(places, [bar.compute for bar in bars], color=_COMPUTE, label="computing")
    axes.bar(places, [bar.send for bar in bars], bottom=[bar.compute for bar in bars], color=_SEND, label="sending")
    if alone is not None:
        axes.axhline(alone, color=_LINE, linestyle="--", label="endpoint only")
    axes.set_xticks(list(places), [bar.label for bar in bars], rotation=40, ha="right")
    axes.set_ylabel("ms a frame")
    axes.set_title(title)
    axes.legend()
    figure.savefig(path, dpi=120)
