"""What one platform runs: plain frozen data in its final order, between the mapped graph and the program's text.

``lower`` makes it, ``targets`` print it. Nothing in here is Python text, and no decision is left to the printer.
Ends of FIFOs are written as the runtime reads them: ``NODE.PORT``, split at the first dot. The node is an actor or a
segment; a segment's port is named ``ACTOR.PORT`` after the actor it belongs to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional

from eprune.model.behaviour import Cut, Declaration
from eprune.model.finding import Location
from eprune.model.platform import Security
from eprune.model.token import TokenType

#: Addresses at which nobody on another machine is found.
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ProcessingUnit:
    """A unit that runs something: ``nodes``, in precedence order; the rest is that of model.platform.Unit, as text."""

    name: str
    cores: tuple[int, ...]
    slowdown: float
    engine: str
    threads: int
    delegate: Optional[str]
    opencl: Optional[str]
    told: tuple[tuple[str, str], ...]
    nodes: tuple[str, ...]
    where: Location

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that are mostly left out, as the runtime calls them."""
        return {
            "core": self.cores[0] if len(self.cores) == 1 else None,
            "slowdown": self.slowdown,
            "cores": self.cores if len(self.cores) > 1 else (),
            "engine": self.engine,
            "threads": self.threads,
            "delegate": self.delegate,
            "opencl": self.opencl,
            "options": dict(self.told),
        }


@dataclass(frozen=True)
class Node:
    """An actor or a segment: on which unit it runs, and how it is declared to the runtime.

    ``members`` are the actors that a segment is made of; of an actor, itself. ``live`` is what is said of its live
    data, as the runtime calls it, as far as there is something to say.
    """

    name: str
    unit: str
    declaration: Declaration
    members: tuple[str, ...]
    where: Location
    live: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class EndRates:
    """The rates at both ends of a multi-rate FIFO, firing by firing, and the tokens of an iteration."""

    produced: tuple[int, ...]
    consumed: tuple[int, ...]
    iteration: int

    @property
    def same(self) -> bool:
        """Whether both give and take the same number of tokens in each firing."""
        return self.produced == self.consumed and len(self.produced) == 1


@dataclass(frozen=True)
class LocalFifo:
    """A FIFO as this platform sees it. ``initial`` is the path of its delay tokens' values; None: zeros.

    ``lrl`` and ``rate`` are the lower and upper rate limit in tokens per firing. ``control`` names the dynamic
    processing graph whose control tokens the FIFO carries, if any. ``policy`` is "newest", or "stop" where none acts
    within a platform. An end on another platform is for readers only:
    ``ACTOR.PORT``. ``ends`` are the rates of a multi-rate graph; ``rate`` is the largest at the source.
    """

    name: str
    source: str
    target: str
    token: TokenType
    rate: int
    capacity: int
    delay: int
    initial: Optional[str]
    lrl: int
    control: Optional[str]
    policy: str
    where: Location
    ends: Optional[EndRates] = None


@dataclass(frozen=True)
class ControlRow:
    """A control table's row as this platform sees it: the rates of its dynamic FIFOs where the token is ``value``."""

    dpg: str
    value: int
    rates: tuple[tuple[str, int], ...]
    where: Location


@dataclass(frozen=True)
class LateRow:
    """The row that a dynamic processing graph takes for late frames; its control source is on this platform.

    ``after``: output of a source -> seconds after which its tokens are late there; of "", those of the oldest source.
    """

    dpg: str
    value: int
    after: tuple[tuple[str, float], ...]
    where: Location


@dataclass(frozen=True)
class Required:
    """A requirement whose tokens pass here, over ``fifos``; see model.graph.Requirement. Times are in seconds."""

    source: str
    target: str
    latency: Optional[float]
    rate: Optional[float]
    share: float
    fifos: tuple[str, ...]
    where: Location


@dataclass(frozen=True)
class PeerLink:
    """The link to platform ``to`` where it is emulated: bytes per second, None where unknown, and seconds."""

    to: str
    bandwidth: Optional[float]
    latency: float


@dataclass(frozen=True)
class Crossing:
    """What both ends of a FIFO between two platforms have.

    ``number`` counts the FIFOs between the two, in either direction, from 0 in the application's order. ``shared``:
    they all have one connection, for which the receiver of FIFO 0 listens at ``port``; else each has its own, and its
    receiver listens. ``policy``, ``timeout`` (seconds, None: the runtime's default), ``timeout_floor``, ``ack``,
    ``room_timeout``, ``group`` and ``route`` are those of model.graph.Fifo, ``security`` that of model.platform.Link,
    as text.
    ``via`` is what carries it, that of the link. ``window`` is in tokens.
    """

    fifo: LocalFifo
    port: int
    number: int
    shared: bool
    policy: str
    timeout: Optional[float]
    timeout_floor: Optional[float]
    ack: str
    security: str
    window: int
    room_timeout: Optional[float]
    group: Optional[str]
    route: Optional[str]
    via: str

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that are mostly left out, as the runtime calls them."""
        return {
            "via": self.via,
            "policy": self.policy,
            "timeout": self.timeout,
            "timeout_floor": self.timeout_floor,
            "ack": self.ack,
            "shared": self.shared,
            "number": self.number if self.shared else 0,
            "security": self.security,
            "window": self.window,
            "room_timeout": self.room_timeout,
            "group": self.group,
            "route": self.route,
        }


@dataclass(frozen=True)
class TxFifo(Crossing):
    """The sending end of a FIFO to platform ``to``, which is reached at ``address``."""

    to: str
    address: str


@dataclass(frozen=True)
class RxFifo(Crossing):
    """The receiving end of a FIFO from platform ``origin``.

    Initial tokens, if any, are here at the receiver: the first firing does not wait for the link.
    """

    origin: str


@dataclass(frozen=True)
class LinkEnd:
    """This platform's end of its link with platform ``peer``, which it finds at ``address``.

    ``port`` is the link's first. ``outwards`` are the connections that are made here, as distances of their ports from
    the first one; ``inwards`` those made there. ``security`` and ``via`` are those of model.platform.Link, as text.
    """

    peer: str
    address: str
    port: int
    outwards: tuple[int, ...]
    inwards: tuple[int, ...]
    security: str
    via: str
    where: Location

    @property
    def opens(self) -> bool:
        """Whether a tunnel of this link is opened here: whoever sends its first FIFO does it."""
        return 0 in self.outwards

    @property
    def local(self) -> bool:
        """Whether the address, by itself, is found on this machine only."""
        return self.address in LOOPBACK

    @property
    def host(self) -> str:
        """Where ssh finds the peer; '' if the file does not say."""
        return "" if self.local else self.address


@dataclass(frozen=True)
class PlatformProgram:
    """One platform's part of a deployment.

    ``digest`` is the same for all platforms of one deployment, by which they recognise each other. ``aligned``: some
    FIFO may lose tokens, or an input is on hold, so that firings go by index. ``clusters`` are sets of nodes that one
    thread fires, in firing order, where these are more than one. ``sources`` are the files that the program was made
    from. ``schedules``: of a multi-rate graph, what each thread fires in an iteration, as a looped list.
    """

    application: str
    platform: str
    digest: str
    aligned: bool
    units: tuple[ProcessingUnit, ...]
    nodes: tuple[Node, ...]
    clusters: tuple[tuple[str, ...], ...]
    rows: tuple[ControlRow, ...]
    late: tuple[LateRow, ...]
    required: tuple[Required, ...]
    fifos: tuple[LocalFifo, ...]
    tx: tuple[TxFifo, ...]
    rx: tuple[RxFifo, ...]
    links: tuple[PeerLink, ...]
    ends: tuple[LinkEnd, ...]
    sources: tuple[str, ...]
    schedules: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        """Whether it can serve one stream after the other: all that it does begins with what other platforms send."""
        fed = {fifo.target.partition(".")[0] for fifo in (*self.fifos, *(each.fifo for each in self.rx))}
        return bool(self.rx) and fed.issuperset(node.name for node in self.nodes)

    @property
    def tunnels(self) -> tuple[LinkEnd, ...]:
        """The links over SSH."""
        return tuple(end for end in self.ends if end.security == Security.SSH.value)

    @property
    def over_zenoh(self) -> bool:
        """Whether it has links that are not made directly."""
        return any(end.via for end in self.ends)

    @property
    def secure(self) -> bool:
        """Whether it has links with TLS."""
        return any(end.security == Security.TLS.value for end in self.ends)

    def unit(self, name: str) -> ProcessingUnit:
        """The unit of that name."""
        return next(unit for unit in self.units if unit.name == name)

    @property
    def segments(self) -> tuple[Node, ...]:
        """The nodes that are cut from a model."""
        return tuple(node for node in self.nodes if isinstance(node.declaration.source, Cut))

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """All that is cut from a model: the segments, and the slices that other nodes call."""
        return tuple(cut for node in self.nodes for cut in node.declaration.cuts)

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files that nodes refer to, each once, in order of first use."""
        return tuple(dict.fromkeys(path for node in self.nodes for path in node.declaration.files))

    @property
    def bundled(self) -> tuple[str, ...]:
        """The same with those that these need beside them."""
        return tuple(dict.fromkeys(path for node in self.nodes for path in node.declaration.whole))

    @property
    def places(self) -> tuple[str, ...]:
        """The paths that parameters name, each once."""
        return tuple(dict.fromkeys(place.path for node in self.nodes for place in node.declaration.places))

    @property
    def carried(self) -> tuple[str, ...]:
        """The paths of those that a bundle takes along if they are there, each once."""
        places = [place for node in self.nodes for place in node.declaration.places]
        return tuple(dict.fromkeys(place.path for place in places if place.carried))

    @property
    def initial_files(self) -> tuple[str, ...]:
        """The paths of the initial tokens' files, each once, in order of first use."""
        fifos = (*self.fifos, *(end.fifo for end in self.rx))
        return tuple(dict.fromkeys(fifo.initial for fifo in fifos if fifo.initial is not None))
