"""The runs of a sweep: programs made once, run with other parameters each time; what fails is recorded."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Callable, Optional

from eprune.deploy.build import Writer, programs_of
from eprune.deploy.local import launch
from eprune.deploy.options import link_options, placed_settings
from eprune.explore import sweep
from eprune.explore.sweep import Point, SweepFrame
from eprune.measure.data import Data
from eprune.measure.evaluate import evaluate
from eprune.measure.progress import SILENT, Progress
from eprune.measure.script import append
from eprune.measure.summary import summarize
from eprune.model.exit_codes import INTERRUPTED
from eprune.model.system import System

#: The fields of a point that are mappings.
_MAPPINGS = ("values", "metrics", "shares", "links", "busy")
#: Characters of a sink's line that are looked at.
MAX_LINE = 2**16


#: Values of parameters -> metrics.
Judge = Callable[[Mapping[str, str]], Mapping[str, float]]


def on_data(
    system: System, settings: Sequence[str], data: Data, frames: Optional[int] = None, interpreter: str = "auto"
) -> Judge:
    """What values of parameters make of the test part of pictures: ``accuracy``, or ``agreement`` with the whole model.

    See ``measure.evaluate``, of which the judge raises the same.
    """
    fixed = dict(setting.split("=", 1) for setting in settings)

    def judge(values: Mapping[str, str]) -> dict[str, float]:
        given = {**fixed, **values}
        actors = tuple(
            replace(actor, parameters=tuple({**dict(actor.parameters), **_of(actor.name, given)}.items()))
            for actor in system.graph.actors
        )
        made = replace(system, graph=replace(system.graph, actors=actors))
        found = evaluate(made, data, frames=frames, interpreter=interpreter)
        return {found.measure: round(found.share.value, 6)}

    return judge


def _of(actor: str, values: Mapping[str, str]) -> dict[str, str]:
    """The parameters of an actor among ``ACTOR.PARAM``."""
    return {name[len(actor) + 1 :]: value for name, value in values.items() if name.startswith(f"{actor}.")}


class Trials:
    """Runs of one application in one deployment.

    ``common`` are options of all programs, ``settings`` parameters that do not change, ``limit`` the seconds that a run
    has. With ``results`` each run is a line there, and one that is there already, and went well, is not run again.
    ``progress`` makes what shows how far so many runs are. ``judge`` has further metrics of values (``on_data``), by
    what ``judged_by`` says.
    """

    def __init__(
        self,
        system: System,
        folder: Path,
        fuse: bool,
        common: Sequence[str],
        settings: Sequence[str],
        limit: float,
        results: Optional[str],
        progress: Callable[[int], Progress] = lambda total: SILENT,
        judge: Optional[Judge] = None,
        judged_by: str = "",
    ) -> None:
        self.results, self._judge = results, judge
        #: lines of the results that cannot be read, and were passed over
        self.torn = 0
        if results:
            Path(results).open("ab").close()  # fail now, and not after the first run, if it cannot be written
        self._system, self._limit, self._progress = system, limit, progress
        #: parameters whose values are edges of bins -> all of them
        self._edges: dict[str, list[float]] = {}
        self._homes = system.homes
        self._programs = {mapping.platform: str(folder / f"{mapping.platform}.py") for mapping in system.mappings}
        identity = [*common, *settings, str(fuse), *([judged_by] if judged_by else [])]
        writer = Writer()
        for program in programs_of(system, fuse):
            identity.append(program.digest)
            writer.program(program, self._programs[program.platform])
        if "--emulate" in common:
            identity += [
                f"{[(unit.name, unit.slowdown) for unit in platform.units]} "
                f"{[(link.to, link.bandwidth, link.latency) for link in platform.links]}"
                for platform in system.platforms
            ]
        self.id = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
        self._arguments = {platform: list(common) for platform in self._programs}
        for platform, setting in placed_settings(system, settings):
            self._arguments[platform].append(f"--set={setting}")

    def bins(self, name: str, count: int) -> list[str]:
        """Values that divide the frames evenly by the confidence that a sink reports. Raises ValueError."""
        progress = self._progress(1)
        point, frames = self._run({}, progress)
        if point.problem:
            raise ValueError(f"{name}: the run for {count} bins failed: {point.problem}")
        if not frames:
            raise ValueError(
                f'{name}: bins need lines like {{"frame": 0, "confidence": 0.9}} from a sink, and there are none'
            )
        edges = sweep.bin_edges([frame.confidence for frame in frames], count)
        self._edges[name] = [float(edge) for edge in edges]
        self.id = hashlib.sha256(f"{self.id} {name} {edges}".encode()).hexdigest()[:16]
        return edges

    def all(self, combinations: Sequence[Mapping[str, str]]) -> Iterator[Point]:
        """Run each combination of values that has no result yet. Raises OSError."""
        known = self._known()
        waiting = [values for values in combinations if tuple(values.items()) not in known]
        progress = self._progress(len(waiting))
        for values in combinations:
            point = known.get(tuple(values.items()))
            if point is None:
                point, frames = self._run(values, progress)
                point = self._judged(point, frames)
                if self._judge is not None and not point.problem:
                    point = replace(point, metrics={**point.metrics, **self._judge(values)})
                if self.results:
                    append(Path(self.results), {"sweep": self.id, **asdict(point)})
            yield point

    def _judged(self, point: Point, frames: Sequence[SweepFrame]) -> Point:
        """The run with the accuracy of the worst bin that leaves, where one parameter's values are bins."""
        if point.problem or len(self._edges) != 1:
            return point
        ((names, edges),) = self._edges.items()
        least = sweep.least_accurate_bin(frames, edges, float(point.values[names.partition(",")[0]]))
        if least is None:
            return point
        return replace(point, metrics={**point.metrics, "bin_accuracy": round(least, 6)})

    def _known(self) -> dict[tuple[tuple[str, str], ...], Point]:
        """Runs of the same application and options that went well; what is torn or foreign is passed over."""
        known = {}
        if self.results and Path(self.results).exists():
            for text in Path(self.results).read_bytes().splitlines():
                try:
                    line = json.loads(text)
                    whole = all(isinstance(line[name], dict) for name in _MAPPINGS)
                    if line.pop("sweep") == self.id and not line["problem"] and whole:
                        known[tuple(line["values"].items())] = Point(**line)
                except (ValueError, TypeError, KeyError, AttributeError):
                    self.torn += 1
        return known

    def _run(self, values: Mapping[str, str], progress: Progress) -> tuple[Point, list[SweepFrame]]:
        """One run: its point, and what a sink reported of each frame."""
        blank = Point(dict(values))
        links = link_options(self._system)
        arguments = {platform: [*own, *links[platform]] for platform, own in self._arguments.items()}
        for name, value in values.items():
            home = self._homes[name.partition(".")[0]]
            arguments[home].append(f"--set={name}={value}")
        messages: list[str] = []

        def on_status(status: Mapping[str, Any]) -> None:
            progress.update(min(status["firings"].values(), default=0))

        progress.begin(blank.title or "to see how confident it is")
        with tempfile.TemporaryFile() as stream:
            try:
                output = stream.fileno()
                tolerant, limit = self._system.tolerant, self._limit
                outcome = launch(
                    self._programs, arguments, on_status, messages.append, stdout=output, tolerant=tolerant, limit=limit
                )
            except TimeoutError:
                return replace(blank, problem=f"not done after {self._limit:g} s"), []
            finally:
                progress.clear()
            stream.seek(0)
            notes: list[str] = []
            metrics, frames = sweep.of_lines(_json(stream, notes))
        if outcome.exit_code == INTERRUPTED:
            raise KeyboardInterrupt
        if outcome.exit_code:
            errors = [message for message in messages if "error:" in message] or messages
            return replace(blank, problem=(errors or [f"exit code {outcome.exit_code}"])[0]), []
        return self._point(replace(blank, metrics=metrics, notes=notes), outcome.records), frames

    def _point(self, blank: Point, records: Mapping[str, Mapping[str, Any]]) -> Point:
        graph = self._system.graph
        summary = summarize(graph.name, records)
        rate = summary.frames_per_second
        actors = {name: actor for record in records.values() for name, actor in record["actors"].items()}
        shares = {}
        for dpg in graph.dpgs:
            modes = actors[dpg.control]["modes"]
            total = max(sum(modes.values()), 1)
            shares[dpg.name] = {row: firings / total for row, firings in modes.items()}
        return replace(
            blank,
            shares=shares,
            links={f"{each.source} -> {each.target}": each.bytes_per_frame or 0.0 for each in summary.links},
            ms=1e3 / rate if rate else None,
            busy={name: each.ms_per_frame for name, each in summary.platforms.items()},
            frames=summary.frames,
            emulated=summary.emulated,
            notes=(*blank.notes, *summary.notes),
        )


def _json(stream: Iterable[bytes], notes: list[str]) -> Iterator[Any]:
    """The lines that are JSON; ``notes`` gets a sentence if there are too long ones."""
    for line in stream:
        if len(line) > MAX_LINE and not notes:
            notes.append(f"lines of more than {MAX_LINE} characters, which actors printed, were not looked at")
        if line[:1] == b"{" and len(line) <= MAX_LINE:
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                continue
