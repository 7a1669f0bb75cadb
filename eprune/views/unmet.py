"""That no cut keeps what is required, for people and for programs: the nearest one, and what would help."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eprune.explore.answer import point_of
from eprune.explore.cost import Costs
from eprune.explore.plan import LinkFigures, Plan
from eprune.explore.search import Best
from eprune.explore.space import after
from eprune.explore.unmet import MOST, Remedy, Unmet

#: Up to so many links are told with their bandwidth.
_LINKS = 2


@dataclass(frozen=True)
class UnmetReport:
    """That no cut keeps what is required, by these costs."""

    plan: Plan
    costs: Costs
    found: Unmet

    def lines(self) -> list[str]:
        """For people."""
        return [*self.verdict(), *self.helps()]

    def verdict(self) -> list[str]:
        """That no cut does, and which one is nearest: a sentence each."""
        found, required, made = self.found, self.found.required, self.found.predicted
        parts = [f"{1e3 * made.latency:.4g} ms for a single frame"] if required.latency is not None else []
        if required.rate is not None and made.period:
            parts.append(f"{1 / made.period:.4g} frames/s, set by {made.bottleneck}")
        missed = required.missed(made.latency, made.period)
        return [
            f"No {'placement' if self.plan.roles.anywhere else 'cut'} meets what is required: {required}.",
            f"The nearest is {_cut(self.plan, found.nearest)}: {'; '.join(parts)} ({missed}).",
            *_least(found),
        ]

    def helps(self) -> list[str]:
        """What would let a cut do, a line each, and what would not."""
        remedies = self.found.remedies
        helpful = [f"  {_remedy(self.plan, self.costs, each)}" for each in remedies if each.factor is not None]
        if self.found.coded is not None:
            helpful.append(f"  coded tokens, without --as-it-is: {_cut(self.plan, self.found.coded)}")
        useless = [_of(self.plan, each) for each in remedies if each.factor is None]
        return [
            *["Each of these by itself would do:"] * bool(helpful),
            *helpful,
            *[f"Of no help by itself, not even {MOST:.0f} times as fast: {', '.join(useless)}."] * bool(useless),
        ]

    def data(self) -> dict[str, Any]:
        """For programs."""
        found = self.found
        return {
            "ratio": found.nearest.value,
            "nearest": {**_homes(self.plan, found.nearest), "predicted": asdict(found.predicted)},
            "least_latency": found.least.latency,
            "highest_rate": None if found.least.rate == math.inf else found.least.rate,
            "remedies": [
                {
                    "faster": list(each.platforms) or "links",
                    "factor": each.factor,
                    "proved": each.proved,
                    **(_homes(self.plan, each.best) if each.best else {}),
                }
                for each in found.remedies
            ],
            **({"coded": _homes(self.plan, found.coded)} if found.coded else {}),
        }


def _least(found: Unmet) -> list[str]:
    """What can be had, one figure at a time."""
    least = found.least
    if least.latency is None or least.rate is None:
        return []
    rate = "any rate" if least.rate == math.inf else f"{least.rate:.4g} frames/s"
    latency = f"{1e3 * least.latency:.4g} ms"
    return [f"Taken by itself, the least latency is {latency}, and the highest rate {rate}."]


def _cut(plan: Plan, best: Best) -> str:
    point = point_of(plan, best.homes, best.units)
    words = after(plan.flow, plan.roles, best.homes)
    words = f"the cut {words}" if words.startswith("after") else words
    return f"{words}{f' ({plan.point} {point})' if point else ''}"


def _of(plan: Plan, remedy: Remedy) -> str:
    if plan.roles.anywhere and remedy.platforms == plan.roles.platforms:
        return "all platforms"
    return " and ".join(remedy.platforms) or "the links"


def _remedy(plan: Plan, costs: Costs, remedy: Remedy) -> str:
    assert remedy.factor is not None and remedy.best is not None
    factor, cut = f"{_up(remedy.factor)} times", _cut(plan, remedy.best)
    if not remedy.proved:
        factor = f"at most {factor}"
    if remedy.platforms:
        return f"{_of(plan, remedy)} {factor} as fast: {cut}"
    homes = remedy.best.homes
    used = {(homes[each.source], homes[each.target]) for each in plan.flow.crossing(homes)}
    links = [each for each in costs.links if each.bandwidth and (each.origin, each.to) in used]
    ends = [f"{each.origin} -> {each.to} {_bandwidth(each, remedy.factor)}" for each in links]
    told = f" ({', '.join(ends)})" if 0 < len(ends) <= _LINKS else ""
    coding = "than eprune profile --compress has found" if costs.coded else "(eprune profile --compress tries how)"
    return f"links {factor} as fast{told}, or tokens that many times smaller {coding}: {cut}"


def _bandwidth(link: LinkFigures, factor: float) -> str:
    assert link.bandwidth is not None
    return f"{_up(factor * link.bandwidth / 1e6)} MB/s instead of {link.bandwidth / 1e6:.3g}"


def _up(value: float) -> str:
    """At least this, with three digits: what is told has to suffice."""
    digits = 2 - math.floor(math.log10(value))
    return f"{math.ceil(value * 10**digits) / 10**digits:.{max(digits, 0)}f}"


def _homes(plan: Plan, best: Best) -> Mapping[str, Any]:
    units = {"units": best.units} if best.units else {}
    point = point_of(plan, best.homes, best.units) or None
    return {"point": point, "cut": after(plan.flow, plan.roles, best.homes), "homes": dict(best.homes), **units}
