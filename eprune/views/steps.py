"""A chart of what FIFOs hold over time: a strip for each, its capacity a line. By hand."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_WIDTH, _LEFT, _TOP, _STRIP, _GAP = 900, 150, 40, 34, 10
_FILL, _LINE = "#4878a8", "#c00000"


class Strip(NamedTuple):
    """A FIFO: its capacity, and (event, tokens from it on), the first at event 0."""

    label: str
    capacity: int
    steps: Sequence[tuple[int, int]]


def svg(title: str, strips: Sequence[Strip], events: int) -> str:
    """The chart as SVG text; the horizontal axis has the events from 0 to ``events``."""
    height = _TOP + len(strips) * (_STRIP + _GAP) + 30
    scale = (_WIDTH - _LEFT - 20) / max(events, 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}</text>',
    ]
    for index, strip in enumerate(strips):
        foot = _TOP + index * (_STRIP + _GAP) + _STRIP
        unit = _STRIP / max(strip.capacity, 1)
        ends = [begin for begin, _ in strip.steps[1:]] + [events]
        for (begin, tokens), end in zip(strip.steps, ends):
            if tokens and end > begin:
                parts.append(
                    f'<rect x="{_LEFT + begin * scale:.2f}" y="{foot - tokens * unit:.1f}" '
                    f'width="{(end - begin) * scale:.2f}" height="{tokens * unit:.1f}" fill="{_FILL}"/>'
                )
        top = foot - _STRIP
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{top}" y2="{top}" stroke="{_LINE}" stroke-dasharray="6 4">'
            f"<title>{escape(strip.label)}: capacity {strip.capacity}</title></line>"
        )
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - 20}" y1="{foot}" y2="{foot}" stroke="#808080"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{foot - _STRIP / 2 + 4:.1f}" text-anchor="end">{escape(strip.label)}: '
            f"{strip.capacity}</text>"
        )
    for tick in sorted({round(events * part / 5) for part in range(6)}):
        x = _LEFT + tick * scale
        parts.append(f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{tick}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def png(title: str, strips: Sequence[Strip], events: int, path: str) -> None:
    """The same as a PNG file, by matplotlib. Raises ImportError where that is not installed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + 0.5 * len(strips)), layout="constrained")
    figure.suptitle(title)
    for axes, strip in zip(figure.subplots(max(len(strips), 1), 1, sharex=True, squeeze=False)[:, 0], strips):
        times = [begin for begin, _ in strip.steps] + [events]
        fills = [tokens for _, tokens in strip.steps]
        axes.fill_between(times, [*fills, fills[-1]], step="post", color=_FILL)
        axes.axhline(strip.capacity, color=_LINE, linestyle="--")
        axes.set_ylim(0, strip.capacity * 1.1)
        axes.set_yticks([0, strip.capacity])
        axes.set_ylabel(strip.label, rotation=0, ha="right", va="center")
    figure.savefig(path, dpi=120)
