"""What ``eprune report`` says, in each format."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Optional

from eprune.explore import answer
from eprune.explore.cost import meaning, predict
from eprune.explore.late import p95
from eprune.explore.required import ANYTHING, Required
from eprune.explore.revealed import of_cut
from eprune.explore.space import after
from eprune.measure.script import emulated
from eprune.views.cuts import left_out, placed
from eprune.views.evaluate import evaluation, side_by_side
from eprune.views.exploration import UNTIMED
from eprune.views.single_frames import failures, single_frames
from eprune.views.tables import Table, table

if TYPE_CHECKING:
    from eprune.explore.answer import PointRow
    from eprune.explore.cost import Costs
    from eprune.explore.plan import Plan
    from eprune.explore.search import Best
    from eprune.measure.evaluate import Evaluation
    from eprune.views.beside import BesideReport
    from eprune.views.coding import CodingReport
    from eprune.views.unmet import UnmetReport

#: How many of the best cuts are listed, and how many rows a table or a chart has at most.
SHOWN = 5
ROWS = 60
#: What the links of the platform files are called.
PLATFORM_LINKS = "the links of the platform files"


@dataclass(frozen=True)
class Over:
    """What is best over one set of links: ``name`` is theirs, ``costs`` None where nothing is predicted."""

    name: str
    costs: Optional[Costs]
    rows: Sequence[PointRow]
    best: Optional[Best]


#: A measurement that is so many times larger or smaller than predicted is pointed out; of these so many by name.
SURPRISE = 1.5
MOST = 3


@dataclass(frozen=True)
class More:
    """What a report is asked for besides the cuts.

    ``besides``: partitions by channels, ``evaluated``: cuts and applications on the same pictures, ``coding``: how
    tokens can be coded, ``make``: the command that makes the best cut a system, ``revealed``: actor -> what its tokens
    reveal, as SSIM (``explore.revealed``), ``required``: what the cuts have to keep, and ``unmet``: that none does.
    """

    besides: Sequence[BesideReport] = ()
    evaluated: Sequence[Evaluation] = ()
    coding: Optional[CodingReport] = None
    make: str = ""
    revealed: Mapping[str, float] = field(default_factory=dict)
    required: Required = ANYTHING
    unmet: Optional[UnmetReport] = None


NOTHING = More()


class CutReport:
    """Where to cut, over each set of links; ranking and table are of the first."""

    def __init__(
        self,
        plan: Plan,
        objective: str,
        over: Sequence[Over],
        latencies: Mapping[str, Mapping[str, Any]],
        more: More = NOTHING,
    ) -> None:
        self.plan, self.objective, self.over, self.latencies, self.more = plan, objective, over, latencies, more
        self.rows, self.best, self.costs = over[0].rows, over[0].best, over[0].costs
        self.emulated = {row.alternative.name for row in self.rows if row.measured and emulated(row.measured)}
        self.note = self._note()
        self.unit, self.meaning = meaning(objective)
        self.ranked = answer.ranked(plan, self.rows, objective)
        self.advice = self._advice(over[0])
        roles = plan.roles
        names = roles.platforms if roles.anywhere else ("endpoint", *roles.edges, "server")
        self.header = (
            *(plan.point.partition(" ")[2] or plan.point, "cut", "bytes", *(f"{name} ms" for name in names)),
            *("latency ms", "p95 ms", "frames/s", *(["required"] if more.required else [])),
            *("energy mJ", "coded", "measured ms", "measured f/s", "emulated"),
            *(["SSIM"] if more.revealed else []),
        )

    @property
    def first(self) -> str:
        """The name of the best partition point."""
        return self.ranked[0].alternative.name if self.ranked else ""

    def _note(self) -> str:
        source = f"Predicted over {self.over[0].name}" if self.costs else "Measured on the machines that ran it"
        note = f"{source}; what is measured here is over loopback."
        note += f" Estimated: {UNTIMED}." if self.costs and self.costs.estimated else ""
        if self.costs and self.costs.speeds:
            speeds = ", ".join(f"{name}={factor:.3g}" for name, factor in self.costs.speeds.items())
            note += f" Emulated speeds: {speeds}."
        if self.emulated:
            points = ", ".join(row.alternative.name for row in self.rows if row.alternative.name in self.emulated)
            note += f" Measured over emulated links and on emulated units: {points}."
        distant = [row.alternative.name for row in self.rows if row.measured and "devices" in row.measured]
        if distant:
            note += f" Measured on real devices, over SSH: {', '.join(distant)}."
        unmeasured = [row for row in self.rows if not row.excluded and row.measured is None]
        if unmeasured and not self.costs:
            note += f" {len(unmeasured)} of {len(self.rows)} {self.plan.point}s are not measured."
        return note + self._required() + self._assumed() + self._surprises()

    def _required(self) -> str:
        """Sentences on what is required, and what is not known of it."""
        required = self.more.required
        if not required:
            return ""
        text = f" Required: {required}"
        if required.latency is not None and not self.costs:
            return f"{text}; what single frames take is not predicted: run eprune profile DIR --actors."
        share = "; times are typical ones, so which share of the frames keeps the latency is not known"
        return f"{text}{share * (required.latency is not None)}."

    def _surprises(self) -> str:
        """A sentence on the points that took far longer or shorter than predicted for where they were measured."""
        if not self.costs or self.costs.speeds:
            return ""
        found = []
        for row in self.rows:
            taken = row.measured_value("throughput", ()) if row.measured and "devices" not in row.measured else None
            if taken is None or row.measured is None:
                continue
            there = self.costs if emulated(row.measured) else replace(self.costs, links=())
            there = there.placed(row.alternative.units)
            expected = predict(self.plan.flow, self.plan.roles, there, row.alternative.homes).value("throughput")
            if max(taken, expected) > SURPRISE * min(taken, expected):
                found.append(f"point {row.alternative.name} ({taken:.4g} ms, predicted {expected:.4g} ms)")
        if not found:
            return ""
        more = f" and {len(found) - MOST} more" * (len(found) > MOST)
        return (
            f" Measured far from what is predicted per frame there: {', '.join(found[:MOST])}{more}; "
            "was the machine busy, or was it another one than the one that timed the actors?"
        )

    def _assumed(self) -> str:
        """What the predictions take links for whose platform files do not say it."""
        links = self.costs.links if self.costs else ()
        missing = {
            "no time for its bytes": [link for link in links if link.bandwidth is None],
            "no latency": [link for link in links if link.latency is None],
        }
        named = {
            what: ", ".join(f"{each.origin} -> {each.to}" for each in ends) for what, ends in missing.items() if ends
        }
        parts = [f" Assumed, as the platform files do not say: {what} on {ends}." for what, ends in named.items()]
        return "".join(parts)

    def notes(self) -> list[str]:
        """What else is to be said, a sentence or two each."""
        others = [f"Over {over.name}: {self._advice(over)}" for over in self.over[1:]]
        points = self._of_points(self.over[0]) if self.other(self.over[0]) and self.ranked else ""
        single = answer.single_and_steady(self.plan, self.rows) if self.costs else ""
        coded = self.more.coding.notes(self.ranked[0] if self.ranked else None) if self.more.coding else []
        return [note for note in (self.note, self._proof(), *coded, points, single, *others) if note]

    def _proof(self) -> str:
        """On a graph of platforms: how good the best placement is at least."""
        best = self.best
        if best is None or not self.plan.roles.anywhere:
            return ""
        if best.exact:
            return f"No placement is better than {answer.quantity(best.value, self.unit)}: this is proved."
        bound = answer.quantity(best.bound, self.unit)
        return f"No placement is below {bound}; --seconds gives the search more time to prove that none is better."

    def _advice(self, over: Over) -> str:
        if self.more.unmet is not None and over is self.over[0]:
            return " ".join(self.more.unmet.verdict())
        return self.other(over) or self._of_points(over)

    def _of_points(self, over: Over) -> str:
        if not answer.ranked(self.plan, over.rows, self.objective):
            missed = any(row.missed and not row.excluded for row in over.rows)
            return f"No {self.plan.point} {'meets what is required' if missed else 'is allowed'}."
        text = answer.advice(self.plan, over.rows, self.objective, self.unit)
        return f"{text.rstrip('.')}; that meets what is required." if self.more.required and self.costs else text

    def other(self, over: Over) -> str:
        """A sentence on the best cut that is not a partition point, if it is better than all that are; else ""."""
        best = over.best
        if best is None:
            return ""
        points = [row.value(self.objective, self.plan.roles.endpoints) for row in over.rows]
        least = min(points, default=math.inf)
        if least <= best.value * (1 + 1e-6):
            return ""
        roles, homes = self.plan.roles, best.homes
        proof = "" if best.exact else f" (no cut is below {best.bound:.4g})"
        better = "these placements" if roles.anywhere else "every partition point"
        title = f"Better than {better} is" if least < math.inf else "What is left is"
        figure = answer.quantity(best.value, self.unit)
        met = ", and meets what is required" if self.more.required else ""
        return (
            f"{title} a cut {after(self.plan.flow, roles, homes)}: {figure}{proof}{met}, with {placed(roles, homes)}."
        )

    def cells(self, row: PointRow) -> tuple[str, ...]:
        """A row of the table."""
        predicted, roles, energy = row.predicted, self.plan.roles, ""
        figures = [""] * (3 + len(roles.platforms if roles.anywhere else (*roles.edges, "", "")))
        if predicted is not None:
            times = (predicted.endpoint, *(predicted.platforms[edge] for edge in roles.edges), predicted.server)
            times = tuple(predicted.platforms[each] for each in roles.platforms) if roles.anywhere else times
            energy = "" if predicted.energy is None else f"{1e3 * predicted.energy:.3f}"
            late = self.late(row)
            figures = [f"{1e3 * time:.3f}" for time in (*times, predicted.latency)]
            figures += ["" if late is None else f"{1e3 * late:.3f}", _rate(predicted.period)]
        measured = [row.measured_value(objective, roles.endpoints) for objective in ("endpoint", "throughput")]
        shown = ["" if measured[0] is None else f"{measured[0]:.3f}", _rate((measured[1] or 0) / 1e3)]
        if row.failed:
            shown = ["failed", ""]
        emulation = [
            *["predicted"] * bool(self.costs and self.costs.speeds),
            *["measured"] * (row.alternative.name in self.emulated),
        ]
        nbytes = f"{row.nbytes if predicted is None else predicted.nbytes:.0f}"
        coded = ", ".join(f"{name} {way}" for name, way in (predicted.coded if predicted else {}).items())
        told = [f"{self.seen(row):.3f}".replace("0.000", "")] if self.more.revealed else []
        named = row.alternative.name, row.alternative.after
        kept = [row.missed or ("met" if self.costs else "")] if self.more.required else []
        return (*named, nbytes, *figures, *kept, energy, coded, *shown, ", ".join(emulation), *told)

    def late(self, row: PointRow) -> Optional[float]:
        """The seconds that 95 of 100 single frames keep, None where that is not predicted."""
        if not self.costs:
            return None
        costs, homes = self.costs.placed(row.alternative.units), row.alternative.homes
        return p95(self.plan.flow, self.plan.roles, costs, homes)

    def seen(self, row: PointRow) -> float:
        """The SSIM of what is reconstructed from the tokens that leave the endpoints; 0 where none does."""
        return of_cut(self.plan.flow, row.alternative.homes, self.plan.roles.endpoints, self.more.revealed)

    def text(self) -> str:
        """For people."""
        lines = [f"{self.plan.flow.application}: the best cuts by {self.objective} ({self.meaning})", ""]
        if self.ranked or self.best is not None:
            lines += [table(("", "point", "cut", self.objective), self._top()).rstrip("\n"), ""]
        chosen = self.shown([row for row in self.rows if not row.excluded])
        points = self.points(chosen)
        marked = [("*" if row[0] == self.first else "", *row) for row in points.rows]
        lines += [table(("", *points.header), marked).rstrip("\n"), ""]
        lines += self.missing()
        lines += [line for each in self.tables() for line in each.lines()]
        made = [f"To make the best cut a system: {self.more.make}"] if self.more.make else []
        lines += [*self.notes(), *made, *(self.more.unmet.lines() if self.more.unmet else [self.advice])]
        return "\n".join(lines) + "\n"

    def _top(self) -> list[tuple[str, ...]]:
        """The best cuts: that of all, where it is no partition point, and the best points."""
        rows = [
            (row.alternative.name, row.alternative.after, answer.quantity(self.value(row), self.unit))
            for row in self.ranked[:SHOWN]
        ]
        if self.best is not None and self.other(self.over[0]):
            cut = after(self.plan.flow, self.plan.roles, self.best.homes)
            rows.insert(0, ("-", cut, answer.quantity(self.best.value, self.unit)))
        return [(str(place), *row) for place, row in enumerate(rows[:SHOWN], 1)]

    def points(self, rows: Sequence[PointRow]) -> Table:
        """These partition points, with the columns in which something is."""
        caption = "Placements" if self.plan.roles.anywhere else "Partition points"
        return Table(caption, self.header, [self.cells(row) for row in rows]).filled()

    def tables(self) -> list[Table]:
        """What else was measured, and asked for."""
        more = self.more
        found = [single_frames(self.plan, self.latencies), more.coding.table() if more.coding else None]
        found += [each.table() for each in more.besides]
        found += [side_by_side(more.evaluated) if more.evaluated else None]
        return [each for each in found if each]

    def missing(self, most: int = ROWS) -> list[str]:
        """Lines on the partition points that are not in a table of ``most`` rows, and those that failed."""
        excluded = {row.alternative.name: row.excluded for row in self.rows if row.excluded}
        lines = left_out({**excluded, **self.plan.excluded})
        more = sum(not row.excluded for row in self.rows) - most
        lines += [f"  {more} worse ones are not shown here (--format csv has all)"] if more > 0 else []
        failed = [row for row in self.rows if row.failed and row.measured]
        lines += [f"  {row.alternative.name} failed: {row.measured['problem']}" for row in failed if row.measured]
        return lines + failures(self.latencies)

    def shown(self, rows: Sequence[PointRow], most: int = ROWS) -> list[PointRow]:
        """The rows, or the best of them where they are too many, in their order."""
        if len(rows) <= most:
            return list(rows)
        best = {id(row) for row in sorted(rows, key=self.value)[:most]}
        return [row for row in rows if id(row) in best]

    def value(self, row: PointRow) -> float:
        """What it is ranked by."""
        return row.value(self.objective, self.plan.roles.endpoints)

    def json(self) -> str:
        """For programs."""
        points = []
        for index, row in enumerate(self.rows):
            point = {
                "point": row.alternative.name,
                "cut": row.alternative.after,
                "homes": row.alternative.homes,
                **({"units": row.alternative.units} if row.alternative.units else {}),
                "bytes": row.nbytes,
                "excluded": row.excluded,
                "predicted": asdict(row.predicted) if row.predicted else None,
                "measured": row.measured,
                "single_frames": self.latencies.get(row.alternative.name),
            }
            others = {over.name: over.rows[index].predicted for over in self.over[1:]}
            over = {name: asdict(predicted) for name, predicted in others.items() if predicted}
            told: dict[str, Any] = {"ssim": self.seen(row)} if self.more.revealed else {}
            late = self.late(row)
            told.update({} if late is None else {"latency_p95": late})
            if self.more.required:
                told.update(missed=row.missed)
                if row.predicted:
                    told.update(ratio=self.more.required.of(row.predicted))
            points.append({**point, **told, **({"predicted_over": over} if over else {})})
        data = {
            "application": self.plan.flow.application,
            "objective": self.objective,
            "unit": self.unit,
            "note": self.note,
            "advice": self.advice,
            **({"make": self.more.make} if self.more.make else {}),
            "ranked": [row.alternative.name for row in self.ranked],
            "best_of_all_cuts": _best(self.best) if self.best else None,
            **({"required": asdict(self.more.required)} if self.more.required else {}),
            **({"unmet": self.more.unmet.data()} if self.more.unmet else {}),
            "points": points,
            "excluded": self.plan.excluded,
            **({"coding": self.more.coding.data()} if self.more.coding else {}),
            **({"beside": [each.data() for each in self.more.besides]} if self.more.besides else {}),
            **({"evaluated": [evaluation(each) for each in self.more.evaluated]} if self.more.evaluated else {}),
        }
        return json.dumps(data, indent=1) + "\n"

    def csv(self) -> str:
        """For spreadsheets."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.header)
        writer.writerows(self.cells(row) for row in self.rows)
        return stream.getvalue()

    def homes(self) -> Mapping[str, str]:
        """Actor -> platform in the cut that the advice names first."""
        if self.more.unmet is not None:
            return self.more.unmet.found.nearest.homes
        if self.best is not None and (self.other(self.over[0]) or not self.ranked):
            return self.best.homes
        return self.ranked[0].alternative.homes if self.ranked else {}


def _best(best: Best) -> dict[str, Any]:
    units = {"units": best.units} if best.units else {}
    return {"homes": best.homes, **units, "value": best.value, "bound": best.bound, "exact": best.exact}


def _rate(seconds: float) -> str:
    return f"{1 / seconds:.1f}" if seconds else ""
