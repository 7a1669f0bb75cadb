"""``eprune sweep``: run an application at several values of its actors' parameters, and show the trade-off."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from eprune.cli import options
from eprune.cli.charts import drawn, kind_of
from eprune.cli.errors import FINDINGS, INTERRUPTED, say
from eprune.cli.printing import show

if TYPE_CHECKING:
    from eprune.explore.sweep import Point
    from eprune.measure.sweep import Trials
    from eprune.model.system import System
    from eprune.views.sweep import SweepReport

#: What a value may be that stands for values from data.
BINS = "bins:"


@click.command("sweep", cls=options.Command, short_help="Run an application at several parameter values.")
@options.application_argument
@options.deployment_options(required=True)
@options.outside_option
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="ACTOR.PARAM=VALUES",
    help="The parameter to vary, and its values; see above.",
)
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Sources stop after N frames.")
@click.option(
    "--data",
    metavar="DATA",
    help="Also tell of each run how accurate it is on the test part of your pictures, as eprune evaluate does.",
)
@click.option("--set", "settings", multiple=True, metavar="ACTOR.PARAM=VALUE", help="Set an actor's parameter.")
@click.option(
    "--wish", "wishes", multiple=True, metavar="METRIC=VALUE", help="Choose the cheapest run that reaches VALUE."
)
@click.option(
    "--axes",
    metavar="QUALITY,COST",
    help="The two metrics of the Pareto front (default: what differs, and bytes or ms).",
)
@click.option(
    "--smaller", multiple=True, metavar="METRIC", help="Smaller values of METRIC are better, as for errors and times."
)
@click.option("--format", "fmt", type=click.Choice(["text", "json", "csv"]), default="text", help="Output.")
@click.option("-o", "--output", metavar="FILE", help="Also draw the trade-off: FILE.svg or FILE.png.")
@click.option(
    "--results", metavar="FILE", help="Keep each run in this file, as JSON, and do not repeat runs that are there."
)
@options.fuse_option
@click.option(
    "--interpreter",
    type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime"]),
    help="The TFLite interpreter to use (default: auto, the first that is installed).",
)
@click.option(
    "--limit",
    type=click.FloatRange(min=0.1),
    default=600.0,
    metavar="S",
    help="Time limit per run, in seconds (default: 600).",
)
@click.option("--pin/--no-pin", default=True, help="Pin threads to their units' cores (default), or not.")
@click.option(
    "--emulate",
    is_flag=True,
    help="Emulate the speed of the links and units in the platform files; results are labelled.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    vary: Sequence[str],
    frames: Optional[int],
    data: Optional[str],
    settings: Sequence[str],
    wishes: Sequence[str],
    axes: Optional[str],
    smaller: Sequence[str],
    fmt: str,
    output: Optional[str],
    results: Optional[str],
    fuse: bool,
    interpreter: Optional[str],
    limit: float,
    pin: bool,
    emulate: bool,
    quiet: bool,
) -> int:
    """Run an application at several values of its actors' parameters: what is gained, and what does it cost?

    VALUES are v1,v2,... or, where values have commas, v1;v2;... or a range LOW:HIGH:STEP. With bins:N they come from
    data: a first run shows the confidence of each frame, which N bins divide evenly; their edges are tried, and one
    that is above all. The figure bin_accuracy is then that of the least accurate bin which leaves early. Several --vary
    make every combination; parameters with commas between them, as in A.x,B.x=1,2, have one value together.

    The table has what sinks print as JSON (lines with a "frame" are about that frame alone, and do not count), how
    often each row of each dynamic processing graph was chosen, bytes per frame over each link, milliseconds from frame
    to frame, and those that each platform's actors computed; with --data also the accuracy on your pictures, or without
    labels the agreement with the whole model. Pareto-optimal runs have a *. With --wish the cheapest run
    that is good enough is chosen.

    A run that fails is recorded, and the next one goes on. Exit code: 0 fine, 1 a run failed or no run is as wished,
    2 wrong usage, 130 interrupted.

    \b
    Examples:
      eprune sweep app.xml -p platforms -m mappings/split --vary Exit.threshold=0.5:1:0.1 -o exits.svg
      eprune sweep app.xml -p platforms -m mappings/split --vary Exit.threshold=bins:10 --wish accuracy=0.97
      eprune sweep app.xml -p platforms -m mappings/split --vary Exit.threshold=0.6,0.8 --data photos
      eprune sweep filter.xml -p platforms -m mappings/local --vary "Gate.thresholds=0,9;0.1,9;0.1,0.2"
    """
    from eprune.cli.progress import progress
    from eprune.cli.reading import read_sound
    from eprune.deploy.options import certificates, check_complete, secured
    from eprune.measure.data import read_data
    from eprune.measure.sweep import Trials, on_data
    from eprune.model.platform import Security
    from eprune.views.sweep import SweepReport

    kind = kind_of(output, "-o")
    wanted = _numbers(wishes)
    named = _axes(axes)
    system = read_sound(application, platforms, mappings)
    check_complete(system)
    varied = _varied(system, vary, settings)
    common = [f"--frames={frames}"] * bool(frames) + [f"--interpreter={interpreter}"] * bool(interpreter)
    common += ["--no-pin"] * (not pin) + ["--emulate"] * emulate
    judge = on_data(system, settings, read_data(data), None, interpreter or "auto") if data else None
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        trials = Trials(
            system,
            Path(folder),
            fuse,
            common,
            settings,
            limit,
            results,
            lambda n: progress(n, frames or 0, quiet),
            judge,
            data or "",
        )
        with certificates([each.platform for each in system.mappings], needed=secured(system, Security.TLS)):
            code, points = _run(trials, varied)
    if not points:
        return code
    report = SweepReport(system.graph.name, list(points[0].values), points, named, wanted, smaller)
    show({"text": report.text, "json": report.json, "csv": report.csv}[fmt](), fmt)
    if output and kind:
        _draw(report, output, kind)
    if trials.torn:
        say(f"note: {results}: lines that cannot be read, and are passed over: {trials.torn}")
    for note in dict.fromkeys(note for point in points for note in point.notes):
        say(f"note: {note}")
    failed = sum(bool(point.problem) for point in points)
    if failed:
        say(f"{failed} of {len(points)} runs failed")
    unmet = "" if code == INTERRUPTED else report.unknown() or report.unmet()
    if unmet:
        say(f"error: {unmet}")
    return code or (FINDINGS if failed or unmet else 0)


def _run(trials: Trials, varied: Mapping[str, str]) -> tuple[int, list[Point]]:
    """Run each combination; an exit code, and the points as far as they got."""
    from eprune.explore import sweep

    try:
        values = {
            name: trials.bins(name, int(text[len(BINS) :])) if text.startswith(BINS) else sweep.parse_values(text)
            for name, text in varied.items()
        }
        combinations = sweep.combinations(values)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--vary") from None
    points: list[Point] = []
    try:
        for point in trials.all(combinations):
            points.append(point)
    except KeyboardInterrupt:
        kept = f"; --results {trials.results} goes on from here" if trials.results else ""
        say(f"interrupted after {len(points)} of {len(combinations)} runs{kept}")
        return INTERRUPTED, points
    return 0, points


def _varied(system: System, vary: Sequence[str], settings: Sequence[str]) -> dict[str, str]:
    """Names as ``sweep.combinations`` takes them -> text of their values, all of them checked. Raises BadParameter."""
    from eprune.deploy.options import home_of, placed_settings, split_setting
    from eprune.explore import sweep

    taken = {setting.partition("=")[0] for _, setting in placed_settings(system, settings)}
    varied: dict[str, str] = {}
    for text in vary:
        targets, equals, values = text.partition("=")
        names = targets.split(",")
        for name in names:
            actor, parameter, _ = split_setting(name + equals + values, "ACTOR.PARAM=VALUES", "--vary")
            home_of(system, actor, parameter, "--vary")
            if name in taken:
                raise click.BadParameter(f"{name} is given twice", param_hint="--vary")
            taken.add(name)
        varied[targets] = values
        if values.startswith(BINS):
            if not values[len(BINS) :].isdigit() or not 1 <= int(values[len(BINS) :]) < sweep.MAX_POINTS:
                raise click.BadParameter(f"{values!r}: expected for example bins:10", param_hint="--vary")
            continue
        try:
            sweep.parse_values(values)
        except ValueError as error:
            raise click.BadParameter(f"{targets}: {error}", param_hint="--vary") from None
    return varied


def _numbers(wishes: Sequence[str]) -> dict[str, float]:
    wanted = {}
    for text in wishes:
        name, _, value = text.rpartition("=")
        try:
            wanted[name] = float(value)
        except ValueError:
            name = ""
        if not name:
            raise click.BadParameter(f"{text!r} is not of the form METRIC=NUMBER", param_hint="--wish")
    return wanted


def _axes(text: Optional[str]) -> Optional[tuple[str, str]]:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or "" in names:
        raise click.BadParameter(f"{text!r}: expected two figures, such as accuracy,bytes", param_hint="--axes")
    return names[0], names[1]


def _draw(report: SweepReport, path: str, kind: str) -> None:
    from eprune.formats.atomic import write_file

    picture = drawn(lambda: report.picture(kind))
    if picture is None:
        say(f"note: {path} is not drawn, as there is no trade-off: say with --axes between which figures")
    else:
        write_file(path, picture)
