"""The library's face: what notebooks and scripts use. Everything here is reached as ``eprune.NAME``.

Each function works on a ``System`` and gives plain results that draw themselves in a notebook. The command line does
not use this module; both stand on the same rooms.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional, Union

from eprune.model import system as model
from eprune.model.finding import EpruneError, Failure, Finding, WrongUsage, has_errors

if TYPE_CHECKING:
    import numpy as np

    from eprune.explore.answer import PointRow
    from eprune.explore.cost import Costs
    from eprune.explore.flow import Flow
    from eprune.explore.space import Constraints, Roles
    from eprune.measure.evaluate import Evaluation
    from eprune.measure.summary import LinkSummary, PlatformSummary, RunSummary

PathLike = Union[str, "os.PathLike[str]"]


class System(model.System):
    """An application on its platforms. In a notebook it draws itself; every pass and question is a method of it."""

    @classmethod
    def of(cls, system: model.System) -> System:
        """The same system with these methods."""
        if isinstance(system, cls):
            return system
        return cls(**{each.name: getattr(system, each.name) for each in fields(model.System)})

    def check(self) -> Findings:
        """What the analyzer finds; empty is good."""
        from eprune.analysis.check import check

        return Findings(check(self))

    def apply(self, name: str, **options: Any) -> System:
        """The system after a pass, such as ``app.apply("resize", aim="live")``.

        Raises ValueError for what the pass cannot do, and for a pass or an option that does not exist or is missing.
        """
        from eprune.passes.base import find, options_of, settled

        return System.of(settled(find(name).apply(self, options_of(name, options)).system))

    def run(self, **options: Any) -> Run:
        """Run it on this machine: see ``eprune.run``."""
        return run(self, **options)

    def cuts(self, **options: Any) -> Cuts:
        """Its cuts: see ``eprune.cuts``."""
        return cuts(self, **options)

    def evaluate(self, data: PathLike, **options: Any) -> Evaluation:
        """How good it is on the pictures at ``data``, and what a frame costs: see ``measure.evaluate.evaluate``."""
        from eprune.measure.data import read_data
        from eprune.measure.evaluate import evaluate

        return evaluate(self, read_data(os.fspath(data)), **options)

    def save(self, folder: PathLike) -> str:
        """Write it to a folder, with platforms and mappings; the path of its application file."""
        from eprune.formats.system import write_system
        from eprune.passes import relocate

        moved = relocate.apply(self, relocate.Options(os.fspath(folder))).system
        return write_system(moved, os.fspath(folder)).application

    def svg(self) -> str:
        """The graph as SVG, actors coloured by platform. Raises Failure where Graphviz is not installed."""
        from eprune.formats.dot import layout, write_dot

        return layout(write_dot(self.graph, self.homes), "svg").decode()

    def _repr_html_(self) -> str:
        try:
            svg = self.svg()
            return svg[svg.index("<svg") :]  # without what comes before the root element of a file
        except Failure:
            from eprune.views.application import as_data, as_text

            return f"<pre>{escape(as_text(as_data(self)))}</pre>"

    def __repr__(self) -> str:
        platforms = ", ".join(platform.name for platform in self.platforms)
        on = f" on {platforms}" if platforms else ""
        return f"<System {self.graph.name}: {len(self.graph.actors)} actors, {len(self.graph.fifos)} FIFOs{on}>"


class Findings(Sequence[Finding]):
    """What is wrong with a system, a table in a notebook. Empty, and so false, is good."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self._findings = tuple(findings)

    def __getitem__(self, index: Any) -> Any:
        return self._findings[index]

    def __len__(self) -> int:
        return len(self._findings)

    def __repr__(self) -> str:
        from eprune.formats.findings import render

        return render(list(self._findings), "text").rstrip("\n") or "no findings"

    def _repr_html_(self) -> str:
        rows = [(each.rule, each.severity.value, str(each.where), each.message, each.hint) for each in self._findings]
        return _html(("rule", "severity", "where", "what is wrong", "what to do"), rows) if rows else "no findings"


def load(
    application: PathLike,
    platforms: Union[PathLike, Sequence[PathLike]] = (),
    mappings: Union[PathLike, Sequence[PathLike]] = (),
    allow_outside: bool = False,
    model: Optional[str] = None,
) -> System:
    """The system of an application file with its platform and mapping files, or folders of them.

    ``allow_outside`` trusts the application with files outside of its folder (rule S1). ``model`` is how token rates
    are read, by default as the application says: "sdf" for a graph in which each end of a FIFO has a rate of its own.

    Of a folder of platforms, those count that a mapping is for, if there are mappings. Raises EpruneError with all
    findings where a file cannot be read.
    """
    from eprune.analysis.check import check
    from eprune.formats.system import files_in, read_system
    from eprune.model.graph import Computation

    platform_files, mapping_files = files_in(_listed(platforms), "platform"), files_in(_listed(mappings), "mapping")
    read_as = None if model is None else Computation(model)
    system = read_system(os.fspath(application), platform_files, mapping_files, check, allow_outside, read_as)
    wanted = {mapping.platform for mapping in system.mappings}
    if wanted and any(Path(path).is_dir() for path in _listed(platforms)):
        chosen = tuple(platform for platform in system.platforms if platform.name in wanted)
        system = replace(system, platforms=chosen)
    return System.of(system)


@dataclass(frozen=True)
class Run:
    """A run of a system on this machine.

    ``links`` maps (source, target) platforms to the bytes between them, ``sinks`` sinks to what they took: an array of
    shape (frames, *token shape), or a dict of them by input port where a sink has several. ``lines`` is what actors
    printed, ``records`` each platform's run record.
    """

    summary: RunSummary
    sinks: Mapping[str, Union[np.ndarray, Mapping[str, np.ndarray]]]
    lines: tuple[str, ...]
    records: Mapping[str, Mapping[str, Any]] = field(repr=False)

    @property
    def frames(self) -> int:
        """How many frames every sink has taken."""
        return self.summary.frames

    @property
    def seconds(self) -> float:
        """From the first firing to the end of the last one."""
        return self.summary.seconds

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, assumed or cut short, as the programs noted it; a run prints it on stderr as well."""
        return self.summary.notes

    @property
    def frames_per_second(self) -> Optional[float]:
        """Frames per second, None for a run without a frame."""
        return self.summary.frames_per_second

    @property
    def platforms(self) -> Mapping[str, PlatformSummary]:
        """Each platform's part."""
        return self.summary.platforms

    @property
    def links(self) -> Mapping[tuple[str, str], LinkSummary]:
        """(source, target) -> what went over that link; nothing over those that are not listed."""
        return _Links({(link.source, link.target): link for link in self.summary.links})

    @property
    def results(self) -> list[Any]:
        """The lines that actors printed as JSON."""
        found = []
        for line in self.lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def __repr__(self) -> str:
        from eprune.views.summary import text

        return text(self.summary)

    def _repr_html_(self) -> str:
        return f"<pre>{escape(repr(self))}</pre>"


class _Links(dict[tuple[str, str], "LinkSummary"]):
    def __missing__(self, pair: tuple[str, str]) -> LinkSummary:
        from eprune.measure.summary import LinkSummary as LinkSummary_

        return LinkSummary_(*pair, bytes=0, bytes_per_frame=0.0)


def run(
    system: model.System,
    frames: Optional[int] = None,
    emulate: bool = False,
    settings: Optional[Mapping[str, Any]] = None,
    interpreter: str = "auto",
    timeout: Optional[float] = None,
) -> Run:
    """Run all platforms of a system on this machine, one process each, until its sources end.

    ``frames`` ends sources after so many; ``settings`` are parameters, ``{"Input.path": "photos"}``; with ``emulate``
    links and units are as slow as the platform files state; ``timeout`` is how many seconds programs wait for each
    other. Raises EpruneError for a system that breaks a rule, WrongUsage for settings that make no sense, and Failure,
    with the programs' messages, for a run that fails.
    """
    from eprune.analysis.check import check
    from eprune.deploy.build import write_programs
    from eprune.deploy.local import launch
    from eprune.deploy.options import certificates, check_complete, link_options, placed_settings, secured
    from eprune.measure.summary import summarize
    from eprune.model.platform import Security
    from eprune.passes import tap

    findings = check(system)
    if has_errors(findings):
        raise EpruneError(*findings, exit_code=1)
    check_complete(system)
    with tempfile.TemporaryDirectory(prefix="eprune-") as folder, tempfile.TemporaryFile() as stdout:
        tapped, report = tap.apply(system, tap.Options(str(Path(folder, "sinks"))))
        programs = write_programs(tapped, folder)
        common = [f"--frames={frames}"] * bool(frames) + ["--emulate"] * emulate
        common += [f"--interpreter={interpreter}"] * (interpreter != "auto") + [f"--timeout={timeout}"] * bool(timeout)
        arguments = {platform: [*common, *own] for platform, own in link_options(tapped).items()}
        given = [f"{name}={value}" for name, value in (settings or {}).items()]
        for platform, setting in placed_settings(system, given):
            arguments[platform].append(f"--set={setting}")
        messages: list[str] = []
        with certificates(list(programs), needed=secured(system, Security.TLS)):
            outcome = launch(
                programs, arguments, on_message=messages.append, stdout=stdout.fileno(), tolerant=system.tolerant
            )
        if outcome.exit_code == 130:
            raise KeyboardInterrupt
        if outcome.exit_code:
            raise Failure("\n".join(messages) or f"exit code {outcome.exit_code}", outcome.exit_code)
        stdout.seek(0)
        lines = tuple(stdout.read().decode("utf-8", "replace").splitlines())
        summary = summarize(system.graph.name, outcome.records)
        left_out = [
            f"{end} is not in sinks: its rate varies, or it may be missing" for end in report.figures["left_out"]
        ]
        summary = replace(summary, notes=(*summary.notes, *left_out))
        for note in summary.notes:
            print(f"note: {note}", file=sys.stderr)
        return Run(summary, _sinks(report.figures["files"]), lines, outcome.records)


def _sinks(files: Mapping[str, str]) -> dict[str, Any]:
    """Sink -> its array, or its arrays by port."""
    import numpy as np

    found: dict[str, dict[str, Any]] = {}
    for end, path in files.items():
        sink, _, port = end.partition(".")
        found.setdefault(sink, {})[port] = np.load(path, allow_pickle=False)
    return {sink: ports if len(ports) > 1 else next(iter(ports.values())) for sink, ports in found.items()}


@dataclass(frozen=True)
class Cuts:
    """The cuts of an application between its platforms, ready to be predicted and ranked.

    Without ``costs`` (see ``predict``) only the bytes of a cut are known.
    """

    system: System
    roles: Roles
    flow: Flow = field(repr=False)
    costs: Optional[Costs] = field(default=None, repr=False)

    def predict(
        self, times: Optional[Mapping[str, Mapping[str, float]]] = None, interpreter: Optional[str] = None
    ) -> Cuts:
        """The same cuts with predictions.

        ``times``: platform -> actor -> seconds per firing; by default the actors are timed now, on this machine, once
        for each unit of each platform: an actor is to be on that which takes the least time for it. Raises Failure
        where they cannot be timed.
        """
        from eprune.explore.cost import Costs as Costs_
        from eprune.explore.plan import link_figures, power

        rates: dict[str, float] = {}
        units: dict[str, dict[str, str]] = {}
        if times is None:
            times, rates, units = self._timed(interpreter)
        links = link_figures(self.system.platforms)
        costs = Costs_(times, links, power(self.system.platforms), rates=rates, units=units)
        return replace(self, costs=costs)

    def _timed(
        self, interpreter: Optional[str]
    ) -> tuple[dict[str, dict[str, float]], dict[str, float], dict[str, dict[str, str]]]:
        from eprune.measure.timing import time_platform

        times: dict[str, dict[str, float]] = {}
        rates: dict[str, float] = {}
        units: dict[str, dict[str, str]] = {}
        with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
            bare = System.of(replace(self.system, platforms=(), mappings=()))
            application = bare.save(folder)
            for name in self.roles.platforms:
                platform = self.system.platform(name)
                assert platform is not None  # the roles are those of the system's platforms
                try:
                    timed = time_platform(application, platform, interpreter)
                except RuntimeError as error:
                    raise Failure(f"the actors cannot be timed: {error}") from None
                times[name] = timed["actors"]
                rates.update({fifo: float(rate) for fifo, rate in timed["rates"].items()})
                if "fastest" in timed:
                    units[name] = timed["fastest"]
        return times, rates, units

    def rows(self, **constraints: Any) -> tuple[PointRow, ...]:
        """The partition points with their figures; ``constraints`` as for ``best``. Raises WrongUsage."""
        from eprune.explore.answer import point_rows
        from eprune.explore.space import AmbiguousSources, partition_points

        limits = _constraints(self, constraints)
        try:
            space = partition_points(self.flow, self.roles, limits)
        except AmbiguousSources as error:
            raise WrongUsage(f"{error} say keep_on=[({self.roles.endpoints[0]!r}, {error.sources[0]!r})]") from None
        return point_rows(self.flow, self.roles, space.alternatives, self.costs, limits.required)

    def best(self, objective: str = "endpoint", **constraints: Any) -> System:
        """The system at its best cut: best at endpoint, latency, throughput, bytes or energy, or at weights of them.

        ``constraints``: ``private_until="L2"``, ``max_bytes=65536``, ``keep_on=[("endpoint", "Sink")]``, ``not_on``,
        ``must_use``, ``must_not_use``, and ``required="rate=30/s,latency=100ms"``, which by default is what the
        application requires ("": nothing). Of all cuts where scipy is installed, else of the partition points. Raises
        WrongUsage where the objective needs predictions, and Failure where no cut is allowed.
        """
        from eprune.explore.answer import best_cut
        from eprune.explore.space import place

        if self.costs is None and objective != "bytes":
            raise WrongUsage(f"{objective!r} needs predictions: cuts.predict() first")
        limits = _constraints(self, constraints)
        if self.costs is None and limits.required:
            raise WrongUsage(f'{limits.required}: that needs predictions: cuts.predict() first, or required=""')
        homes = best_cut(self.flow, self.roles, limits, self.costs, objective, self.rows(**constraints))
        if homes is None:
            required = f" that meets what is required, {limits.required}" if limits.required else ""
            raise Failure(f"no cut is allowed by these constraints{required}")
        return System.of(place(self.system, homes, self.costs.units if self.costs else {}))

    def _table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        header = ("point", "cut", "bytes/frame", "endpoint ms", "server ms", "latency ms", "frames/s")
        rows: list[tuple[str, ...]] = []
        for row in self.rows():
            found = row.predicted
            figures: tuple[str, ...] = ("", "", "", "")
            if found is not None:
                rate = f"{1 / found.period:.1f}" if found.period else ""
                times = (found.endpoint, found.server, found.latency)
                figures = (*(f"{1e3 * time:.3f}" for time in times), rate)
            rows.append((row.alternative.name, row.alternative.after, str(row.nbytes), *figures))
        return header, rows

    def __iter__(self) -> Iterator[PointRow]:
        return iter(self.rows())

    def __repr__(self) -> str:
        from eprune.views.tables import table

        return table(*self._table()).rstrip("\n")

    def _repr_html_(self) -> str:
        return _html(*self._table())


def cuts(
    system: model.System,
    endpoint: Union[str, Sequence[str]] = "endpoint",
    server: str = "server",
    edge: Union[str, Sequence[str]] = (),
) -> Cuts:
    """The cuts of a system between endpoints, an edge in between if there is one, and a server.

    The system's platforms must be there, its mappings are not needed. Raises WrongUsage for a platform that is not.
    """
    from eprune.explore.flow import flow
    from eprune.explore.space import Roles as Roles_

    endpoints = (endpoint,) if isinstance(endpoint, str) else tuple(endpoint)
    edges = (edge,) if isinstance(edge, str) else tuple(edge)
    known = [platform.name for platform in system.platforms]
    for name in (*endpoints, *edges, server):
        if name not in known:
            raise WrongUsage(f"there is no platform {name!r}; there are {', '.join(known) or 'none'}")
    return Cuts(System.of(system), Roles_(endpoints, server, edges), flow(system.graph, system.interfaces))


def _constraints(made: Cuts, given: Mapping[str, Any]) -> Constraints:
    from eprune.explore.required import ANYTHING, parse_required, required_of
    from eprune.explore.space import Constraints as Constraints_

    known = [each.name for each in fields(Constraints_)]
    wrong = [name for name in given if name not in known]
    if wrong:
        raise WrongUsage(f"there is no constraint {wrong[0]!r}; there are {', '.join(known)}")
    listed: dict[str, Any] = {
        name: (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else value
        for name, value in given.items()
    }
    actors, platforms = set(made.flow.actors), set(made.roles.platforms)
    pairs = [pair for name in ("keep_on", "not_on") for pair in listed.get(name, ())]
    for actor in (*listed.get("private_until", ()), *(actor for _, actor in pairs)):
        if actor not in actors:
            raise WrongUsage(f"there is no actor {actor!r}; there are {', '.join(made.flow.actors)}")
    used = (*listed.get("must_use", ()), *listed.get("must_not_use", ()))
    for platform in (*used, *(platform for platform, _ in pairs)):
        if platform not in platforms:
            raise WrongUsage(f"there is no platform {platform!r}; there are {', '.join(made.roles.platforms)}")
    try:
        text = given.get("required")
        required = required_of(made.system.graph) if text is None else parse_required(text) if text else ANYTHING
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    return Constraints_(**{**listed, "required": required})


def _listed(paths: Union[PathLike, Sequence[PathLike]]) -> list[str]:
    if isinstance(paths, (str, os.PathLike)):
        return [os.fspath(paths)]
    return [os.fspath(path) for path in paths]


def _html(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
