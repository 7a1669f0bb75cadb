"""How the tokens of cuts could be coded, as ``eprune profile --compress`` and ``eprune report`` show it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from eprune.explore.cost import Costs, Prediction, predict
from eprune.views.tables import Table

if TYPE_CHECKING:
    from eprune.explore.answer import PointRow
    from eprune.explore.plan import Plan
    from eprune.measure.coding import CodedFifos, Row


def coding_text(plan: Plan, found: CodedFifos) -> str:
    """For people."""
    return "\n".join(_table(plan, found, [("", row) for row in found.inputs], "").lines())


@dataclass(frozen=True)
class CodingReport:
    """What ``eprune report`` adds: ``inputs`` are the coded pictures, each with its prediction where there can be one.

    ``point`` is the partition point that sends the picture, "" where there is none; ``folder`` the exploration's.
    """

    plan: Plan
    folder: str
    found: CodedFifos
    inputs: Sequence[tuple[Row, Optional[Prediction]]]
    point: str

    def table(self) -> Table:
        """For people."""
        rows = [("" if made is None else f"{1e3 * made.latency:.3f}", row) for row, made in self.inputs]
        return _table(self.plan, self.found, rows, self.point)

    def share(self, fifos: Sequence[str]) -> float:
        """The part of the answers that is right, or agrees, with these FIFOs coded, each by itself: the least."""
        return min((_share(self.found.rows[name]) for name in fifos), default=_share(self.found.answers))

    def data(self) -> Mapping[str, Any]:
        """For programs."""
        inputs = [{**asdict(row), "predicted": asdict(made) if made else None} for row, made in self.inputs]
        return {**asdict(self.found), "inputs": inputs, "input_point": self.point}

    def notes(self, best: Optional[PointRow]) -> list[str]:
        """What is to be said of it, and how the ``best`` point is made, if it is coded."""
        text = f"Coded, each FIFO by itself, with {self.found.wish} on the calibration part, where that saves time."
        fifos = best.predicted.coded if best is not None and best.predicted else {}
        if best is None or not fifos:
            return [text]
        application, *platforms = self.plan.files_at(self.folder)
        words = ["eprune", "apply", "compress", application, "-p", *platforms]
        words += ["-m", str(Path(self.folder, best.alternative.name))]
        words += [word for name in fifos for word in ("--fifo", name)]
        words += ["--wish", self.found.wish, *(["--data", self.found.data] if self.found.data else [])]
        return [f"{text} Point {best.alternative.name} is made by: {shlex.join([*words, '-o', 'coded'])}"]


def coding_report(
    plan: Plan, folder: str, found: CodedFifos, costs: Costs, allowed: Mapping[str, bool]
) -> CodingReport:
    """With what the coded picture would take, at the point where only sources send; ``allowed``: point -> whether."""
    sources = set(plan.flow.sources)
    for each in plan.alternatives:
        crossing = plan.flow.crossing(each.homes)
        if crossing and allowed.get(each.name) and all(stream.source in sources for stream in crossing):
            pictures = {stream.name for stream in crossing}
            ways = [replace(costs, coded=dict.fromkeys(pictures, row.coded), fewest=True) for row in found.inputs]
            made = [predict(plan.flow, plan.roles, each_costs, each.homes) for each_costs in ways]
            return CodingReport(plan, folder, found, list(zip(found.inputs, made)), each.name)
    return CodingReport(plan, folder, found, [(row, None) for row in found.inputs], "")


def _table(plan: Plan, found: CodedFifos, inputs: Sequence[tuple[str, Row]], point: str) -> Table:
    raw = {stream.name: stream.nbytes for stream in plan.flow.streams}
    rows = [(name, row.way, "", row, raw[name]) for name, row in found.rows.items()]
    shown = [
        *(_cells(*row) for row in rows),
        *(_cells(f"the input, point {point}" if point else "the input", row.way, time, row) for time, row in inputs),
    ]
    header = ["token", "coded", "bytes", "instead of", "coding ms", "latency ms", "agreement", "accuracy"]
    return Table(f"tokens coded, on {found.pictures} pictures", header, shown, _remarks(found)).filled()


def _remarks(found: CodedFifos) -> list[str]:
    lines = []
    whole = found.answers.accuracy
    if whole is not None:
        lines.append(f"accuracy as it is: {100 * whole['value']:.1f} %")
    lines += [f"{name} stays as it is: {why}" for name, why in found.left.items()]
    lines += [
        f"{name}: {found.wish} is not kept on the test part: {value:.4g}" for name, value in found.missed().items()
    ]
    return [*lines, *(f"note: {note}" for note in found.notes)]


def _share(row: Row) -> float:
    return (row.accuracy or row.agreement)["value"]


def _cells(name: str, way: str, latency: str, row: Row, raw: int = 0) -> tuple[str, ...]:
    accuracy = "" if row.accuracy is None else f"{100 * row.accuracy['value']:.1f} %"
    agreement = f"{100 * row.agreement['value']:.1f} %"
    times = f"{1e3 * (row.encode + row.decode):.2f}"
    return (name, way, f"{row.nbytes:.0f}", str(raw or ""), times, latency, agreement, accuracy)
