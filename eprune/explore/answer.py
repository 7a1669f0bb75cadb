"""The answer: partition points with their figures, measured and predicted; the best ones; what has changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from eprune.explore.cost import Costs, Prediction, predict, weights
from eprune.explore.flow import Flow
from eprune.explore.plan import Plan
from eprune.explore.required import ANYTHING, Required
from eprune.explore.space import Alternative, Constraints, Roles, Units, after, violation


@dataclass(frozen=True)
class PointRow:
    """A partition point. ``measured``: its line of the results; ``excluded``: why constraints leave it out, or "".

    ``missed``: by how much it misses what is required, or "".
    """

    alternative: Alternative
    nbytes: int
    predicted: Optional[Prediction]
    measured: Optional[Mapping[str, Any]]
    excluded: str
    missed: str = ""

    @property
    def failed(self) -> bool:
        """Whether it was measured, and that failed."""
        return self.measured is not None and not self.measured["ok"]

    def measured_value(self, objective: str, endpoints: Sequence[str]) -> Optional[float]:
        """What was measured of an objective, in its unit; None where it was not, or cannot be."""
        total = 0.0
        for name, weight in weights(objective).items():
            figure = self._measured_figure(name, endpoints)
            if figure is None:
                return None
            total += weight * figure
        return total

    def _measured_figure(self, name: str, endpoints: Sequence[str]) -> Optional[float]:
        line = self.measured
        if line is None or not line["ok"]:
            return None
        if name == "endpoint":
            return max((line["platforms"][each]["ms"] for each in endpoints if each in line["platforms"]), default=0.0)
        if name == "throughput":
            return 1e3 / line["frames_per_second"] if line["frames_per_second"] else None
        return float(line["bytes"]) if name == "bytes" else None

    def value(self, objective: str, endpoints: Sequence[str]) -> float:
        """The figure to rank by: the predicted one where there are predictions, else the measured one; or infinite."""
        if self.excluded or self.missed or self.failed:
            return math.inf
        if self.predicted is not None:
            return self.predicted.value(objective)
        if objective == "bytes":
            return float(self.nbytes)
        measured = self.measured_value(objective, endpoints)
        return math.inf if measured is None else measured


def rows(
    plan: Plan, results: Mapping[str, Mapping[str, Any]], costs: Optional[Costs], constraints: Constraints
) -> tuple[PointRow, ...]:
    """All partition points of a plan, in order. Without costs, only a rate that is required can be missed."""
    found = []
    for each in plan.alternatives:
        predicted = predict(plan.flow, plan.roles, costs.placed(each.units), each.homes) if costs else None
        measured = results.get(each.name)
        excluded = violation(plan.flow, plan.roles, constraints, each.homes, costs.most if costs else None)
        missed = _missed(constraints.required, predicted, measured)
        found.append(PointRow(each, plan.flow.nbytes(each.homes), predicted, measured, excluded, missed))
    return tuple(found)


def point_rows(
    flow: Flow,
    roles: Roles,
    points: Sequence[Alternative],
    costs: Optional[Costs],
    required: Required = ANYTHING,
) -> tuple[PointRow, ...]:
    """Partition points with their predictions, where there are costs; nothing was measured."""
    found = []
    for each in points:
        predicted = predict(flow, roles, costs, each.homes) if costs else None
        missed = _missed(required, predicted, None)
        found.append(PointRow(each, flow.nbytes(each.homes), predicted, None, "", missed))
    return tuple(found)


def _missed(required: Required, predicted: Optional[Prediction], measured: Optional[Mapping[str, Any]]) -> str:
    if predicted is not None:
        return required.missed(predicted.latency, predicted.period)
    rate = measured["frames_per_second"] if measured is not None and measured["ok"] else None
    return required.missed(None, 1 / rate if rate else None)


def point_of(plan: Plan, homes: Mapping[str, str], units: Units) -> str:
    """The name of the partition point that a cut is; "" if it is none."""
    return next((each.name for each in plan.alternatives if (each.homes, each.units) == (homes, units)), "")


def best_cut(
    flow: Flow,
    roles: Roles,
    constraints: Constraints,
    costs: Optional[Costs],
    objective: str,
    points: Sequence[PointRow],
) -> Optional[Mapping[str, str]]:
    """Actor -> platform of the best allowed cut; None if there is none.

    Of all cuts where scipy is installed and the search comes to an end in time, else of the partition points given.
    """
    from eprune.explore.integer import Unsolved
    from eprune.explore.search import Search

    if costs is not None:
        try:
            found = Search(flow, roles, constraints, costs).best(objective)
            return None if found is None else found.homes
        except (Unsolved, ImportError):
            pass
    kept = [row for row in points if not row.missed]
    least = min(kept, key=lambda row: row.value(objective, roles.endpoints), default=None)
    return None if least is None else least.alternative.homes


def placements(
    flow: Flow, roles: Roles, constraints: Constraints, costs: Costs, seconds: Optional[float] = None
) -> tuple[Alternative, ...]:
    """Of actors that may be anywhere: the best placement by each objective that there is, by name; each once.

    Empty where no placement is allowed. ``seconds`` are those of all searches together. Raises integer.Unsolved, and
    ImportError without scipy.
    """
    from eprune.explore.search import SECONDS, Search

    found: list[Alternative] = []
    objectives = ("latency", "throughput", *["energy"] * bool(costs.power))
    for objective in objectives:
        best = Search(flow, roles, constraints, costs).best(objective, (seconds or SECONDS) / len(objectives))
        if best is None:
            return ()
        if all((best.homes, best.units) != (each.homes, each.units) for each in found):
            found.append(Alternative(objective, best.homes, after(flow, roles, best.homes), best.units))
    return tuple(found)


def ranked(plan: Plan, given: Sequence[PointRow], objective: str) -> tuple[PointRow, ...]:
    """Those that have a figure, the best first."""
    found = [row for row in given if row.value(objective, plan.roles.endpoints) < math.inf]
    return tuple(sorted(found, key=lambda row: (row.value(objective, plan.roles.endpoints), *_single(row))))


def _single(row: PointRow) -> tuple[float, ...]:
    """What decides between equals."""
    return (row.predicted.latency,) if row.predicted else ()


def cut_in_words(row: PointRow) -> str:
    """``Cut after L2 (point 3)``, ``Do not cut (point 6)``."""
    cut = row.alternative.after
    if cut.endswith(" only"):
        the = "the " if row.alternative.name[0].isdigit() else ""
        text = "Do not cut" if cut == "endpoint only" else f"Run all on {the}{cut[: -len(' only')]}"
    else:
        text = f"Cut {cut}" if cut.startswith("after") else f"Cut: {cut}"
    return f"{text} ({_called(row)})"


def _called(row: PointRow) -> str:
    """``point 3``, ``placement throughput``."""
    name = row.alternative.name
    return f"{'point' if name[0].isdigit() else 'placement'} {name}"


def advice(plan: Plan, given: Sequence[PointRow], objective: str, unit: str) -> str:
    """One sentence for people; what it compares with is the endpoint alone."""
    order = ranked(plan, given, objective)
    if not order:
        return "No advice: nothing is measured or predicted for this objective."
    best = order[0]
    figure = best.value(objective, plan.roles.endpoints)
    alone = next((row for row in given if row.alternative.after == "endpoint only"), None)
    text = f"{cut_in_words(best)}: {quantity(figure, unit)}" + " per frame" * bool(unit)
    compared = alone.value(objective, plan.roles.endpoints) if alone is not None else math.inf
    if alone is not None and alone is not best and figure > 0 and compared < math.inf:
        ratio = compared / figure
        better = f"{ratio:.2g} times better than" if ratio >= 1.05 else "hardly better than"
        text += f", {better} the endpoint alone ({quantity(compared, unit)})"
    if best.predicted is not None and best.predicted.period:
        single, steady = quantity(1e3 * best.predicted.latency, "ms"), quantity(1 / best.predicted.period, "frames/s")
        text += f"; a single frame takes {single} from end to end, a steady stream runs at {steady}"
    return text + "."


def single_and_steady(plan: Plan, given: Sequence[PointRow]) -> str:
    """A sentence on which point is best for a single frame, and which for a steady stream, if these differ; else ""."""
    single, steady = (ranked(plan, given, objective)[:1] for objective in ("latency", "throughput"))
    if not single or not steady or single == steady or not (steady[0].predicted and steady[0].predicted.period):
        return ""
    latency, rate = single[0].value("latency", ()), 1 / steady[0].predicted.period
    return (
        f"A single frame is fastest at {_called(single[0])} ({quantity(latency, 'ms')}), "
        f"a steady stream at {_called(steady[0])} ({quantity(rate, 'frames/s')})."
    )


def quantity(value: float, unit: str) -> str:
    """A figure with its unit, if it has one: ``8.44 ms``, ``12300 B``."""
    number = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{number} {unit}".rstrip()


@dataclass(frozen=True)
class Change:
    """A partition point's figure, before and after, in the objective's unit; ``percent`` above 0 is worse."""

    name: str
    before: float
    after: float

    @property
    def percent(self) -> float:
        """The change, in percent of the figure before; infinite where that is 0 and the figure now is not."""
        return 100 * (self.after - self.before) / self.before if self.before else 100 * (self.ratio - 1)

    @property
    def ratio(self) -> float:
        """The figure now, as a multiple of that before."""
        return self.after / self.before if self.before else math.inf if self.after else 1.0

    def verdict(self, tolerance: float) -> str:
        """``worse``, ``better`` or ``same``: whether it has changed by more than ``tolerance`` percent."""
        return "worse" if self.percent > tolerance else "better" if self.percent < -tolerance else "same"


def changes(
    old: Sequence[PointRow], new: Sequence[PointRow], objective: str, endpoints: Sequence[str]
) -> tuple[Change, ...]:
    """The points that both have, measured if both are, else predicted."""
    before = {row.alternative.name: row for row in old}
    result = []
    for row in new:
        other = before.get(row.alternative.name)
        if other is None:
            continue
        pair = [each.measured_value(objective, endpoints) for each in (other, row)]
        if None in pair:
            pair = [each.predicted.value(objective) if each.predicted else None for each in (other, row)]
        if pair[0] is not None and pair[1] is not None and math.inf not in pair:
            result.append(Change(row.alternative.name, pair[0], pair[1]))
    return tuple(result)
