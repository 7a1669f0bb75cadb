"""What ``eprune evaluate`` says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from eprune.measure.evaluate import Evaluation
from eprune.model.samples import Share
from eprune.views.tables import Table


def percent(share: Share) -> str:
    """``96.40 % (95.1 to 97.4 %)``."""
    return f"{100 * share.value:.2f} % ({100 * share.low:.1f} to {100 * share.high:.1f} %)"


def as_text(found: Evaluation, *others: Evaluation) -> str:
    """For people; with others, a table."""
    if others:
        return "\n".join(side_by_side([found, *others]).lines())
    of = f"{found.share.right} of {found.share.of} pictures"
    part = "" if found.part == "all" else f" of the {found.part} part"
    what = found.measure if found.model is None else f"{found.measure} with {found.model}"
    lines = [f"{found.application}: {what}: {percent(found.share)}, {of}{part}"]
    for (source, target), nbytes in found.bytes_per_frame.items():
        lines.append(f"  {source} -> {target}: {nbytes:.0f} bytes per frame")
    lines.append(
        f"  latency, {found.how}: {found.latency_ms:.3f} ms (median), {found.latency_p95_ms:.3f} ms (95 of 100 frames)"
    )
    lines.append(f"  with {found.interpreter}")
    return "\n".join(lines) + "\n"


def side_by_side(found: Sequence[Evaluation]) -> Table:
    """Several, on the same pictures."""
    first = found[0]
    what = first.measure if first.model is None else f"{first.measure} with {first.model}"
    part = "" if first.part == "all" else f" of the {first.part} part"
    head = ("application", f"{first.measure}, %", "95 % interval", "bytes per frame", "latency, ms", "of 95 in 100")
    rows = [
        (
            each.application,
            f"{100 * each.share.value:.2f}",
            f"{100 * each.share.low:.1f} to {100 * each.share.high:.1f}",
            f"{sum(each.bytes_per_frame.values()):.0f}",
            f"{each.latency_ms:.3f}",
            f"{each.latency_p95_ms:.3f}",
        )
        for each in found
    ]
    caption = f"{what}, {first.share.of} pictures{part}; latency {first.how}; with {first.interpreter}"
    return Table(caption, head, rows)


def share_data(share: Share) -> dict[str, float]:
    """For JSON."""
    return {
        "right": share.right,
        "of": share.of,
        "value": round(share.value, 6),
        "low": round(share.low, 6),
        "high": round(share.high, 6),
    }


def as_json(found: Evaluation, *others: Evaluation) -> str:
    """For programs."""
    data = evaluation(found)
    if others:
        data["against"] = [evaluation(each) for each in others]
    return json.dumps(data, indent=2) + "\n"


def evaluation(found: Evaluation) -> dict[str, Any]:
    """As plain data."""
    return {
        "application": found.application,
        "measure": found.measure,
        "model": found.model,
        **share_data(found.share),
        "part": found.part,
        "pictures": found.pictures,
        "links": [
            {"from": source, "to": target, "bytes_per_frame": nbytes}
            for (source, target), nbytes in found.bytes_per_frame.items()
        ],
        "latency": {"how": found.how, "p50_ms": found.latency_ms, "p95_ms": found.latency_p95_ms},
        "interpreter": found.interpreter,
        "notes": list(found.notes),
    }
