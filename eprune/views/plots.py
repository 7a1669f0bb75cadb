"""Charts within pages, for ``web/parts.html.j2``: places are in percent, so charts scale and their text does not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from eprune.explore.answer import quantity
from eprune.views.chart import Chart, series_name
from eprune.views.scatter import Dot

#: How many labels an axis has at most, and on a narrow screen.
_LABELS, _FEW = 16, 7
#: Colours of series in style.css, besides that of computing.
_SERIES = 4
#: The share of a column's place that it fills.
_FILLED = 0.78


@dataclass(frozen=True)
class Tick:
    """A label at an axis, so far along it in percent; ``minor``: not on narrow screens."""

    at: float
    text: str
    minor: bool = False


@dataclass(frozen=True)
class Bar:
    """A rectangle in percent, with the number of its colour; ``title`` says what it is."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    title: str


@dataclass(frozen=True)
class Columns:
    """A chart of columns. ``chosen``: the middle of the chosen column, and what stands above it; ``marks``: what was
    measured, their middles and heights; ``lines``: levels across the chart."""

    title: str
    axis: str
    places: str
    bars: Sequence[Bar]
    ticks: Sequence[Tick]
    labels: Sequence[Tick]
    legend: Sequence[tuple[int, str]]
    marks: Sequence[tuple[float, float, str]]
    lines: Sequence[tuple[str, float, str]]
    chosen: Optional[tuple[float, float, str]]


def columns(chart: Chart) -> Columns:
    """The chart of ``eprune report``, as a part of its page."""
    count, unit = len(chart.labels), chart.unit
    sums = [base + more for values in chart.sending.values() for base, more in zip(_computing(chart), values)]
    levels = [each for each in (chart.alone, chart.best, *chart.measured) if each is not None]
    _, high, ticks = _range([0.0, *_computing(chart), *sums, *levels])

    def down(value: float) -> float:
        return 100 - 100 * value / high

    def middle(place: int) -> float:
        return 100 * (place + 0.5) / count

    marks = [
        (middle(place), down(value), f"{chart.labels[place]}: measured {quantity(value, unit)}")
        for place, value in enumerate(chart.measured)
        if value is not None
    ]
    lines = [
        (kind, down(level), f"{name}: {quantity(level, unit)}")
        for kind, name, level in (("alone", "endpoint only", chart.alone), ("best", "best of all cuts", chart.best))
        if level is not None
    ]
    chosen = None
    if chart.chosen is not None:
        top = chart.top(chart.chosen)
        chosen = middle(chart.chosen), down(top), f"{chart.labels[chart.chosen]}: {quantity(top, unit)}"
    legend = [(0, "computing")] * bool(chart.computing)
    legend += [(_colour(chart, group), series_name(chart.added, name)) for group, name in enumerate(chart.sending)]
    return Columns(
        title=chart.title,
        axis=chart.axis,
        places=chart.places,
        bars=_bars(chart, high),
        ticks=[Tick(down(tick), _short(tick, unit)) for tick in ticks],
        labels=_labels(chart.labels),
        legend=legend,
        marks=marks,
        lines=lines,
        chosen=chosen,
    )


def _bars(chart: Chart, high: float) -> list[Bar]:
    """Beside each other a column for each series, of what it adds to what is computed."""
    place = 100 / max(len(chart.labels), 1)
    series = max(len(chart.sending), 1)
    width = place * _FILLED / series
    bars = []

    def add(at: int, group: int, below: float, value: float, colour: int, name: str) -> None:
        x = place * (at + (1 - _FILLED) / 2) + width * group
        title = f"{chart.labels[at]}: {name} {quantity(value, chart.unit)}"
        bars.append(Bar(x, 100 - 100 * (below + value) / high, width, 100 * value / high, colour, title))

    computing = _computing(chart)
    for group in range(series if chart.computing else 0):
        for at, value in enumerate(computing):
            add(at, group, 0.0, value, 0, "computing")
    for group, (name, values) in enumerate(chart.sending.items()):
        for at, value in enumerate(values):
            add(at, group, computing[at], value, _colour(chart, group), series_name(chart.added, name))
    return bars


def _labels(labels: Sequence[str]) -> list[Tick]:
    """Of the columns, as many as there is room for: the first word of each."""
    count = len(labels)
    step = max(-(-count // _LABELS), 1)
    few = max(-(-count // (_FEW * step)), 1) * step
    return [
        Tick(100 * (place + 0.5) / count, labels[place].split(" ")[0], bool(place % few))
        for place in range(0, count, step)
    ]


def _computing(chart: Chart) -> Sequence[float]:
    return chart.computing or [0.0] * len(chart.labels)


def _colour(chart: Chart, group: int) -> int:
    return group % _SERIES + 1 if chart.computing else group % (_SERIES + 1)


@dataclass(frozen=True)
class Point:
    """A dot of a scatter chart, in percent; ``label`` stands above it or ``below``, on its left where ``before``."""

    x: float
    y: float
    label: str
    title: str
    front: bool
    chosen: bool
    before: bool
    below: bool


@dataclass(frozen=True)
class Scatter:
    """A chart of a trade-off; ``axes`` label x and y, ``steps`` are segments of the Pareto front, from dot to dot."""

    title: str
    axes: Sequence[str]
    points: Sequence[Point]
    steps: Sequence[tuple[Point, Point]]
    xs: Sequence[Tick]
    ys: Sequence[Tick]


#: Dots of the front that are labelled at most.
_LABELLED = 10
#: Percent of the chart within which a dot leaves the place above the chosen one to that.
_NEAR = 12


def scatter(title: str, axes: tuple[str, str], units: tuple[str, str], dots: Sequence[Dot], joined: bool) -> Scatter:
    """A dot for each point, as a part of a page; the front is ``joined`` where the axes are all that it is of."""
    along, up = _axis([dot.x for dot in dots]), _axis([dot.y for dot in dots])
    front = sorted((dot for dot in dots if dot.front), key=lambda dot: (dot.x, dot.y))
    chosen = [dot for dot in dots if dot.chosen]
    step = -(-len(front) // _LABELLED)
    labelled = {id(dot) for place, dot in enumerate(front) if place % step == 0}

    def placed(dot: Dot) -> Point:
        figures = f"{axes[0]} {quantity(dot.x, units[0])}, {axes[1]} {quantity(dot.y, units[1])}"
        x, y, label = along.at(dot.x), 100 - up.at(dot.y), dot.label if dot.chosen or id(dot) in labelled else ""
        crowded = any(abs(x - along.at(one.x)) < _NEAR and abs(y - 100 + up.at(one.y)) < _NEAR for one in chosen)
        below = crowded and not dot.chosen
        return Point(x, y, label, f"{dot.label}: {figures}", dot.front, dot.chosen, x > 60, below)

    line = [placed(dot) for dot in front]
    return Scatter(
        title,
        tuple(axis if unit == "B" else f"{axis}, {unit}" for axis, unit in zip(axes, units)),
        [placed(dot) for dot in sorted(dots, key=lambda dot: (dot.chosen, dot.front))],
        list(zip(line, line[1:])) if joined else [],
        [Tick(along.at(tick), _short(tick, units[0]), bool(place % 2)) for place, tick in enumerate(along.ticks)],
        [Tick(100 - up.at(tick), _short(tick, units[1])) for tick in up.ticks],
    )


@dataclass(frozen=True)
class _Axis:
    """From ``begin`` to ``end``; these are logarithms where it has ``decades``, and 0 is one before them."""

    begin: float
    end: float
    ticks: Sequence[float]
    decades: bool = False

    def at(self, value: float) -> float:
        """How far along it a value is, in percent."""
        along = value
        if self.decades:
            along = math.log10(value) if value > 0 else self.begin
        return 100 * (along - self.begin) / (self.end - self.begin)


def _axis(values: Sequence[float]) -> _Axis:
    """Logarithmic if the values differ by more than two decades."""
    positive = [value for value in values if value > 0]
    if not positive or max(positive) <= 100 * min(positive):
        return _Axis(*_range(values))
    first, last = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    zero = [0.0] * any(value <= 0 for value in values)
    ticks = [10.0**power for power in range(first, last + 1)]
    return _Axis(first - len(zero), last, [*zero, *ticks], True)


def _range(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Both ends of an axis, and some round numbers along it; it begins at 0 unless all is in its upper half."""
    most, least = max(values, default=0.0), min(values, default=0.0)
    if most <= 0:
        return 0.0, 1.0, [0.0]
    least = least if most / 2 < least < most else 0.0
    rough = (most - least) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(each for each in (1, 2, 5, 10) if each * power >= rough * (1 - 1e-9))
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return step * first, step * last, [step * place for place in range(first, last + 1)]


def _short(value: float, unit: str) -> str:
    if unit == "B" and value >= 1000:
        return f"{value / 1e6:g} MB" if value >= 1e6 else f"{value / 1e3:g} kB"
    return f"{value:.6g}"
