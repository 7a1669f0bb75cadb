"""Two explorations beside each other: what has become better or worse, as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eprune.explore.answer import Change
from eprune.views.tables import table


@dataclass(frozen=True)
class Comparison:
    """The changes of partition points by an objective; ``cuts`` says in words what each point is.

    A point is worse if it grew by more than ``tolerance`` percent.
    """

    application: str
    objective: str
    tolerance: float
    changes: Sequence[Change]
    cuts: Mapping[str, str]

    @property
    def worse(self) -> tuple[str, ...]:
        """The points that are worse."""
        return tuple(each.name for each in self.changes if each.percent > self.tolerance)

    def text(self) -> str:
        """For people."""
        lines = [
            (each.name, self.cuts[each.name], f"{each.before:.4g}", f"{each.after:.4g}", f"{each.percent:+.1f} %")
            for each in self.changes
        ]
        return table(("point", "cut", f"{self.objective} before", "now", "change"), lines)

    def json(self) -> str:
        """For programs."""
        points = [
            {
                "point": each.name,
                "cut": self.cuts[each.name],
                "before": each.before,
                "now": each.after,
                "change_percent": each.percent,
                "worse": each.name in self.worse,
            }
            for each in self.changes
        ]
        head = {"application": self.application, "objective": self.objective, "tolerance_percent": self.tolerance}
        return json.dumps({**head, "points": points}, indent=1) + "\n"

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
