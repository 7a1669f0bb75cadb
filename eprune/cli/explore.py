"""``eprune explore``: every partition point of an application, ready to be measured."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eprune.cli import options
from eprune.cli.errors import say
from eprune.views.tables import counted, table

if TYPE_CHECKING:
    from eprune.cli.inputs import Inputs
    from eprune.explore.plan import Plan
    from eprune.explore.space import Constraints, Roles, Space
    from eprune.model.platform import Platform

#: What describes an exploration in its folder.
PLAN = "explore.json"
RESULTS = "results.jsonl"
ACTORS = "actors.json"
#: Up to so many partition points with the same fault are named, and twice as many actors.
NAMED = 6


class Objective(click.ParamType):
    """What a cut can be best at; eprune.explore.cost says what that is, but is loaded late."""

    name = "objective"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """The text, if it is one."""
        from eprune.explore.cost import weights

        try:
            weights(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


#: --objective, the same for all commands that rank cuts.
objective_option = click.option(
    "--objective",
    type=Objective(),
    metavar="NAME",
    default="endpoint",
    help="Best at endpoint (default), latency, throughput, bytes, energy; or weights: endpoint=1,bytes=0.002.",
)


def constraint_options(function: options.Decorated) -> options.Decorated:
    """The questions to the space of cuts, the same for all commands that ask them."""
    pair: Any = {"nargs": 2, "type": (str, str), "multiple": True, "metavar": "PLATFORM ACTOR"}
    platform: Any = {"multiple": True, "metavar": "PLATFORM"}
    for option in (
        click.option("--private-until", multiple=True, metavar="ACTOR", help="What comes before ACTOR stays private."),
        click.option("--max-bytes", metavar="SIZE", help="At most so much over the links in a frame (64KiB)."),
        click.option("--must-not-use", **platform, help="Nothing runs on PLATFORM."),
        click.option("--must-use", **platform, help="Something runs on PLATFORM."),
        click.option("--not-on", **pair, help="ACTOR does not run on PLATFORM."),
        click.option("--keep-on", **pair, help="ACTOR runs on PLATFORM."),
    ):
        function = option(function)
    return function


@click.command("explore", cls=options.Command, short_help="Make every cut of it, ready to be measured.")
@options.application_argument
@options.platforms_option
@click.option("-o", "--output", metavar="DIR", required=True, help="The folder for mappings, programs and scripts.")
@click.option("--edge", "edges", multiple=True, metavar="PLATFORM", help="It lies between endpoint and server.")
@click.option("--frames", type=click.IntRange(min=1), default=100, metavar="N", help="Frames a measurement (100).")
@constraint_options
def command(
    application: str, platforms: Sequence[str], output: str, edges: Sequence[str], frames: int, **constraints: Any
) -> None:
    """Write every partition point of an application into DIR: mappings, programs, and scripts that measure all of them.

    Partition point k runs the first k actors, in precedence order, on the endpoint and the others on the server. The
    server is the platform that is named last; with several endpoints each runs the first k of the actors that only its
    own sources feed. With --edge, point j-k runs the first j on the endpoint and those up to the k-th on the edge. A
    source or sink that a constraint ties to one platform stays there; constraints on other actors leave partition
    points out.

    \b
    Examples:
      eprune explore app.xml -p endpoint.xml server.xml -o build/cuts
      eprune explore app.xml -p endpoint.xml server.xml -o build/cuts --keep-on endpoint Sink --private-until L2
      eprune explore app.xml -p endpoint.xml edge.xml cloud.xml --edge edge -o build/cuts
    """
    from eprune.cli.inputs import read_inputs, sound
    from eprune.explore.flow import flow

    inputs = sound(read_inputs(application))
    read = _read_platforms(platforms)
    roles = _roles([platform.name for platform in read], edges)
    applied = constraints_of(constraints, roles.platforms, [actor.name for actor in inputs.graph.actors])
    space = partition_points_or_say(flow(inputs.graph), roles, applied)
    plan = _write(inputs, read, roles, applied, space, frames, Path(output))
    click.echo(_text(plan, space))
    say(f"next: eprune profile {shlex.quote(output)}")


def _roles(names: Sequence[str], edges: Sequence[str]) -> Roles:
    from eprune.explore.space import Roles

    for edge in edges:
        _known(edge, names, "platform", "edge")
    between = tuple(name for name in names if name in edges)
    others = [name for name in names if name not in edges]
    if len(others) < 2:
        raise click.UsageError("a cut needs an endpoint and a server: give both platform files with -p")
    if between and len(others) > 2:
        raise click.UsageError(f"with --edge there is one endpoint only, not {' and '.join(others[:-1])}")
    return Roles(tuple(others[:-1]), others[-1], between)


def _read_platforms(paths: Iterable[str]) -> list[Platform]:
    from eprune.formats.xml.platform import read_platform
    from eprune.model.finding import EpruneError, Finding

    platforms: list[Platform] = []
    findings: list[Finding] = []
    for path in paths:
        try:
            platforms.append(read_platform(path))
        except EpruneError as error:
            findings += error.findings
    names = [platform.name for platform in platforms]
    for platform in platforms:
        if names.count(platform.name) > 1:
            findings.append(Finding("M1", platform.where, f"a second platform '{platform.name}'", "give each one once"))
            break
    if findings:
        raise EpruneError(*findings)
    return platforms


def constraints_of(given: Mapping[str, Any], platforms: Sequence[str], actors: Sequence[str]) -> Constraints:
    """The constraints that the options say. Raises BadParameter for names that do not exist."""
    from eprune.explore.space import Constraints
    from eprune.model.quantity import parse_size

    for option in ("keep_on", "not_on"):
        for platform, actor in given[option]:
            _known(platform, platforms, "platform", option)
            _known(actor, actors, "actor", option)
    for option in ("must_use", "must_not_use"):
        for platform in given[option]:
            _known(platform, platforms, "platform", option)
    for actor in given["private_until"]:
        _known(actor, actors, "actor", "private_until")
    try:
        max_bytes = -1 if given["max_bytes"] is None else parse_size(given["max_bytes"])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--max-bytes") from None
    return Constraints(**{**given, "max_bytes": max_bytes})


def _known(name: str, names: Sequence[str], kind: str, option: str) -> None:
    import difflib

    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(names)}"
        raise click.BadParameter(f"there is no {kind} {name!r}; {hint}", param_hint=f"--{option.replace('_', '-')}")


def partition_points_or_say(flow: Any, roles: Roles, constraints: Constraints) -> Space:
    """The partition points. Raises a usage error where the constraints say too little."""
    from eprune.explore.space import AmbiguousSources, partition_points

    try:
        return partition_points(flow, roles, constraints)
    except AmbiguousSources as error:
        example = f"--keep-on {roles.endpoints[0]} {error.sources[0]}"
        edge = f"--edge {roles.endpoints[-1]}"
        raise click.UsageError(f"{error} say {example}, for example; or {edge}, if it lies between") from None


def _write(
    inputs: Inputs,
    platforms: Sequence[Platform],
    roles: Roles,
    constraints: Constraints,
    space: Space,
    frames: int,
    folder: Path,
) -> Plan:
    """Write everything; explore.json comes last, so that a folder with one is whole."""
    import hashlib

    from eprune.explore.flow import flow
    from eprune.explore.plan import Plan, link_figures, power, script, write_plan
    from eprune.formats.atomic import write_file
    from eprune.measure import remote as measure

    _clear(folder)
    digest = hashlib.sha256(str(frames).encode())
    excluded, alternatives = dict(space.excluded), []
    for number, alternative in enumerate(space.alternatives, 1):
        if sys.stderr.isatty():
            click.echo(f"\r\x1b[K{number} of {len(space.alternatives)}\r", err=True, nl=False)
        problem = _write_alternative(inputs, platforms, alternative.homes, folder / alternative.name, digest)
        if problem:
            excluded[alternative.name] = problem
        else:
            alternatives.append(alternative)
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
    if not alternatives:
        raise no_cut(excluded, _other_cut(flow(inputs.graph), roles, constraints, link_figures(platforms)))
    given = (inputs.graph.where.file, *(platform.where.file for platform in platforms))
    plan = Plan(
        id=digest.hexdigest()[:16],
        flow=flow(inputs.graph),
        roles=roles,
        frames=frames,
        constraints=constraints,
        alternatives=tuple(alternatives),
        excluded=dict(sorted(excluded.items(), key=lambda item: [*map(int, item[0].split("-"))])),
        links=link_figures(platforms),
        power=power(platforms),
        files=tuple(path if path == "-" else os.path.relpath(path, folder) for path in given),
        command=shlex.join(["eprune", *sys.argv[1:]]),
    )
    write_file(str(folder / "measure.py"), Path(measure.__file__).read_bytes())
    for platform in plan.roles.platforms:
        path = folder / f"measure-{platform}.sh"
        write_file(str(path), script(plan, platform))
        path.chmod(0o755)
    write_file(str(folder / PLAN), write_plan(plan))
    return plan


def _clear(folder: Path) -> None:
    """Remove what an earlier exploration left; results stay, for they say what they are of."""
    from eprune.explore.plan import read_plan

    try:
        old = read_plan((folder / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    (folder / PLAN).unlink()
    for alternative in old.alternatives:
        shutil.rmtree(folder / alternative.name, ignore_errors=True)


def _write_alternative(
    inputs: Inputs, platforms: Sequence[Platform], homes: Mapping[str, str], folder: Path, digest: Any
) -> str:
    """Write a pair of mappings, and the programs of the platforms that run something; or say what is wrong with it."""
    from dataclasses import replace

    from eprune.analysis.check import check
    from eprune.deploy.build import program_for, write_bundle
    from eprune.explore.flow import flow
    from eprune.explore.space import mapping
    from eprune.formats.atomic import write_file
    from eprune.formats.xml.mapping import write_mapping
    from eprune.model.finding import Severity

    names = [actor.name for actor in inputs.graph.actors]
    mappings = {platform.name: mapping(flow(inputs.graph), platform, homes, names) for platform in platforms}
    used = [platform for platform in platforms if platform.name in homes.values()]
    own = [mappings[platform.name] for platform in used]
    for finding in check(inputs.graph, inputs.interfaces, used, own):
        if finding.severity is Severity.ERROR:
            return f"{finding.rule}: {finding.message}"
    for name, each in mappings.items():
        write_file(str(folder / f"{name}.xml"), write_mapping(each))
    complete = replace(inputs, platforms=tuple(used), mappings=tuple(own))
    for each in own:
        path = folder / f"{each.platform}.pyz"
        write_bundle(program_for(complete, each, True), str(path))
        digest.update(path.read_bytes())
    return ""


def left_out(excluded: Mapping[str, str]) -> list[str]:
    """A line for each reason why partition points are left out."""
    names: dict[str, list[str]] = {}
    for name, reason in excluded.items():
        names.setdefault(reason, []).append(name)
    return [f"  {_some(each)} left out: {reason}" for reason, each in names.items()]


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names) if len(names) <= NAMED else f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return f"{shown} {'is' if len(names) == 1 else 'are'}"


def no_cut(excluded: Mapping[str, str], other: str = "") -> click.ClickException:
    """The error that says why no partition point is left; ``other`` is a cut that is none, but allowed."""
    lines = "\n".join(left_out(excluded))
    count = f"each of the {counted(len(excluded), 'partition point')} is excluded"
    if other:
        return NoCut(f"no partition point is allowed: {count}\n{lines}\nhint: there is a cut {other}")
    return NoCut(f"no cut is allowed: {count}\n{lines}")


def _other_cut(flow: Any, roles: Roles, constraints: Constraints, links: Any) -> str:
    """The allowed cut with the fewest bytes, be it a partition point or not, in words; "" if there is none."""
    from eprune.explore.cost import Costs
    from eprune.explore.integer import Unsolved
    from eprune.explore.search import Search
    from eprune.explore.space import after

    times = {platform: dict.fromkeys(flow.actors, 0.0) for platform in roles.platforms}
    try:
        best = Search(flow, roles, constraints, Costs(times, links)).best("bytes")
    except (Unsolved, ImportError):
        return ""
    return "" if best is None else f"{after(flow, roles, best.homes)}: {placed(roles, best.homes)}"


def placed(roles: Roles, homes: Mapping[str, str]) -> str:
    """``Input, L1 on endpoint; L2 on edge``: where actors are that are not on the server."""
    parts = []
    for platform in roles.platforms[:-1]:
        here = [actor for actor, home in homes.items() if home == platform]
        more = [f"{len(here) - 2 * NAMED} more"] if len(here) > 2 * NAMED else []
        parts.append(f"{', '.join([*here[: 2 * NAMED], *more]) or 'nothing'} on {platform}")
    return "; ".join(parts)


class NoCut(click.ClickException):
    """The constraints leave nothing."""

    exit_code = 1


def read_plan_of(folder: str) -> Plan:
    """The exploration in a folder. Raises a usage error where there is none."""
    from eprune.explore.plan import read_plan

    path = Path(folder, PLAN)
    try:
        return read_plan(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise click.UsageError(
            f"{folder} has no {PLAN}: make one with eprune explore APP.xml ... -o {folder}"
        ) from None
    except ValueError as error:
        raise click.UsageError(f"{path} cannot be used: {error}; run eprune explore again") from None


def _text(plan: Plan, space: Space) -> str:
    flow = plan.flow
    lines = [f"{flow.application}: {counted(len(plan.alternatives), 'partition point')} of {len(flow.actors)} actors"]
    for endpoint, order in space.orders.items():
        lines.append(f"Order on {endpoint} (where it is open, as in the file): {' -> '.join(order)}")
    rows = [
        (each.name, each.after, len(flow.crossing(each.homes)), flow.nbytes(each.homes)) for each in plan.alternatives
    ]
    lines += ["", table(("point", "cut", "FIFOs", "bytes/frame"), rows).rstrip("\n")]
    lines += left_out(plan.excluded)
    return "\n".join(lines)
