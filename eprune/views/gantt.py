"""A timeline as a Gantt chart, by matplotlib: a row for each unit and each link; predicted, and measured beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from eprune.analysis.timeline import Span, Timeline
from eprune.model.system import System
from eprune.views.figures import figure_of, quiet

#: Iterations that are shown.
SHOWN = 6
#: Colours of successive iterations.
_COLOURS = ("#4878a8", "#e19c3c", "#6aa56e", "#b65d5d", "#8a79af", "#8c8c8c")
#: Inches: of the chart, and of a row.
_WIDTH, _ROW, _EDGE = 11.0, 0.42, 1.2
#: A bar wider than this share of the chart is labelled.
_LABELLED = 0.045


class Bar(NamedTuple):
    """A firing or a transfer, in seconds; ``place`` is a unit or a link, or the actor itself where it is on no unit."""

    place: str
    name: str
    firing: int
    begin: float
    end: float


def predicted(run: Timeline) -> list[Bar]:
    """The bars of a simulated run."""
    return [_bar(span) for span in (*run.firings, *run.transfers)]


def _bar(span: Span) -> Bar:
    return Bar(span.place or span.name, span.name, span.firing, float(span.begin), float(span.end))


def measured(traces: Iterable[Mapping[str, Any]], system: System) -> list[Bar]:
    """The bars of traces of a run, one of each platform. Raises ValueError for what is no such trace.

    Of a link, a bar is the sending of tokens at its source.
    """
    units = {name: "/".join(home) for name, home in system.units.items()}
    fifos = {fifo.name: fifo for fifo in system.graph.fifos}
    homes = system.homes
    found = []
    for trace in traces:
        try:
            for event in trace["traceEvents"]:
                if event["ph"] != "X":
                    continue
                begin, end = 1e-6 * event["ts"], 1e-6 * (event["ts"] + event["dur"])
                kind, _, fifo = event["name"].rpartition(" ")
                # A segment is named after its actors.
                first = event["name"].partition("+")[0].partition("~")[0]
                place = units.get(first, first)
                if kind == "TX" and fifo in fifos:
                    place = " -> ".join(homes.get(end.actor, "") for end in (fifos[fifo].source, fifos[fifo].target))
                elif kind:
                    continue
                found.append(Bar(place, fifo or event["name"], event["args"]["firing"], begin, end))
        except (KeyError, TypeError, AttributeError):
            raise ValueError("it is no trace of `eprune run --trace`") from None
    return found


def last(bars: Sequence[Bar], sources: Iterable[str], count: int = SHOWN) -> list[Bar]:
    """The last iterations that all have fired in, counted from 0; the first source's firing begins at 0."""
    names = list(sources)
    most: dict[str, int] = {}
    for bar in bars:
        most[bar.name] = max(bar.firing, most.get(bar.name, 0))
    if not most:
        return []
    end = min(most.values())
    begin = max(end + 1 - count, 0)
    own = [bar for bar in bars if begin <= bar.firing <= end]
    zero = min((bar.begin for bar in own if bar.name in names), default=min((bar.begin for bar in own), default=0.0))
    return [bar._replace(firing=bar.firing - begin, begin=bar.begin - zero, end=bar.end - zero) for bar in own]


def chart(title: str, bars: Sequence[Bar], kind: str, beside: Optional[Sequence[Bar]] = None) -> bytes:
    """The chart as ``svg`` or ``png``; ``beside``: measured bars, in a row below each. Same arguments, same bytes.

    Raises ImportError where matplotlib is missing.
    """
    places = list(dict.fromkeys(bar.place for bar in (*bars, *(beside or ()))))
    sets = [(bars, ""), *([] if beside is None else [(beside, "measured")])]
    rows = [(place, own, label) for place in places for own, label in sets]
    end = max((bar.end for bar in (*bars, *(beside or ()))), default=1.0)
    scale, unit = (1e3, "ms") if end < 10 else (1.0, "s")
    with figure_of(_WIDTH, _EDGE + _ROW * len(rows), kind) as (figure, stream):
        axes = figure.subplots()
        for number, (place, own, label) in enumerate(rows):
            for bar in own:
                if bar.place != place:
                    continue
                colour = _COLOURS[bar.firing % len(_COLOURS)]
                width = max(bar.end - bar.begin, end / 2000)
                shape = {"facecolor": colour, "alpha": 0.55 if label else 0.95, "edgecolor": "white", "linewidth": 0.4}
                axes.broken_barh([(scale * bar.begin, scale * width)], (number - 0.4, 0.8), **shape)
                if width > _LABELLED * end:
                    middle = scale * (bar.begin + width / 2)
                    axes.text(middle, number, bar.name, ha="center", va="center", fontsize=7, clip_on=True)
        names = [f"{place}, {label}" if label else place for place, _, label in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(min(0.0, scale * min((bar.begin for bar in bars), default=0.0)), scale * end)
        axes.set_xlabel(unit)
        axes.set_title(title, loc="left", fontsize=11)
        quiet(axes, "x")
    return stream.getvalue()


def trace(run: Timeline, title: str) -> str:
    """The run in Chrome's trace event format, as ``eprune run --trace`` writes it: a process for each platform."""
    rows: dict[tuple[str, str], int] = {}
    events: list[dict[str, Any]] = []
    platforms: dict[str, int] = {}
    for bar in sorted(predicted(run), key=lambda bar: (bar.begin, bar.end)):
        platform = bar.place.partition("/")[0] if " -> " not in bar.place else "links"
        name = f"TX {bar.name}" if platform == "links" else bar.name
        pid = platforms.setdefault(platform, len(platforms) + 1)
        row = rows.setdefault((platform, name), len(rows) + 1)
        span = {"ts": 1e6 * bar.begin, "dur": 1e6 * (bar.end - bar.begin), "args": {"firing": bar.firing}}
        events.append({"ph": "X", "name": name, "pid": pid, "tid": row, **span})
    named = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": f"{platform}, {title}"}}
        for platform, pid in platforms.items()
    ]
    named += [
        {"ph": "M", "name": "thread_name", "pid": platforms[platform], "tid": row, "args": {"name": name}}
        for (platform, name), row in rows.items()
    ]
    return json.dumps({"traceEvents": [*named, *events], "displayTimeUnit": "ms"}) + "\n"
