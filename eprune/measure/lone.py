"""How long a frame really takes: an application's own programs on this machine, one picture at a time."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from eprune.analysis.check import check
from eprune.deploy.build import write_programs
from eprune.deploy.options import link_options
from eprune.formats.behaviours import inspect
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.measure import latency
from eprune.measure.answers import ends
from eprune.measure.steady import run_to_the_end
from eprune.model.finding import EpruneError, Failure, errors
from eprune.model.graph import Actor
from eprune.model.system import System
from eprune.passes import feedback

#: Frames of a run, and seconds that it may take.
FRAMES, LIMIT = 100, 300.0


def lone_frames(
    system: System, tokens: Sequence[np.ndarray], interpreter: str = "auto", emulate: bool = False
) -> list[float]:
    """Seconds of each frame, from the picture to the news, where it was taken, that the result is there.

    The programs of all platforms run on this machine, with one picture in them at a time; the first one warms up. With
    ``emulate`` links and units are as slow as the platform files state. Raises WrongUsage or Failure, with a reason,
    for an application of which that cannot be asked, and EpruneError where it breaks a rule.
    """
    chosen = list(tokens[:FRAMES])
    chosen.append(chosen[0])
    sources, sinks = ends(system.graph)
    fixed = tuple(actor.name for actor in sinks)
    try:
        fed = _with_pictures(system, [actor.name for actor in sources])
        made, report = feedback.apply(fed, feedback.Options(len(chosen), fixed))
    except ValueError as error:
        raise Failure(f"one picture at a time cannot be run: {error}") from None
    interfaces, problems = inspect(made.graph)
    whole = replace(made, interfaces=interfaces, problems=tuple(problems))
    wrong = errors([*problems, *check(whole)])
    if wrong:
        raise EpruneError(*wrong, exit_code=1)
    course = latency.Course(report.figures["returns"], whole.homes, frozenset(report.figures["sinks"]))
    with tempfile.TemporaryDirectory(prefix="eprune-") as name:
        np.save(Path(name, "tokens.npy"), np.stack(chosen))
        traces = _run(whole, [actor.name for actor in sources], Path(name), len(chosen), interpreter, emulate)
    found = [each.latency / 1e3 for each in latency.frames(traces, course)]
    if not found:
        raise Failure("no picture came back but the first, which does not count")
    return found


def _with_pictures(system: System, sources: Sequence[str]) -> System:
    """Sources that read tokens from a file. Raises ValueError for one with several outputs."""
    reader = PythonBehaviour.of_library("npy_source.py:NpySource")

    def fed(actor: Actor) -> Actor:
        if actor.name not in sources:
            return actor
        if len(actor.outputs) != 1:
            raise ValueError(f"source {actor.name!r} has {len(actor.outputs)} outputs, of which pictures are one")
        return replace(actor, behaviour=reader, parameters=(("path", "tokens.npy"),))

    return replace(system, graph=replace(system.graph, actors=tuple(map(fed, system.graph.actors))))


def _run(
    system: System, sources: Sequence[str], folder: Path, frames: int, interpreter: str, emulate: bool
) -> Mapping[str, Any]:
    """The timelines of the platforms. Raises Failure with the programs' message."""
    programs = write_programs(system, str(folder))
    arguments = {}
    for platform, links in link_options(system).items():
        own = [f"--frames={frames}", f"--trace={folder / platform}.trace", f"--interpreter={interpreter}", *links]
        own += [f"--set={name}.path={folder / 'tokens.npy'}" for name in sources if system.homes[name] == platform]
        arguments[platform] = own + ["--emulate"] * emulate
    try:
        run_to_the_end(system, programs, arguments, tolerant=True, limit=LIMIT)
    except TimeoutError:
        raise Failure(f"the run was not done after {LIMIT:g} s") from None
    return {platform: json.loads(Path(f"{folder / platform}.trace").read_bytes()) for platform in programs}
