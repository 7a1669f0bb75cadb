"""``eprune explore``: every partition point of an application, ready to be measured."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import say
from eprune.cli.printing import show
from eprune.views.tables import counted

if TYPE_CHECKING:
    from eprune.explore.flow import Flow
    from eprune.explore.space import Constraints, Roles, Space
    from eprune.measure.exploration import Times
    from eprune.model.platform import Platform
    from eprune.model.system import System


#: Those constraints that several options add up to.
LISTED = ("keep_on", "not_on", "must_use", "must_not_use", "private_until")
#: A bound in place of an actor.
_SSIM = re.compile(r"ssim<?=([0-9]+(?:\.[0-9]*)?|\.[0-9]+)$")


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


def seconds_option(function: options.Decorated) -> options.Decorated:
    """--seconds, the same for all commands that search."""
    option = click.option(
        "--seconds",
        type=click.FloatRange(min=0.1),
        metavar="S",
        help="Search for so long at most (default: 30); what is not proved to be best by then has a bound.",
    )
    return option(function)


def objective_option(function: options.Decorated) -> options.Decorated:
    """--objective, the same for all commands that rank cuts."""
    option = click.option(
        "--objective",
        type=Objective(),
        metavar="NAME",
        help="Optimize endpoint (default), latency (default on a graph of platforms), throughput, bytes, energy; or "
        "weights: endpoint=1,bytes=0.002.",
    )
    return option(function)


def constraint_options(function: options.Decorated) -> options.Decorated:
    """The questions to the space of cuts, the same for all commands that ask them."""
    pair: Any = {"nargs": 2, "type": (str, str), "multiple": True, "metavar": "PLATFORM ACTOR"}
    platform: Any = {"multiple": True, "metavar": "PLATFORM"}
    for option in (
        click.option(
            "--no-require", is_flag=True, help="Leave aside what the application, and the exploration, require."
        ),
        click.option(
            "--require",
            multiple=True,
            metavar="rate=R,latency=T",
            help="So many frames per second, so long for a single one at most, by prediction: rate=30/s,latency=100ms. "
            "What the application requires holds as well.",
        ),
        click.option(
            "--privacy", metavar="FILE.json", help="What tokens reveal, from eprune privacy --every --format json."
        ),
        click.option(
            "--private-until",
            multiple=True,
            metavar="ACTOR|ssim=S",
            help="Everything before ACTOR stays on its endpoint; or what reveals more than this SSIM, by --privacy.",
        ),
        click.option(
            "--max-bytes", metavar="SIZE", help="At most this many bytes over all links per frame, such as 64KiB."
        ),
        click.option("--must-not-use", **platform, help="Nothing runs on PLATFORM."),
        click.option("--must-use", **platform, help="Something runs on PLATFORM."),
        click.option("--not-on", **pair, help="ACTOR does not run on PLATFORM."),
        click.option("--keep-on", **pair, help="ACTOR runs on PLATFORM."),
    ):
        function = option(function)
    return function


@click.command("explore", cls=options.Command, short_help="Generate every cut, ready to be measured.")
@options.application_argument
@options.platforms_option
@options.outside_option
@click.option("-o", "--output", metavar="DIR", required=True, help="The folder for mappings, programs and scripts.")
@click.option(
    "--fastest-units",
    is_flag=True,
    help="Put each actor on the unit of its platform that eprune profile DIR --actors found fastest.",
)
@click.option("--edge", "edges", multiple=True, metavar="PLATFORM", help="A platform between endpoint and server.")
@seconds_option
@click.option(
    "--frames", type=click.IntRange(min=1), default=100, metavar="N", help="Frames per measurement (default: 100)."
)
@constraint_options
@click.option("--force", is_flag=True, help="Write into DIR even if it has other files.")
@options.format_option
def command(
    application: str,
    platforms: Sequence[str],
    output: str,
    fastest_units: bool,
    edges: Sequence[str],
    seconds: Optional[float],
    frames: int,
    force: bool,
    fmt: str,
    **constraints: Any,
) -> None:
    """Write every partition point of an application into DIR: mappings, programs, and scripts that measure all of them.

    Partition point k runs the first k actors, in precedence order, on the endpoint and the others on the server. The
    server is the platform that is named last; with several endpoints each runs the first k of the actors that only its
    own sources feed. Of several units of a platform, an actor is on the first that takes it. With --edge, point j-k
    runs the first j on the endpoint and those up to the k-th on the edge. A source or sink that a constraint ties to
    one platform stays there; constraints on other actors leave partition points out.

    Three platforms or more that are not endpoints around a server are a graph: any actor may be on any of them, and on
    any unit that takes it, as far as they have links; sources are on the platform that is named first, unless
    --keep-on says otherwise. In place of partition points there are the placements that are best by latency,
    throughput and energy, by an estimate of the actors' times; eprune report and eprune cut find them anew once these
    are measured.

    \b
    Examples:
      eprune explore app.xml -p endpoint.xml server.xml -o build/cuts
      eprune explore app.xml -p endpoint.xml server.xml -o build/cuts --keep-on endpoint Sink --private-until L2
      eprune explore app.xml -p endpoint.xml edge.xml cloud.xml --edge edge -o build/cuts
      eprune explore app.xml -p a.xml b.xml c.xml d.xml -o build/cuts
      eprune explore app.xml -p platforms -o build/cuts --privacy revealed.json --private-until ssim=0.5
    """
    from eprune.cli.progress import progress
    from eprune.cli.reading import read_sound
    from eprune.explore.flow import flow
    from eprune.explore.plan import link_figures
    from eprune.explore.required import required_of
    from eprune.measure.exploration import NO_TIMES, NoPoint, foreign, write_exploration
    from eprune.views.exploration import as_json, notes, text

    if not force and foreign(Path(output)):
        raise click.BadParameter(
            f"{output} has files, but no exploration: give another folder, or --force", param_hint="-o"
        )
    system = read_sound(application)
    read = _read_platforms(platforms)
    streams = flow(system.graph, system.interfaces)
    roles = _roles(read, edges, streams, constraints["keep_on"])
    read.sort(key=lambda platform: roles.platforms.index(platform.name))
    applied = constraints_of(constraints, roles.platforms, streams)
    if not constraints["no_require"]:
        applied = replace(applied, required=applied.required.and_(required_of(system.graph)))
    if constraints["privacy"] and not any(_SSIM.match(each) for each in constraints["private_until"]):
        raise click.UsageError("--privacy is for a bound: give --private-until ssim=0.5, say, too")
    placed, typed, estimated = replace(system, platforms=tuple(read)), options.typed(), NO_TIMES
    if roles.anywhere:
        options.refuse(("fastest_units",), "on a graph of platforms the search chooses the units itself")
        space, estimated = _placements(placed, roles, applied, streams, seconds)
    else:
        options.refuse(("seconds",), "--seconds is for the search on a graph of platforms; partition points need none")
        space = partition_points_or_say(streams, roles, applied)
    shown = progress(len(space.alternatives), unit="placement" if roles.anywhere else "partition point")
    try:
        plan = write_exploration(
            placed, roles, applied, space, frames, Path(output), typed, shown, fastest_units, estimated
        )
    except NoPoint as none:
        if roles.anywhere:
            raise no_cut(none.excluded) from None
        raise no_cut(none.excluded, _other_cut(streams, roles, applied, link_figures(read))) from None
    show(as_json(plan, space.orders, output) if fmt == "json" else text(plan, space.orders), fmt)
    for note in notes(plan):
        say(f"note: {note}")
    if fmt != "json":
        say(f"next: eprune profile {shlex.quote(output)}{' --actors' * roles.anywhere}")


def _placements(
    system: System, roles: Roles, constraints: Constraints, streams: Flow, seconds: Optional[float]
) -> tuple[Space, Times]:
    """The best placements by an estimate, which is the second result. Raises NoCut where none is allowed."""
    from eprune.cli.progress import progress
    from eprune.explore.answer import placements
    from eprune.explore.integer import Unsolved
    from eprune.explore.plan import link_figures, memory, power
    from eprune.explore.required import ANYTHING
    from eprune.explore.space import Space
    from eprune.measure.costs import estimated
    from eprune.measure.exploration import costs_by

    times = estimated(system.graph, system.platforms)
    costs = costs_by(times, link_figures(system.platforms), power(system.platforms), memory(system.platforms))
    shown = progress(1, unit="")
    shown.begin("searching for the best placements")
    try:
        # What is required is kept once times are known: an estimate proves nothing.
        found = placements(streams, roles, replace(constraints, required=ANYTHING), costs, seconds)
    except Unsolved as unsolved:
        raise click.ClickException(f"no placement was found {unsolved}: give --seconds more") from None
    except ImportError:
        raise click.UsageError("the search over a graph of platforms needs scipy: pip install scipy") from None
    finally:
        shown.clear()
    if not found:
        raise NoCut(
            "no placement is allowed: of the platforms that may have an actor none takes it, links do not lead there, "
            "or memory or constraints leave no room"
        )
    return Space({}, found, {}), times


def _roles(
    platforms: Sequence[Platform], edges: Sequence[str], streams: Flow, kept: Iterable[tuple[str, str]]
) -> Roles:
    """What the platforms are to each other: endpoint and server, tiers, endpoints around a server, or any graph."""
    from eprune.explore.space import Roles

    names = [platform.name for platform in platforms]
    for edge in edges:
        _known(edge, names, "platform", "edge")
    between = tuple(name for name in names if name in edges)
    others = [name for name in names if name not in edges]
    if len(others) < 2:
        raise click.UsageError("a cut needs an endpoint and a server: give both platform files with -p")
    if between and len(others) > 2:
        raise click.UsageError(f"with --edge there is one endpoint only, not {' and '.join(others[:-1])}")
    around = {frozenset((name, others[-1])) for name in others[:-1]}
    links = {frozenset((one.name, link.to)) for one in platforms for link in one.links if link.to in names}
    if between or len(others) == 2 or (links == around and len(streams.sources) >= len(around)):
        return Roles(tuple(others[:-1]), others[-1], between)
    homes = {actor: platform for platform, actor in kept if platform in names}
    endpoints = tuple(dict.fromkeys(homes.get(source, names[0]) for source in streams.sources))
    rest = [name for name in names if name not in endpoints]
    return Roles(endpoints, (rest or endpoints)[-1], tuple(rest[:-1]), anywhere=True)


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


def constraints_of(given: Mapping[str, Any], platforms: Sequence[str], flow: Flow) -> Constraints:
    """The constraints that the options say. Raises BadParameter for names that do not exist, and bounds of nothing."""
    from eprune.explore.required import parse_required, together
    from eprune.explore.space import Constraints
    from eprune.model.quantity import parse_size

    actors = flow.actors
    for option in ("keep_on", "not_on"):
        for platform, actor in given[option]:
            _known(platform, platforms, "platform", option)
            _known(actor, actors, "actor", option)
    for option in ("must_use", "must_not_use"):
        for platform in given[option]:
            _known(platform, platforms, "platform", option)
    private: dict[str, None] = {}
    for text in given["private_until"]:
        if _SSIM.match(text):
            private.update(dict.fromkeys(_above(text, given["privacy"], flow)))
        else:
            _known(text, actors, "actor", "private_until")
            private[text] = None
    try:
        max_bytes = -1 if given["max_bytes"] is None else parse_size(given["max_bytes"])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--max-bytes") from None
    try:
        required = together(map(parse_required, given["require"]))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--require") from None
    named = {name: given[name] for name in LISTED}
    return Constraints(**{**named, "private_until": tuple(private)}, max_bytes=max_bytes, required=required)


def revealed_by(file: str, flow: Flow) -> dict[str, float]:
    """Actor -> what its tokens reveal, as the file of --privacy says. Raises BadParameter for another file."""
    from eprune.explore.revealed import read_revealed

    try:
        return read_revealed(Path(file).read_text(encoding="utf-8"), flow)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise click.BadParameter(f"{file}: {why}", param_hint="--privacy") from None


def _above(text: str, file: Optional[str], flow: Flow) -> tuple[str, ...]:
    """The actors that a bound makes private."""
    from eprune.explore.revealed import private_until

    bound = _SSIM.match(text)
    value = float(bound[1]) if bound else 2.0
    if not 0 <= value <= 1:
        raise click.BadParameter(f"{text!r}: SSIM is from 0 to 1, as in ssim=0.5", param_hint="--private-until")
    if not file:
        raise click.BadParameter(
            f"{text}: what tokens reveal must be known: give --privacy FILE.json, from eprune privacy --every",
            param_hint="--private-until",
        )
    return private_until(flow, revealed_by(file, flow), value)


def _known(name: str, names: Sequence[str], kind: str, option: str) -> None:
    import difflib

    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
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


def no_cut(excluded: Mapping[str, str], other: str = "") -> click.ClickException:
    """The error that says why no partition point is left; ``other`` is a cut that is none, but allowed."""
    from eprune.views.cuts import left_out

    lines = "\n".join(left_out(excluded))
    count = f"each of the {counted(len(excluded), 'partition point')} is excluded"
    if other:
        return NoCut(f"no partition point is allowed: {count}\n{lines}\nhint: there is a cut {other}")
    return NoCut(f"no cut is allowed: {count}\n{lines}")


def _other_cut(flow: Any, roles: Roles, constraints: Constraints, links: Any) -> str:
    """The allowed cut with the fewest bytes, be it a partition point or not, in words; "" if there is none."""
    from eprune.explore.cost import Costs
    from eprune.explore.integer import Unsolved
    from eprune.explore.required import ANYTHING
    from eprune.explore.search import Search
    from eprune.explore.space import after
    from eprune.views.cuts import placed

    times = {platform: dict.fromkeys(flow.actors, 0.0) for platform in roles.platforms}
    try:
        best = Search(flow, roles, replace(constraints, required=ANYTHING), Costs(times, links)).best("bytes")
    except (Unsolved, ImportError):
        return ""
    return "" if best is None else f"{after(flow, roles, best.homes)}: {placed(roles, best.homes)}"


class NoCut(click.ClickException):
    """The constraints leave nothing."""

    exit_code = 1
