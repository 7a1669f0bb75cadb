"""``eprune profile``: measure the cuts of an exploration on this machine, or time its actors and predict."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import say
from eprune.cli.explore import objective_option
from eprune.cli.printing import show

if TYPE_CHECKING:
    from eprune.deploy.ssh import Device
    from eprune.explore.plan import Plan
    from eprune.measure.boards import Ask
    from eprune.measure.points import Kind, Measured, Setting
    from eprune.views.profile import Profile

#: What has no meaning beside --compress.
_NOT_CODING = (
    *("points", "latency", "actors", "validate", "objective", "retry", "again", "interpreter", "limit", "pin"),
    *("endpoints", "at_once", "device_python", "emulate"),
)


@click.command("profile", cls=options.Command, short_help="Measure the cuts of an exploration.")
@click.argument("folder", metavar="DIR")
@click.option(
    "--point",
    "points",
    multiple=True,
    metavar="K",
    help="Measure only this partition point, even if it has been measured.",
)
@click.option("--latency", is_flag=True, help="Measure end-to-end latency: one frame at a time, its result fed back.")
@click.option("--actors", is_flag=True, help="Time the actors, to predict all points, instead of measuring the points.")
@click.option(
    "--validate",
    type=click.IntRange(min=1),
    metavar="K",
    help="Measure the K best predicted points, and compare with the predictions.",
)
@click.option(
    "--compress",
    is_flag=True,
    help="Try how each cut's tokens could be coded, as eprune apply compress does, for the report to weigh.",
)
@click.option("--data", metavar="DATA", help="With --compress: your pictures (without: random inputs).")
@click.option("--wish", metavar="METRIC=VALUE", help="With --compress: what each FIFO keeps (default: agreement=0.99).")
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --compress: up to so many pictures of each part (default: 100).",
)
@click.option(
    "--rest",
    type=click.FloatRange(min=0, max=200),
    metavar="MS",
    help="With --actors: let units wait so long after each firing, as between single frames (default: none, but as "
    "long as an emulated unit does with --emulate).",
)
@objective_option
@click.option("--retry", is_flag=True, help="Also measure again what failed.")
@click.option(
    "--again",
    is_flag=True,
    help="Measure everything again; with --actors also what another machine has timed.",
)
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
    help="Time limit per point, in seconds (default: 600).",
)
@click.option("--pin/--no-pin", default=True, help="Pin threads to their units' cores (default), or not.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="[NAME=]URL",
    help="The endpoint's real device, ssh://[USER@]HOST[:PORT]; with NAME= if there are several endpoints. Several "
    "devices for one endpoint: each is measured, NAME= is what it is called.",
)
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    metavar="N",
    help="Measure on up to N devices at the same time (default: as many as this machine has cores for; one where the "
    "other platforms are pinned to cores).",
)
@click.option("--device-python", metavar="FILE", help="The Python of the device (default: python3).")
@click.option(
    "--emulate",
    is_flag=True,
    help="Emulate the speed of the links and units in the platform files; results are labelled.",
)
@options.outside_option
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@options.format_option
def command(
    folder: str,
    points: Sequence[str],
    latency: bool,
    actors: bool,
    validate: Optional[int],
    compress: bool,
    data: Optional[str],
    wish: Optional[str],
    frames: Optional[int],
    rest: Optional[float],
    objective: Optional[str],
    retry: bool,
    again: bool,
    interpreter: Optional[str],
    limit: float,
    pin: bool,
    endpoints: Sequence[str],
    at_once: Optional[int],
    device_python: Optional[str],
    emulate: bool,
    quiet: bool,
    fmt: str,
) -> int:
    """Measure every partition point that `eprune explore` put into DIR, both sides on this machine.

    With --endpoint the endpoint's programs run on the real device, over OpenSSH, and nothing stays there; the server's
    run here. The device needs Python, numpy and, for models, a TFLite interpreter. With several --endpoint of the same
    endpoint each of these devices is measured, and what they give is in DIR/boards/NAME, for `eprune report` and
    `eprune cut`. One that fails does not stop the others; the exit code is 1 then.

    With --compress, no point is measured: each FIFO that a cut sends is coded in every way, and the fewest bytes that
    keep the wish go to DIR/coding.json, beside the picture as a JPEG.

    With --latency only one frame is in the application at a time, and its result returns to the endpoint: the times
    from end to end, and their split, go to DIR/latency.jsonl.

    Each measurement is a line of JSON in DIR/results.jsonl. What is measured already is not measured again, so an
    interrupted profile goes on where it stopped; a point that fails is recorded, and the next one runs. Exit code: 0
    fine, 1 a point failed, 130 interrupted. With --format json, stdout has what this call measured.

    \b
    Examples:
      eprune profile build/cuts && eprune report build/cuts
      eprune profile build/cuts --point 3 --point 4
      eprune profile build/cuts --latency
      eprune profile build/cuts --actors --validate 3
      eprune profile build/cuts --compress --data photos --wish accuracy=0.97
      eprune profile build/cuts --endpoint ssh://pi@192.168.1.20
      eprune profile build/cuts --endpoint pi4=ssh://pi@192.168.1.20 --endpoint jetson=ssh://192.168.1.30 --at-once 2
    """
    from eprune.deploy.options import certificates
    from eprune.measure import points as measuring
    from eprune.measure.boards import Ask
    from eprune.measure.exploration import alone, read_plan_of, remember, times_from_elsewhere
    from eprune.measure.single_frame import single_frames
    from eprune.views.profile import Profile

    plan = read_plan_of(folder)
    if emulate and endpoints:
        raise click.UsageError("--emulate plays devices and links on this machine; --endpoint has real ones")
    if latency and (actors or validate):
        raise click.UsageError("--latency measures; it goes with neither --actors nor --validate")
    if objective is not None and not validate:
        raise click.UsageError("--objective says which points --validate K takes: give it too")
    if device_python is not None and not endpoints:
        raise click.UsageError("--device-python is the Python of the device that --endpoint names: give it too")
    if rest is not None and not actors:
        raise click.UsageError("--rest is for timing the actors: give --actors too")
    _refuse_idle(actors, validate is not None, bool(points), again)
    if compress:
        options.refuse(_NOT_CODING, "--compress tries how tokens are coded, on this machine, and measures no point")
    else:
        options.refuse(("data", "wish", "frames"), "these are of --compress: give it too")
    arguments = [f"--interpreter={interpreter}"] * bool(interpreter) + ["--no-pin"] * (not pin)
    home = None if plan.from_stdin else str(Path(folder, plan.files[0]).parent)
    boards = _boards(plan, endpoints, device_python or "python3")
    if boards:
        options.refuse(("actors", "validate", "compress"), "several devices are measured, point by point")
    elif at_once is not None:
        raise click.UsageError("--at-once is for several devices: give --endpoint for each")
    devices = {} if boards else _devices(plan, endpoints, device_python or "python3")
    setting = measuring.Setting(arguments, limit, devices, emulate, home)
    place, trusted = Path(folder), options.allows_outside()
    kind = single_frames(plan, place, trusted) if latency else measuring.steady(plan, place)
    left = measuring.script.passed_over(kind.results, plan.id)
    if left and not quiet:
        say(f"note: {left}")
    done = Profile(plan, Path(folder))
    with alone(place):
        remember(plan, place, options.typed())
        if compress:
            done = _coded(done, data or "", wish, frames, quiet)
        if actors:
            kept = {} if again else times_from_elsewhere(plan, place)
            done = _time_actors(done, kept, interpreter, pin, emulate, rest or 0.0, quiet)
        if boards:
            with certificates(plan.roles.platforms):
                ask = Ask(latency, tuple(arguments), limit, trusted)
                count = at_once or _at_once(plan, place, len(boards), pin)
                done = _on_boards(done, boards, ask, (points, retry, again), count, quiet)
        elif validate or not (actors or compress):
            with certificates(plan.roles.platforms):
                if validate:
                    done = _validate(done, validate, objective or plan.objective, kind, setting, quiet)
                else:
                    names = measuring.names_to_measure(plan, kind.results, points, retry, again, emulate)
                    done = _measure(done, kind, names, setting, quiet)
    if fmt == "json":
        show(done.json(), fmt)
    elif done.boards is not None:
        from eprune.views.profile import boards_text

        show(boards_text(plan, done.boards))
    elif done.coding is not None:
        from eprune.views.coding import coding_text

        show(coding_text(plan, done.coding))
    elif done.validation is not None:
        from eprune.views.profile import validation_text

        show(validation_text(done.validation))
        say(f"over {'emulated links' if emulate else 'loopback'}, in a steady stream")
    if done.boards is not None:
        return max(each.exit_code for each in done.boards.values())
    return done.measured.exit_code if done.measured else 0


def _refuse_idle(actors: bool, validate: bool, points: bool, again: bool) -> None:
    """Raise a usage error for options that would do nothing beside the others."""
    if validate:
        which = ("points", "retry", *["again"] * (not actors))
        options.refuse(which, "--validate chooses itself which points to measure")
    elif actors:
        which = ("points", "retry", "limit", "endpoints")
        options.refuse(which, "--actors measures no points, and times actors on this machine")
    if points:
        options.refuse(("retry", "again"), "--point measures its points anew in any case")
    if again and not actors:
        options.refuse(("retry",), "--again measures everything, what failed as well")


def _coded(done: Profile, data: str, wish: Optional[str], frames: Optional[int], quiet: bool) -> Profile:
    """How the FIFOs of all points could be coded, written into the folder."""
    from eprune.cli.progress import progress
    from eprune.cli.reading import read_sound
    from eprune.measure.coding import WISH, candidates, measured, write_coding

    plan, folder = done.plan, done.folder
    if plan.roles.anywhere and plan.units:
        raise click.UsageError("--compress is for platforms of one unit each: where coding is done would be open")
    if plan.from_stdin:
        raise click.UsageError("--compress runs the application: explore it from a file, not from stdin")
    system = read_sound(plan.files_at(folder)[0])
    shown = progress(len(candidates(plan)) + 2, quiet=quiet, unit="picture")
    found = measured(system, plan, data, wish or WISH, frames or 100, shown)
    path = write_coding(found, folder)
    if not quiet:
        say(f"{path}: how {len(found.rows)} FIFOs could be coded; eprune report {folder} weighs it")
    return replace(done, coding_file=path, coding=found)


def _measure(done: Profile, kind: Kind, names: Sequence[str], setting: Setting, quiet: bool) -> Profile:
    """Measure these alternatives, and say how that ended."""
    from eprune.cli.progress import progress
    from eprune.measure.points import measure_points

    shown = progress(len(names), kind.frames, quiet)
    measured = measure_points(done.plan, done.folder, kind, names, setting, shown)
    _say(done.plan, measured, len(names), quiet)
    return replace(done, results=kind.results, measured=measured)


def _say(plan: Plan, measured: Measured, count: int, quiet: bool) -> None:
    """Say how measuring ended."""
    if measured.stopped:
        say(measured.stopped)
    elif not quiet:
        failed = ", ".join(measured.failed)
        say(
            f"{count} measured now, {measured.total} of {len(plan.alternatives)} in all"
            + (f"; failed: {failed} (--retry measures them again)" if failed else "")
        )


def _boards(plan: Plan, given: Sequence[str], python: str) -> dict[str, Device]:
    """Name -> device, where several are given for one endpoint; else none. Raises BadParameter."""
    from eprune.deploy.ssh import parse_device

    if len(given) < 2 or len(plan.roles.endpoints) > 1:
        return {}
    boards: dict[str, Device] = {}
    for text in given:
        name, _, url = text.partition("=") if "=" in text.partition("://")[0] else ("", "", text)
        try:
            device = parse_device(url, python)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--endpoint") from None
        name = name or device.host
        if not re.fullmatch(r"\w[\w.+-]*", name):
            raise click.BadParameter(
                f"{name!r} cannot be the name of a folder: say NAME={url}", param_hint="--endpoint"
            )
        if name in boards:
            raise click.BadParameter(f"two devices are called {name!r}: say NAME={url}", param_hint="--endpoint")
        boards[name] = device
    return boards


def _at_once(plan: Plan, folder: Path, boards: int, pin: bool) -> int:
    """On how many boards to measure at the same time: what this machine plays of each needs its cores."""
    import os

    from eprune.formats.xml.platform import read_platform

    near = [read_platform(path) for path in plan.files_at(folder)[1:]]
    others = [platform for platform in near if platform.name not in plan.roles.endpoints]
    if pin and any(unit.cores for platform in others for unit in platform.units):
        return 1
    return max(1, min(boards, (os.cpu_count() or 1) // max(len(others), 1)))


def _on_boards(
    done: Profile,
    boards: Mapping[str, Device],
    ask: Ask,
    which: tuple[Sequence[str], bool, bool],
    at_once: int,
    quiet: bool,
) -> Profile:
    """Measure on each board what is not measured there yet. ``which``: points, --retry and --again."""
    from eprune.cli.progress import progress
    from eprune.measure.boards import kind_of, measure_boards
    from eprune.measure.points import names_to_measure

    plan, folder = done.plan, done.folder
    names = {name: names_to_measure(plan, kind_of(plan, folder, name, ask).results, *which, False) for name in boards}
    shown = progress(sum(map(len, names.values())), quiet=quiet, unit="")
    try:
        outcomes = measure_boards(plan, folder, boards, names, ask, at_once, shown)
    finally:
        shown.clear()
    return replace(done, boards=outcomes)


def _devices(plan: Plan, given: Sequence[str], python: str) -> dict[str, Device]:
    """Endpoint -> its real device. Raises BadParameter."""
    from eprune.deploy.ssh import parse_device

    devices = {}
    for text in given:
        name, equals, url = text.partition("=") if "=" in text.partition("://")[0] else ("", "", text)
        if not equals and len(plan.roles.endpoints) > 1:
            raise click.BadParameter(
                f"{text!r}: which one is it? say {plan.roles.endpoints[0]}={text}", param_hint="--endpoint"
            )
        name = name or plan.roles.endpoints[0]
        if name not in plan.roles.endpoints:
            known = ", ".join(plan.roles.endpoints)
            raise click.BadParameter(f"there is no endpoint {name!r}; there is {known}", param_hint="--endpoint")
        if name in devices:
            raise click.BadParameter(f"{name} is given twice", param_hint="--endpoint")
        try:
            devices[name] = parse_device(url, python)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--endpoint") from None
    return devices


def _time_actors(
    done: Profile,
    kept: Mapping[str, Any],
    interpreter: Optional[str],
    pin: bool,
    emulate: bool,
    rest: float,
    quiet: bool,
) -> Profile:
    """Time the unsplit application for each platform, and write what came out to actors.json.

    The platforms whose times are ``kept`` are not timed. With ``emulate`` it also says how much slower the platform's
    unit is than the core that plays it. Units wait ``rest`` milliseconds after each firing.
    """
    from eprune.cli.progress import progress
    from eprune.formats.xml.platform import read_platform
    from eprune.measure.exploration import write_times
    from eprune.measure.timing import time_platform
    from eprune.views.profile import faster_elsewhere

    plan, folder = done.plan, done.folder
    timed: dict[str, Any] = {}
    alike: dict[Any, str] = {}
    for name, file in zip(plan.roles.platforms, plan.files[1:]):
        if name in kept:
            timed[name] = kept[name]
            say(f"note: {name}: the times from {kept[name]['host']} stay; --again takes this machine's instead")
            continue
        platform = read_platform(str(folder / file))
        same = alike.setdefault(tuple(replace(unit, watts=None, idle=None, groups=()) for unit in platform.units), name)
        if same != name:
            timed[name] = timed[same]
            say(f"note: {name} has the units of {same}, and its times")
            continue
        shown = progress(len(plan.flow.actors), quiet=quiet, unit=f"{name}: actor")
        try:
            units = platform.units if pin else tuple(replace(unit, cores=()) for unit in platform.units)
            platform, trusted = replace(platform, units=units), options.allows_outside()
            application = str(folder / plan.files[0])
            timed[name] = time_platform(application, platform, interpreter, shown, trusted, emulate, rest / 1e3)
            for note in timed[name].get("notes", ()):
                say(f"note: the actors of {name} were timed {note}")
        except RuntimeError as error:
            raise click.ClickException(f"the actors cannot be timed: {error}") from None
        finally:
            shown.clear()
    path = write_times(plan, folder, timed)
    for line in faster_elsewhere(plan, timed):
        say(line)
    if not quiet:
        say(f"{path}: times of {len(plan.flow.actors)} actors on {len(timed) - len(kept)} platforms")
    return replace(done, actors_file=path, actors=timed)


def _validate(done: Profile, count: int, objective: str, kind: Kind, setting: Setting, quiet: bool) -> Profile:
    """Measure the best alternatives, and set what was predicted for this machine beside it."""
    from eprune.explore.cost import predict
    from eprune.measure.exploration import read_costs
    from eprune.views.profile import Validation

    plan = done.plan
    costs = read_costs(plan, done.folder)
    if costs is None:
        raise click.UsageError("there are no predictions yet: add --actors")
    ranked = sorted(
        plan.alternatives,
        key=lambda each: predict(plan.flow, plan.roles, costs.placed(each.units), each.homes).value(objective),
    )[:count]
    done = _measure(done, kind, [alternative.name for alternative in ranked], setting, quiet)
    if done.measured is None or done.measured.stopped:
        return done
    taken = {line["alternative"]: 1e3 / line["frames_per_second"] for line in done.measured.lines if line["ok"]}
    # Both sides are on this machine: the links of the platform files are between them only where they are emulated.
    true = replace(costs, links=costs.links if setting.emulate else (), power={}, speeds={}, coded={})
    rows = [
        Validation(
            alternative.name,
            alternative.after,
            predict(plan.flow, plan.roles, true.placed(alternative.units), alternative.homes).value("throughput"),
            taken.get(alternative.name),
        )
        for alternative in ranked
    ]
    return replace(done, validation=rows)
