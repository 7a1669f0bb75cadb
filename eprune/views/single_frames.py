"""What was measured of single frames, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eprune.explore.plan import Plan
from eprune.measure import latency, script
from eprune.views.tables import table


def single_frames(plan: Plan, lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What was measured of single frames, as lines of text; none if nothing was."""
    fine = [each for each in plan.alternatives if lines.get(each.name, {}).get("ok")]
    failed = [f"  {name}: single frames failed: {line['problem']}" for name, line in lines.items() if not line["ok"]]
    if not fine:
        return failed
    header, cells = latency.rows([lines[each.name] for each in fine], plan.roles.platforms)
    emulated = ["emulated" if script.emulated(lines[each.name]) else "" for each in fine]
    rows = [(each.name, each.after, *row, label) for each, row, label in zip(fine, cells, emulated)]
    shown = table(("point", "cut", *header, ""), rows)
    count = min(lines[each.name]["frames"] for each in fine)
    return [f"Single frames, from source to result and back to it, measured ({count} frames):", shown, *failed]
