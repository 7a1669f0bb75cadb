"""A status report in the text format that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GAUGE, COUNTER = "gauge", "counter"

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Family:
    """The samples of one name, each with its labels: what they mean, and whether they only grow."""

    name: str
    kind: str
    meaning: str
    samples: Sequence[tuple[Labels, float]]


def text(families: Iterable[Family]) -> str:
    """Families as text; those of one name are one. Those without samples are left out."""
    together: dict[str, list[Family]] = {}
    for family in families:
        if family.samples:
            together.setdefault(family.name, []).append(family)
    lines = []
    for name, several in together.items():
        lines += [f"# HELP {name} {several[0].meaning}", f"# TYPE {name} {several[0].kind}"]
        for labels, value in [sample for family in several for sample in family.samples]:
            said = ",".join(f'{label}="{_escaped(each)}"' for label, each in labels.items())
            lines.append(f"{name}{{{said}}} {value!r}" if said else f"{name} {value!r}")
    return "".join(f"{line}\n" for line in lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def families(report: Mapping[str, Any]) -> list[Family]:
    """What a report says, which is as objects of JSON. Figures that are unknown are left out."""
    own = {"application": str(report["application"]), "platform": str(report["platform"])}

    def family(name: str, kind: str, meaning: str, samples: Iterable[tuple[Labels, Optional[float]]]) -> Family:
        known = [({**own, **labels}, float(value)) for labels, value in samples if value is not None]
        return Family(f"eprune_{name}", kind, meaning, known)

    def each(what: Mapping[str, Any], key: str, scale: float = 1.0) -> list[tuple[Labels, Optional[float]]]:
        return [({key: name}, None if value is None else value * scale) for name, value in what.items()]

    def ends(field: str) -> list[tuple[Labels, Optional[float]]]:
        return [
            ({"fifo": name, "kind": end["kind"], "peer": end["peer"]}, end.get(field))
            for name, end in report["fifos"].items()
        ]

    def one(field: str) -> list[tuple[Labels, Optional[float]]]:
        return [({}, report.get(field))]

    recent, peers = report.get("recent", {}), report["peers"]
    ages = [
        ({"input": port, "quantile": quantile}, age[key] / 1e3)
        for port, age in recent.get("ages", {}).items()
        for quantile, key in (("0.5", "p50_ms"), ("0.99", "p99_ms"))
    ]
    offsets = {name: peer.get("clock_offset_ms") for name, peer in peers.items()}
    stalls = [({"actor": name, "stage": stall["stage"]}, stall["seconds"]) for name, stall in report["stalled"].items()]
    cpu = [({"mode": mode}, report.get(f"{mode}_s")) for mode in ("user", "system")]
    figures = [
        ({"actor": actor, "figure": name}, value)
        for actor, several in report.get("figures", {}).items()
        for name, value in several.items()
    ]
    required = recent.get("requirements", {})
    limits = report.get("requirements", {})
    by = [
        ({"requirement": name, "by": by}, number)
        for name, each in limits.items()
        for by, number in each["late_by"].items()
    ]
    taken = [({"dpg": dpg, "row": str(each["row"])}, each["taken"]) for dpg, each in report.get("degraded", {}).items()]

    def judged(what: Mapping[str, Any], field: str, scale: float = 1.0) -> list[tuple[Labels, Optional[float]]]:
        return each({name: record[field] for name, record in what.items()}, "requirement", scale)

    return [
        family("running", GAUGE, "Whether the actors fire.", [({}, report["state"] == "running")]),
        family("report_time_seconds", GAUGE, "When this was reported, since the epoch.", one("time")),
        family("firings_total", COUNTER, "Firings of an actor.", each(report["firings"], "actor")),
        family("busy_seconds", GAUGE, "Recent mean time of a firing.", each(recent.get("busy_ms", {}), "actor", 1e-3)),
        family("age_seconds", GAUGE, "Recent age of the tokens that a sink takes.", ages),
        family("requirement_tokens_total", COUNTER, "Tokens that a requirement is about.", judged(limits, "tokens")),
        family("requirement_within_total", COUNTER, "Those that were in time.", judged(limits, "within")),
        family("requirement_late_total", COUNTER, "Those that were late.", judged(limits, "late")),
        family("requirement_undecided_total", COUNTER, "Those of unsure age.", judged(limits, "undecided")),
        family("requirement_latency_seconds", GAUGE, "How old tokens may be.", judged(limits, "latency_ms", 1e-3)),
        family("requirement_share", GAUGE, "Recent share that was in time, at least.", judged(required, "share")),
        family("requirement_rate", GAUGE, "Recent firings per second of the sink.", judged(required, "rate_per_s")),
        family("late_total", COUNTER, "Late tokens by what took their time.", by),
        family("degraded_total", COUNTER, "Choices of the row for late frames.", taken),
        family("fifo_tokens_total", COUNTER, "Tokens made, or arrived.", ends("tokens")),
        family("fifo_fill", GAUGE, "Tokens in a FIFO now.", ends("fill")),
        family("fifo_capacity", GAUGE, "Tokens in a FIFO at most.", ends("capacity")),
        family("fifo_dropped_total", COUNTER, "Tokens dropped by the sending end.", ends("dropped")),
        family("fifo_discarded_total", COUNTER, "Tokens that came too late to be used.", ends("discarded")),
        family("fifo_resent_total", COUNTER, "Tokens sent more than once.", ends("resent")),
        family("fifo_bytes_per_second", GAUGE, "Recent bytes.", each(recent.get("bytes_per_s", {}), "fifo")),
        family(
            "peer_connected",
            GAUGE,
            "Whether a peer is connected.",
            [({"peer": name}, peer["state"] == "connected") for name, peer in peers.items()],
        ),
        family("clock_offset_seconds", GAUGE, "How far a peer's clock is ahead.", each(offsets, "peer", 1e-3)),
        family("stalled_seconds", GAUGE, "How long an actor has been stalled.", stalls),
        family(
            "missing", GAUGE, "A port without its other end.", [({"port": p}, 1) for p in report.get("missing", ())]
        ),
        family("figure", GAUGE, "What an actor counts or measures itself.", figures),
        family("cpu_seconds_total", COUNTER, "Processor time of the process.", cpu),
        family("resident_bytes", GAUGE, "Memory of the process in RAM.", one("resident_bytes")),
        family("machine_load", GAUGE, "Processor seconds per second of the machine.", one("machine_load")),
        family("machine_cores", GAUGE, "Cores of the machine.", one("machine_cores")),
        family("machine_memory_bytes", GAUGE, "Memory of the machine.", one("machine_memory_bytes")),
        family("available_bytes", GAUGE, "Memory of the machine that can still be had.", one("available_bytes")),
        family("temperature_celsius", GAUGE, "The machine's hottest sensor.", one("temperature_c")),
        family("unlogged_total", COUNTER, "Lines of the log that could not be written.", one("unlogged")),
        family("unreported_total", COUNTER, "Reports that could not be written.", one("unreported")),
    ]
