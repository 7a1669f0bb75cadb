"""What commands that rank cuts ask of an exploration: constraints, costs, codings, and the best of all cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli.errors import say
from eprune.cli.explore import LISTED, constraints_of

if TYPE_CHECKING:
    from eprune.explore.cost import Costs
    from eprune.explore.plan import LinkFigures, Plan
    from eprune.explore.search import Best
    from eprune.explore.space import Constraints
    from eprune.measure.coding import CodedFifos
    from eprune.views.unmet import UnmetReport


speed_option = click.option(
    "--speed", "speeds", multiple=True, metavar="PLATFORM=F", help="Predict for a PLATFORM that is F times faster."
)


def best_cut(
    plan: Plan, constraints: Constraints, costs: Costs, objective: str, seconds: Optional[float] = None
) -> Optional[Best]:
    """The best of all cuts, None if there is none, or none was found."""
    from eprune.cli.progress import progress
    from eprune.explore.integer import Unsolved
    from eprune.explore.search import SECONDS, Search

    shown = progress(1, unit="")
    shown.begin("searching all cuts")
    try:
        return Search(plan.flow, plan.roles, constraints, costs).best(objective, seconds or SECONDS)
    except Unsolved:
        say(f"note: the search over all cuts has not come to an end in time; these are the {plan.point}s")
    except ImportError:
        say(f"note: without scipy only {plan.point}s are compared (pip install scipy)")
    finally:
        shown.clear()
    return None


def together(plan: Plan, given: Mapping[str, Any]) -> Constraints:
    """The constraints of the exploration, and those given now."""
    more = constraints_of(given, plan.roles.platforms, plan.flow)
    old = plan.constraints
    limits = [limit for limit in (old.max_bytes, more.max_bytes) if limit >= 0]
    return replace(
        old,
        **{name: (*getattr(old, name), *getattr(more, name)) for name in LISTED},
        max_bytes=min(limits, default=-1),
        required=more.required if given["no_require"] else old.required.and_(more.required),
    )


def unmet(
    plan: Plan,
    folder: Path,
    constraints: Constraints,
    costs: Costs,
    seconds: Optional[float] = None,
    as_it_is: bool = False,
) -> Optional[UnmetReport]:
    """Why no cut keeps what is required; None where that is not why there is none, or where it is not known."""
    from eprune.cli.progress import progress
    from eprune.explore import unmet as search
    from eprune.explore.integer import Unsolved
    from eprune.measure.coding import read_coding
    from eprune.views.unmet import UnmetReport

    if not constraints.required:
        return None
    coding = read_coding(plan, folder) if as_it_is else None
    coded = replace(costs, coded=coding.coded) if coding else None
    shown = progress(1, unit="")
    shown.begin("searching what would meet the requirements")
    try:
        found = search.unmet(plan.flow, plan.roles, constraints, costs, seconds, coded)
    except Unsolved:
        say("note: the search for what would meet the requirements has not come to an end in time")
        return None
    except ImportError:
        return None
    finally:
        shown.clear()
    return None if found is None else UnmetReport(plan, costs, found)


def costs_of(plan: Plan, folder: Path, speeds: Sequence[str] = ()) -> Optional[Costs]:
    """What the actors cost, as timed; else as estimated, on a graph of platforms.

    None where they were not timed, or under an earlier plan, and are not estimated.
    """
    from eprune.explore.plan import ACTORS
    from eprune.measure.exploration import estimated_costs, read_costs, stale_costs
    from eprune.views.exploration import UNTIMED

    if stale_costs(plan, folder):
        say(f"note: {folder / ACTORS} is of an earlier exploration: run eprune profile {folder} --actors again")
    factors = _values(speeds, plan, "--speed")
    timed = read_costs(plan, folder, factors)
    if timed is None and plan.estimated:
        say(f"note: {UNTIMED}")
        return estimated_costs(plan, factors)
    return timed


def _values(given: Sequence[str], plan: Plan, option: str) -> dict[str, float]:
    result = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            result[name] = float(value)
        except ValueError:
            raise click.BadParameter(f"{text!r} is not of the form PLATFORM=NUMBER", param_hint=option) from None
        if name not in plan.roles.platforms or not result[name] > 0:
            known = ", ".join(plan.roles.platforms)
            raise click.BadParameter(f"{text!r}: expected one of {known}, and a number above 0", param_hint=option)
    return result


def coding_of(plan: Plan, folder: Path, as_it_is: bool) -> Optional[CodedFifos]:
    """How FIFOs could be coded, where that was tried for this plan, and is wanted."""
    from eprune.measure.coding import CODING, read_coding, stale

    if as_it_is:
        if not (folder / CODING).exists():
            raise click.UsageError(f"--as-it-is: nothing was tried with eprune profile {folder} --compress")
        return None
    if stale(plan, folder):
        say(f"note: {folder / CODING} is of an earlier exploration: run eprune profile {folder} --compress again")
    return read_coding(plan, folder)


def with_codings(costs: Optional[Costs], coding: Optional[CodedFifos], objective: str) -> Optional[Costs]:
    """The costs with FIFOs coded where that pays: in time, or in bytes where the objective has these."""
    from eprune.explore.cost import weights

    if costs is None or coding is None:
        return costs
    return replace(costs, coded=coding.coded, fewest="bytes" in weights(objective))


def costs_over(plan: Plan, costs: Optional[Costs], given: Sequence[str]) -> list[tuple[str, Optional[Costs]]]:
    """The links to predict over: those of the platform files, or those given, each in place of the endpoints'."""
    from eprune.views.report import PLATFORM_LINKS

    if costs is None or not given:
        return [(PLATFORM_LINKS, costs)]
    found: dict[str, Optional[Costs]] = {}
    for text in given:
        name, bandwidth, latency = _link(text)
        if name in found:
            raise click.BadParameter(f"there are two links {name!r}", param_hint="--link")
        links = tuple(_replaced(plan, link, bandwidth, latency) for link in costs.links)
        found[name] = replace(costs, links=links)
    return list(found.items())


def _link(text: str) -> tuple[str, float, float]:
    from eprune.model.quantity import parse_bandwidth, parse_time

    name, _, figures = text.partition("=")
    bandwidth, _, latency = figures.partition(",")
    try:
        read = parse_bandwidth(bandwidth), parse_time(latency or "0s")
        if not name or not read[0]:
            raise ValueError(f"{text!r}: expected a name and a bandwidth above 0")
    except ValueError as error:
        raise click.BadParameter(f"{error}; for example wifi=2.3MB/s,2.15ms", param_hint="--link") from None
    return name, *read


def _replaced(plan: Plan, link: LinkFigures, bandwidth: float, latency: float) -> LinkFigures:
    if {link.origin, link.to} & set(plan.roles.endpoints):
        return replace(link, bandwidth=bandwidth, latency=latency)
    return link
