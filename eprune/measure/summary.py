"""What a run amounts to: frames, frames per second, time per frame on each platform, bytes over each link."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

from eprune.measure.script import notes


@dataclass(frozen=True)
class PlatformSummary:
    """A platform's part: milliseconds per frame in which its actors were busy, in all and each.

    ``cpu_s`` is the processor time of its process in seconds, ``load`` the same per second, so that 1.5 is one and a
    half cores. ``resident_bytes`` is its memory in RAM at the end, shared libraries included, ``unique_bytes`` what
    would be free without it. What is not known is None, and ``note`` says why.
    """

    ms_per_frame: float
    interpreter: Optional[str]
    actors: Mapping[str, float]
    cpu_s: Optional[float] = None
    resident_bytes: Optional[int] = None
    unique_bytes: Optional[int] = None
    load: Optional[float] = None
    note: str = ""


@dataclass(frozen=True)
class LinkSummary:
    """The bytes of tokens sent from one platform to another, and per frame; None without a frame."""

    source: str
    target: str
    bytes: int
    bytes_per_frame: Optional[float]


@dataclass(frozen=True)
class AgeSummary:
    """How old tokens were, from their source's firing to the firing on them: half of them at most, and 99 of 100."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class RunSummary:
    """What a run of all platforms amounts to.

    ``frames`` is what every sink has taken; where it fires several times in an iteration, these are ``iterations``.
    ``seconds`` are from the first firing to the end of the last one, anywhere, so that filling the pipeline counts;
    ``frames_per_second`` is None for a run without a frame. ``ages`` are those of the tokens at the data inputs of
    sinks, ``actor.port``. ``requirements`` and ``degraded`` are as in the records: how requirements were met, and how
    often rows for late frames were taken. ``notes`` are what programs noted of what was left out, assumed or cut short.
    """

    application: str
    frames: int
    seconds: float
    frames_per_second: Optional[float]
    emulated: bool
    platforms: Mapping[str, PlatformSummary]
    links: tuple[LinkSummary, ...]
    ages: Mapping[str, AgeSummary] = field(default_factory=dict)
    requirements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    degraded: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    iterations: bool = False

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        data = asdict(self)
        data["links"] = [
            {"from": link.source, "to": link.target, "bytes": link.bytes, "bytes_per_frame": link.bytes_per_frame}
            for link in self.links
        ]
        return data


def summarize(application: str, records: Mapping[str, Mapping[str, Any]]) -> RunSummary:
    """The summary of the platforms' run records."""
    actors = [actor for record in records.values() for actor in record["actors"].values()]
    ends = [actor for actor in actors if actor["role"] == "sink"] or actors
    frames = min((actor["firings"] // actor.get("repeats", 1) for actor in ends), default=0)
    begins = [actor["first_s"] for actor in actors if actor["first_s"] is not None]
    lasts = [actor["last_s"] for actor in actors if actor["last_s"] is not None]
    seconds = max(lasts) - min(begins) if begins else 0.0
    sent: dict[tuple[str, str], int] = {}
    for platform, record in records.items():
        for fifo in record["fifos"].values():
            if fifo["kind"] == "tx":
                sent[platform, fifo["peer"]] = sent.get((platform, fifo["peer"]), 0) + fifo["bytes"]
    return RunSummary(
        application=application,
        frames=frames,
        seconds=seconds,
        frames_per_second=frames / seconds if seconds else None,
        emulated=any(record.get("emulated") for record in records.values()),
        platforms={platform: _platform(record, frames) for platform, record in records.items()},
        links=tuple(
            LinkSummary(source, target, count, count / frames if frames else None)
            for (source, target), count in sent.items()
        ),
        ages={
            f"{name}.{port}": AgeSummary(each["age_p50_ms"], each["age_p99_ms"])
            for record in records.values()
            for name, actor in record["actors"].items()
            for port, each in actor.get("inputs", {}).items()
            if "age_p50_ms" in each
        },
        requirements={name: each for one in records.values() for name, each in one.get("requirements", {}).items()},
        degraded={name: each for one in records.values() for name, each in one.get("degraded", {}).items()},
        notes=tuple(notes(records)),
        iterations=any("repeats" in actor for actor in actors),
    )


def _platform(record: Mapping[str, Any], frames: int) -> PlatformSummary:
    return PlatformSummary(
        ms_per_frame=_ms_per_frame(record["actors"].values(), frames),
        interpreter=record.get("interpreter"),
        actors={name: _ms_per_frame([actor], frames) for name, actor in record["actors"].items()},
        **_usage(record),
    )


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """What a record says of its process, as far as it does."""
    parts = [usage[name] for name in ("user_s", "system_s") if usage.get(name) is not None]
    return {
        "cpu_s": sum(parts) if parts else None,
        **{name: usage.get(name) for name in ("resident_bytes", "unique_bytes", "load")},
        "note": usage.get("usage_note") or "",
    }


def _ms_per_frame(actors: Iterable[Mapping[str, Any]], frames: int) -> float:
    return 1e3 * sum(actor["busy_s"] for actor in actors) / frames if frames else 0.0
