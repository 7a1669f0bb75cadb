"""``eprune simulate``: what an application's FIFOs hold in a run, and where it stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import click

from eprune.cli import options
from eprune.cli.charts import drawn, kind_of
from eprune.cli.errors import FINDINGS, say_findings
from eprune.cli.printing import write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eprune.analysis.filling import Filling
    from eprune.analysis.simulate import Simulation
    from eprune.model.graph import Graph
    from eprune.model.system import System
    from eprune.views.gantt import Bar

#: Iterations where nothing says how many.
ITERATIONS = 10
#: Likewise in time: enough for percentiles.
TIMED_ITERATIONS = 200
#: In how many stretches the text shows a run.
STRETCHES = 16


@click.command("simulate", cls=options.Command, short_help="Simulate the firings and show what FIFOs hold.")
@options.application_argument
@options.model_option
@options.deployment_options(required=False)
@options.outside_option
@click.option(
    "--control",
    "controls",
    multiple=True,
    metavar="DPG=V,V,...",
    help="Control values of a dynamic processing graph, repeated as needed (default: drawn from its table).",
)
@click.option(
    "--iterations",
    type=click.IntRange(1),
    metavar="N",
    help=f"Firings of each actor, or iterations of a multi-rate graph (default: as many as the most control values, or "
    f"{ITERATIONS}).",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    help="Seed of the order of events, and of control values that are not given (default: 0).",
)
@click.option(
    "--time", "timed", is_flag=True, help="In time: how long firings and transfers take, and how old tokens get."
)
@click.option(
    "--times",
    multiple=True,
    metavar="ACTOR=TIME|FILE ...",
    help="With --time: firing times of actors, as for `eprune analyze`.",
)
@click.option(
    "--chances",
    multiple=True,
    metavar="DPG=V:P,...",
    help="With --time: control values of a dynamic processing graph are drawn with these probabilities.",
)
@click.option(
    "--gantt", metavar="FILE", help="With --time: draw the last iterations by unit and link: FILE.svg or .png."
)
@click.option("--trace", metavar="FILE", help="With --time: write the timeline as `eprune run --trace` does.")
@click.option(
    "--beside",
    "besides",
    multiple=True,
    metavar="TRACE ...",
    help="With --gantt: draw traces of `eprune run --trace` beside it, one of each platform.",
)
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="Output.")
@click.option("-o", "--output", metavar="FILE", default="-", help='Where to write; "-" is stdout (default).')
@click.option("--chart", metavar="FILE", help="Also draw what FIFOs hold over time: FILE.svg or FILE.png.")
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    controls: Sequence[str],
    iterations: Optional[int],
    seed: int,
    timed: bool,
    times: Sequence[str],
    chances: Sequence[str],
    gantt: Optional[str],
    trace: Optional[str],
    besides: Sequence[str],
    fmt: str,
    output: str,
    chart: Optional[str],
) -> int:
    """Simulate the firings of an application, event by event, and show what its FIFOs hold.

    A firing starts when its tokens and its room are there, and ends at any later time: the order of events is drawn at
    random, so time is counted in events. Behaviours are not run. Where newest or hold let actors fire at paces of their
    own, the seed decides what is dropped, and who has no more tokens has ended. Exit code: 0 all actors fired as often
    as asked, or ended, 1 a deadlock (with the actors that are stuck, and why) or a graph that breaks a rule.

    With --time, firings take the times of actors, on the units and over the links of -p and -m, and begin as soon as
    they can. It shows how old tokens are, whether requirements are met (exit code 1: not), and who is busy. Times with
    bounds are drawn between them.

    \b
    Examples:
      eprune simulate app.xml --control Deep=0,1,1,0 --iterations 20
      eprune simulate app.xml --seed 7 --chart fill.svg
      eprune simulate app.xml -p platforms -m mappings --time --times build/cuts/actors.json --gantt time.svg
    """
    import random

    from eprune.analysis.check import check
    from eprune.analysis.filling import Filling
    from eprune.analysis.simulate import simulate
    from eprune.formats.xml.application import read_application
    from eprune.model.finding import EpruneError, errors
    from eprune.model.system import System

    if timed:
        options.refuse(("chart",), "what FIFOs hold by event; --gantt draws time")
        return in_time(
            _Asked(application, platforms, mappings, controls, iterations, seed, times, chances, gantt, trace, besides),
            fmt,
            output,
        )
    options.refuse(
        ("platforms", "mappings", "times", "chances", "gantt", "trace", "besides", "allow_outside"),
        "it goes with --time",
    )
    if chart is not None and Path(chart).suffix not in (".svg", ".png"):
        raise click.BadParameter(f"{chart!r} ends in neither .svg nor .png", param_hint="--chart")
    graph = options.read_as_asked(read_application(application))
    findings = check(System(graph))
    if any(finding.rule != "C2" for finding in errors(findings)):
        raise EpruneError(*findings, exit_code=FINDINGS)
    if findings:
        say_findings(findings)
    given = _given(controls, graph)
    count = iterations or max(map(len, given.values()), default=ITERATIONS)
    draw = random.Random(seed)
    control = {
        dpg.name: given.get(dpg.name) or draw.choices([row.value for row in dpg.rows], k=count) for dpg in graph.dpgs
    }
    filling = Filling.of(graph)
    result = simulate(graph, count, draw, control, filling)
    if chart is not None:
        _draw(graph, filling, chart)
    data = run_data(graph, result, filling, control, count, seed)
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n" if fmt == "json" else _as_text(data, filling)
    write(output, text, fmt)
    return FINDINGS if result.deadlocked else 0


class _Asked(NamedTuple):
    """What is asked of a run in time."""

    application: str
    platforms: Sequence[str]
    mappings: Sequence[str]
    controls: Sequence[str]
    iterations: Optional[int]
    seed: int
    times: Sequence[str]
    chances: Sequence[str]
    gantt: Optional[str]
    trace: Optional[str]
    besides: Sequence[str]


def in_time(asked: _Asked, fmt: str, output: str) -> int:
    """Run a system in time, show what to expect, and draw it."""
    import random

    from eprune.analysis.expected import chosen_rows, expected
    from eprune.analysis.throughput import resources
    from eprune.cli.reading import read_sound
    from eprune.cli.times import read_times
    from eprune.formats.atomic import write_file
    from eprune.passes.fuse import clusters_of
    from eprune.views import expected as view
    from eprune.views import gantt

    kind_of(asked.gantt, "--gantt")
    if asked.besides and not asked.gantt:
        raise click.UsageError("--beside draws measured traces into --gantt: give it too")
    system = read_sound(asked.application, asked.platforms, asked.mappings)
    graph, times = system.graph, read_times(asked.times, system)
    lacking = [actor.name for actor in graph.actors if actor.name not in times.typical]
    if lacking:
        raise click.UsageError(f"--time needs the time of each actor: --times {lacking[0]}=1ms ...")
    given, odds = _given(asked.controls, graph), _chances(asked.chances, graph)
    twice = given.keys() & odds.keys()
    if twice:
        raise click.UsageError(f"--control and --chances are both given for {min(twice)}")
    count = asked.iterations or max(map(len, given.values()), default=TIMED_ITERATIONS)
    draw = random.Random(asked.seed)
    control = {
        dpg.name: given.get(dpg.name)
        or chosen_rows(odds.get(dpg.name) or {row.value: 1.0 for row in dpg.rows}, count, draw)
        for dpg in graph.dpgs
    }
    shared = resources(system, clusters_of(system))
    try:
        answer = expected(graph, times, shared, count, control, draw)
    except ValueError as error:
        raise click.UsageError(f"--time: {error}") from None
    head = {"application": graph.name, "iterations": count, "seed": asked.seed, "rows": _rows_taken(control)}
    named = {key: head[key] for key in ("application", "iterations", "seed")}
    data = {**named, "control": control, "time": answer.as_data()}
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n" if fmt == "json" else view.as_text(answer, head)
    write(output, text, fmt)
    if asked.trace is not None:
        write_file(asked.trace, gantt.trace(answer.run, "predicted"))
    if asked.gantt is not None:
        path = asked.gantt
        sources = [actor.name for actor in graph.actors if not actor.inputs]
        bars = gantt.last(gantt.predicted(answer.run), sources)
        beside = gantt.last(_measured(asked.besides, system), sources) if asked.besides else None
        title = f"{graph.name}: predicted{', and measured below' if beside else ''}"
        write_file(path, drawn(lambda: gantt.chart(title, bars, kind_of(path, "--gantt"), beside)))
    return 0 if all(each.met for each in answer.kept) else FINDINGS


def _measured(paths: Sequence[str], system: System) -> Sequence[Bar]:
    from eprune.formats.xml.safe import read_bytes
    from eprune.views import gantt

    traces = []
    for path in paths:
        try:
            traces.append(json.loads(read_bytes(path)))
            gantt.measured(traces[-1:], system)
        except (ValueError, RecursionError):
            raise click.BadParameter(f"{path} is no trace of eprune run --trace", param_hint="--beside") from None
    return gantt.measured(traces, system)


def _rows_taken(control: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Dynamic processing graph -> how often each row was taken, in words."""
    found = {}
    for name, values in control.items():
        counts = {value: values.count(value) for value in sorted(set(values))}
        found[name] = ", ".join(f"{value} in {100 * each / len(values):.4g} %" for value, each in counts.items())
    return found


def _chances(texts: Sequence[str], graph: Graph) -> dict[str, dict[int, float]]:
    """Dynamic processing graph -> control value -> its probability. Raises BadParameter."""
    tables = {dpg.name: [row.value for row in dpg.rows] for dpg in graph.dpgs}
    found: dict[str, dict[int, float]] = {}
    for text in texts:
        name, _, listed = text.partition("=")
        try:
            pairs = [each.split(":") for each in listed.split(",")]
            own = {int(value): float(chance) for value, chance in pairs}
        except ValueError:
            own = {}
        unknown = [value for value in own if value not in tables.get(name, ())]
        if name not in tables:
            known = f"there are {', '.join(tables)}" if tables else "there are none"
            message = f"{text!r}: there is no dynamic processing graph {name!r}; {known}"
        elif name in found:
            message = f"{name!r} is given twice"
        elif unknown:
            message = (
                f"{text!r}: the table of {name!r} has no row {unknown[0]}; it has {', '.join(map(str, tables[name]))}"
            )
        elif not own or not all(chance >= 0 for chance in own.values()) or abs(sum(own.values()) - 1) > 1e-6:
            message = f"{text!r} is not of the form DPG=V:P,V:P,... with probabilities that add up to 1"
        else:
            found[name] = own
            continue
        raise click.BadParameter(message, param_hint="--chances")
    return found


def _given(controls: Sequence[str], graph: Graph) -> dict[str, list[int]]:
    """The control values given for dynamic processing graphs. Raises BadParameter for such as have no meaning."""
    tables = {dpg.name: [row.value for row in dpg.rows] for dpg in graph.dpgs}
    given: dict[str, list[int]] = {}
    for text in controls:
        name, _, listed = text.partition("=")
        if name not in tables:
            known = f"there are {', '.join(tables)}" if tables else "there are none"
            message = f"{text!r}: there is no dynamic processing graph {name!r}; {known}"
        elif name in given:
            message = f"{name!r} is given twice"
        else:
            try:
                given[name] = [int(value) for value in listed.split(",")]
                unknown = [value for value in given[name] if value not in tables[name]]
                if not unknown:
                    continue
                rows = ", ".join(map(str, tables[name]))
                message = f"{text!r}: the table of {name!r} has no row {unknown[0]}; it has {rows}"
            except ValueError:
                message = f"{text!r} is not of the form DPG=V,V,..., for example {name}={tables[name][0]}"
        raise click.BadParameter(message, param_hint="--control")
    return given


def run_data(
    graph: Graph, result: Simulation, filling: Filling, control: Mapping[str, Sequence[int]], iterations: int, seed: int
) -> dict[str, Any]:
    """A run's results as plain data. ``fill``: (event, tokens from it on, reserved room included)."""
    return {
        "application": graph.name,
        "iterations": iterations,
        "seed": seed,
        "control": {name: list(values) for name, values in control.items()},
        "events": filling.events,
        "deadlock": result.deadlocked,
        "actors": [
            {"name": name, "firings": firings, "blocked": list(result.blocked.get(name, ()))}
            for name, firings in result.firings.items()
        ],
        "fifos": [
            {
                "name": fifo.name,
                "capacity": fifo.capacity,
                "peak": result.peak[fifo.name],
                "mean": round(filling.mean(fifo.name), 3),
                "tokens": result.passed[fifo.name],
                "dropped": result.dropped.get(fifo.name, 0),
                "fill": [list(step) for step in filling.steps[fifo.name]],
            }
            for fifo in graph.fifos
        ],
    }


def _as_text(data: dict[str, Any], filling: Filling) -> str:
    from eprune.views.tables import counted, table

    head = f"{data['application']}: {counted(data['iterations'], 'iteration')}, {counted(data['events'], 'event')}\n"
    for name, values in data["control"].items():
        shown = ", ".join(map(str, values[:24])) + (", ..." if len(values) > 24 else "")
        head += f"  {name}: {shown}\n"
    keys = ["name", "capacity", "peak", "mean", "tokens"]
    keys += ["dropped"] * any(fifo["dropped"] for fifo in data["fifos"])
    fifos = table(
        ("FIFO", *keys[1:], "held over time"),
        [
            (
                *(fifo[key] for key in keys),
                " ".join(map(str, filling.most(fifo["name"], STRETCHES))),
            )
            for fifo in data["fifos"]
        ],
    )
    actors = table(("actor", "firings"), [(actor["name"], actor["firings"]) for actor in data["actors"]])
    text = f"{head}\n{actors}\n{fifos}"
    stuck = [actor for actor in data["actors"] if actor["blocked"]]
    if stuck:
        rows = [(actor["name"], "; ".join(actor["blocked"])) for actor in stuck]
        text += f"\nDeadlock: nothing can happen any more.\n{table(('actor', 'cannot fire'), rows)}"
    return text


def _draw(graph: Graph, filling: Filling, path: str) -> None:
    from eprune.formats.atomic import write_file
    from eprune.views import steps

    strips = [steps.Strip(fifo.name, fifo.capacity, filling.steps[fifo.name]) for fifo in graph.fifos]
    title = f"{graph.name}: tokens in each FIFO, by event"
    if path.endswith(".svg"):
        write_file(path, steps.svg(title, strips, filling.events))
        return
    try:
        steps.png(title, strips, filling.events, path)
    except ImportError:
        message = "a PNG file needs matplotlib"
        raise click.UsageError(f"{message}: pip install 'eprune[plot]', or draw {path[:-4]}.svg") from None
