"""``eprune profile``: measure the cuts of an exploration on this machine, or time its actors and predict."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import INTERRUPTED, say
from eprune.cli.explore import ACTORS, OBJECTIVES, RESULTS, read_plan_of

if TYPE_CHECKING:
    from eprune.explore.plan import Plan
    from eprune.explore.space import Alternative

#: Seconds between two updates of the line of progress.
PROGRESS_INTERVAL = 0.2


@click.command("profile", cls=options.Command, short_help="Measure its cuts on this machine.")
@click.argument("folder", metavar="DIR")
@click.option("--point", "points", multiple=True, metavar="K", help="Only this partition point, measured anew.")
@click.option("--actors", is_flag=True, help="Do not measure the points: time the actors, to predict all of them.")
@click.option("--validate", type=click.IntRange(min=1), metavar="K", help="Measure the K best, compare predictions.")
@click.option("--objective", type=click.Choice(OBJECTIVES), default="endpoint", help="Best at what, for --validate.")
@click.option("--retry", is_flag=True, help="Also measure again what failed.")
@click.option("--again", is_flag=True, help="Measure everything again.")
@click.option(
    "--interpreter",
    type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime"]),
    help="The TFLite interpreter to use (default: auto, the first that is installed).",
)
@click.option("--limit", type=click.FloatRange(min=0.1), default=600.0, metavar="S", help="Seconds for a point (600).")
@click.option("--pin/--no-pin", default=True, help="Pin threads to their units' cores (default), or not.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def command(
    folder: str,
    points: Sequence[str],
    actors: bool,
    validate: Optional[int],
    objective: str,
    retry: bool,
    again: bool,
    interpreter: Optional[str],
    limit: float,
    pin: bool,
    quiet: bool,
) -> int:
    """Measure every partition point that `eprune explore` put into DIR, both sides on this machine.

    Each measurement is a line of JSON in DIR/results.jsonl. What is measured already is not measured again, so an
    interrupted profile goes on where it stopped; a point that fails is recorded, and the next one runs. Exit code: 0
    fine, 1 a point failed, 130 interrupted.

    \b
    Examples:
      eprune profile build/cuts && eprune report build/cuts
      eprune profile build/cuts --point 3 --point 4
      eprune profile build/cuts --actors --validate 3
    """
    plan = read_plan_of(folder)
    arguments = [f"--interpreter={interpreter}"] * bool(interpreter) + ["--no-pin"] * (not pin)
    if actors:
        _time_actors(plan, Path(folder), interpreter, quiet)
    if validate:
        return _validate(plan, Path(folder), validate, objective, arguments, limit, quiet)
    if actors:
        return 0
    names = names_to_measure(plan, Path(folder), points, retry, again)
    return sweep(plan, Path(folder), names, arguments, limit, quiet)


def names_to_measure(plan: Plan, folder: Path, points: Sequence[str], retry: bool, again: bool) -> list[str]:
    """The alternatives to measure now. Raises BadParameter for one that does not exist."""
    from eprune.explore import measure

    names = [alternative.name for alternative in plan.alternatives]
    for point in points:
        if point not in names:
            why = f": {plan.excluded[point]}" if point in plan.excluded else f"; there are {', '.join(names)}"
            raise click.BadParameter(f"there is no partition point {point!r}{why}", param_hint="--point")
    if points or again:
        return list(points) or names
    return measure.waiting(names, measure.read(folder / RESULTS, plan.id), retry)


def sweep(plan: Plan, folder: Path, names: Sequence[str], arguments: Sequence[str], limit: float, quiet: bool) -> int:
    """Measure these alternatives, one after the other."""
    from eprune.explore import measure

    progress = Progress(len(names), plan.frames, enabled=not quiet and sys.stderr.isatty())
    for name in names:
        alternative = plan.alternative(name)
        assert alternative is not None  # names are those of the plan
        progress.begin(f"{name}, {alternative.after}")
        line = _measure(plan, folder, alternative, arguments, limit, progress)
        progress.clear()
        if line is None:
            say(f"interrupted; eprune profile {folder} goes on with partition point {name}")
            return INTERRUPTED
        measure.append(folder / RESULTS, line)
        if not line["ok"]:
            say(f"partition point {name} failed: {line['problem']}")
    results = measure.read(folder / RESULTS, plan.id)
    failed = [name for name, line in results.items() if not line["ok"]]
    if not quiet:
        say(
            f"{len(names)} measured now, {len(results)} of {len(plan.alternatives)} in all"
            + (f"; failed: {', '.join(failed)} (--retry measures them again)" if failed else "")
        )
    return 1 if failed else 0


def _measure(
    plan: Plan, folder: Path, alternative: Alternative, arguments: Sequence[str], limit: float, progress: Progress
) -> Optional[dict[str, Any]]:
    """Run one alternative's programs; None if the user interrupted them."""
    from eprune.explore import measure
    from eprune.runtime.launch import launch, link_arguments

    homes = alternative.homes
    used = [platform for platform in plan.roles.platforms if platform in homes.values()]
    programs = {platform: str(folder / alternative.name / f"{platform}.pyz") for platform in used}
    ends = [sorted((homes[stream.source], homes[stream.target])) for stream in plan.flow.crossing(homes)]
    pairs = Counter((one, other) for one, other in ends)
    links = link_arguments(pairs)
    own = {platform: [f"--frames={plan.frames}", *arguments, *links.get(platform, ())] for platform in used}
    messages: list[str] = []
    deadline = time.monotonic() + limit

    def on_status(status: Mapping[str, Any]) -> None:
        progress.update(min(status["firings"].values(), default=0))
        if time.monotonic() > deadline:
            raise TimeoutError

    problem, records = "", {}
    with _nothing() as nothing:
        try:
            outcome = launch(programs, own, on_status, messages.append, stdout=nothing)
        except TimeoutError:
            problem = f"not done after {limit:g} s"
        else:
            if outcome.exit_code == INTERRUPTED:
                return None
            records = dict(outcome.records)
            if outcome.exit_code:
                errors = [message for message in messages if "error:" in message]
                problem = (errors or messages or [f"exit code {outcome.exit_code}"])[0]
    return measure.measurement(plan.id, alternative.name, {} if problem else records, problem)


def _time_actors(plan: Plan, folder: Path, interpreter: Optional[str], quiet: bool) -> None:
    """Time the unsplit application for each platform, and write what came out to actors.json."""
    from eprune.cli.timing import time_actors
    from eprune.formats.atomic import write_file
    from eprune.formats.platform import read_platform

    told: dict[str, Any] = {}
    shown = not quiet and sys.stderr.isatty()
    for name, file in zip(plan.roles.platforms, plan.files[1:]):
        platform = read_platform(str(folder / file))

        def on_progress(step: int, steps: int, name: str = name) -> None:
            if shown:
                click.echo(f"\r\x1b[K{name}: actor {step} of {steps}\r", err=True, nl=False)

        try:
            core = platform.units[0].core
            told[name] = time_actors(str(folder / plan.files[0]), core, interpreter, on_progress)
        except RuntimeError as error:
            raise click.ClickException(f"the actors cannot be timed: {error}") from None
    if shown:
        click.echo("\r\x1b[K", err=True, nl=False)
    write_file(str(folder / ACTORS), json.dumps({"plan": plan.id, "platforms": told}, indent=1) + "\n")
    if not quiet:
        say(f"{folder / ACTORS}: times of {len(plan.flow.actors)} actors on {len(told)} platforms")


def _validate(
    plan: Plan, folder: Path, count: int, objective: str, arguments: Sequence[str], limit: float, quiet: bool
) -> int:
    """Measure the best alternatives and print what was predicted for this machine beside it."""
    from eprune.cli.report import read_costs
    from eprune.cli.tables import table
    from eprune.explore import measure
    from eprune.explore.cost import Costs, predict

    costs = read_costs(plan, folder)
    if costs is None:
        raise click.UsageError("there are no predictions yet: add --actors")
    ranked = sorted(
        plan.alternatives, key=lambda each: predict(plan.flow, plan.roles, costs, each.homes).value(objective)
    )
    names = [alternative.name for alternative in ranked[:count]]
    code = sweep(plan, folder, names, arguments, limit, quiet)
    results = measure.read(folder / RESULTS, plan.id)
    rows = []
    for alternative in ranked[:count]:
        # Both sides are on this machine: the links of the platform files are not between them.
        predicted = predict(plan.flow, plan.roles, Costs(costs.times, ()), alternative.homes).value("throughput")
        line = results[alternative.name]
        if line["ok"]:
            measured = 1e3 / line["frames_per_second"]
            error = f"{100 * abs(predicted - measured) / measured:.0f} %"
            rows.append((alternative.name, alternative.after, f"{predicted:.3f}", f"{measured:.3f}", error))
    click.echo(table(("point", "cut", "predicted ms/frame", "measured", "error"), rows), nl=False)
    say("over loopback, in a steady stream")
    return code


@contextlib.contextmanager
def _nothing() -> Iterator[int]:
    """Where the results of actors go: nobody wants them here."""
    with Path(os.devnull).open("wb") as stream:
        yield stream.fileno()


class Progress:
    """One line on a terminal: which measurement of how many, its frames, and the time that is left."""

    def __init__(self, total: int, frames: int, enabled: bool) -> None:
        self._total = total
        self._frames = frames
        self._enabled = enabled
        self._begun = time.monotonic()
        self._number = 0
        self._title = ""
        self._shown = -math.inf

    def begin(self, title: str) -> None:
        """The next measurement begins."""
        self._number += 1
        self._title = title
        self.update(0)

    def update(self, frames: int) -> None:
        """The measurement has come to so many frames."""
        now = time.monotonic()
        if not self._enabled or (frames and now < self._shown + PROGRESS_INTERVAL):
            return
        self._shown = now
        left = time_left(now - self._begun, self._number - 1 + frames / self._frames, self._total)
        line = f"{self._number} of {self._total}: point {self._title}, frame {frames} of {self._frames}{left}"
        click.echo(f"\r\x1b[K{line[:78]}\r", err=True, nl=False)

    def clear(self) -> None:
        """Remove the line."""
        if self._enabled:
            click.echo("\r\x1b[K", err=True, nl=False)


def time_left(elapsed: float, done: float, total: int) -> str:
    """``, 12 s left``; "" as long as too little is done to tell."""
    if done < 0.5:
        return ""
    seconds = elapsed / done * (total - done)
    return f", {seconds:.0f} s left" if seconds < 100 else f", {seconds / 60:.0f} min left"
