"""What ``eprune sweep`` says, in each format."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Optional

from eprune.explore import sweep
from eprune.explore.sweep import Point
from eprune.views.scatter import Dot, draw
from eprune.views.tables import counted, table


class SweepReport:
    """The runs at all values of the parameters ``names``, and what is chosen of them.

    ``axes`` are the figures between which there is a trade-off (None: those that differ), ``wishes`` figures that a run
    must reach to be chosen, ``smaller`` those of which less is better though their name does not say so.
    """

    def __init__(
        self,
        application: str,
        names: Sequence[str],
        points: Sequence[Point],
        axes: Optional[tuple[str, str]],
        wishes: Mapping[str, float],
        smaller: Sequence[str],
    ) -> None:
        self.application, self.names, self.points = application, names, points
        self.wishes, self.smaller = wishes, smaller
        self.axes = axes or sweep.axes(points)
        self.front = sweep.front(points, self.axes, smaller) if self.axes else [False] * len(points)
        self.price = self.axes[1] if self.axes else "ms"
        self.chosen = sweep.choose(points, wishes, self.price, smaller) if wishes else None

    def unknown(self) -> str:
        """Why axes or ``smaller`` cannot be as they were given; "" if they can, or all runs failed."""
        good = [point for point in self.points if not point.problem]
        known = {name: None for point in good for name in point.figures()}
        strange = [name for name in (*(self.axes or ()), *self.smaller) if name not in known]
        return f"no run has a figure {strange[0]!r}; there are {', '.join(known)}" if good and strange else ""

    def unmet(self) -> str:
        """Why no run is as wished; "" if one is, or none was wished for."""
        if not self.wishes or self.chosen is not None:
            return ""
        reasons = []
        for name, wish in self.wishes.items():
            best = sweep.best(self.points, name, self.smaller)
            if best is None:
                known = list(dict.fromkeys(name for point in self.points for name in point.figures()))
                return f"no run has a figure {name!r}; there are {', '.join(known)}"
            reached = best.figures()[name]
            if sweep.cost(reached, name, self.smaller) > sweep.cost(wish, name, self.smaller):
                reasons.append(f"no run has {self._wish(name)}: the best is {reached:.6g}, at {best.title}")
        together = " and ".join(map(self._wish, self.wishes))
        return "; ".join(reasons) or f"no run has {together} together"

    def _wish(self, name: str) -> str:
        return f"{name} {'<=' if sweep.less_is_better(name, self.smaller) else '>='} {self.wishes[name]:.6g}"

    def _columns(self) -> list[str]:
        """The names of the figures, in the order of the table."""
        good = [point for point in self.points if not point.problem]
        # How many frames there were stands above the table.
        metrics = {name: 0 for point in good for name, value in point.metrics.items() if value != point.frames}
        shares = dict.fromkeys(f"{dpg}.{row}" for point in good for dpg, rows in point.shares.items() for row in rows)
        links = dict.fromkeys(f"{link}, bytes" for point in good for link in point.links)
        busy = dict.fromkeys(f"{platform} ms" for point in good for platform in point.busy)
        return [*metrics, *shares, *links, "ms", *busy]

    @staticmethod
    def _cells(point: Point, percent: bool) -> dict[str, str]:
        cells = {name: f"{value:.6g}" for name, value in point.metrics.items()}
        for dpg, rows in point.shares.items():
            cells.update(
                (f"{dpg}.{row}", f"{100 * share:.1f} %" if percent else f"{share:.6g}") for row, share in rows.items()
            )
        cells.update((f"{link}, bytes", f"{nbytes:.0f}") for link, nbytes in point.links.items())
        cells["ms"] = "" if point.ms is None else f"{point.ms:.3f}"
        cells.update((f"{platform} ms", f"{ms:.3f}") for platform, ms in point.busy.items())
        return cells

    def _rows(self, percent: bool) -> tuple[list[str], list[list[str]]]:
        columns = self._columns()
        rows = []
        for point, front in zip(self.points, self.front):
            cells = {} if point.problem else self._cells(point, percent)
            values = [point.values[name] for name in self.names]
            rows.append(["*" if front else "", *values, *(cells.get(name, "") for name in columns), point.problem])
        return ["front", *self.names, *columns, "problem"], rows

    def text(self) -> str:
        """For people."""
        header, rows = self._rows(percent=True)
        frames = sorted({point.frames for point in self.points if not point.problem})
        of = f" of {' or '.join(map(str, frames))} frames" if frames else ""
        emulated = ", emulated links and units" if any(point.emulated for point in self.points) else ""
        lines = [f"{self.application}: {counted(len(self.points), 'run')}{of}{emulated}", ""]
        good = [row[:-1] for row in rows if not row[-1]]
        lines += [table(["", *header[1:-1]], good).rstrip("\n"), ""] if good else []
        lines += [f"{point.title} failed: {point.problem}" for point in self.points if point.problem]
        if self.axes:
            lines.append(
                f"* Pareto-optimal: no run is better at one of {' and '.join(self.axes)}, and as good at both."
            )
        if self.chosen is not None:
            wished = " and ".join(map(self._wish, self.wishes))
            lines.append(f"Least {self.price} with {wished}: {self._advice(self.chosen)}")
        return "\n".join(lines).rstrip("\n") + "\n"

    @staticmethod
    def _advice(point: Point) -> str:
        return " ".join(f"--set {name}={value}" for name, value in point.values.items())

    def json(self) -> str:
        """For programs."""
        data = {
            "application": self.application,
            "axes": self.axes,
            "wishes": dict(self.wishes),
            "chosen": None if self.chosen is None else dict(self.chosen.values),
            "points": [{**asdict(point), "front": front} for point, front in zip(self.points, self.front)],
        }
        return json.dumps(data, indent=1) + "\n"

    def csv(self) -> str:
        """For spreadsheets."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        header, rows = self._rows(percent=False)
        writer.writerow(header)
        writer.writerows(rows)
        return stream.getvalue()

    def picture(self, kind: str) -> Optional[bytes]:
        """The trade-off as ``svg`` or ``png``, None where there is none. Raises ImportError without matplotlib."""
        if self.axes is None:
            return None
        quality, cost = self.axes
        dots = []
        for point, front in zip(self.points, self.front):
            figures = point.figures()
            if not point.problem and quality in figures and cost in figures:
                label = ", ".join(point.values.values())
                dots.append(Dot(figures[cost], figures[quality], label, front, point is self.chosen))
        if not dots:
            return None
        unit = {"ms": "ms from frame to frame", "bytes": "bytes per frame over links"}
        emulated = ", emulated" if any(point.emulated for point in self.points) else ""
        title = f"{self.application}: {', '.join(self.names)}{emulated}"
        return draw(title, (unit.get(cost, cost), unit.get(quality, quality)), dots, kind)
