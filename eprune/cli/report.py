"""``eprune report``: where to cut, from what was measured and predicted."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS, say
from eprune.cli.explore import (
    ACTORS,
    OBJECTIVES,
    RESULTS,
    NoCut,
    constraint_options,
    constraints_of,
    read_plan_of,
)
from eprune.cli.lone import LATENCIES, lone_frames
from eprune.cli.tables import table

if TYPE_CHECKING:
    from eprune.explore.answer import Row
    from eprune.explore.chart import Bar
    from eprune.explore.cost import Costs
    from eprune.explore.plan import Plan
    from eprune.explore.search import Best
    from eprune.explore.space import Constraints

#: How many of the best cuts are listed.
SHOWN = 5


@click.command("report", cls=options.Command, short_help="Tell where to cut.")
@click.argument("folder", metavar="DIR")
@click.option("--objective", type=click.Choice(OBJECTIVES), default="endpoint", help="Best at what (endpoint).")
@click.option("--format", "fmt", type=click.Choice(["text", "json", "csv", "html"]), default="text", help="Output.")
@click.option("-o", "--output", metavar="FILE", default="-", help='Where to write; "-" is stdout (default).')
@click.option("--chart", metavar="FILE", help="Also draw the papers' bar chart: FILE.svg or FILE.png.")
@click.option("--speed", "speeds", multiple=True, metavar="PLATFORM=F", help="Predict a PLATFORM F times faster.")
@click.option("--watts", multiple=True, metavar="PLATFORM=W", help="What PLATFORM takes while it works, for energy.")
@click.option("--against", metavar="DIR", help="Compare with an earlier exploration.")
@click.option("--tolerance", type=float, default=10.0, metavar="P", help="Percent that --against lets pass (10).")
@constraint_options
def command(
    folder: str,
    objective: str,
    fmt: str,
    output: str,
    chart: Optional[str],
    speeds: Sequence[str],
    watts: Sequence[str],
    against: Optional[str],
    tolerance: float,
    **given: Any,
) -> int:
    """Tell where to cut: the five best cuts, all partition points, and one sentence of advice.

    Cuts are ranked by prediction, over the links of the platform files, once `eprune profile --actors` has timed the
    actors; before that, by what was measured. Constraints are those of `eprune explore` and the ones given here.
    With --against the exit code is 1 where a point has become worse by more than the tolerance.

    \b
    Examples:
      eprune report build/cuts --objective latency --private-until L2
      eprune report build/cuts --format html -o report.html
      eprune report build/cuts --against last/cuts --tolerance 20
    """
    from eprune.explore import answer, measure
    from eprune.explore.search import Search
    from eprune.formats.atomic import write_file

    plan = read_plan_of(folder)
    constraints = _together(plan, given)
    costs = read_costs(plan, Path(folder), speeds, watts)
    if objective == "energy" and not watts:
        raise click.UsageError("for energy say what the platforms take, for example --watts endpoint=3.5")
    if costs is None and (speeds or watts or objective in ("latency", "energy")):
        raise click.UsageError(f"that needs predictions: run eprune profile {folder} --actors")
    rows = answer.rows(plan, measure.read(Path(folder, RESULTS), plan.id), costs, constraints)
    best = Search(plan.flow, plan.roles, constraints, costs).best(objective) if costs else None
    if all(row.excluded for row in rows) and best is None:
        lines = "".join(f"\n  {row.alternative.name}: {row.excluded}" for row in rows)
        raise NoCut(f"no cut is allowed{lines}")
    if against:
        return _compare(plan, rows, read_plan_of(against), Path(against), objective, tolerance)
    if not answer.ranked(plan, rows, objective) and best is None:
        raise click.UsageError(f"nothing is measured: run eprune profile {folder}, or with --actors to predict")
    latencies = measure.read(Path(folder, LATENCIES), plan.id)
    told = Answer(plan, rows, objective, best, costs, latencies)
    if chart:
        _draw(told, chart)
    text = {"text": told.text, "json": told.json, "csv": told.csv, "html": told.html}[fmt]()
    write_file(output, text)
    return 0


def _together(plan: Plan, given: Mapping[str, Any]) -> Constraints:
    more = constraints_of(given, plan.roles.platforms, plan.flow.actors)
    old = plan.constraints
    limits = [limit for limit in (old.max_bytes, more.max_bytes) if limit >= 0]
    return replace(
        old,
        **{name: (*getattr(old, name), *getattr(more, name)) for name in given if name != "max_bytes"},
        max_bytes=min(limits, default=-1),
    )


def read_costs(plan: Plan, folder: Path, speeds: Sequence[str] = (), watts: Sequence[str] = ()) -> Optional[Costs]:
    """What the actors cost, as timed; None where they were not, or under an earlier plan."""
    from eprune.explore.cost import Costs

    try:
        told = json.loads((folder / ACTORS).read_text(encoding="utf-8"))
        if told["plan"] != plan.id:
            say(f"note: {folder / ACTORS} is of an earlier exploration: run eprune profile {folder} --actors again")
            return None
        slow = {name: float(each.get("slowdown", 1)) for name, each in told["platforms"].items()}
        times = {
            name: {actor: seconds * slow[name] for actor, seconds in each["actors"].items()}
            for name, each in told["platforms"].items()
        }
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise click.UsageError(f"{folder / ACTORS} cannot be used: run eprune profile {folder} --actors") from None
    factors = _values(speeds, plan, "--speed")
    scaled = {
        name: {actor: seconds / factors.get(name, 1.0) for actor, seconds in own.items()} for name, own in times.items()
    }
    factors = {name: factors.get(name, 1.0) / slow[name] for name in slow}
    emulated = {name: factor for name, factor in factors.items() if factor != 1}
    return Costs(scaled, plan.links, _values(watts, plan, "--watts"), emulated)


def _values(given: Sequence[str], plan: Plan, option: str) -> dict[str, float]:
    result = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            result[name] = float(value)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not of the form PLATFORM=NUMBER", param_hint=option) from None
        if name not in plan.roles.platforms or not result[name] > 0:
            known = ", ".join(plan.roles.platforms)
            raise click.BadParameter(f"{text!r}: expected one of {known}, and a number above 0", param_hint=option)
    return result


class Answer:
    """What the report says, in each format."""

    HEADER = (
        "point",
        "cut",
        "bytes",
        "endpoint ms",
        "server ms",
        "latency ms",
        "frames/s",
        "measured ms",
        "measured f/s",
        "emulated",
    )

    def __init__(
        self,
        plan: Plan,
        rows: Sequence[Row],
        objective: str,
        best: Optional[Best],
        costs: Optional[Costs],
        latencies: Mapping[str, Mapping[str, Any]],
    ) -> None:
        from eprune.explore import answer, measure
        from eprune.explore.cost import OBJECTIVES as MEANINGS

        self.plan, self.rows, self.objective, self.best, self.costs = plan, rows, objective, best, costs
        self.latencies = latencies
        self.unit, self.meaning = MEANINGS[objective]
        self.ranked = answer.ranked(plan, rows, objective)
        self.advice = (
            answer.advice(plan, rows, objective, self.unit) if self.ranked else "No partition point is allowed."
        )
        self.note = (
            "Predicted over the links of the platform files" if costs else "Measured on the machines that ran it"
        ) + "; what is measured here is over loopback."
        if costs is not None and costs.speeds:
            self.note += f" Emulated speeds: {', '.join(f'{name}={f:.3g}' for name, f in costs.speeds.items())}."
        self.emulated = {row.alternative.name for row in rows if row.measured and measure.emulated(row.measured)}
        if self.emulated:
            points = ", ".join(row.alternative.name for row in rows if row.alternative.name in self.emulated)
            self.note += f" Measured over emulated links and on emulated units: {points}."
        distant = [row for row in rows if row.measured and "devices" in row.measured]
        if distant:
            points = ", ".join(row.alternative.name for row in distant)
            self.note += f" Measured on real devices, over SSH: {points}."

    @property
    def first(self) -> str:
        """The name of the best partition point."""
        return self.ranked[0].alternative.name if self.ranked else ""

    def other(self) -> str:
        """A sentence on the best cut that is no partition point, if it is better than all that are; else ""."""
        from eprune.explore.space import after

        if self.best is None:
            return ""
        points = [row.value(self.objective, self.plan.roles.endpoints) for row in self.ranked]
        if points and min(points) <= self.best.value * (1 + 1e-9):
            return ""
        here = [actor for actor, home in self.best.homes.items() if home != self.plan.roles.server]
        proof = "" if self.best.exact else f" (no cut is below {self.best.bound:.4g})"
        where = after(self.plan.flow, self.plan.roles, self.best.homes)
        title = "Better than every partition point is" if points else "What is left is"
        return (
            f"{title} a cut {where}: {self.best.value:.4g} {self.unit}{proof}, "
            f"with {', '.join(here) or 'nothing'} on {' and '.join(self.plan.roles.endpoints)}."
        )

    def cells(self, row: Row) -> tuple[str, ...]:
        """A row of the table."""
        predicted = row.predicted
        figures = ["", "", "", ""]
        if predicted is not None:
            times = (predicted.endpoint, predicted.server, predicted.latency)
            figures = [*(f"{1e3 * time:.3f}" for time in times), _rate(predicted.period)]
        measured = [
            row.measured_value(objective, self.plan.roles.endpoints) for objective in ("endpoint", "throughput")
        ]
        shown = ["" if measured[0] is None else f"{measured[0]:.3f}", _rate((measured[1] or 0) / 1e3)]
        if row.failed:
            shown = ["failed", ""]
        emulated = [
            *["predicted"] * bool(self.costs and self.costs.speeds),
            *["measured"] * (row.alternative.name in self.emulated),
        ]
        return (row.alternative.name, row.alternative.after, str(row.nbytes), *figures, *shown, ", ".join(emulated))

    def text(self) -> str:
        """For people."""
        endpoints = self.plan.roles.endpoints
        lines = [f"{self.plan.flow.application}: the best cuts by {self.objective} ({self.meaning})", ""]
        top = [
            (
                place,
                row.alternative.name,
                row.alternative.after,
                f"{row.value(self.objective, endpoints):.4g} {self.unit}",
            )
            for place, row in enumerate(self.ranked[:SHOWN], 1)
        ]
        lines += [table(("", "point", "cut", self.objective), top).rstrip("\n"), ""]
        header, rows = _filled(self.HEADER, [self.cells(row) for row in self.rows if not row.excluded])
        marked = [("*" if row[0] == self.first else "", *row) for row in rows]
        lines += [table(("", *header), marked).rstrip("\n"), ""]
        lines += [f"  {row.alternative.name} is left out: {row.excluded}" for row in self.rows if row.excluded]
        lines += [f"  {name} is left out: {reason}" for name, reason in self.plan.excluded.items()]
        lines += [
            f"  {row.alternative.name} failed: {row.measured['problem']}"
            for row in self.rows
            if row.failed and row.measured
        ]
        lines += lone_frames(self.plan, self.latencies)
        lines += [sentence for sentence in (self.note, self.other(), self.advice) if sentence]
        return "\n".join(lines) + "\n"

    def json(self) -> str:
        """For programs."""
        from dataclasses import asdict

        points = [
            {
                "point": row.alternative.name,
                "cut": row.alternative.after,
                "homes": row.alternative.homes,
                "bytes": row.nbytes,
                "excluded": row.excluded,
                "predicted": asdict(row.predicted) if row.predicted else None,
                "measured": row.measured,
                "lone_frames": self.latencies.get(row.alternative.name),
            }
            for row in self.rows
        ]
        told = {
            "application": self.plan.flow.application,
            "objective": self.objective,
            "unit": self.unit,
            "note": self.note,
            "advice": self.advice,
            "ranked": [row.alternative.name for row in self.ranked],
            "best_of_all_cuts": {**asdict(self.best), "exact": self.best.exact} if self.best else None,
            "points": points,
            "excluded": self.plan.excluded,
        }
        return json.dumps(told, indent=1) + "\n"

    def csv(self) -> str:
        """For spreadsheets."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.HEADER)
        writer.writerows(self.cells(row) for row in self.rows)
        return stream.getvalue()

    def html(self) -> str:
        """For people with a browser: one page that needs no other file."""
        from eprune.explore.page import page

        header, rows = _filled(self.HEADER, [self.cells(row) for row in self.rows])
        homes = self.ranked[0].alternative.homes if self.ranked else self.best.homes if self.best else {}
        return page(
            f"{self.plan.flow.application}: where to cut",
            self.advice,
            f"By {self.objective}: {self.meaning}. {self.note} {self.other()}",
            self.svg(),
            header,
            rows,
            self.first,
            {actor: homes[actor] for actor in self.plan.flow.actors if actor in homes},
            [self.plan.command, "eprune profile DIR --actors", "eprune profile DIR", "eprune report DIR --format html"],
        )

    def bars(self) -> tuple[str, list[Bar], Optional[float]]:
        """The title, the bars and the line of the chart."""
        from eprune.explore.chart import Bar
        from eprune.explore.cost import predict

        endpoints = self.plan.roles.endpoints
        bars, alone = [], None
        for row in self.rows:
            if row.predicted is not None:
                whole = row.predicted.value("endpoint")
                assert self.costs is not None  # else nothing is predicted
                still = replace(self.costs, links=())
                compute = predict(self.plan.flow, self.plan.roles, still, row.alternative.homes).value("endpoint")
            else:
                measured = row.measured_value("endpoint", endpoints)
                if measured is None:
                    continue
                whole = compute = measured
            bars.append(Bar(f"{row.alternative.name} {row.alternative.after}", compute, max(whole - compute, 0.0)))
            if row.alternative.after == "endpoint only":
                alone = whole
        kind = "predicted" if self.costs else "measured"
        kind += ", emulated" if (self.costs.speeds if self.costs else self.emulated) else ""
        return f"{self.plan.flow.application}: time of the endpoint a frame, {kind}", bars, alone

    def svg(self) -> str:
        """The chart."""
        from eprune.explore.chart import svg

        return svg(*self.bars())


def _rate(seconds: float) -> str:
    return f"{1 / seconds:.1f}" if seconds else ""


def _filled(header: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns in which nothing is."""
    keep = [place for place in range(len(header)) if any(row[place] for row in rows)]
    return [header[place] for place in keep], [[row[place] for place in keep] for row in rows]


def _draw(told: Answer, path: str) -> None:
    from eprune.formats.atomic import write_file

    ending = Path(path).suffix
    if ending == ".svg":
        write_file(path, told.svg())
    elif ending == ".png":
        from eprune.explore.chart import png

        try:
            png(*told.bars(), path)
        except ImportError:
            message = "a PNG needs matplotlib, which is not installed"
            raise click.UsageError(f"{message}: pip install 'eprune[plot]', or draw {path[:-4]}.svg") from None
    else:
        raise click.BadParameter(f"{path!r} ends in neither .svg nor .png", param_hint="--chart")


def _compare(plan: Plan, rows: Sequence[Row], old: Plan, folder: Path, objective: str, tolerance: float) -> int:
    """Print what has changed since an earlier exploration; 1 if a point is worse by more than the tolerance."""
    from eprune.explore import answer, measure

    before = answer.rows(old, measure.read(folder / RESULTS, old.id), read_costs(old, folder), old.constraints)
    found = answer.changes(before, rows, objective, plan.roles.endpoints)
    if not found:
        raise click.UsageError("the two have no partition point with figures in common")
    cuts = {row.alternative.name: row.alternative.after for row in rows}
    lines = [
        (each.name, cuts[each.name], f"{each.before:.4g}", f"{each.after:.4g}", f"{each.percent:+.1f} %")
        for each in found
    ]
    click.echo(table(("point", "cut", f"{objective} before", "now", "change"), lines), nl=False)
    worse = [each.name for each in found if each.percent > tolerance]
    if worse:
        say(f"worse by more than {tolerance:g} %: {', '.join(worse)}")
    return FINDINGS if worse else 0
