"""Drift: what is measured of a deployed system, beside what was predicted when it was cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from eprune.watch.state import State

#: So many times more or less than predicted is drift.
DRIFT = 1.5
#: Seconds of which figures are needed, and the part of a frame's predicted time below which a difference is none.
LEAST, NOISE = 5.0, 0.05


@dataclass(frozen=True)
class Expected:
    """What was predicted: milliseconds of each actor's firing and of a frame, frames per second, ms of links' latency.

    ``links``: (from, to) -> one way. ``source`` says where this comes from: the folder of the exploration.
    """

    source: str
    actors: Mapping[str, float] = field(default_factory=dict)
    latency_ms: Optional[float] = None
    frames_per_s: Optional[float] = None
    links: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass(frozen=True)
class Drift:
    """A figure beside what was predicted. ``better``: -1 where less of it than predicted is no news."""

    platform: str
    subject: str
    what: str
    unit: str
    measured: float
    predicted: float
    better: int = 0

    @property
    def far(self) -> bool:
        """Whether one is DRIFT times the other."""
        return self.factor > DRIFT or (self.better >= 0 and self.factor * DRIFT < 1)

    @property
    def gap(self) -> float:
        """The difference."""
        return abs(self.measured - self.predicted)

    @property
    def factor(self) -> float:
        """How many times the prediction."""
        return self.measured / self.predicted

    def __str__(self) -> str:
        figures = f"{self.measured:.4g} {self.unit}, predicted {self.predicted:.4g} {self.unit}"
        return f"{self.what}: {figures} ({self.factor:.2g} times)"


def drifts(state: State, expected: Expected) -> list[Drift]:
    """Actors that are slower or faster than predicted, links that are slower, frames that are older or fewer.

    What a source's firing takes is not the platform's: it may wait for a camera. Where a FIFO is full frames wait for
    those before them, so their age says nothing; where none is, the source gives no more of them.
    """
    shape = state.shape
    found: list[Drift] = []
    full = any(flow.fill is not None and flow.capacity and flow.fill >= flow.capacity for flow in state.flows)
    fed = {edge.target for edge in shape.edges}
    for node in shape.nodes if expected.actors else ():
        if node.name not in fed:
            continue
        program = state.program(node.platform)
        measured = program.recent.get("busy_ms", {}).get(node.name)
        parts = [expected.actors.get(member) for member in node.members or (node.name,)]
        predicted = sum(part for part in parts if part is not None)
        if measured and predicted and None not in parts and program.recent.get("seconds", 0) >= LEAST:
            found.append(Drift(node.platform, node.name, f"actor {node.name}", "ms", measured, predicted))
    for (frm, to), latency in expected.links.items():
        peer = (state.program(frm).figure("peers") or {}).get(to, {})
        one_way = peer.get("clock_uncertainty_ms")  # half of the shortest round trip
        if one_way and latency:
            found.append(Drift(frm, f"{frm}-{to}", f"latency {frm} -> {to}", "ms", one_way, latency, better=-1))
    for port, age in state.ages.items() if expected.latency_ms and not full else ():
        platform = next(each.platform for each in state.all_programs if port in each.recent.get("ages", {}))
        found.append(Drift(platform, port, f"age at {port}", "ms", age["p50_ms"], expected.latency_ms or 0, better=-1))
    rate = state.frames_per_s
    if rate and expected.frames_per_s and (full or rate > expected.frames_per_s):
        platform = next(node.platform for node in shape.nodes if node.name in shape.sinks)
        found.append(Drift(platform, "throughput", "throughput", "frames/s", rate, expected.frames_per_s))
    noise = NOISE * (expected.latency_ms or 0.0)
    return [drift for drift in found if drift.far and (drift.unit != "ms" or drift.gap >= noise)]


def advice(found: list[Drift], expected: Expected) -> str:
    """What to do about it; '' if there is nothing to be done."""
    if not found:
        return ""
    worst = max(found, key=lambda drift: (drift.unit == "ms", drift.gap))
    return (
        f"{worst.what} is {worst.factor:.2g} times what was predicted: measure anew (eprune profile {expected.source} "
        f"--actors --endpoint ...), and cut anew (eprune cut {expected.source} -o SYSTEM)"
    )
