"""What ``eprune explore`` found: the partition points of an application, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from eprune.explore.plan import Plan, without_window
from eprune.views.cuts import left_out
from eprune.views.tables import counted, table


def text(plan: Plan, orders: Mapping[str, Sequence[str]]) -> str:
    """For people. ``orders`` gives each endpoint the order in which its actors move there."""
    flow = plan.flow
    lines = [f"{flow.application}: {counted(len(plan.alternatives), 'partition point')} of {len(flow.actors)} actors"]
    for endpoint, order in orders.items():
        lines.append(f"Order on {endpoint} (where it is open, as in the file): {' -> '.join(order)}")
    rows = [
        (each.name, each.after, len(flow.crossing(each.homes)), flow.nbytes(each.homes)) for each in plan.alternatives
    ]
    lines += ["", table(("point", "cut", "FIFOs", "bytes/frame"), rows).rstrip("\n")]
    lines += left_out(plan.excluded)
    return "\n".join(lines)


def notes(plan: Plan) -> list[str]:
    """What was assumed of the links, a sentence each."""
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
        "notes": notes(plan),
    }
    return json.dumps(data, indent=1) + "\n"
