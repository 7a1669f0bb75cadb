"""``eprune analyze``: check applications, and show what is worth knowing of a sound one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import click

from eprune.cli import options
from eprune.cli.charts import drawn, kind_of
from eprune.cli.errors import FINDINGS, USAGE, say
from eprune.cli.printing import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from eprune.analysis.sizing import Sizing
    from eprune.analysis.survey import Survey
    from eprune.analysis.timing import Timing
    from eprune.formats.system import Inputs
    from eprune.model.finding import Finding
    from eprune.model.system import System
    from eprune.model.touched import Touched


class Sources(click.ParamType):
    """``every``, ``some``, or a number of sources."""

    name = "sources"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> Any:
        """The word, or the number as an int."""
        if value in ("every", "some") or isinstance(value, int):
            return value
        if value.isascii() and value.isdigit() and 0 < len(value) < 10 and int(value) > 0:
            return int(value)
        return self.fail(f"{value!r} is neither 'every' nor 'some' nor a number of sources", param, ctx)


@click.command("analyze", cls=options.Command, short_help="Check applications and report what is wrong.")
@click.argument("application", metavar="APP.xml|FOLDER ...", nargs=-1, required=True)
@options.deployment_options(required=False)
@options.outside_option
@options.model_option
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["text", "json", "sarif", "junit"]),
    default="text",
    help="text for people (default), json for scripts, sarif for code hosts, junit for CI systems.",
)
@click.option("-o", "--output", metavar="FILE", default="-", help='Where the result goes; "-" is stdout (default).')
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option(
    "--faults",
    type=click.IntRange(1, 9),
    metavar="K",
    help="Also check that the service survives every set of at most K failing platforms, units, links and groups.",
)
@click.option(
    "--essential",
    multiple=True,
    metavar="ACTOR ...",
    help="With --faults: the sinks that the service consists of (default: all actors without outputs).",
)
@click.option(
    "--service",
    type=Sources(),
    default="every",
    metavar="every|some|M",
    help="With --faults: every source that is left reaches an essential sink (default), or some source does, or M "
    "sources reach the same one.",
)
@click.option("--buffers", is_flag=True, help="Also show the least buffer sizes, the throughput and its bottleneck.")
@click.option(
    "--times",
    multiple=True,
    metavar="ACTOR=TIME|FILE ...",
    help="Firing times of actors, for requirements, --latency and --buffers: A=1.2ms, or the least, the typical and "
    "the greatest, A=1ms..1.2ms..4ms, or a JSON file: actors.json of `eprune profile`, or the record of a run.",
)
@click.option(
    "--latency",
    is_flag=True,
    help="Also show how soon tokens get from each source to each sink, and what takes the time.",
)
@click.option("--rate", metavar="N/s", help="With --buffers: also the least for so many iterations, such as 25/s.")
@click.option("--front", is_flag=True, help="With --buffers: also each trade-off between buffers and throughput.")
@click.option("--chart", metavar="FILE", help="With --front: draw it, as .svg or .png.")
@click.option(
    "--apply",
    metavar="FILE",
    help="With --buffers: write the graph with these sizes to FILE: those for --rate, else for full speed.",
)
def command(
    application: Sequence[str],
    platforms: Sequence[str],
    mappings: Sequence[str],
    fmt: str,
    output: str,
    strict: bool,
    faults: Optional[int],
    essential: Sequence[str],
    service: Any,
    buffers: bool,
    times: Sequence[str],
    latency: bool,
    rate: Optional[str],
    front: bool,
    chart: Optional[str],
    apply: Optional[str],
) -> int:
    """Check application graphs against the design rules, with platforms and mappings where given.

    Reports all that is wrong with any of the files at once. For a sound graph it prints actors, FIFOs, buffer memory
    and precedence order, and whether its requirements are met, where the times of all actors are known. "-" reads
    APP.xml from stdin. Several files, and folders with all that is below them, are checked one after another; platforms
    and mappings among them are read, and belong to the application if there is only one. Exit code: 0 sound, 1
    findings, 2 unreadable input.

    \b
    Examples:
      eprune analyze graphs/vehicle.xml
      eprune analyze app.xml -p endpoint.xml server.xml -m mappings/split
      eprune analyze graphs mappings
      eprune analyze app.xml --format sarif -o findings.sarif
      eprune analyze app.xml -p platforms -m mappings --faults 1
      eprune analyze app.xml --buffers --times A=1.2ms B=3ms --apply sized.xml
      eprune analyze app.xml --latency --times build/cuts/actors.json
    """
    from eprune.formats.system import Inputs, inputs_in, parts_of

    if (rate or front or apply is not None) and not buffers:
        raise click.UsageError("--rate, --front and --apply go with --buffers")
    if chart and not front:
        raise click.UsageError("--chart draws what --front finds: give it too")
    kind_of(chart, "--chart")
    period = None if rate is None else _period(rate)
    if (buffers or latency) and fmt not in ("text", "json"):
        which = "--buffers" if buffers else "--latency"
        raise click.UsageError(f"{which} has no place in {fmt}: use --format text or json")
    if apply == output == "-":
        raise click.UsageError("the report and the new graph cannot both go to stdout: give -o or --apply a file")
    inputs = inputs_in(application)
    apps = inputs.applications
    if len(apps) != 1:
        if platforms or mappings:
            raise click.UsageError(f"-p and -m are those of one application, and {len(apps)} are given")
        options.refuse(
            ("faults", "essential", "service", "buffers", "times", "latency", "rate", "front", "chart", "apply"),
            f"it is asked of one application, and {len(apps)} are given",
        )
    elif inputs.platforms or inputs.mappings:
        if platforms or mappings:
            raise click.UsageError("platforms and mappings are given beside the application and by -p and -m")
        platforms, mappings = parts_of(apps[0], inputs)
    rest = Inputs(
        (),
        tuple(path for path in inputs.platforms if path not in platforms),
        tuple(path for path in inputs.mappings if path not in mappings),
    )
    if len(apps) != 1:
        return _several(inputs, rest, fmt, output, strict)
    return _single(
        apps[0],
        platforms,
        mappings,
        rest,
        fmt,
        output,
        strict,
        _Asked(faults, essential, service, buffers, times, latency, period, front, chart, apply),
    )


class _Asked(NamedTuple):
    """What is asked of one application beside the rules."""

    faults: Optional[int]
    essential: Sequence[str]
    service: Any
    buffers: bool
    times: Sequence[str]
    latency: bool
    period: Optional[Fraction]
    front: bool
    chart: Optional[str]
    apply: Optional[str]


def _period(rate: str) -> Fraction:
    """Seconds of an iteration, of which there are so many. Raises BadParameter."""
    from fractions import Fraction

    from eprune.model.quantity import parse_frequency

    try:
        parse_frequency(rate)
        return 1 / Fraction(rate.partition("/")[0].strip())
    except ValueError as error:
        raise click.BadParameter(f"{error}; such as 25/s", param_hint="--rate") from None


def _single(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    rest: Inputs,
    fmt: str,
    output: str,
    strict: bool,
    asked: _Asked,
) -> int:
    """Check one application, and the ``rest`` of the files by themselves."""
    from eprune.analysis.check import check
    from eprune.analysis.sizing import TooFast, sizing
    from eprune.analysis.survey import survey
    from eprune.analysis.timing import timing
    from eprune.cli.reading import read
    from eprune.cli.times import read_times
    from eprune.model.finding import EpruneError, has_errors
    from eprune.passes.fuse import clusters_of

    alone, unreadable = _read_alone(rest)
    try:
        system = read(application, platforms, mappings)
    except EpruneError as error:
        write(output, report([*error.findings, *alone], None, fmt, checked=(application,)), fmt)
        return error.exit_code
    if asked.faults is None and (asked.essential or asked.service != "every"):
        raise click.UsageError("--essential and --service say what --faults K asks: give it too")
    if asked.faults is not None and system.graph.is_sdf:
        raise click.UsageError(
            "--faults asks which failures are survived: with --model sdf nothing is, for FIFOs stop or wait"
        )
    findings = [*check(system), *alone]
    sound = not has_errors(findings)
    surveyed = (
        survey(system, asked.faults, asked.essential, asked.service) if sound and asked.faults is not None else None
    )
    if asked.times and not (asked.buffers or asked.latency or system.graph.requirements):
        raise click.UsageError("--times is for --buffers, --latency, and applications with requirements")
    known = read_times(asked.times, system)
    timed = None
    if sound and (asked.latency or system.graph.requirements):
        timed = timing(system, known, clusters_of, asked.latency)
        findings += timed.findings
    sized = None
    if sound and asked.buffers:
        try:
            sized = sizing(system, known.typical, clusters_of(system), asked.period, asked.front)
        except TooFast as error:
            raise click.ClickException(f"no room makes it that fast: {error}") from None
        except ValueError:
            message = "with all rates at their upper limits the graph deadlocks: its buffers cannot be sized as one"
            raise click.ClickException(message) from None
        if (asked.front or asked.period) and sized.without_time:
            lacking = sized.without_time[0]
            raise click.UsageError(f"--rate and --front need the time of each actor: --times {lacking}=1ms ...")
    findings = [*findings, *(surveyed.findings if surveyed else ())]
    checked = (application, *platforms, *mappings)
    shown = report(findings, system if sound else None, fmt, surveyed, sized, checked, system.touched, timed)
    write(output, shown, fmt)
    if asked.chart is not None and sized is not None:
        _draw(asked.chart, sized)
    if asked.apply is not None and sized is not None:
        _apply(asked.apply, system, sized)
    return _code(findings, unreadable, strict)


def _several(inputs: Inputs, rest: Inputs, fmt: str, output: str, strict: bool) -> int:
    """Check applications one after another, each by itself, and the other files as far as they go alone."""
    from eprune.analysis.check import check
    from eprune.cli.reading import read
    from eprune.formats.findings import as_data, render
    from eprune.model.finding import EpruneError, has_errors
    from eprune.views import application, touched
    from eprune.views.tables import counted, counts

    found: dict[Finding, None] = {}
    graphs: dict[str, Any] = {}
    reached: list[Touched] = []
    alone, unreadable = _read_alone(rest)
    for path in inputs.applications:
        graphs[path] = None
        try:
            system = read(path)
        except EpruneError as error:
            found.update(dict.fromkeys(error.findings))
            unreadable = True
            continue
        reached += system.touched
        own = check(system)
        found.update(dict.fromkeys(own))
        if not has_errors(own):
            graphs[path] = application.as_data(system)
    findings = [*found, *(finding for finding in alone if finding not in found)]
    checked = (*inputs.applications, *inputs.platforms, *inputs.mappings)
    if fmt == "text":
        text = render(findings, "text") + f"{counted(len(checked), 'file')}: {counts(findings)}\n"
    elif fmt == "json":
        files = touched.as_data(list(dict.fromkeys(reached)))
        data = {**as_data(findings), "files": files, "graph": None, "checked": list(checked), "graphs": graphs}
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    else:
        text = report(findings, None, fmt, checked=checked)
    write(output, text, fmt)
    return _code(findings, unreadable, strict)


def _read_alone(rest: Inputs) -> tuple[list[Finding], bool]:
    """What is wrong with platforms and mappings by themselves, and whether one cannot be read."""
    from eprune.analysis.mapping import addresses
    from eprune.formats.xml.mapping import read_mapping
    from eprune.formats.xml.platform import read_platform
    from eprune.model.finding import EpruneError

    findings: list[Finding] = []
    unreadable = False
    for path in (*rest.platforms, *rest.mappings):
        try:
            if path in rest.platforms:
                findings += addresses([read_platform(path)])
            else:
                read_mapping(path)
        except EpruneError as error:
            findings += error.findings
            unreadable = True
    return findings, unreadable


def _code(findings: Sequence[Finding], unreadable: bool, strict: bool) -> int:
    from eprune.model.finding import has_errors

    if unreadable:
        return USAGE
    return FINDINGS if has_errors(findings) or (strict and findings) else 0


def report(
    findings: Sequence[Finding],
    system: Optional[System],
    fmt: str,
    survey: Optional[Survey] = None,
    sized: Optional[Sizing] = None,
    checked: Sequence[str] = (),
    files: Sequence[Touched] = (),
    timed: Optional[Timing] = None,
) -> str:
    """Findings in one of the formats, with what there is to know of a sound ``system`` where the format has room.

    ``checked`` are the files that were. The ``files`` that the application touches are listed for a sound one, and
    where one is outside of its folder. What it survives (``survey``), its buffer sizes (``sized``) and what becomes of
    its requirements (``timed``) are there where that was asked.
    """
    from eprune.analysis.explain import explanation
    from eprune.analysis.rules import RULES
    from eprune.formats.findings import as_data, render
    from eprune.views import application, buffers, faults, touched
    from eprune.views import timing as timing_view
    from eprune.views.tables import counts

    if fmt == "text":
        text = render(findings, "text") + f"{counts(findings)}\n"
        if system is not None:
            text += f"\n{application.as_text(application.as_data(system))}"
        if system is not None or not all(file.inside for file in files):
            text += touched.as_text(files)
        if survey is not None:
            text += faults.as_text(survey)
        if timed is not None:
            text += f"\n{timing_view.as_text(timed)}"
        return text if sized is None else f"{text}\n{buffers.as_text(sized)}"
    if fmt == "json":
        listed = touched.as_data(files)
        data = {**as_data(findings), "files": listed, "graph": None if system is None else application.as_data(system)}
        if survey is not None:
            data["faults"] = survey.as_data()
        if timed is not None:
            data["timing"] = timed.as_data()
        if sized is not None:
            data["buffers"] = sized.as_data()
        return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    helps = {}
    if fmt == "sarif":
        for name in RULES:
            found = explanation(name)
            helps[name] = f"{found.why}\n\n{found.advice}"
    return render(findings, fmt, {name: rule.meaning for name, rule in RULES.items()}, helps, checked)


def _draw(path: str, sized: Sizing) -> None:
    """Draw the front."""
    from eprune.formats.atomic import write_file
    from eprune.views import buffers

    write_file(path, drawn(lambda: buffers.chart(sized, kind_of(path, "--chart"))))


def _apply(path: str, system: System, sized: Sizing) -> None:
    """Write the graph with the capacities that are chosen: see Sizing.chosen."""
    from pathlib import Path

    from eprune.formats.atomic import write_file
    from eprune.formats.system import reaches_outside
    from eprune.formats.xml.edit import rewrite
    from eprune.passes.relocate import relocated

    title, chosen = sized.chosen
    folder = "" if path == "-" else str(Path(path).parent)
    graph = chosen.applied(system.graph, sized.resources)
    write_file(path, rewrite(system.graph, relocated(graph, folder, interfaces=system.interfaces)))
    trust = "" if path == "-" or not reaches_outside(path) else "; read it with --allow-outside"
    say(f"{path}: capacities {title}{trust}")
