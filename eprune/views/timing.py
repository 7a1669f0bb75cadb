"""Requirements and latencies as text, for ``eprune analyze``."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from eprune.analysis.latency import Latency
from eprune.analysis.timing import Timing, Verdict
from eprune.model.quantity import format_time
from eprune.views.tables import table

#: How many parts of a way people are shown.
_PARTS = 12
#: How many ways from a source to a sink.
_WAYS = 40


def as_text(answer: Timing) -> str:
    """The answer for people."""
    if answer.without_time:
        missing = ", ".join(answer.without_time[:6]) + (", ..." if len(answer.without_time) > 6 else "")
        return f"Time: unknown, for these actors have none: {missing} (say how long they take: --times)\n"
    if answer.deadlocks:
        return "Time: unknown, for with all rates at their upper limits, which is the bound, the graph deadlocks\n"
    parts = []
    if answer.verdicts:
        rows = [row for verdict in answer.verdicts for row in _rows(verdict)]
        header = ("requirement", "", "required", "typical", "at most", "")
        parts.append(f"Requirements:\n\n{table(header, rows)}")
    for verdict in answer.verdicts:
        if verdict.latencies is not None and not answer.ways:
            parts.append(_way(verdict.latencies[1]))
        if verdict.changes:
            lines = "".join(f"  - {change.text}\n" for change in verdict.changes)
            parts.append(f"Each of these by itself would meet {verdict.requirement}, with typical times:\n{lines}")
    if answer.ways:
        parts.append(_ways(answer))
    return "\n".join(parts)


def _rows(verdict: Verdict) -> list[tuple[str, ...]]:
    required = verdict.requirement
    rows: list[tuple[str, ...]] = []
    if required.rate is not None:
        typical, most = (f"{float(1 / period):.4g}/s" if period else "any" for period in verdict.periods[1:])
        rows.append((str(required), "rate", f"{float(required.rate):.4g}/s", typical, most, verdict.rate.word))
    if required.latency is not None and verdict.latencies is not None:
        typical, most = (_time(each.steady) for each in verdict.latencies[1:])
        limit = _time(required.latency) + (f" for {100 * float(required.share):.4g} %" if required.share < 1 else "")
        kind = "" if verdict.latencies[1].kind == "exact" else f" ({verdict.latencies[1].kind})"
        rows.append((str(required), "latency", limit, typical + kind, most, verdict.latency.word))
    return rows


def _ways(answer: Timing) -> str:
    """Each way, the slowest one's parts, and what the rows of dynamic processing graphs make of them."""
    rows: list[tuple[object, ...]] = []
    for way, (least, most) in list(zip(answer.ways, answer.jitter))[:_WAYS]:
        pace = f"{float(1 / way.period):.4g}/s" if way.period else "any"
        spread = f"{_time(least.steady)} to {_time(most.steady)}"
        rows.append((way.source, way.sink, pace, _time(way.first), _time(way.steady), way.kind, spread))
    more = f"and {len(answer.ways) - _WAYS} more ways\n" if len(answer.ways) > _WAYS else ""
    header = ("from", "to", "at most", "first", "latency", "", "with least and greatest times")
    text = f"Latency, from the beginning of a source's firing to that of a sink's:\n\n{table(header, rows)}{more}"
    for line in dict.fromkeys(line for way in answer.ways for line in way.why):
        text += f"Not exact: {line}\n"
    free = sorted({way.source for way in answer.ways if not way.keeps_up})
    if free:
        text += f"Without a pace that is kept, and so limited by room only: {', '.join(free[:8])}\n"
    if answer.ways:
        text += f"\n{_way(max(answer.ways, key=lambda way: way.steady))}"
    if answer.rows:
        text += f"\n{_by_row(answer)}"
    return text


def _by_row(answer: Timing) -> str:
    rows = [
        (
            f"{dpg} = {value}",
            way.source,
            way.sink,
            f"{float(1 / way.period):.4g}/s" if way.period else "any",
            _time(way.steady),
        )
        for (dpg, value), ways in answer.rows.items()
        for way in ways[:_WAYS]
    ]
    return f"As long as one row holds:\n\n{table(('row', 'from', 'to', 'at most', 'latency'), rows)}"


def _way(way: Latency) -> str:
    """Where the time goes."""
    total = way.steady or Fraction(1)
    parts: Sequence[tuple[str, ...]] = [
        (
            part.about,
            part.does + (f" for {part.why}" if part.why else ""),
            _time(part.seconds),
            f"{100 * float(part.seconds / total):.0f} %",
        )
        for part in way.parts
    ]
    if len(parts) > _PARTS:
        parts = [*parts[: _PARTS - 1], ("...", f"and {len(parts) - _PARTS + 1} more", "", "")]
    if not parts:
        return f"From {way.source} to {way.sink} no time passes.\n"
    return f"From {way.source} to {way.sink}, {_time(way.steady)}:\n\n{table(('', 'what', 'time', 'share'), parts)}"


def _time(seconds: Fraction) -> str:
    return format_time(float(seconds))
