"""Alarms: what somebody should be told of a state. A new kind is a function here, and a row in KINDS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

from eprune.watch.drift import Expected, drifts
from eprune.watch.state import HEALTHY, UNKNOWN, State

#: Seconds for which an alarm must have been over before it is raised again: what flaps is one alarm.
HOLD = 30.0


@dataclass(frozen=True)
class Limits:
    """What alarms are measured by: the age in ms above which a frame is late, and what was predicted."""

    late_ms: Optional[float] = None
    expected: Optional[Expected] = None


@dataclass(frozen=True)
class Alarm:
    """One thing to be told: its kind, what it is about, and a sentence."""

    kind: str
    platform: str
    subject: str
    message: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes it the same alarm as another one."""
        return self.kind, self.platform, self.subject


def lost(state: State, limits: Limits) -> Iterator[Alarm]:
    """Devices that cannot be asked, programs that are not well, peers that are lost, ports without their other end;
    and tokens that were dropped, or came too late to be used, in the last seconds.
    """
    for program in state.all_programs:
        name = program.platform
        if program.health not in (HEALTHY, UNKNOWN):
            yield Alarm("lost", name, name, f"{name} is not well: {program.why}")
        peers = program.figure("peers") or {}
        for peer in sorted(peer for peer, about in peers.items() if about["state"] == "lost"):
            yield Alarm("lost", name, peer, f"{name} has lost {peer}")
        for fifo, count in program.recent.get("lost", {}).items():
            seconds = program.recent.get("seconds", 0)
            yield Alarm("lost", name, fifo, f"FIFO {fifo} has lost {count} tokens in {seconds:.0f} s")
    for platform, ports in state.missing.items():
        for port in ports:
            yield Alarm("lost", platform, port, f"{port} on {platform} is without its other end")


def late(state: State, limits: Limits) -> Iterator[Alarm]:
    """Requirements that were not met in the last seconds; where none has a latency, frames older than the limit."""
    for program in state.all_programs:
        timed = set()
        for name, found in program.recent.get("requirements", {}).items():
            if found["latency_ms"] is not None:
                timed.add(name.rpartition(" ")[2])
            if found["met"] is False:
                by = (program.figure("requirements") or {}).get(name, {}).get("late_by", {})
                yield Alarm("late", program.platform, name, f"{name}: {unmet(found, by)}")
        for port, age in program.recent.get("ages", {}).items():
            if limits.late_ms is not None and age["p99_ms"] > limits.late_ms and port not in timed:
                message = f"of the frames at {port}, 1 in 100 is older than {age['p99_ms']:.1f} ms"
                yield Alarm("late", program.platform, port, f"{message}: the limit is {limits.late_ms:g} ms")


def unmet(found: Mapping[str, Any], by: Mapping[str, int]) -> str:
    """What a requirement lacks, as a report has it, and what took the time."""
    said = []
    if found["late"]:
        share = f"{100 * found['share']:.4g} % within {found['latency_ms']:g} ms"
        said.append(f"{share}, required are {100 * found['required_share']:.4g} %")
    rate, wanted = found["rate_per_s"], found["required_rate_per_s"]
    if rate is not None and wanted is not None and rate < wanted:
        said.append(f"{rate:.4g} frames/s, required are {wanted:g}")
    worst = max(by, key=lambda each: by[each], default="")
    return "; ".join(said) + f"; most time was taken by {worst}" * bool(worst and found["late"])


def stalled(state: State, limits: Limits) -> Iterator[Alarm]:
    """Actors that do not return."""
    for program in state.all_programs:
        for actor, stall in (program.figure("stalled") or {}).items():
            where = f"{stall['seconds']:.0f} s in {stall['stage']}"
            yield Alarm("stalled", program.platform, actor, f"actor {actor} on {program.platform} is stalled: {where}")


def drifted(state: State, limits: Limits) -> Iterator[Alarm]:
    """Figures that are far from what was predicted."""
    if limits.expected is not None:
        for drift in drifts(state, limits.expected):
            yield Alarm("drift", drift.platform, drift.subject, str(drift))


#: kind -> the alarms of that kind that a state gives
KINDS: Mapping[str, Callable[[State, Limits], Iterator[Alarm]]] = {
    "lost": lost,
    "late": late,
    "stalled": stalled,
    "drift": drifted,
}


def alarms(state: State, limits: Limits, kinds: Sequence[str] = tuple(KINDS)) -> list[Alarm]:
    """The alarms of these kinds that a state gives."""
    return [alarm for kind in kinds for alarm in KINDS[kind](state, limits)]


class Raised:
    """Which alarms are raised, from state to state."""

    def __init__(self) -> None:
        #: alarm -> when it was seen last
        self._seen: dict[tuple[str, str, str], float] = {}

    def new(self, found: Sequence[Alarm], now: float) -> list[Alarm]:
        """Those that were not there before, nor in the last HOLD seconds."""
        new = [alarm for alarm in found if now - self._seen.get(alarm.key, float("-inf")) > HOLD]
        self._seen.update({alarm.key: now for alarm in found})
        return new
