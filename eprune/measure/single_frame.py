"""``eprune profile --latency``: lone frames, whose result comes back to the endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eprune.measure import latency
from eprune.measure import remote as measure
from eprune.measure.points import Job, Kind, used
from eprune.views.tables import table

if TYPE_CHECKING:
    from eprune.explore.plan import Plan
    from eprune.explore.space import Alternative
    from eprune.model.platform import Platform
    from eprune.passes.feedback import Feedback

#: What takes the lines, beside the results of the steady streams.
LATENCIES = "latency.jsonl"


def lone(plan: Plan, folder: Path) -> Kind:
    """One frame at a time; the first one warms up, and does not count."""
    frames = plan.frames + 1

    @cache
    def given() -> tuple[Feedback, tuple[Platform, ...]]:
        return _read(plan, folder, frames)

    def job(alternative: Alternative) -> Job:
        fed, platforms = given()
        homes = homes_of(plan, alternative, fed)
        programs = {name: str(folder / alternative.name / f"{name}.latency.pyz") for name in used(plan, homes)}
        _write(plan, fed, platforms, homes, programs)
        crossing = [(homes[fifo.source.actor], homes[fifo.target.actor]) for fifo in fed.graph.fifos]
        return Job(programs, [(source, target) for source, target in crossing if source != target])

    def line(
        alternative: Alternative, records: Mapping[str, Any], traces: Mapping[str, Any], problem: str
    ) -> dict[str, Any]:
        told = measure.measurement(plan.id, alternative.name, records, problem)
        for name in ("frames_per_second", "bytes"):
            del told[name]
        if problem:
            return told
        fed, _ = given()
        homes = homes_of(plan, alternative, fed)
        found = latency.frames(traces, latency.Course(fed.returns, homes, frozenset(fed.sinks)))
        if not found:
            return {**told, "ok": False, "problem": "no frame came back but the first, which does not count"}
        return {**told, "frames": len(found), **latency.summary(found)}

    return Kind(folder / LATENCIES, job, line, frames, traced=True)


def lone_frames(plan: Plan, lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was measured of lone frames, as lines of text; none if nothing was."""
    fine = [each for each in plan.alternatives if lines.get(each.name, {}).get("ok")]
    failed = [f"  {name} failed with lone frames: {line['problem']}" for name, line in lines.items() if not line["ok"]]
    if not fine:
        return failed
    header, cells = latency.rows([lines[each.name] for each in fine], plan.roles.platforms)
    emulated = ["emulated" if measure.emulated(lines[each.name]) else "" for each in fine]
    rows = [(each.name, each.after, *row, label) for each, row, label in zip(fine, cells, emulated)]
    shown = table(("point", "cut", *header, ""), rows)
    count = min(lines[each.name]["frames"] for each in fine)
    return [f"Lone frames, from source to result and back to it, measured ({count} frames):", shown, *failed]


def homes_of(plan: Plan, alternative: Alternative, fed: Feedback) -> dict[str, str]:
    """Where each actor of the graph with feedback runs: the sinks, too, on the first source's platform, if they may."""
    homes = dict(alternative.homes)
    first = homes[next(iter(fed.returns))]
    if fed.spread:
        homes[fed.spread] = homes[fed.sinks[0]]
    homes.update((back, homes[source]) for source, back in fed.returns.items())
    for sink in fed.sinks:
        if first in plan.constraints.allowed(sink, plan.roles.platforms):
            homes[sink] = first
    return homes


def _read(plan: Plan, folder: Path, frames: int) -> tuple[Feedback, tuple[Platform, ...]]:
    from eprune.cli.inputs import read_inputs, sound
    from eprune.formats.behaviour import library_folder
    from eprune.formats.xml.platform import read_platform
    from eprune.model.graph import PythonBehaviour
    from eprune.passes.feedback import feedback

    if "-" in plan.files:
        raise click.UsageError("--latency needs the application's files, but the exploration read one from stdin")
    graph = sound(read_inputs(str(folder / plan.files[0]))).graph
    behaviour = PythonBehaviour("feedback.py", "Feedback", str(Path(library_folder(), "feedback.py")))
    try:
        fed = feedback(graph, behaviour, frames)
    except ValueError as error:
        raise click.ClickException(f"no latency of lone frames: {error}") from None
    return fed, tuple(read_platform(str(folder / file)) for file in plan.files[1:])


def _write(
    plan: Plan, fed: Feedback, platforms: tuple[Platform, ...], homes: Mapping[str, str], programs: Mapping[str, str]
) -> None:
    """Write an alternative's programs. Raises EpruneError where it breaks a rule."""
    from eprune.analysis.check import check
    from eprune.cli.inputs import Inputs
    from eprune.deploy.build import program_for, write_bundle
    from eprune.explore.space import mapping
    from eprune.formats.behaviour import inspect
    from eprune.model.finding import EpruneError, Severity

    interfaces, findings = inspect(fed.graph)
    names = [actor.name for actor in fed.graph.actors]
    there = tuple(platform for platform in platforms if platform.name in programs)
    mappings = tuple(mapping(plan.flow, platform, homes, names) for platform in there)
    findings += check(fed.graph, interfaces, there, mappings)
    wrong = [finding for finding in findings if finding.severity is Severity.ERROR]
    if wrong:
        raise EpruneError(*wrong)
    inputs = Inputs(fed.graph, interfaces, there, mappings, ())
    for each in mappings:
        write_bundle(program_for(inputs, each, True), programs[each.platform])
