"""What ``eprune explore`` found: the partition points of an application, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from eprune.explore.plan import LinkFigures, Plan, without_window
from eprune.measure.costs import ASSUMED
from eprune.views.cuts import left_out
from eprune.views.tables import counted, table

#: What an estimate is, for people.
UNTIMED = (
    "the actors are not timed: their times are those that the application states, or else an estimate, with "
    f"{ASSUMED}; eprune profile DIR --actors measures them"
)


def text(plan: Plan, orders: Mapping[str, Sequence[str]]) -> str:
    """For people. ``orders`` gives each endpoint the order in which its actors move there."""
    flow = plan.flow
    lines = [f"{flow.application}: {counted(len(plan.alternatives), plan.point)} of {len(flow.actors)} actors"]
    if plan.roles.anywhere:
        lines[0] += f" on {len(plan.roles.platforms)} platforms, {', '.join(joined(plan.links)) or 'without links'}"
    for endpoint, order in orders.items():
        lines.append(f"Order on {endpoint} (where it is open, as in the file): {' -> '.join(order)}")
    rows = [
        (each.name, each.after, len(flow.crossing(each.homes)), flow.nbytes(each.homes)) for each in plan.alternatives
    ]
    header = ("best by", "placement") if plan.roles.anywhere else ("point", "cut")
    lines += ["", table((*header, "FIFOs", "bytes/frame"), rows).rstrip("\n")]
    lines += left_out(plan.excluded)
    if plan.constraints.required:
        lines.append(f"Required: {plan.constraints.required}. eprune report and eprune cut keep that, by prediction.")
    return "\n".join(lines)


def joined(links: Sequence[LinkFigures]) -> list[str]:
    """``a - b`` for each link, whichever of its ends states it."""
    return list(dict.fromkeys(f"{min(link.origin, link.to)} - {max(link.origin, link.to)}" for link in links))


def notes(plan: Plan) -> list[str]:
    """What was assumed of the links, and of actors that were not timed, a sentence each."""
    if plan.roles.anywhere:
        ends = joined(without_window(plan))
        one = "the link {} states no window, so its FIFOs get one where they cross"
        several = "the links {} state no window, so their FIFOs get one where they cross"
        return [UNTIMED, *[(several if len(ends) > 1 else one).format(", ".join(ends))] * bool(ends)]
    return [
        f"the link {link.origin} -> {link.to} states no window, so in each cut its FIFOs have one; "
        "eprune analyze --buffers says which, for the application's file"
        for link in without_window(plan)
    ]


def as_json(plan: Plan, orders: Mapping[str, Sequence[str]], folder: str) -> str:
    """For programs. The exploration is in ``folder``."""
    flow = plan.flow
    points = [
        {
            "point": each.name,
            "cut": each.after,
            "homes": each.homes,
            **({"units": each.units} if each.units else {}),
            "fifos": [stream.name for stream in flow.crossing(each.homes)],
            "bytes": flow.nbytes(each.homes),
        }
        for each in plan.alternatives
    ]
    data = {
        "application": flow.application,
        "folder": folder,
        "plan": plan.id,
        "frames": plan.frames,
        "orders": {endpoint: list(order) for endpoint, order in orders.items()},
        "points": points,
        "excluded": dict(plan.excluded),
        **({"required": asdict(plan.constraints.required)} if plan.constraints.required else {}),
        "notes": notes(plan),
    }
    return json.dumps(data, indent=1) + "\n"
