"""Two explorations beside each other: what has become better or worse, as text, JSON and CSV, and for a page."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from eprune.explore.answer import Change, quantity
from eprune.explore.cost import OBJECTIVES, meaning
from eprune.views.chart import Chart
from eprune.views.tables import Table, counted, table


@dataclass(frozen=True)
class Comparison:
    """The changes of partition points by an objective; ``cuts`` says in words what each point is.

    ``metrics`` are all figures that both have: metric -> point -> its change. A point is worse if its objective grew by
    more than ``tolerance`` percent.
    """

    application: str
    objective: str
    tolerance: float
    changes: Sequence[Change]
    cuts: Mapping[str, str]
    metrics: Mapping[str, Mapping[str, Change]]

    @property
    def worse(self) -> tuple[str, ...]:
        """The points that are worse."""
        return tuple(each.name for each in self.changes if each.verdict(self.tolerance) == "worse")

    @property
    def verdict(self) -> str:
        """``worse`` if a point is, else ``better`` if one is, else ``same``."""
        found = {each.verdict(self.tolerance) for each in self.changes}
        return next(each for each in ("worse", "better", "same") if each in found)

    @property
    def unit(self) -> str:
        """That of the objective."""
        return meaning(self.objective)[0]

    def advice(self) -> str:
        """A sentence on what has changed."""
        words = {"worse": "worse", "better": "better", "same": "about as before"}
        counts = {
            verdict: sum(each.verdict(self.tolerance) == verdict for each in self.changes)
            for verdict in ("worse", "better", "same")
        }
        said = [f"{counted(count, 'point')} {words[verdict]}" for verdict, count in counts.items() if count]
        old = min(self.changes, key=lambda each: each.before)
        new = min(self.changes, key=lambda each: each.after)
        figures = quantity(old.before, self.unit), quantity(new.after, self.unit)
        if old.name == new.name:
            best = f"the best cut is still {self._named(new)} ({figures[0]}, now {figures[1]})"
        else:
            best = f"the best cut was {self._named(old)} ({figures[0]}) and is now {self._named(new)} ({figures[1]})"
        return f"By {self.objective}, with a tolerance of {self.tolerance:g} %: {', '.join(said)}; {best}."

    def _named(self, change: Change) -> str:
        return f"{change.name} {self.cuts[change.name]}"

    def most_changed(self, most: int) -> Comparison:
        """The same of at most so many points, those that have changed most, in their order."""
        kept = sorted(self.changes, key=lambda each: -abs(each.percent))[:most]
        names = {each.name for each in kept}
        return replace(self, changes=[each for each in self.changes if each.name in names])

    def text(self) -> str:
        """For people."""
        made = self.table()
        return table(made.header[:-1], [row[:-1] for row in made.rows])

    def table(self) -> Table:
        """A row for each point: the objective before and now, the change in percent, and a verdict."""
        rows = [
            (
                each.name,
                self.cuts[each.name],
                f"{each.before:.4g}",
                f"{each.after:.4g}",
                f"{each.percent:+.1f} %",
                each.verdict(self.tolerance),
            )
            for each in self.changes
        ]
        header = ("point", "cut", f"{self.objective} before", "now", "change", "verdict")
        return Table("Partition points", header, rows)

    def metrics_table(self) -> Table:
        """A row for each point: how many times each figure is what it was."""
        kept = {metric: changes for metric, changes in self.metrics.items() if changes}
        rows = [
            (each.name, self.cuts[each.name], *(_times(changes.get(each.name)) for changes in kept.values()))
            for each in self.changes
        ]
        return Table("Now, as a multiple of before", ("point", "cut", *kept), rows)

    def chart(self) -> Chart:
        """The objective before and now."""
        return Chart(
            title=f"{self.application}: {meaning(self.objective)[1]}, before and now",
            labels=[self._named(each) for each in self.changes],
            computing=[],
            sending={"before": [each.before for each in self.changes], "now": [each.after for each in self.changes]},
            unit=self.unit,
            added=self.objective if self.objective in OBJECTIVES else "weighted sum",
        )

    def json(self) -> str:
        """For programs."""
        points = [
            {
                "point": each.name,
                "cut": self.cuts[each.name],
                **self._judged(each),
                "change_percent": _finite(each.percent),
                "worse": each.name in self.worse,
                "metrics": {
                    metric: {"unit": OBJECTIVES[metric][0], **self._judged(changes[each.name])}
                    for metric, changes in self.metrics.items()
                    if each.name in changes
                },
            }
            for each in self.changes
        ]
        head = {
            "application": self.application,
            "objective": self.objective,
            "unit": self.unit,
            "tolerance_percent": self.tolerance,
            "verdict": self.verdict,
            "worse": self.worse,
        }
        return json.dumps({**head, "points": points}, indent=1) + "\n"

    def _judged(self, change: Change) -> dict[str, Any]:
        figures = {"before": change.before, "now": change.after, "ratio": _finite(change.ratio)}
        return {**figures, "verdict": change.verdict(self.tolerance)}

    def csv(self) -> str:
        """For spreadsheets."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("point", "cut", "before", "now", "change %"))
        writer.writerows(
            (each.name, self.cuts[each.name], f"{each.before:.6g}", f"{each.after:.6g}", f"{each.percent:.3f}")
            for each in self.changes
        )
        return stream.getvalue()


def _times(change: Optional[Change]) -> str:
    return "" if change is None else f"{change.ratio:.3f}" if change.ratio < math.inf else "new"


def _finite(value: float) -> Optional[float]:
    """None where the figure before is 0, and so there is no ratio."""
    return value if value < math.inf else None
