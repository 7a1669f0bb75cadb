"""Measuring alternatives one after the other, both sides of each: what fails is recorded, and the next one runs."""

from __future__ import annotations

import contextlib
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from eprune.deploy import ssh
from eprune.deploy.ssh import Device
from eprune.explore.plan import RESULTS
from eprune.formats.atomic import write_file
from eprune.measure import script
from eprune.measure.progress import SILENT, Progress
from eprune.model.exit_codes import FINDINGS, INTERRUPTED, PORT_TAKEN, UNREACHED, USAGE
from eprune.model.finding import Failure, WrongUsage

if TYPE_CHECKING:
    from eprune.deploy.local import RunOutcome
    from eprune.explore.plan import Plan
    from eprune.explore.space import Alternative

#: How often other ports are tried where those of a tunnel are taken.
TRIES = 4


@dataclass(frozen=True)
class Job:
    """What one alternative runs: platform -> file, and (source, target) of each FIFO between platforms, in order."""

    programs: Mapping[str, str]
    crossing: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Kind:
    """What is measured of an alternative. ``results`` is the file that takes the lines.

    ``job`` prepares an alternative, whose programs it writes into a folder; ``line`` makes its line of records, traces
    (if ``traced``) and the problem, if any. ``warm_up`` frames come before the ``frames`` that are measured.
    """

    results: Path
    job: Callable[[Alternative, Path], Job]
    line: Callable[[Alternative, Mapping[str, Any], Mapping[str, Any], str], dict[str, Any]]
    frames: int
    warm_up: int = 0
    traced: bool = False


@dataclass(frozen=True)
class Setting:
    """How to run: options for all programs, seconds for each alternative, platforms that are real devices.

    With ``emulate`` links and units are as slow as the platform files state. ``folder`` is the application's, to which
    the files that its parameters name are relative.
    """

    arguments: Sequence[str] = ()
    limit: float = 600.0
    devices: Mapping[str, Device] = field(default_factory=dict)
    emulate: bool = False
    folder: Optional[str] = None


class Stopped(Exception):
    """The measuring cannot go on; ``code`` is the exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def names_to_measure(
    plan: Plan, results: Path, points: Sequence[str], retry: bool, again: bool, emulate: bool
) -> list[str]:
    """The alternatives to measure now. Raises WrongUsage for one that does not exist."""
    names = [alternative.name for alternative in plan.alternatives]
    for point in points:
        if point not in names:
            why = f": {plan.excluded[point]}" if point in plan.excluded else f"; there are {', '.join(names)}"
            raise WrongUsage(f"there is no {plan.point} {point!r}{why}", "--point")
    if points or again:
        return list(points) or names
    return script.waiting(names, script.read(results, plan.id, emulate), retry)


def steady(plan: Plan, folder: Path) -> Kind:
    """A steady stream of frames, as fast as it goes."""

    def job(alternative: Alternative, into: Path) -> Job:
        homes = alternative.homes
        programs = {name: str(into / f"{name}.pyz") for name in used(plan, homes)}
        for name, path in programs.items():
            write_file(path, script.program(folder, alternative.name, name))
        return Job(programs, [(homes[stream.source], homes[stream.target]) for stream in plan.flow.crossing(homes)])

    def line(
        alternative: Alternative, records: Mapping[str, Any], traces: Mapping[str, Any], problem: str
    ) -> dict[str, Any]:
        return script.measurement(plan.id, alternative.name, records, problem)

    return Kind(folder / RESULTS, job, line, plan.frames, script.warm_up(plan.frames))


def used(plan: Plan, homes: Mapping[str, str]) -> list[str]:
    """The platforms that run something, the server last."""
    return [platform for platform in plan.roles.platforms if platform in homes.values()]


@dataclass(frozen=True)
class Measured:
    """How measuring alternatives ended: those that failed, of ``total`` so far; exit code; why it stopped, or "".

    ``lines`` are the measurements made now, as they are in the results.
    """

    failed: tuple[str, ...]
    total: int
    exit_code: int
    stopped: str = ""
    lines: tuple[Mapping[str, Any], ...] = ()


def measure_points(
    plan: Plan, folder: Path, kind: Kind, names: Sequence[str], setting: Setting, progress: Progress = SILENT
) -> Measured:
    """Measure these alternatives, one after the other. Results are on the disk as soon as they are there.

    ``progress`` shows each, and what fails. Raises Failure for a device that cannot run its programs.
    """
    if names:
        for text in check_devices(plan, folder, setting):
            progress.say(text)
    lines: list[Mapping[str, Any]] = []
    noted: set[str] = set()
    for name in names:
        alternative = plan.alternative(name)
        assert alternative is not None  # names are those of the plan
        progress.begin(f"point {name}, {alternative.after}")
        try:
            line = _measure(kind, alternative, setting, progress)
        except Stopped as stopped:
            progress.clear()
            why = f"{stopped}; {_goes_on(plan, folder, name)}"
            return Measured(*so_far(plan, kind, setting), stopped.code, why, tuple(lines))
        progress.clear()
        try:
            script.append(kind.results, line)
        except OSError as error:
            problem = f"error: {kind.results}: {error.strerror}; {_goes_on(plan, folder, name)}"
            return Measured(*so_far(plan, kind, setting), USAGE, problem, tuple(lines))
        lines.append(line)
        for note in line["notes"]:
            if note not in noted:
                progress.say(f"note: {plan.point} {name}: {note}")
        noted.update(line["notes"])
        if not line["ok"]:
            progress.say(f"{plan.point} {name} failed: {line['problem']}")
    failed, total = so_far(plan, kind, setting)
    return Measured(failed, total, FINDINGS if failed else 0, lines=tuple(lines))


def _goes_on(plan: Plan, folder: Path, name: str) -> str:
    return f"eprune profile {folder} goes on with {plan.point} {name}"


def so_far(plan: Plan, kind: Kind, setting: Setting) -> tuple[tuple[str, ...], int]:
    """The alternatives that failed, and how many have results."""
    results = script.read(kind.results, plan.id, setting.emulate)
    return tuple(name for name, line in results.items() if not line["ok"]), len(results)


def check_devices(plan: Plan, folder: Path, setting: Setting) -> list[str]:
    """What the devices are, a line each. Raises Failure now for one that cannot run its programs."""
    lines = []
    for platform, device in setting.devices.items():
        try:
            found = ssh.look(device)
        except ssh.Interrupted:
            raise KeyboardInterrupt from None
        except Failure as failure:
            raise Failure(str(failure)) from None
        needs_interpreter = any(script.has_model(folder, each.name, platform) for each in plan.alternatives)
        versions = found.versions
        for missing, wanted, what in (
            (not versions["numpy"], True, "numpy"),
            (not (versions["ai-edge-litert"] or versions["tflite-runtime"]), needs_interpreter, "ai-edge-litert"),
        ):
            if missing and wanted:
                raise Failure(
                    f"{device} has no {'TFLite interpreter' if what != 'numpy' else what} for its Python "
                    f"{found.python}: there, {device.python} -m pip install {what}"
                )
        shown = [f"{name} {versions[name]}" for name in ("numpy", "ai-edge-litert", "tflite-runtime") if versions[name]]
        parts = ", ".join([found.machine, f"Python {found.python}", *shown])
        lines.append(f"{platform} is {found.host} ({device}): {parts}")
    return lines


def _measure(kind: Kind, alternative: Alternative, setting: Setting, progress: Progress) -> dict[str, Any]:
    """Run one alternative's programs; its line. Raises Stopped if the user, or a device that has gone, ended it."""
    from eprune.model.finding import EpruneError

    with tempfile.TemporaryDirectory(prefix="eprune-") as folder:
        try:
            job = kind.job(alternative, Path(folder))
        except EpruneError as error:
            wrong = error.findings[0]
            if Path(folder) in Path(wrong.where.file).parents:  # no room, say: the point is not to blame
                raise Stopped(f"error: {wrong.where.file}: {wrong.message}", USAGE) from None
            return kind.line(alternative, {}, {}, f"{wrong.rule}: {wrong.message}")
        except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
            return kind.line(alternative, {}, {}, f"its programs cannot be put together: {error}")
        return _measured(job, kind, alternative, setting, progress)


def _measured(job: Job, kind: Kind, alternative: Alternative, setting: Setting, progress: Progress) -> dict[str, Any]:
    for _ in range(TRIES):
        with tempfile.TemporaryDirectory(prefix="eprune-") as name:
            traces = {platform: Path(name, f"{platform}.trace") for platform in job.programs} if kind.traced else {}
            outcome, problem = _launch(job, kind, traces, setting, progress)
            timelines = {platform: _read_json(path) for platform, path in traces.items()}
        if outcome is None or outcome.exit_code != PORT_TAKEN:
            break
    code = 0 if outcome is None else outcome.exit_code
    if code == INTERRUPTED:
        raise Stopped("interrupted", INTERRUPTED)
    if code in (UNREACHED, PORT_TAKEN):
        raise Stopped(problem, FINDINGS)
    line = kind.line(alternative, {} if outcome is None else outcome.records, timelines, problem)
    line["emulated"] = setting.emulate
    if setting.devices:
        line["devices"] = {platform: str(device) for platform, device in setting.devices.items()}
    return line


def _launch(
    job: Job, kind: Kind, traces: Mapping[str, Path], setting: Setting, progress: Progress
) -> tuple[Optional[RunOutcome], str]:
    """How the programs ended (None: they did not within the limit), and what the problem was, or ""."""
    from eprune.deploy.local import launch

    links, tunnels = _addresses(job, setting.devices)
    programs: dict[str, Union[str, Sequence[str]]] = {}
    own = {}
    for platform, file in job.programs.items():
        device = setting.devices.get(platform)
        programs[platform] = file if device is None else ssh.in_its_place(device, file, tunnels[platform])
        own[platform] = [
            f"--frames={kind.frames}",
            f"--warm-up={kind.warm_up}",
            *setting.arguments,
            *links.get(platform, ()),
        ]
        own[platform] += ["--emulate"] * setting.emulate
        if setting.devices:  # a peer comes only once its program is copied
            own[platform].append(f"--timeout={setting.limit}")
        if platform in traces:
            own[platform].append(f"--trace={traces[platform]}")
    messages: list[str] = []

    def on_status(status: Mapping[str, Any]) -> None:
        progress.update(max(min(status["firings"].values(), default=0) - kind.warm_up, 0))

    with _nothing() as nothing:
        try:
            limit, place = setting.limit, setting.folder
            outcome = launch(programs, own, on_status, messages.append, stdout=nothing, limit=limit, folder=place)
        except TimeoutError:
            return None, f"not done after {setting.limit:g} s"
    if not outcome.exit_code:
        return outcome, ""
    errors = [message for message in messages if "error:" in message]
    return outcome, (errors or messages or [f"exit code {outcome.exit_code}"])[0]


def _addresses(job: Job, devices: Mapping[str, Device]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Each platform's options for its links, all on loopback; and each device's tunnels, one for each FIFO.

    A device has ports of its own, so that it may be this machine.
    """
    from eprune.deploy.ports import any_base_port, link_ports

    pairs = Counter((min(ends), max(ends)) for ends in job.crossing)
    links: dict[str, list[str]] = {}
    tunnels: dict[str, list[str]] = {platform: [] for platform in devices}
    for pair, base in link_ports(pairs).items():
        ends = [each for each in job.crossing if set(each) == set(pair)]
        for platform, peer in (pair, pair[::-1]):
            first = base
            if platform in devices:
                first = any_base_port(len(ends))
                tunnels[platform] += [
                    ssh.tunnel(base + number, first + number, inwards=source == platform)
                    for number, (source, _) in enumerate(ends)
                ]
            links.setdefault(platform, []).append(f"--link={peer}=127.0.0.1:{first}")
    return links, tunnels


def _read_json(path: Path) -> Any:
    import json

    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):  # a program that was killed leaves none
        return None


@contextlib.contextmanager
def _nothing() -> Iterator[int]:
    """Where the results of actors go: nobody wants them."""
    with Path(os.devnull).open("wb") as stream:
        yield stream.fileno()
