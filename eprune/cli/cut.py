"""``eprune cut``: the best cut of an exploration, or another one, as a system that can be run and deployed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import click

from eprune.cli import options
from eprune.cli.errors import say, say_next
from eprune.cli.explore import NoCut, Objective, constraint_options, seconds_option
from eprune.cli.printing import show
from eprune.cli.ranking import best_cut, coding_of, costs_of, costs_over, speed_option, together, unmet, with_codings

if TYPE_CHECKING:
    from eprune.explore.cost import Costs, Prediction
    from eprune.explore.plan import Plan
    from eprune.explore.search import Best
    from eprune.explore.space import Constraints, Units
    from eprune.measure.coding import CodedFifos
    from eprune.model.system import System
    from eprune.views.unmet import UnmetReport

#: Frames of a measurement.
FRAMES = 200
#: So often a cut is looked for whose buffers fit.
TRIES = 5


class _Cut(NamedTuple):
    """Actor -> platform, the partition point that it is ("": none), and its prediction, where there are costs.

    ``best``: what the search over all cuts says of it, where it is its answer.
    """

    homes: Mapping[str, str]
    point: str
    predicted: Optional[Prediction]
    units: Units
    best: Optional[Best]


@click.command("cut", cls=options.Command, short_help="Make the best cut a system.")
@click.argument("folder", metavar="DIR")
@click.option(
    "--best",
    type=Objective(),
    metavar="OBJECTIVE",
    help="The best of all cuts by endpoint (default), latency (default on a graph of platforms), throughput, bytes, "
    "energy, or weights.",
)
@click.option("--point", metavar="K", help="This partition point.")
@click.option(
    "--after",
    multiple=True,
    metavar="ACTOR",
    help="ACTOR, and all that it needs, on the endpoint, the rest on the server; with an edge, twice.",
)
@click.option("--link", metavar="NAME=B,L", help="Predict for another link: wifi=2.3MB/s,2.15ms.")
@speed_option
@seconds_option
@click.option("--as-it-is", is_flag=True, help="No cut is coded, even if eprune profile --compress has tried how.")
@constraint_options
@options.outside_option
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write; it is made if necessary.")
@click.option("--validate", is_flag=True, help="Also run it on this machine, and compare with what is predicted here.")
@click.option("--emulate", is_flag=True, help="With --validate: links and units as slow as the platform files state.")
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"With --validate: run so many frames (default: {FRAMES}).",
)
@options.format_option
def command(
    folder: str,
    best: Optional[str],
    point: Optional[str],
    after: Sequence[str],
    link: Optional[str],
    speeds: Sequence[str],
    seconds: Optional[float],
    as_it_is: bool,
    output: str,
    validate: bool,
    emulate: bool,
    frames: Optional[int],
    fmt: str,
    **given: Any,
) -> int:
    """Write the best cut of the exploration in DIR as a system: graph, platforms, mappings, ready to run and to deploy.

    The best one is that of all cuts, not only of the partition points, by prediction (`eprune profile --actors`), and
    without predictions the best measured point; on a graph of platforms it is the best placement, if need be by an
    estimate of the actors' times. Where `eprune profile --compress` has found that coding what the cut
    sends saves time, it is coded as `eprune apply compress` does it. Constraints are those of `eprune explore` and the
    ones given here.

    \b
    Examples:
      eprune cut build/cuts --best latency -o build/system
      eprune cut build/cuts --after L2 -o build/system --validate
      eprune cut build/cuts --best latency --private-until L2 --max-bytes 64KiB -o build/system
    """
    from eprune.explore.answer import quantity
    from eprune.explore.cost import meaning
    from eprune.formats.system import reaches_outside, write_system
    from eprune.measure.exploration import read_plan_of
    from eprune.passes import relocate

    if sum(map(bool, (best, point, after))) > 1:
        raise click.UsageError("--best, --point and --after are three ways to say which cut: give one of them")
    if seconds and (point or after):
        raise click.UsageError("--seconds is for the search for the best cut; --point and --after say which one")
    if (emulate or frames) and not validate:
        raise click.UsageError("--emulate and --frames are for --validate: give it too")
    plan = read_plan_of(folder)
    if plan.from_stdin:
        raise click.UsageError("the application was explored from stdin: explore it from a file")
    constraints = together(plan, given)
    costs = costs_of(plan, Path(folder), speeds)
    if costs is None and (link or speeds):
        raise click.UsageError(f"--link and --speed need predictions: run eprune profile {folder} --actors")
    if costs is not None and link:
        ((_, costs),) = costs_over(plan, costs, [link])
    objective = best or plan.objective
    coding = coding_of(plan, Path(folder), as_it_is)
    costs = with_codings(costs, coding, objective)
    for tries in range(TRIES, 0, -1):
        try:
            cut = _chosen(plan, Path(folder), constraints, costs, objective, point, after, seconds, as_it_is)
        except Unmet as none:
            if fmt == "json":
                show(json.dumps({"required": asdict(constraints.required), "unmet": none.found.data()}, indent=2), fmt)
            raise
        system, over = _placed(plan, folder, cut, last=tries == 1 or cut.best is None)
        if costs is None or not over:
            break
        # Tokens that wait for others that come a longer way take more than the search knows of.
        costs = replace(costs, memory={**costs.memory, **{p: int(costs.memory[p] / more) for p, more in over.items()}})
    coded = cut.predicted.coded if cut.predicted else {}
    if coded and coding is not None:
        system = _coded(system, coding, tuple(coded))
    written = write_system(relocate.apply(system, relocate.Options(output)).system, output)
    taken = _measured(written, plan, cut, costs, frames or FRAMES, emulate) if validate else None
    words = _words(plan, cut)
    if fmt == "json":
        data = {
            **{name: place for name, place in asdict(written).items() if place},
            "point": cut.point or None,
            "cut": words,
            "homes": dict(cut.homes),
            **({"units": cut.units} if cut.units else {}),
            **({"value": cut.best.value, "bound": cut.best.bound, "exact": cut.best.exact} if cut.best else {}),
            "predicted": asdict(cut.predicted) if cut.predicted else None,
            "validation": taken,
        }
        show(json.dumps(data, indent=2) + "\n", fmt)
        return 0
    say(f"{written.application}: {words}{_figures(cut)}")
    if cut.best is not None and not cut.best.exact:
        unit = meaning(objective)[0]
        value, bound = (quantity(each, unit) for each in (cut.best.value, cut.best.bound))
        say(f"note: {value} is what was found, and no cut is below {bound}; --seconds gives the search more time")
    for fifo, way in coded.items():
        say(f"{written.application}: {fifo} coded: {way}")
    if taken is not None:
        show(_compared(taken, emulate))
    say_next(written.application, written.platforms, written.mappings, reaches_outside(written.application))
    return 0


def _compared(taken: Mapping[str, Optional[float]], emulate: bool) -> str:
    """Measured beside predicted, for people."""
    shown = {name: f"{value:.3f} ms" for name, value in taken.items() if value is not None}
    text = f"{shown.get('measured_ms', 'no')} per frame over {'emulated links' if emulate else 'loopback'}"
    return text + (f", predicted {shown['predicted_ms']}" if "predicted_ms" in shown else "") + "\n"


def _chosen(
    plan: Plan,
    folder: Path,
    constraints: Constraints,
    costs: Optional[Costs],
    objective: str,
    point: Optional[str],
    after: Sequence[str],
    seconds: Optional[float],
    as_it_is: bool,
) -> _Cut:
    """The cut that is asked for. Raises a usage error where there is none, NoCut where none is allowed."""
    from eprune.explore import answer
    from eprune.explore.cost import predict
    from eprune.explore.plan import RESULTS
    from eprune.explore.space import cut_behind, violation
    from eprune.measure import script
    from eprune.views.cuts import left_out

    homes: Optional[Mapping[str, str]] = None
    units: Units = {}
    best: Optional[Best] = None
    if point is not None:
        found = plan.alternative(point)
        if found is None:
            known = ", ".join(each.name for each in plan.alternatives)
            reason = plan.excluded.get(point)
            raise click.BadParameter(reason or f"there is no point {point!r}; there are {known}", param_hint="--point")
        homes, units = found.homes, found.units
    elif after:
        try:
            homes = cut_behind(plan.flow, plan.roles, constraints, after)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--after") from None
    if homes is not None:
        broken = violation(plan.flow, plan.roles, constraints, homes, costs.most if costs else None)
        if broken:
            raise click.UsageError(f"the constraints do not allow that cut: {broken}")
        made = predict(plan.flow, plan.roles, costs.placed(units), homes) if costs else None
        missed = constraints.required.missed(made.latency, made.period) if made else ""
        if missed:
            raise click.UsageError(
                f"that cut misses what is required, {constraints.required}: {missed}; --no-require leaves that aside"
            )
    else:
        rows = answer.rows(plan, script.read(folder / RESULTS, plan.id), costs, constraints)
        ranked = answer.ranked(plan, rows, objective)
        every = best_cut(plan, constraints, costs, objective, seconds) if costs else None
        if not ranked and every is None:
            if costs and (why := unmet(plan, folder, constraints, costs, seconds, as_it_is)):
                raise Unmet(why)
            excluded = {
                **{row.alternative.name: row.excluded or row.missed for row in rows if row.excluded or row.missed},
                **plan.excluded,
            }
            if len(excluded) < len(rows):
                raise click.UsageError(f"nothing is measured: run eprune profile {folder}, or with --actors to predict")
            raise NoCut("\n".join([f"no cut is allowed, neither a {plan.point} nor another", *left_out(excluded)]))
        homes, units = (ranked[0].alternative.homes, ranked[0].alternative.units) if ranked else ({}, {})
        first = ranked[0].value(objective, plan.roles.endpoints) if ranked else float("inf")
        if every is not None and every.value < first * (1 - 1e-6):
            homes, units = every.homes, every.units
        best = every
    predicted = predict(plan.flow, plan.roles, costs.placed(units), homes) if costs else None
    return _Cut(homes, answer.point_of(plan, homes, units), predicted, units, best)


class Unmet(NoCut):
    """No cut keeps what is required."""

    def __init__(self, found: UnmetReport) -> None:
        super().__init__("\n".join(found.lines()))
        self.found = found


def _words(plan: Plan, cut: _Cut) -> str:
    """``cut after L2 (partition point 3)``."""
    from eprune.explore.space import after

    text = after(plan.flow, plan.roles, cut.homes)
    text = f"cut {text}" if "after" in text else text
    if plan.roles.anywhere:
        return text
    return f"{text} (partition point {cut.point})" if cut.point else f"{text} (no partition point)"


def _figures(cut: _Cut) -> str:
    """What is predicted of it."""
    made = cut.predicted
    if made is None:
        return ""
    rate = f", {1 / made.period:.1f} frames/s" if made.period else ""
    return f": predicted {1e3 * made.latency:.3f} ms for a single frame{rate}, {made.nbytes:.0f} bytes per frame"


def _placed(plan: Plan, folder: str, cut: _Cut, last: bool) -> tuple[System, dict[str, float]]:
    """The application with its actors there. Raises EpruneError where that breaks a rule.

    Unless this is the ``last`` try, what does not fit is no error, but the second result: platform -> how many times as
    much memory it takes as the platform has.
    """
    from eprune.analysis.check import check
    from eprune.analysis.mapping import overfull
    from eprune.cli.reading import read
    from eprune.explore.space import place
    from eprune.model.finding import EpruneError, errors

    application, *platforms = plan.files_at(folder)
    system = place(read(application, platforms), cut.homes, {**plan.units, **cut.units})
    over = {} if last else overfull(system)
    wrong = [finding for finding in errors(check(system)) if not (over and finding.rule == "M3")]
    if wrong:
        raise EpruneError(*wrong, exit_code=1)
    return system, over


def _coded(system: System, coding: CodedFifos, fifos: tuple[str, ...]) -> System:
    """The system with these FIFOs coded, as they were tried."""
    from eprune.cli.progress import progress
    from eprune.measure.plans import compress as plans
    from eprune.passes import compress

    shown = progress(1, unit="")
    try:
        asked = compress.Options(fifos, wish=coding.wish, data=coding.data)
        return compress.apply(system, plans.planned(system, asked, shown)).system
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    finally:
        shown.clear()


def _measured(
    written: Any, plan: Plan, cut: _Cut, costs: Optional[Costs], frames: int, emulate: bool
) -> dict[str, Optional[float]]:
    """Milliseconds per frame of a steady stream: measured here, and predicted for here."""
    from eprune.explore.cost import predict
    from eprune.formats.system import read_system, written_in
    from eprune.measure.steady import steady

    # What it reaches outside is what the explored application has beside it, which was read before.
    system = read_system(*written_in(str(Path(written.application).parent)), allow_outside=True)
    summary = steady(system, frames, emulate)
    rate = summary.frames_per_second
    here = replace(costs.placed(cut.units), links=costs.links if emulate else ()) if costs else None
    predicted = predict(plan.flow, plan.roles, here, cut.homes).value("throughput") if here else None
    return {"measured_ms": 1e3 / rate if rate else None, "predicted_ms": predicted}
