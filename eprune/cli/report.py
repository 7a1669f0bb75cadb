"""``eprune report``: where to cut, from what was measured and predicted."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.charts import drawn, kind_of
from eprune.cli.errors import FINDINGS, say
from eprune.cli.explore import NoCut, constraint_options, objective_option, revealed_by, seconds_option
from eprune.cli.printing import write
from eprune.cli.ranking import best_cut, coding_of, costs_of, costs_over, speed_option, together, unmet, with_codings

if TYPE_CHECKING:
    from eprune.explore.answer import PointRow
    from eprune.explore.cost import Costs
    from eprune.explore.plan import Plan
    from eprune.measure.evaluate import Evaluation
    from eprune.measure.exploration import Typed
    from eprune.model.graph import Graph
    from eprune.views.beside import BesideReport
    from eprune.views.chart import Chart
    from eprune.views.comparison import Comparison


#: Percent that a point may be worse than before.
TOLERANCE = 10.0


@click.command("report", cls=options.Command, short_help="Show where to cut.")
@click.argument("folder", metavar="DIR")
@objective_option
@click.option("--format", "fmt", type=click.Choice(["text", "json", "csv", "html"]), default="text", help="Output.")
@click.option("-o", "--output", metavar="FILE", default="-", help='Where to write; "-" is stdout (default).')
@click.option("--chart", metavar="FILE", help="Also draw the objective by partition point: FILE.svg or FILE.png.")
@click.option(
    "--link", "links", multiple=True, metavar="NAME=B,L", help="Predict for another link: wifi=2.3MB/s,2.15ms."
)
@speed_option
@click.option("--against", metavar="DIR", help="Compare with an earlier exploration.")
@click.option(
    "--beside",
    "besides",
    multiple=True,
    metavar="DIR",
    help="Also show what eprune apply -o DIR has written: a partition by channels, predicted; with --data, anything.",
)
@click.option(
    "--data",
    metavar="DATA",
    help="Set the best cuts, and each --beside, side by side on the test part of your pictures.",
)
@click.option(
    "--frames", type=click.IntRange(min=1), metavar="N", help="With --data: only N pictures, drawn at random."
)
@seconds_option
@click.option("--as-it-is", is_flag=True, help="No cut is coded, even if eprune profile --compress has tried how.")
@options.outside_option
@click.option(
    "--tolerance",
    type=float,
    metavar="P",
    help="By how many percent a point may be worse with --against (default: 10).",
)
@constraint_options
def command(
    folder: str,
    objective: Optional[str],
    fmt: str,
    output: str,
    chart: Optional[str],
    links: Sequence[str],
    speeds: Sequence[str],
    against: Optional[str],
    besides: Sequence[str],
    data: Optional[str],
    frames: Optional[int],
    as_it_is: bool,
    seconds: Optional[float],
    tolerance: Optional[float],
    **given: Any,
) -> int:
    """Tell where to cut: the five best cuts, all partition points, and one sentence of advice.

    Cuts are ranked by prediction, over the links of the platform files, once `eprune profile --actors` has timed the
    actors; before that, by what was measured. Each --link predicts over another link of the endpoints, of that
    bandwidth and latency: the first is ranked by, the others are compared with it. Constraints are those of `eprune
    explore` and the ones given here. With --against the exit code is 1 where a point has become worse by more than the
    tolerance. With --beside, a partition by channels is predicted on devices like the endpoint, over links like its
    own; its actors run here for that. With --privacy, each point has the SSIM of what an attack reconstructs from the
    tokens that leave the endpoint.

    With --data, cuts and what other passes made of the application (exits, a cascade, offloading, a cache) are set side
    by side on your pictures, as `eprune evaluate` does: accuracy or agreement, bytes, latency.

    Where `eprune profile --compress` has tried how cuts can be coded, they are, as far as that saves time over their
    link (with --objective bytes: as far as it saves bytes); --as-it-is shows them without.

    \b
    Examples:
      eprune report build/cuts --objective latency --private-until L2
      eprune report build/cuts --objective endpoint=1,bytes=0.0001
      eprune report build/cuts --link ethernet=11.2MB/s,1.49ms --link wifi=2.3MB/s,2.15ms --format html -o report.html
      eprune report build/cuts --against last/cuts --tolerance 20 --format json
      eprune report build/cuts --beside build/parts --allow-outside
      eprune report build/cuts --beside build/exits --beside build/cascade --data photos --allow-outside
      eprune report build/cuts --privacy revealed.json --private-until ssim=0.5
    """
    from eprune.explore import answer
    from eprune.explore.cost import weights
    from eprune.explore.plan import LATENCIES, RESULTS
    from eprune.measure import script
    from eprune.measure.exploration import read_plan_of
    from eprune.views.coding import coding_report
    from eprune.views.cuts import left_out
    from eprune.views.report import CutReport, More, Over
    from eprune.views.report_charts import objective_chart
    from eprune.views.report_page import comparison_page, report_page

    if against and chart:
        raise click.UsageError("--chart is of one exploration; with --against, --format html draws both")
    if tolerance is not None and not against:
        raise click.UsageError("--tolerance says how much worse than --against a point may be: give it too")
    if (besides or data) and (fmt == "csv" or against):
        raise click.UsageError("--beside and --data add to text, page and JSON of one exploration")
    if options.allows_outside() and not (besides or data):
        raise click.UsageError("--allow-outside is for the applications that --beside runs: give it too")
    if frames and not data:
        raise click.UsageError("--frames says how many pictures of --data are used: give it too")
    if data and (links or speeds):
        raise click.UsageError("--data compares over the links and with the speeds of the platform files")
    plan = read_plan_of(folder)
    if besides and not data and plan.roles.anywhere:
        raise click.UsageError("--beside predicts for devices like an endpoint and its link to a server: give --data")
    constraints = together(plan, given)
    objective = objective or plan.objective
    wanted = weights(objective)
    costs = costs_of(plan, Path(folder), speeds)
    if besides and not data and costs is None:
        raise click.UsageError(f"--beside needs predictions: run eprune profile {folder} --actors")
    coding = coding_of(plan, Path(folder), as_it_is)
    costs = with_codings(costs, coding, objective)
    if "energy" in wanted and not plan.power:
        raise click.UsageError('for energy a platform file must state watts, <unit name="cpu0" watts="3.5W">')
    if costs is None and (speeds or links or {"latency", "energy"} & set(wanted)):
        raise click.UsageError(f"that needs predictions: run eprune profile {folder} --actors")
    for file in (RESULTS, LATENCIES):
        if left := script.passed_over(Path(folder, file), plan.id):
            say(f"note: {left}")
    results = script.read(Path(folder, RESULTS), plan.id)
    over: list[Over] = []
    for name, each in costs_over(plan, costs, links):
        each_rows = answer.rows(plan, results, each, constraints)
        best = best_cut(plan, constraints, each, objective, seconds) if each else None
        over.append(Over(name, each, each_rows, best))
    rows, best, first = over[0].rows, over[0].best, over[0].costs
    missed = None
    if best is None and first is not None and not answer.ranked(plan, rows, objective):
        missed = unmet(plan, Path(folder), constraints, first, seconds, as_it_is)
    if all(row.excluded for row in rows) and best is None and missed is None:
        excluded = {**{row.alternative.name: row.excluded for row in rows}, **plan.excluded}
        raise NoCut("\n".join([f"no cut is allowed, neither a {plan.point} nor another", *left_out(excluded)]))
    if against:
        found = _compare(plan, rows, read_plan_of(against), Path(against), objective, tolerance)
        forms = {"text": found.text, "json": found.json, "csv": found.csv, "html": lambda: comparison_page(found)}
        write(output, forms[fmt](), fmt)
        if found.worse:
            say(f"worse by more than {found.tolerance:g} %: {', '.join(found.worse)}")
        return FINDINGS if found.worse else 0
    if not answer.ranked(plan, rows, objective) and best is None and not any(row.missed for row in rows):
        raise click.UsageError(f"nothing is measured: run eprune profile {folder}, or with --actors to predict")
    latencies = script.read(Path(folder, LATENCIES), plan.id)
    allowed = {row.alternative.name: not row.excluded for row in rows}
    ranked_by = over[0].costs
    dealt = () if data else [_beside(each, plan, folder, rows, costs) for each in besides]
    more = More(
        besides=[each for each in dealt if each],
        evaluated=_side_by_side(besides, data, frames, plan, folder, rows, objective) if data else (),
        coding=coding_report(plan, folder, coding, ranked_by, allowed) if coding and ranked_by else None,
        make="" if plan.from_stdin or missed else _make(folder, objective, links, given),
        revealed=revealed_by(given["privacy"], plan.flow) if given["privacy"] else {},
        required=constraints.required,
        unmet=missed,
    )
    report = CutReport(plan, objective, over, latencies, more)
    if chart:
        _draw(objective_chart(report), chart)
    if fmt == "html":
        text = report_page(report, _graph(plan, Path(folder)), _commands(plan, folder))
    else:
        text = {"text": report.text, "json": report.json, "csv": report.csv}[fmt]()
    write(output, text, fmt)
    return FINDINGS if any(row.missed for row in rows) and best is None and not report.ranked else 0


def _make(folder: str, objective: str, links: Sequence[str], given: Mapping[str, Any]) -> str:
    """The command that makes the best cut a system."""
    words = ["eprune", "cut", folder, "--best", objective, *(["--link", links[0]] if links else [])]
    return shlex.join([*words, *options.typed_words({*given, "speeds", "as_it_is"}), "-o", "SYSTEM"])


def _beside(
    place: str, plan: Plan, folder: str, rows: Sequence[PointRow], costs: Optional[Costs]
) -> Optional[BesideReport]:
    """The partition by channels in a folder, beside some cuts."""
    if costs is None:
        return None
    from eprune.cli.reading import read_sound
    from eprune.formats.system import written_in
    from eprune.measure.beside import beside, platform_weights
    from eprune.views.beside import BesideReport, CutBeside

    system = read_sound(*written_in(place))
    explored = read_sound(plan.files_at(folder)[0])
    endpoint = plan.roles.endpoints[0]
    cuts = [
        CutBeside(row, platform_weights(explored, row.alternative.homes).get(endpoint, 0))
        for row in _compared(plan, rows, ("latency", "throughput"))
    ]
    return BesideReport(cuts, beside(system, explored, plan, costs))


def _compared(plan: Plan, rows: Sequence[PointRow], objectives: Sequence[str]) -> list[PointRow]:
    """The points that others are set beside: all on the endpoint, and the best by these objectives."""
    from eprune.explore.answer import ranked

    alone = [row for row in rows if row.alternative.after == "endpoint only" and not row.excluded]
    best = [row for objective in objectives for row in ranked(plan, rows, objective)[:1]]
    return list({row.alternative.name: row for row in (*alone, *best)}.values())


def _side_by_side(
    besides: Sequence[str],
    data: str,
    frames: Optional[int],
    plan: Plan,
    folder: str,
    rows: Sequence[PointRow],
    objective: str,
) -> list[Evaluation]:
    """Some cuts, and what passes have written, on the same pictures."""
    from eprune.cli import datasets
    from eprune.explore.answer import cut_in_words
    from eprune.formats.system import files_in, written_in

    if plan.from_stdin:
        raise click.UsageError("--data runs the application: explore it from a file, not from stdin")
    application, *platforms = plan.files_at(folder)
    cuts = _compared(plan, rows, (objective, "latency", "bytes") if rows[0].predicted else (objective, "bytes"))
    places = [(application, platforms, files_in([str(Path(folder, row.alternative.name))], "mapping")) for row in cuts]
    found = datasets.evaluated([*places, *map(written_in, besides)], datasets.test_part(data, frames))
    names = [
        *map(cut_in_words, cuts),
        *(f"{one.application} in {place}" for one, place in zip(found[len(cuts) :], besides)),
    ]
    return [replace(each, application=name) for each, name in zip(found, names)]


def _graph(plan: Plan, folder: Path) -> Optional[Graph]:
    """The application's graph, None where its file is not there any more."""
    from eprune.formats.xml.application import read_application
    from eprune.model.finding import EpruneError, Failure

    try:
        return read_application(str(folder / plan.files[0]))
    except (EpruneError, Failure):
        return None


def _commands(plan: Plan, folder: str) -> list[str]:
    """What makes this page again, from the current folder."""
    from eprune.measure.exploration import Typed, commands_of

    before = [Typed(plan.command, plan.directory), *commands_of(plan, Path(folder))]
    return [*(_from_here(each, folder) for each in before), options.typed(page=True)]


def _from_here(typed: Typed, folder: str) -> str:
    place = os.path.relpath(os.path.realpath(Path(folder, typed.directory)), os.path.realpath("."))
    return typed.command if place == "." else f"(cd {shlex.quote(place)} && {typed.command})"


def _draw(chart: Chart, path: str) -> None:
    from eprune.formats.atomic import write_file
    from eprune.views.chart import draw

    kind = kind_of(path, "--chart")
    write_file(path, drawn(lambda: draw(chart, kind)))


def _compare(
    plan: Plan, rows: Sequence[PointRow], old: Plan, folder: Path, objective: str, tolerance: Optional[float]
) -> Comparison:
    """What has changed since an earlier exploration. Raises a usage error where nothing can be compared."""
    from eprune.explore import answer
    from eprune.explore.cost import OBJECTIVES
    from eprune.explore.plan import RESULTS
    from eprune.measure import script
    from eprune.views.comparison import Comparison

    before = answer.rows(old, script.read(folder / RESULTS, old.id), costs_of(old, folder), old.constraints)
    allowed, endpoints = [row for row in rows if not row.excluded], plan.roles.endpoints
    found = answer.changes(before, allowed, objective, endpoints)
    if not found:
        raise click.UsageError("the two have no partition point with figures in common")
    every = {metric: answer.changes(before, allowed, metric, endpoints) for metric in OBJECTIVES}
    return Comparison(
        plan.flow.application,
        objective,
        TOLERANCE if tolerance is None else tolerance,
        found,
        {row.alternative.name: row.alternative.after for row in rows},
        {metric: {each.name: each for each in made} for metric, made in every.items()},
    )
