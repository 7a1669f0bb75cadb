"""Single frames: one is in the application at a time, and its result comes back to where it was taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eprune.deploy.build import programs_of, write_bundle
from eprune.explore.plan import LATENCIES
from eprune.explore.space import place
from eprune.formats.system import read_system
from eprune.measure import latency, script
from eprune.measure.points import Job, Kind, used
from eprune.model.finding import EpruneError, Failure, WrongUsage, errors
from eprune.model.system import System
from eprune.passes import feedback, fork
from eprune.passes.base import Result

if TYPE_CHECKING:
    from eprune.explore.plan import Plan
    from eprune.explore.space import Alternative


def single_frames(plan: Plan, folder: Path, allow_outside: bool = False) -> Kind:
    """One frame at a time; the first one warms up, and does not count."""
    frames = plan.frames + 1

    @cache
    def system() -> System:
        return _read(plan, folder, allow_outside)

    def result_of(alternative: Alternative) -> Result:
        return returning(plan, system(), alternative, frames)

    def job(alternative: Alternative, into: Path) -> Job:
        made = result_of(alternative).system
        homes = fork.apply(made).system.homes
        programs = {name: str(into / f"{name}.pyz") for name in used(plan, homes)}
        _write(made, programs)
        crossing = [
            (homes[fifo.source.actor], homes[fifo.target.actor]) for fifo in fork.apply(made).system.graph.fifos
        ]
        return Job(programs, [(source, target) for source, target in crossing if source != target])

    def line(
        alternative: Alternative, records: Mapping[str, Any], traces: Mapping[str, Any], problem: str
    ) -> dict[str, Any]:
        measured = script.measurement(plan.id, alternative.name, records, problem)
        for name in ("frames_per_second", "bytes"):
            del measured[name]
        if problem:
            return measured
        made, report = result_of(alternative)
        course = latency.Course(report.figures["returns"], made.homes, frozenset(report.figures["sinks"]))
        found = latency.frames(traces, course)
        if not found:
            return {**measured, "ok": False, "problem": "no frame came back but the first, which does not count"}
        return {**measured, "frames": len(found), **asdict(latency.summary(found))}

    return Kind(folder / LATENCIES, job, line, frames, traced=True)


def returning(plan: Plan, system: System, alternative: Alternative, frames: int) -> Result:
    """An alternative whose results come back; its sinks are on the first source's platform where they may be.

    Raises Failure for an application whose results cannot come back.
    """
    placed = place(system, alternative.homes, plan.units)
    sources = [actor.name for actor in system.graph.actors if not actor.inputs]
    sinks = [actor.name for actor in system.graph.actors if actor.inputs and not actor.outputs]
    near = alternative.homes[sources[0]] if sources else ""
    fixed = tuple(sink for sink in sinks if near not in plan.constraints.allowed(sink, plan.roles.platforms))
    try:
        made, report = feedback.apply(placed, feedback.Options(frames, fixed))
        return Result(place(made, made.homes, plan.units), report)
    except ValueError as error:
        raise Failure(f"no latency of single frames: {error}") from None


def _read(plan: Plan, folder: Path, allow_outside: bool) -> System:
    from eprune.analysis.check import check

    if "-" in plan.files:
        raise WrongUsage("--latency needs the application's files, but the exploration read one from stdin")
    files = [str(folder / file) for file in plan.files]
    system = read_system(files[0], files[1:], allow_outside=allow_outside)
    wrong = errors([*system.problems, *check(System(system.graph))])
    if wrong:
        raise EpruneError(*wrong, exit_code=1)
    return system


def _write(system: System, programs: Mapping[str, str]) -> None:
    """Write an alternative's programs. Raises EpruneError where it breaks a rule."""
    from eprune.analysis.check import check
    from eprune.formats.behaviours import inspect

    interfaces, problems = inspect(system.graph)
    whole = System(system.graph, system.platforms, system.mappings, interfaces, problems=tuple(problems))
    wrong = errors(check(whole))
    if wrong:
        raise EpruneError(*wrong)
    for program in programs_of(whole):
        if program.platform in programs:  # the others run nothing
            write_bundle(program, programs[program.platform])
