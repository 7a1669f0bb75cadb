"""The application graph: actors, their ports, and the FIFOs between them (VR-PRUNE, as the Edge-PRUNE papers use it).

Everything is in the order of the file. ``where`` says where an object was read from and takes no part in equality.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Optional

from eprune.model.behaviour import Behaviour
from eprune.model.finding import Location
from eprune.model.token import TokenType

if TYPE_CHECKING:
    from eprune.model.platform import Unit

NOWHERE = Location("<none>")
#: The most phases of a rate.
MAX_PHASES = 10_000


class ActorType(str, Enum):
    """SPA: all ports static. DA and DPA: dynamic ports and a control input. CA: control outputs."""

    SPA = "SPA"
    DA = "DA"
    DPA = "DPA"
    CA = "CA"


class Direction(str, Enum):
    """Which way tokens pass through a port, seen from its actor."""

    IN = "in"
    OUT = "out"


class FaultPolicy(str, Enum):
    """What a FIFO does while the other end's platform, or the link to it, has failed.

    STOP ends the run. WAIT keeps tokens until the peer is back. DROP makes the port's rate 0 meanwhile. ZERO gives the
    consumer zero tokens. NEWEST is DROP for live data, and acts within a platform, too: where there is no room for a
    token, the oldest that waits is dropped in its place, so that the producer never waits.
    """

    STOP = "stop"
    WAIT = "wait"
    DROP = "drop"
    ZERO = "zero"
    NEWEST = "newest"


class Match(str, Enum):
    """How an actor chooses the tokens of one firing: those of one INDEX, or at each input the next to ARRIVE."""

    INDEX = "index"
    ARRIVAL = "arrival"


class Ack(str, Enum):
    """When a token of a FIFO with the policy WAIT counts as delivered, should the consumer's process be restarted.

    FIRED: once a firing that consumed it is known to have ended; the new process gets the others again, so that each is
    fired on at least once. RECEIVED: once it has arrived; as the new process does not have it, the run ends where it
    may not have been fired on, so that none is fired on twice.
    """

    RECEIVED = "received"
    FIRED = "fired"


class Route(str, Enum):
    """How the FIFOs of one actor share its tokens, where equal branches are behind them: each goes into one branch.

    ONE: into that with the fewest tokens under way. STICKY: into the same one as before, for branches that keep a
    state. Either way a token goes into another branch when the first is lost, or silent for the time-out.
    """

    ONE = "one"
    STICKY = "sticky"


class Computation(str, Enum):
    """The model of computation by which a graph is read.

    VR_PRUNE: token rates are the same at both ends of a FIFO, and control tokens may change them. SDF: synchronous and
    cyclo-static dataflow; each end has a rate of its own, which may go through constant phases.
    """

    VR_PRUNE = "vr-prune"
    SDF = "sdf"


def parse_phases(text: str) -> tuple[int, ...]:
    """The rates of ``1,0,0``, or ``1,2*0``, firing by firing. Raises ValueError for anything else."""
    phases: list[int] = []
    for part in text.split(","):
        repeat, star, rate = part.rpartition("*")
        phases += [int(rate)] * (int(repeat) if star else 1)
        if len(phases) > MAX_PHASES:
            raise ValueError(f"a rate of more than {MAX_PHASES} phases")
    return tuple(phases)


def phases_text(phases: tuple[int, ...]) -> str:
    """Phases as files write them: what comes four times or more in a row once, with how often."""
    runs = [(rate, len(list(group))) for rate, group in groupby(phases)]
    return ",".join(f"{count}*{rate}" if count > 3 else ",".join([str(rate)] * count) for rate, count in runs)


def rate_range(lrl: int, url: int) -> str:
    """A token rate as files write it: ``2``, or ``0..2`` for one between two limits."""
    return str(url) if lrl == url else f"{lrl}..{url}"


def parse_rate(text: str) -> tuple[int, int]:
    """The lower and the upper rate limit of ``2`` or ``0..2``. Raises ValueError for anything else."""
    lower, _, upper = text.partition("..")
    return int(lower), int(upper or lower)


def default_capacity(url: int, delay: int = 0, policy: FaultPolicy = FaultPolicy.STOP) -> int:
    """Room for one firing's tokens to be written while the last one's are read, beyond the initial tokens.

    Of NEWEST, and for one firing's that are ready meanwhile.
    """
    return delay + (3 if policy is FaultPolicy.NEWEST else 2) * url


@dataclass(frozen=True)
class Port:
    """Where a FIFO joins an actor.

    ``lrl`` <= ``atr`` <= ``url`` are the lower rate limit, the active token rate before the first firing and the upper
    rate limit, in tokens per firing. ``tensor`` names the tensor of a model slice that the port carries, by its index
    in the model's graph; None: the slice's inputs and outputs in order. An input that is not ``required`` may be
    dead: its actor goes on without it as long as its quorum lives. An input on ``hold`` gives its last token again
    where it has no other for a firing. A token that is older than ``max_age``, in seconds, is missing; None: none is.

    ``phases`` are the rates of a port whose rate changes from firing to firing, over and over; ``lrl`` and ``url`` are
    the least and the largest of them. Empty: it does not.
    """

    name: str
    direction: Direction
    token: TokenType
    lrl: int = 1
    url: int = 1
    atr: int = 1
    control: bool = False
    tensor: Optional[int] = None
    required: bool = True
    hold: bool = False
    max_age: Optional[float] = None
    phases: tuple[int, ...] = ()
    where: Location = field(default=NOWHERE, compare=False)

    @property
    def static(self) -> bool:
        """Whether no control token changes the rate."""
        return self.lrl == self.url or bool(self.phases)

    @property
    def rates(self) -> tuple[int, ...]:
        """The rates of a static port, firing by firing, over and over."""
        return self.phases or (self.url,)


@dataclass(frozen=True)
class Actor:
    """A computation. ``parameters`` go to its behaviour, as text; a behaviour may be absent.

    ``quorum`` is the least number of live data inputs with which the actor goes on; None: 1. ``time`` is how many
    seconds a firing typically takes, and ``bounds`` the least and the most that it takes; None where that is not
    declared. Both are for analysis only. ``members`` are the actors that the pass ``fuse`` has made one of; its ports
    are then called ``MEMBER.PORT``.

    ``match`` says how the actor chooses the tokens of a firing; None: as ``analysis.matching`` finds out. Of a source,
    ``clock`` is the frequency by which it numbers its firings, and ``rate`` that of its tokens, both per second; None:
    it counts, and it is as fast as it can be. ``stall_after`` is how many seconds the actor may be in one call of its
    behaviour before that is reported; None: the runtime's default.
    """

    name: str
    ports: tuple[Port, ...] = ()
    type: ActorType = ActorType.SPA
    behaviour: Optional[Behaviour] = None
    parameters: tuple[tuple[str, str], ...] = ()
    quorum: Optional[int] = None
    time: Optional[Fraction] = None
    bounds: Optional[tuple[Fraction, Fraction]] = None
    members: tuple[str, ...] = ()
    match: Optional[Match] = None
    clock: Optional[float] = None
    rate: Optional[float] = None
    stall_after: Optional[float] = None
    where: Location = field(default=NOWHERE, compare=False)

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The input ports, in order."""
        return tuple(port for port in self.ports if port.direction is Direction.IN)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The output ports, in order."""
        return tuple(port for port in self.ports if port.direction is Direction.OUT)

    @property
    def pace(self) -> Optional[float]:
        """The tokens per second that it states: its rate, else its clock; None if it states neither."""
        return self.clock if self.rate is None else self.rate

    def port(self, name: str) -> Optional[Port]:
        """The port of that name, or None."""
        return next((port for port in self.ports if port.name == name), None)

    def misplaced(self, unit: Unit) -> str:
        """Why it cannot run on a unit, "" if it can."""
        return (self.behaviour or Behaviour()).misplaced(unit)

    @property
    def is_slice(self) -> bool:
        """Whether it is a slice of a model, and nothing else."""
        return self.behaviour is not None and bool(self.behaviour.operators)

    @property
    def class_name(self) -> str:
        """The name of the Python class that it runs; "" where it runs none."""
        name: str = getattr(self.behaviour, "class_name", "")
        return name


@dataclass(frozen=True, order=True)
class PortRef:
    """``actor.port``, one end of a FIFO."""

    actor: str
    port: str

    def __str__(self) -> str:
        return f"{self.actor}.{self.port}"


@dataclass(frozen=True)
class Fifo:
    """A bounded first-in-first-out queue from an output port to an input port.

    ``capacity`` and ``delay`` are in tokens; ``delay`` tokens are there before the first firing: zeros, or the values
    of ``initial``, a .npy file of shape (delay, *token shape).

    ``policy``, ``timeout``, ``room_timeout``, ``ack``, ``window`` and ``group`` count where the FIFO crosses platforms;
    NEWEST also where it does not. ``timeout``, in seconds, is how long the consumer of a ZERO FIFO waits for a token,
    and how long any peer may be silent before it counts as dead. With ``timeout_floor`` the consumer of a DROP FIFO
    waits as long as tokens have taken of late, between the two. ``room_timeout`` is how long the producer of a DROP,
    ZERO or NEWEST FIFO waits for room. None: the runtime's default. ``ack`` is for WAIT. ``window`` is the number of
    tokens that may be under way beyond the capacity; None: as many as the link allows. FIFOs of one peer in one
    ``group`` are late together. FIFOs of one actor that state a ``route`` are a choice: each token is sent over one of
    them, kept until its answer is back, and sent over another one where none comes (``analysis.routes``). ``channel``
    is that of an imported graph of which the FIFO carries a part.
    """

    name: str
    source: PortRef
    target: PortRef
    capacity: int = default_capacity(1)
    delay: int = 0
    initial: Optional[str] = None
    policy: FaultPolicy = FaultPolicy.STOP
    timeout: Optional[float] = None
    timeout_floor: Optional[float] = None
    ack: Ack = Ack.FIRED
    room_timeout: Optional[float] = None
    window: Optional[int] = None
    group: Optional[str] = None
    route: Optional[Route] = None
    channel: Optional[str] = None
    where: Location = field(default=NOWHERE, compare=False)

    @property
    def initial_path(self) -> Optional[str]:
        """Where the values of its initial tokens are: the file names them relative to its own folder; None: zeros."""
        return None if self.initial is None else str(Path(self.where.file).parent / self.initial)


@dataclass(frozen=True)
class Row:
    """A row of a control table: the rates that hold in a firing whose control token is ``value``."""

    value: int
    rates: tuple[int, ...]
    where: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Dpg:
    """A dynamic processing graph: ``control`` sends the values that choose a row for the two DAs and the DPAs.

    ``control`` names a CA, or the entry DA, which then plays the CA's part itself. ``members`` are the DPAs and SPAs
    between the two DAs. The control table has one column for each of ``ports``, the dynamic ports at both ends of their
    FIFOs, and one row for each value that a control token may have. ``inside`` names the dynamic processing graph that
    it is nested in, if any: the rows of that one say in which iterations it works. ``late`` is the value that
    ``control`` sends, whatever else it would, for a frame that is late there: older than ``late_after`` seconds, None:
    than the requirements allow whose tokens it gets.
    """

    name: str
    control: str
    entry: str
    exit: str
    members: tuple[str, ...] = ()
    ports: tuple[PortRef, ...] = ()
    rows: tuple[Row, ...] = ()
    inside: str = ""
    late: Optional[int] = None
    late_after: Optional[float] = None
    where: Location = field(default=NOWHERE, compare=False)

    @property
    def actors(self) -> tuple[str, ...]:
        """All its actors, but those of graphs inside of it; the entry DA twice where it plays the CA's part."""
        return (self.control, self.entry, self.exit, *self.members)

    @property
    def columns(self) -> dict[PortRef, tuple[int, ...]]:
        """Port -> its active token rate in each of the rows, which must have as many rates as there are columns."""
        return {ref: tuple(row.rates[place] for row in self.rows) for place, ref in enumerate(self.ports)}

    def rates(self, row: Row) -> dict[PortRef, int]:
        """Port -> active token rate in that row. The row must have as many rates as there are columns."""
        return dict(zip(self.ports, row.rates))


@dataclass(frozen=True)
class Requirement:
    """What tokens on their way from an output of a source to an input of a sink have to keep.

    ``rate`` is how many firings per second the sink has to begin, at least. ``latency`` is how old the tokens may be,
    in seconds: the time from the beginning of the source's firing to that of the sink's. None: any. ``share`` is the
    part of all tokens, above 0 and at most 1, that may not be older.
    """

    source: PortRef
    target: PortRef
    rate: Optional[Fraction] = None
    latency: Optional[Fraction] = None
    share: Fraction = Fraction(1)
    where: Location = field(default=NOWHERE, compare=False)

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}"


@dataclass(frozen=True)
class Graph:
    """An application: actors, FIFOs, dynamic processing graphs and requirements, in the order of the file.

    ``computation`` is how its rates are to be read.
    """

    name: str
    actors: tuple[Actor, ...] = ()
    fifos: tuple[Fifo, ...] = ()
    dpgs: tuple[Dpg, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    where: Location = field(default=NOWHERE, compare=False)
    computation: Computation = Computation.VR_PRUNE

    def actor(self, name: str) -> Optional[Actor]:
        """The actor of that name, or None. Takes time linear in the actors: for many look-ups make a dict."""
        return next((actor for actor in self.actors if actor.name == name), None)

    @property
    def is_sdf(self) -> bool:
        """Whether each end of a FIFO has a rate of its own."""
        return self.computation is Computation.SDF

    def ports(self) -> Iterator[tuple[PortRef, Port]]:
        """Every port of every actor, with its reference."""
        for actor in self.actors:
            for port in actor.ports:
                yield PortRef(actor.name, port.name), port
