"""``eprune simulate``: what an application's FIFOs hold in a run, and where it stops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS, say_findings
from eprune.cli.printing import write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eprune.analysis.filling import Filling
    from eprune.analysis.simulate import Simulation
    from eprune.model.graph import Graph

#: Iterations where nothing says how many.
ITERATIONS = 10
#: In how many stretches the text shows a run.
STRETCHES = 16


@click.command("simulate", cls=options.Command, short_help="Simulate the firings and show what FIFOs hold.")
@options.application_argument
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
    help=f"Firings of each actor (default: as many as the most control values, or {ITERATIONS}).",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    help="Seed of the order of events, and of control values that are not given (default: 0).",
)
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="Output.")
@click.option("-o", "--output", metavar="FILE", default="-", help='Where to write; "-" is stdout (default).')
@click.option("--chart", metavar="FILE", help="Also draw what FIFOs hold over time: FILE.svg or FILE.png.")
def command(
    application: str,
    controls: Sequence[str],
    iterations: Optional[int],
    seed: int,
    fmt: str,
    output: str,
    chart: Optional[str],
) -> int:
    """Simulate the firings of an application, event by event, and show what its FIFOs hold.

    A firing starts when its tokens and its room are there, and ends at any later time: the order of events is drawn at
    random, so time is counted in events. Behaviours are not run. Where newest or hold let actors fire at paces of their
    own, the seed decides what is dropped, and who has no more tokens has ended. Exit code: 0 all actors fired as often
    as asked, or ended, 1 a deadlock (with the actors that are stuck, and why) or a graph that breaks a rule.

    \b
    Examples:
      eprune simulate app.xml --control Deep=0,1,1,0 --iterations 20
      eprune simulate app.xml --seed 7 --chart fill.svg
    """
    import random

    from eprune.analysis.check import check
    from eprune.analysis.filling import Filling
    from eprune.analysis.simulate import simulate
    from eprune.formats.xml.application import read_application
    from eprune.model.finding import EpruneError, errors
    from eprune.model.system import System

    if chart is not None and Path(chart).suffix not in (".svg", ".png"):
        raise click.BadParameter(f"{chart!r} ends in neither .svg nor .png", param_hint="--chart")
    graph = read_application(application)
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
