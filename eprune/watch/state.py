"""The state of a deployed system now: a fold over what its programs report and say. Plain data, no clock and no ssh.

    state = State(shape)
    for seen in observations:
        state = observe(state, seen)

Every view (top, the page, metrics) and every alarm is a function of a State.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional, Union

#: How many events and moments are kept, and seconds between two of the latter.
EVENTS, MOMENTS, STEP = 200, 600, 1.0
#: What a program can be, besides what ``deploy.health`` says of it.
UNKNOWN, UNREACHABLE = "unknown", "unreachable"
HEALTHY = "healthy"
#: Seconds after which a report says nothing of now.
OLD = 5.0


@dataclass(frozen=True)
class Node:
    """What fires: an actor, or a segment of the actors ``members``."""

    name: str
    platform: str
    members: Sequence[str] = ()


@dataclass(frozen=True)
class Edge:
    """A FIFO between two nodes."""

    fifo: str
    source: str
    target: str


@dataclass(frozen=True)
class Shape:
    """What there is to be watched: the hosts of the platforms, what runs there, and the FIFOs."""

    application: str
    hosts: Mapping[str, str]
    nodes: Sequence[Node]
    edges: Sequence[Edge]

    @property
    def sinks(self) -> list[str]:
        """The nodes from which no FIFO leads."""
        sources = {edge.source for edge in self.edges}
        return [node.name for node in self.nodes if node.name not in sources]


# What is observed. ``at`` is a time in seconds since the epoch, by the clock of whoever watches.


@dataclass(frozen=True)
class Reported:
    """How a program is: what keeps it running says so, and its own ``report``, {} if there is none.

    ``health`` and ``why`` are the verdict on both; ``age`` is that of the report, in seconds.
    """

    platform: str
    at: float
    health: str
    why: str
    version: Optional[str] = None
    restarts: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
    age: Optional[float] = None


@dataclass(frozen=True)
class Said:
    """An event of a program, or of watching it (``event`` '')."""

    platform: str
    at: float
    level: str
    message: str
    event: str = ""


@dataclass(frozen=True)
class Silent:
    """A device cannot be asked, and why."""

    platform: str
    at: float
    why: str


Observation = Union[Reported, Said, Silent]


@dataclass(frozen=True)
class Program:
    """A platform's program, as far as is known. ``heard``: when something was heard of it, None: never."""

    platform: str
    host: str
    health: str = UNKNOWN
    why: str = "nothing was heard of it yet"
    heard: Optional[float] = None
    version: Optional[str] = None
    restarts: int = 0
    report: Mapping[str, Any] = field(default_factory=dict)
    age: Optional[float] = None

    @property
    def recent(self) -> Mapping[str, Any]:
        """What its report says of the last seconds; nothing where it is not reached, or does not run."""
        runs = self.figure("state") == "running" and (self.age is None or self.age <= OLD)
        found: Mapping[str, Any] = self.report.get("recent", {}) if runs else {}
        return found

    def figure(self, name: str) -> Any:
        """A figure of its report, None where there is none or it is not reached."""
        return None if self.health == UNREACHABLE else self.report.get(name)


@dataclass(frozen=True)
class Flow:
    """What goes through a FIFO. What is unknown is None. ``lost``: tokens in the last seconds, at both ends."""

    fifo: str
    source: str
    target: str
    crosses: bool
    tokens_per_s: Optional[float] = None
    bytes_per_s: Optional[float] = None
    fill: Optional[int] = None
    capacity: Optional[int] = None
    lost: int = 0


@dataclass(frozen=True)
class Moment:
    """What charts show of a moment: frames per second, the worst ages in ms, load and memory of each platform."""

    at: float
    frames_per_s: Optional[float]
    age_p50_ms: Optional[float]
    age_p99_ms: Optional[float]
    loads: Mapping[str, float]
    memory: Mapping[str, int]


@dataclass(frozen=True)
class State:
    """A system now. ``time`` is that of the last observation."""

    shape: Shape
    time: float = 0.0
    programs: Mapping[str, Program] = field(default_factory=dict)
    events: Sequence[Said] = ()
    moments: Sequence[Moment] = ()

    def program(self, platform: str) -> Program:
        """What is known of a platform's program."""
        return self.programs.get(platform) or Program(platform, self.shape.hosts.get(platform, ""))

    @property
    def all_programs(self) -> list[Program]:
        """Those of all platforms."""
        return [self.program(platform) for platform in self.shape.hosts]

    @property
    def rates(self) -> dict[str, float]:
        """Node -> its firings per second, of those that are known."""
        return self._recent("firings_per_s")

    @property
    def busy_ms(self) -> dict[str, float]:
        """Node -> the mean time of a firing, in milliseconds."""
        return self._recent("busy_ms")

    @property
    def ages(self) -> dict[str, Mapping[str, float]]:
        """Input of a sink, ACTOR.PORT -> the age of the tokens that it took: ``tokens``, ``p50_ms``, ``p99_ms``."""
        return self._recent("ages")

    @property
    def requirements(self) -> dict[str, Mapping[str, Any]]:
        """Requirement, FROM -> TO, to how it was met in the last seconds, as a report has it."""
        return self._recent("requirements")

    @property
    def degraded_rows(self) -> dict[str, Mapping[str, Any]]:
        """Dynamic processing graph -> how often its row for late frames was taken: ``row``, ``taken``, ``frames``."""
        return {name: each for one in self.all_programs for name, each in (one.figure("degraded") or {}).items()}

    def _recent(self, what: str) -> dict[str, Any]:
        return {name: value for each in self.all_programs for name, value in each.recent.get(what, {}).items()}

    @property
    def frames_per_s(self) -> Optional[float]:
        """The rate of the slowest sink."""
        rates = self.rates
        return min((rates[sink] for sink in self.shape.sinks if sink in rates), default=None)

    @property
    def stalled(self) -> dict[str, Mapping[str, Any]]:
        """Node -> the ``stage`` in which it takes too long, and the ``seconds``."""
        return {name: stall for each in self.all_programs for name, stall in (each.figure("stalled") or {}).items()}

    @property
    def missing(self) -> dict[str, list[str]]:
        """Platform -> the ports, ACTOR.PORT, whose other ends are missing, where there are some."""
        found = {each.platform: list(each.figure("missing") or ()) for each in self.all_programs}
        return {platform: ports for platform, ports in found.items() if ports}

    @property
    def degraded(self) -> bool:
        """Whether something is not as it should be."""
        healthy = all(each.health == HEALTHY for each in self.all_programs)
        return not healthy or bool(self.missing or self.stalled)

    @property
    def flows(self) -> list[Flow]:
        """What goes through each FIFO. Of one between platforms, both ends are asked."""
        homes = {node.name: node.platform for node in self.shape.nodes}
        return [self._flow(edge, homes[edge.source], homes[edge.target]) for edge in self.shape.edges]

    def _flow(self, edge: Edge, sender: str, receiver: str) -> Flow:
        ends = [self.program(platform) for platform in dict.fromkeys((sender, receiver))]
        reports = [(end.figure("fifos") or {}).get(edge.fifo, {}) for end in ends]

        def first(values: Sequence[Any]) -> Any:
            return next((value for value in values if value is not None), None)

        def recent(what: str) -> list[Any]:
            return [end.recent.get(what, {}).get(edge.fifo) for end in ends]

        return Flow(
            edge.fifo,
            edge.source,
            edge.target,
            sender != receiver,
            first(recent("tokens_per_s")),
            first(recent("bytes_per_s")),
            first([report.get("fill") for report in reports]),
            first([report.get("capacity") for report in reports]),
            sum(lost for lost in recent("lost") if lost),
        )


def observe(state: State, seen: Observation) -> State:
    """The state after an observation."""
    state = replace(state, time=max(state.time, seen.at))
    if isinstance(seen, Said):
        return _told(state, seen)
    before = state.program(seen.platform)
    if isinstance(seen, Silent):
        after = replace(before, health=UNREACHABLE, why=seen.why)
    else:
        after = replace(
            before,
            health=seen.health,
            why=seen.why,
            heard=seen.at,
            version=seen.version,
            restarts=seen.restarts,
            report=seen.report,
            age=seen.age,
        )
    state = replace(state, programs={**state.programs, seen.platform: after})
    if before.health != after.health and UNREACHABLE in (before.health, after.health):
        back = after.health != UNREACHABLE
        said = Said(seen.platform, seen.at, *(("info", "it can be reached again") if back else ("error", after.why)))
        state = _told(state, said) if before.heard or not back else state
    if not state.moments or state.time - state.moments[-1].at >= STEP:
        state = replace(state, moments=(*state.moments, moment(state))[-MOMENTS:])
    return state


def _told(state: State, said: Said) -> State:
    """Events are in the order in which they happened, from whichever device they come first."""
    return replace(state, events=sorted((*state.events, said), key=lambda each: each.at)[-EVENTS:])


def moment(state: State) -> Moment:
    """What charts show of the state."""
    ages = state.ages.values()
    loads = {each.platform: each.figure("machine_load") or each.figure("load") for each in state.all_programs}
    memory = {each.platform: each.figure("resident_bytes") for each in state.all_programs}
    return Moment(
        state.time,
        state.frames_per_s,
        max((age["p50_ms"] for age in ages), default=None),
        max((age["p99_ms"] for age in ages), default=None),
        {platform: load for platform, load in loads.items() if load is not None},
        {platform: size for platform, size in memory.items() if size is not None},
    )
