"""What ``eprune profile`` measured, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Optional

from eprune.explore.plan import Plan
from eprune.measure.boards import BoardOutcome
from eprune.measure.coding import CodedFifos
from eprune.measure.points import Measured
from eprune.views.tables import table


@dataclass(frozen=True)
class Validation:
    """A partition point, predicted and measured: milliseconds per frame. ``measured_ms`` is None where it failed."""

    point: str
    cut: str
    predicted_ms: float
    measured_ms: Optional[float]


@dataclass(frozen=True)
class Profile:
    """What one call did. Whatever it did not do is None.

    ``actors`` is what timing the actors gave, by platform, and ``actors_file`` where it was written; ``coding`` is how
    FIFOs could be coded, and ``coding_file`` likewise. ``measured`` says how measuring partition points ended, whose
    measurements are in ``results``. ``boards``: name -> the same of each of several devices.
    """

    plan: Plan
    folder: Path
    actors_file: str = ""
    actors: Optional[Mapping[str, Any]] = None
    coding_file: str = ""
    coding: Optional[CodedFifos] = None
    results: Optional[Path] = None
    measured: Optional[Measured] = None
    validation: Optional[Sequence[Validation]] = None
    boards: Optional[Mapping[str, BoardOutcome]] = None

    def json(self) -> str:
        """For programs."""
        measured = self.measured
        data = {
            "application": self.plan.flow.application,
            "folder": str(self.folder),
            "plan": self.plan.id,
            "actors": None if self.actors is None else {"file": self.actors_file, "platforms": self.actors},
            "coding": None if self.coding is None else {"file": self.coding_file, **asdict(self.coding)},
            "measured": None
            if measured is None
            else {
                "file": str(self.results),
                "points": list(measured.lines),
                "failed": list(measured.failed),
                "total": measured.total,
                "of": len(self.plan.alternatives),
                "stopped": measured.stopped,
            },
            "validation": None if self.validation is None else [asdict(each) for each in self.validation],
            **({} if self.boards is None else {"boards": {name: asdict(each) for name, each in self.boards.items()}}),
        }
        return json.dumps(data, indent=1) + "\n"


def faster_elsewhere(plan: Plan, timed: Mapping[str, Any]) -> list[str]:
    """For people: the actors for which another unit of their platform is faster than the one that they are on."""
    lines = []
    for name, own in timed.items():
        best = {
            actor: unit
            for actor, unit in own.get("fastest", {}).items()
            if own["units"][unit][actor] < own["units"].get(plan.units.get(name, {}).get(actor), {}).get(actor, 0)
        }
        shown = [f"{actor} on {unit}" for actor, unit in best.items()]
        if shown:
            more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
            lines.append(f"note: {name}: faster {', '.join(shown[:3])}{more}: eprune explore ... --fastest-units")
    return lines


def boards_text(plan: Plan, boards: Mapping[str, BoardOutcome]) -> str:
    """For people: how measuring ended on each board, and where its results are."""
    rows = []
    for name, each in boards.items():
        failed = f"failed: {', '.join(each.failed)}" if each.failed else ""
        rates = [line["frames_per_second"] for line in each.points if line["ok"] and line.get("frames_per_second")]
        best = f"{max(rates):.1f}" if rates else ""
        measured = f"{each.total} of {len(plan.alternatives)}"
        rows.append(
            (name, each.device, measured, best, each.problem or failed or "fine", str(Path(each.results).parent))
        )
    header = ("board", "device", "measured", "best frames/s now", "", "results")
    return table(header, rows)


def validation_text(validation: Sequence[Validation]) -> str:
    """Predictions beside measurements, for people; without points that failed."""
    rows = []
    for each in validation:
        if each.measured_ms is not None:
            error = f"{100 * abs(each.predicted_ms - each.measured_ms) / each.measured_ms:.0f} %"
            rows.append((each.point, each.cut, f"{each.predicted_ms:.3f}", f"{each.measured_ms:.3f}", error))
    return table(("point", "cut", "predicted ms/frame", "measured", "error"), rows)
