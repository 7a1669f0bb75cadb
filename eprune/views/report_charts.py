"""The charts of ``eprune report``: the objective by partition point, and the trade-off between what a frame costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Optional

from eprune.explore.cost import predict
from eprune.explore.space import after
from eprune.explore.sweep import pareto
from eprune.views.chart import Chart
from eprune.views.plots import Scatter, scatter
from eprune.views.report import PLATFORM_LINKS, ROWS, CutReport
from eprune.views.scatter import Dot


def objective_chart(report: CutReport, most: int = ROWS) -> Chart:
    """The objective at each partition point, at most so many: as predicted, or else as measured.

    The endpoint's time is divided into computing and sending. Measured figures are set beside predicted ones where they
    are of the same links: the platform files', emulated.
    """
    objective, endpoints = report.objective, report.plan.roles.endpoints
    kept = report.shown([row for row in report.rows if not row.excluded], most)
    places = [place for place, row in enumerate(report.rows) if any(row is each for each in kept)]
    measured = {place: report.rows[place].measured_value(objective, endpoints) for place in places}
    if report.costs is None:
        places = [place for place in places if measured[place] is not None]
    rows = [report.rows[place] for place in places]
    computing: list[float] = []
    beside: list[Optional[float]] = []
    if report.costs is None:
        kind = "measured, emulated" if report.emulated else "measured"
        sending = {"": [measured[place] or 0.0 for place in places]}
    else:
        kind = "predicted, emulated" if report.costs.speeds else "predicted"
        if objective == "endpoint":
            still = replace(report.costs, links=())
            at = [(still.placed(row.alternative.units), row.alternative.homes) for row in rows]
            computing = [predict(report.plan.flow, report.plan.roles, *each).value(objective) for each in at]
        sending = {}
        for over in report.over:
            predicted = [over.rows[place].predicted for place in places]
            whole = [each.value(objective) if each else 0.0 for each in predicted]
            parts = [max(time - own, 0.0) for time, own in zip(whole, computing)] if computing else whole
            sending[over.name if over.name != PLATFORM_LINKS else ""] = parts
        if report.over[0].name == PLATFORM_LINKS:
            beside = [measured[p] if report.rows[p].alternative.name in report.emulated else None for p in places]
    added = "sending" if computing else objective if len(objective) < 20 else "weighted sum"
    chart = Chart(
        title=f"{report.plan.flow.application}: {report.meaning}, {kind}",
        labels=[f"{row.alternative.name} {row.alternative.after}" for row in rows],
        computing=computing,
        sending=sending,
        measured=beside,
        best=report.best.value if report.best is not None and report.other(report.over[0]) else None,
        chosen=next((place for place, row in enumerate(rows) if row.alternative.name == report.first), None),
        unit=report.unit,
        added=added,
        places=report.plan.point,
    )
    alone = [chart.top(place) for place, row in enumerate(rows) if row.alternative.after == "endpoint only"]
    return replace(chart, alone=alone[0]) if alone else chart


#: Dots that a chart has at most.
_DOTS = 1000


@dataclass(frozen=True)
class Candidate:
    """Something that can be chosen: bytes and ms of a frame, and the percent of right answers, None where unknown."""

    name: str
    nbytes: float
    latency: float
    answers: Optional[float]
    chosen: bool = False


@dataclass(frozen=True)
class TradeOff:
    """Candidates, which of them are Pareto-optimal, and charts of two of their figures each.

    ``answers`` says what their answers are measured by, "" where all have the same; ``left`` how many candidates that
    are not on the front are left out, the slowest ones.
    """

    candidates: Sequence[Candidate]
    front: Sequence[bool]
    answers: str
    charts: Sequence[Scatter]
    left: int = 0

    @property
    def figures(self) -> str:
        """What they are compared by, in words."""
        return f"bytes, latency and {self.answers}" if self.answers else "bytes and latency"

    @property
    def best(self) -> list[Candidate]:
        """Those of the front, by their bytes."""
        found = [each for each, front in zip(self.candidates, self.front) if front]
        return sorted(found, key=lambda each: (each.nbytes, each.latency))


def of_points(report: CutReport) -> Optional[TradeOff]:
    """The cuts of a report; None where their latency is not known."""
    coding = report.more.coding
    found = []
    for row in report.rows:
        line = report.latencies.get(row.alternative.name, {})
        if row.excluded or not (row.predicted or line.get("ok")):
            continue
        latency = 1e3 * row.predicted.latency if row.predicted else line["latency_ms"]["p50"]
        fifos = row.predicted.coded if row.predicted else {}
        nbytes = row.predicted.nbytes if row.predicted else row.nbytes
        answers = 100 * coding.share(tuple(fifos)) if coding else None
        name = f"{row.alternative.name} {row.alternative.after}"
        found.append(Candidate(name, nbytes, latency, answers, row.alternative.name == report.first))
    best = report.best
    if best is not None and report.costs and report.other(report.over[0]):
        made = predict(report.plan.flow, report.plan.roles, report.costs.placed(best.units), best.homes)
        answers = 100 * coding.share(tuple(made.coded)) if coding else None
        found = [replace(each, chosen=False) for each in found]
        name = f"best of all cuts: {after(report.plan.flow, report.plan.roles, best.homes)}"
        found.append(Candidate(name, made.nbytes, 1e3 * made.latency, answers, True))
    kind = "" if coding is None else "accuracy" if coding.found.answers.accuracy else "agreement"
    return _trade_off(found, kind) if len(found) > 1 else None


def of_evaluated(report: CutReport) -> Optional[TradeOff]:
    """The cuts and applications that are compared on the same pictures; None where there are none."""
    found = [
        Candidate(each.application, sum(each.bytes_per_frame.values()), each.latency_ms, 100 * each.share.value)
        for each in report.more.evaluated
    ]
    return _trade_off(found, report.more.evaluated[0].measure) if len(found) > 1 else None


def _trade_off(found: Sequence[Candidate], answers: str) -> TradeOff:
    known = answers if any(each.answers != found[0].answers for each in found) else ""
    front = pareto([(each.nbytes, each.latency, -(each.answers or 0.0)) for each in found])
    kept = sorted(zip(found, front), key=lambda pair: (not (pair[1] or pair[0].chosen), pair[0].latency))[:_DOTS]
    left = len(found) - len(kept)
    found, front = [each for each, _ in kept], [best for _, best in kept]
    axes = {"bytes": "B", "latency": "ms", **({known: "%"} if known else {})}
    figures = [dict(zip(axes, (each.nbytes, each.latency, each.answers or 0.0))) for each in found]
    pairs = [("bytes", "latency"), *([("bytes", known), ("latency", known)] if known else [])]
    charts = []
    for x, y in pairs:
        dots = [
            Dot(values[x], values[y], each.name, best, each.chosen) for each, values, best in zip(found, figures, front)
        ]
        charts.append(scatter(f"{y.capitalize()} over {x}", (x, y), (axes[x], axes[y]), dots, joined=not known))
    return TradeOff(found, front, known, charts, left)
