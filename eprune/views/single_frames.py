"""What was measured of single frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from eprune.explore.plan import Plan
from eprune.measure import latency, script
from eprune.views.tables import Table


def single_frames(plan: Plan, lines: Mapping[str, Mapping[str, Any]]) -> Optional[Table]:
    """What was measured of single frames; None if nothing was."""
    fine = [each for each in plan.alternatives if lines.get(each.name, {}).get("ok")]
    if not fine:
        return None
    header, cells = latency.rows([lines[each.name] for each in fine], plan.roles.platforms)
    emulated = ["emulated" if script.emulated(lines[each.name]) else "" for each in fine]
    rows = [(each.name, each.after, *row, label) for each, row, label in zip(fine, cells, emulated)]
    count = min(lines[each.name]["frames"] for each in fine)
    caption = f"Single frames, from source to result and back to it, measured ({count} frames)"
    return Table(caption, ("point", "cut", *header, "emulated"), rows).filled()


def failures(lines: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line for each point whose single frames failed."""
    return [f"  {name}: single frames failed: {line['problem']}" for name, line in lines.items() if not line["ok"]]
