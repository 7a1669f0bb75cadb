"""A run's summary as text."""

from __future__ import annotations

from eprune.measure.summary import RunSummary
from eprune.model.quantity import format_size
from eprune.views.tables import counted, for_late, table


def text(summary: RunSummary) -> str:
    """The summary for people."""
    frame = "iteration" if summary.iterations else "frame"
    rate = f", {summary.frames_per_second:.1f} {frame}s/s" if summary.frames_per_second else ""
    rows = [
        (name, f"{each.ms_per_frame:.3f}", ", ".join(f"{actor} {ms:.3f}" for actor, ms in each.actors.items()))
        for name, each in summary.platforms.items()
    ]
    lines = [f"{summary.application}: {counted(summary.frames, frame)} in {summary.seconds:.3f} s{rate}"]
    lines[0] += ", emulated links and units" if summary.emulated else ""
    lines += table(("platform", f"ms/{frame}", "of which"), rows).splitlines()
    for link in summary.links:
        share = f", {format_size(link.bytes_per_frame)} per {frame}" if link.bytes_per_frame else ""
        lines.append(f"  {link.source} -> {link.target}: {format_size(link.bytes)}{share}")
    return "\n".join([*lines, *_ages(summary), *_required(summary), *_usage(summary)])


def _ages(summary: RunSummary) -> list[str]:
    """How old the tokens of each sink were, at the input where they were oldest."""
    sinks: dict[str, list[str]] = {}
    for end in summary.ages:
        sinks.setdefault(end.partition(".")[0], []).append(end)
    oldest = [max(ends, key=lambda end: summary.ages[end].p50_ms) for ends in sinks.values()]
    rows = [(end, f"{summary.ages[end].p50_ms:.3f}", f"{summary.ages[end].p99_ms:.3f}") for end in oldest]
    return table(("age of tokens", "median ms", "99 % ms"), rows).splitlines() if rows else []


def _required(summary: RunSummary) -> list[str]:
    """How requirements were met, and how often rows for late frames were taken."""
    rows = []
    for name, each in summary.requirements.items():
        within = f"{each['within']} of {each['tokens']}" if each["latency_ms"] is not None else ""
        within += f", {each['undecided']} undecided" if each["undecided"] else ""
        asked = f"{each['required_share']:.6g} in {each['latency_ms']:g} ms" if each["latency_ms"] is not None else ""
        rate = "" if each["rate_per_s"] is None else f"{each['rate_per_s']:.1f}"
        wanted = "" if each["required_rate_per_s"] is None else f"{each['required_rate_per_s']:g}"
        met = {True: "yes", False: "no", None: "undecided"}[each["met"]]
        by = ", ".join(f"{what} {count}" for what, count in sorted(each["late_by"].items(), key=lambda kind: -kind[1]))
        rows.append((name, within, asked, rate, wanted, met, by))
    names = ("requirement", "in time", "required", "frames/s", "required", "met", "late by")
    lines = table(names, rows).splitlines() if rows else []
    for name, each in summary.degraded.items():
        lines.append(f"  {for_late(name, each['row'], each['taken'], each['frames'])}")
    return lines


def _usage(summary: RunSummary) -> list[str]:
    """What each platform's process took of its machine; a note where that is not known."""
    known = {name: each for name, each in summary.platforms.items() if each.cpu_s is not None}
    if not known:
        return []
    rows = [
        (
            name,
            f"{each.cpu_s:.2f}",
            "?" if each.load is None else f"{each.load:.2f}",
            "?" if each.resident_bytes is None else format_size(each.resident_bytes),
            "?" if each.unique_bytes is None else format_size(each.unique_bytes),
        )
        for name, each in known.items()
    ]
    notes = dict.fromkeys(each.note for each in known.values() if each.note)
    shown = table(("process", "CPU s", "load", "resident", "unique"), rows).splitlines()
    return [*shown, *(f"  note: {note}" for note in notes)]
