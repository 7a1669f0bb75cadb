"""What a run amounts to: frames, frames a second, time a frame on each platform, bytes over each link."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eprune.model.quantity import format_size
from eprune.views.tables import counted, table


def summarize(application: str, records: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The summary of the platforms' run records.

    ``frames`` is what every sink has taken. ``seconds`` are from the first firing to the end of the last one, anywhere,
    so filling the pipeline counts. A platform's ``ms_per_frame`` is the time its actors were busy.
    """
    actors = [actor for record in records.values() for actor in record["actors"].values()]
    sinks = [actor["firings"] for actor in actors if actor["role"] == "sink"]
    frames = min(sinks or [actor["firings"] for actor in actors], default=0)
    begins = [actor["first_s"] for actor in actors if actor["first_s"] is not None]
    ends = [actor["last_s"] for actor in actors if actor["last_s"] is not None]
    seconds = max(ends) - min(begins) if begins else 0.0
    sent: dict[tuple[str, str], int] = {}
    for platform, record in records.items():
        for fifo in record["fifos"].values():
            if fifo["kind"] == "tx":
                sent[platform, fifo["peer"]] = sent.get((platform, fifo["peer"]), 0) + fifo["bytes"]
    return {
        "application": application,
        "frames": frames,
        "seconds": seconds,
        "frames_per_second": frames / seconds if seconds else None,
        "emulated": any(record.get("emulated") for record in records.values()),
        "platforms": {
            platform: {
                "ms_per_frame": _ms_per_frame(record["actors"].values(), frames),
                "interpreter": record.get("interpreter"),
                "actors": {name: _ms_per_frame([actor], frames) for name, actor in record["actors"].items()},
            }
            for platform, record in records.items()
        },
        "links": [
            {"from": source, "to": target, "bytes": count, "bytes_per_frame": count / frames if frames else None}
            for (source, target), count in sent.items()
        ],
    }


def _ms_per_frame(actors: Any, frames: int) -> float:
    return 1e3 * sum(actor["busy_s"] for actor in actors) / frames if frames else 0.0


def as_text(summary: Mapping[str, Any]) -> str:
    """The summary for people."""
    rate = f", {summary['frames_per_second']:.1f} frames/s" if summary["frames_per_second"] else ""
    rows = [
        (platform, f"{told['ms_per_frame']:.3f}", ", ".join(f"{name} {ms:.3f}" for name, ms in told["actors"].items()))
        for platform, told in summary["platforms"].items()
    ]
    lines = [f"{summary['application']}: {counted(summary['frames'], 'frame')} in {summary['seconds']:.3f} s{rate}"]
    lines[0] += ", emulated links and units" if summary["emulated"] else ""
    lines += table(("platform", "ms/frame", "of which"), rows).splitlines()
    for link in summary["links"]:
        share = f", {format_size(link['bytes_per_frame'])} a frame" if link["bytes_per_frame"] else ""
        lines.append(f"  {link['from']} -> {link['to']}: {format_size(link['bytes'])}{share}")
    return "\n".join(lines)
