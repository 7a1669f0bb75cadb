"""Charts and tables of the studies: our predicted and measured curves beside what the papers state."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from scripts.figures.papers import Case
from scripts.figures.study import Point, Study

_COMPUTE, _SEND, _STEADY, _MEASURED, _PAPER, _ALONE = "#4878a8", "#e8a33d", "#222222", "#2a9d4a", "#c00000", "#888888"


def chart(study: Study, path: Path) -> None:
    """One case as ``path``.svg and ``path``.png."""
    from matplotlib.figure import Figure

    case, points = study.case, study.points
    figure = Figure(figsize=(6 + len(points) * 0.13, 4.5), layout="constrained")
    axes = figure.subplots()
    places = range(len(points))
    axes.bar(places, [each.compute for each in points], color=_COMPUTE, label="endpoint computes, predicted")
    axes.bar(
        places,
        [each.send for each in points],
        bottom=[each.compute for each in points],
        color=_SEND,
        label="and sends, predicted",
    )
    axes.plot(places, [each.steady for each in points], color=_STEADY, marker=".", label="steady stream, predicted")
    measured = [(place, each.measured) for place, each in enumerate(points) if each.measured is not None]
    axes.plot(*zip(*measured), color=_MEASURED, marker="o", linestyle="--", label="steady stream, measured (emulated)")
    stated = [(_place(case, points, each.after), each.ms) for each in case.stated] + [(len(points) - 1, case.whole)]
    axes.scatter(*zip(*stated), color=_PAPER, marker="*", s=140, zorder=3, label="the papers")
    axes.axhline(case.whole, color=_ALONE, linestyle=":", label="endpoint alone")
    axes.set_xticks(list(places), [each.last for each in points], rotation=60, ha="right", fontsize=7)
    axes.set_ylabel("ms per frame")
    axes.set_ylim(0, min(2.5 * case.whole, 1.1 * max(case.whole, *(each.compute + each.send for each in points))))
    axes.set_title(f"{case.application}, {case.device} and i7 over {case.link}, emulated")
    axes.legend(fontsize=7)
    for suffix in ("svg", "png"):
        figure.savefig(path.with_suffix(f".{suffix}"), dpi=120)


def _place(case: Case, points: Sequence[Point], after: str) -> int:
    last = case.raw if after == "raw" else after
    return next(place for place, each in enumerate(points) if each.last == last)


def tables(studies: Sequence[Study]) -> str:
    """The comparison with the papers, and every point of every case, as Markdown."""
    lines = [
        "| case | cut after | papers, ms | predicted, ms | measured, ms | papers: faster than endpoint alone | ours |",
        "|---|---|---|---|---|---|---|",
    ]
    for study in studies:
        alone = study.points[-1]
        for stated in study.case.stated:
            point = study.points[_place(study.case, study.points, stated.after)]
            ours = point.measured and alone.measured and f"{alone.measured / point.measured:.2f}"
            lines.append(
                f"| {_title(study.case)} | {point.last}{' (raw)' * (stated.after == 'raw')} | {stated.ms:g} "
                f"| {point.steady:.1f} | {_ms(point.measured)} | {study.case.whole / stated.ms:.2f} | {ours or ''} |"
            )
    lines += ["", "| case | best cut, predicted | ms | best without raw input, predicted | ms | measured | error |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for study in studies:
        points = study.points
        private = points[_place(study.case, points, "raw") + 1 :]
        best, safe = [min(each, key=lambda point: point.steady) for each in (points, private)]
        tried = [point for point in private if point.measured is not None]
        seen = min(tried, key=lambda point: point.measured or 0.0)
        lines.append(
            f"| {_title(study.case)} | {best.last} | {best.steady:.1f} | {safe.last} | {safe.steady:.1f} "
            f"| {seen.last}, {_ms(seen.measured)} of {len(tried)} points | {_error(points)} |"
        )
    for study in studies:
        lines += ["", f"{_title(study.case)}: slowdown {study.slowdown:.4g}, {study.case.frames} frames", ""]
        lines += ["| point | after | bytes | computes | sends | steady, predicted | measured |", "|" + "---|" * 7]
        lines += [
            f"| {each.number} | {each.last} | {each.nbytes} | {each.compute:.2f} | {each.send:.2f} "
            f"| {each.steady:.2f} | {_ms(each.measured)} |"
            for each in study.points
        ]
    return "\n".join(lines) + "\n"


def _title(case: Case) -> str:
    return f"{case.application}, {case.device}, {case.link}"


def _ms(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.1f}"


def _error(points: Sequence[Point]) -> str:
    """Median and worst error of prediction against measurement."""
    errors = [100 * abs(each.steady - each.measured) / each.measured for each in points if each.measured]
    return f"median {statistics.median(errors):.0f} %, worst {max(errors):.0f} %"
