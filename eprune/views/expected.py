"""What a simulated run in time says, as text, for ``eprune simulate --time``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from eprune.analysis.expected import Expectation, Interval
from eprune.model.quantity import format_time
from eprune.views.tables import counted, for_late, table


def as_text(answer: Expectation, head: Mapping[str, Any]) -> str:
    """The answer for people; ``head``: see ``cli.simulate``."""
    length = format_time(float(answer.run.length))
    text = f"{head['application']}: {counted(head['iterations'], 'iteration')} in {length}\n"
    text += "".join(f"  {name}: {line}\n" for name, line in head["rows"].items())
    if answer.ages:
        rows = [
            (
                each.source,
                each.sink,
                each.count,
                _mean(each.mean),
                *map(format_time, (each.p50, each.p95, each.p99, each.most)),
            )
            for each in answer.ages
        ]
        header = ("from", "to", "tokens", "mean age (95 %)", "p50", "p95", "p99", "most")
        text += f"\nAges of tokens when a sink begins to fire on them:\n\n{table(header, rows)}"
    if answer.kept:
        rows = [
            (
                str(each.requirement),
                "" if each.share is None else _percent(each.share),
                "" if each.rate is None else f"{each.rate:.4g}/s",
                "met" if each.met else "missed",
            )
            for each in answer.kept
        ]
        text += f"\nRequirements in this run:\n\n{table(('requirement', 'in time (95 %)', 'rate', ''), rows)}"
    for name, late in answer.late.items():
        text += f"\n{for_late(name, late.row, late.taken, late.frames)}\n"
    if answer.busy:
        rows = [(place, f"{100 * share:.1f} %") for place, share in answer.busy.items()]
        text += f"\n{table(('unit or link', 'busy'), rows)}"
    if answer.run.dropped:
        rows = [(name, count) for name, count in answer.run.dropped.items()]
        text += f"\n{table(('FIFO', 'tokens dropped for newer ones'), rows)}"
    if answer.run.short:
        text += f"\nFired less often: {', '.join(answer.run.short)}\n"
    return text


def _mean(interval: Interval) -> str:
    margin: Optional[float] = None if interval.high is None else interval.high - interval.value
    return format_time(interval.value) + ("" if margin is None else f" ± {format_time(margin)}" if margin else " ± 0")


def _percent(interval: Interval) -> str:
    text = f"{100 * interval.value:.4g} %"
    if interval.low is None or interval.high is None:
        return text
    return f"{text} ({100 * interval.low:.3g} to {100 * interval.high:.3g})"
