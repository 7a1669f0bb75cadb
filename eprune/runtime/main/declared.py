"""What a generated program declares: plain data, in the order of declaration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePath
from types import MappingProxyType
from typing import NamedTuple, Optional, Union

from eprune.runtime.fire.c_actor import CActor
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.matched import ROOM_SHARE, TIMEOUT
from eprune.runtime.fire.opencl import Device
from eprune.runtime.fire.opencl_actor import Argument, OpenClActor
from eprune.runtime.fire.segment import Model, SegmentActor
from eprune.runtime.fire.traced import LateRow
from eprune.runtime.kernel.actor import Actor, PortType, VariablePortType
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.kernel.policy import NEWEST
from eprune.runtime.kernel.variable import Shape, most
from eprune.runtime.main.files import Files
from eprune.runtime.net.shaping import Figures
from eprune.runtime.tell.judge import Required


class Live(NamedTuple):
    """What is said of an actor's live data, by input port; see Program.actor."""

    hold: Sequence[str] = ()
    max_age: Mapping[str, float] = MappingProxyType({})
    groups: Sequence[Sequence[str]] = ()
    clock: Optional[float] = None
    rate: Optional[float] = None
    stall_after: Optional[float] = None
    nested: bool = False
    relays: bool = False
    answers: Sequence[str] = ()
    shares: bool = False


#: What runs the slices of models of a unit, or its kernels.
Engine = Union[ModelEngine, Device]


class DeclaredUnit(NamedTuple):
    """A processing unit; see Program.unit. The engine's interpreter is chosen when the program starts."""

    cores: frozenset[int] = frozenset()
    slowdown: float = 1
    engine: Engine = ModelEngine()

    def runs(self, interpreter: str, model: str = "") -> Engine:
        """What runs the unit's actors, with a model or without: of TFLite's interpreters this one."""
        if isinstance(self.engine, ModelEngine):
            return self.engine.of(model)._replace(interpreter=interpreter)
        return self.engine


class Functions(NamedTuple):
    """What is said of a behaviour in C; see Program.c_actor."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    rates: Mapping[str, tuple[int, int]]
    headers: Sequence[str]
    waits: bool

    @property
    def on_engine(self) -> bool:
        """Whether it needs what runs the unit's actors."""
        return False

    def make(self, files: Files, engine: Engine, behaviour: str, parameters: Mapping[str, str]) -> Actor:
        """The behaviour ``FILE:NAME``, built and not initialized. Raises UsageError if it cannot be built."""
        file, _, name = behaviour.rpartition(":")
        library = files.library(file, self.headers)
        return CActor(library, name, parameters, (self.inputs, self.outputs), self.rates, self.waits)


class Kernel(NamedTuple):
    """What is said of a behaviour in OpenCL; see Program.opencl_actor."""

    arguments: Sequence[Argument]
    size: Sequence[Union[int, str]]
    local: Sequence[Union[int, str]]
    headers: Sequence[str]

    @property
    def on_engine(self) -> bool:
        """It runs on the unit's device."""
        return True

    def make(self, files: Files, engine: Engine, behaviour: str, parameters: Mapping[str, str]) -> Actor:
        """The behaviour ``FILE:NAME``, not initialized: it is built then. A unit without a device has the first one."""
        file, _, name = behaviour.rpartition(":")
        sources = files.sources(file, self.headers)
        device = engine if isinstance(engine, Device) else Device()

        def build(device: Device) -> object:
            return device.build(next(iter(sources)), sources)

        return OpenClActor(device, name, build, parameters, self.arguments, self.size, self.local)


class DeclaredActor(NamedTuple):
    """An actor whose behaviour is a class, or ``code`` in C or OpenCL."""

    name: str
    unit: str
    behaviour: str
    parameters: Mapping[str, str]
    model: Optional[str] = None
    optional: Sequence[str] = ()
    quorum: Optional[int] = None
    live: Live = Live()
    code: Union[Functions, Kernel, None] = None

    @property
    def on_engine(self) -> bool:
        """Whether it needs what runs the unit's actors."""
        return bool(self.model) or (self.code is not None and self.code.on_engine)

    def make(self, files: Files, engine: Engine, parameters: Mapping[str, str]) -> Actor:
        """Its behaviour, not initialized. Raises UsageError if it cannot be made."""
        if self.code is not None:
            return self.code.make(files, engine, self.behaviour, parameters)
        factory = files.load_class(self.behaviour)
        try:
            behaviour: Actor = factory(**parameters)
        except (TypeError, ValueError, OSError) as error:
            raise UsageError(f"actor {self.name!r}: {error}") from error
        if self.model:
            behaviour.model = Model(partial(files.read, self.model), _for_models(engine, self.name))
        return behaviour


class DeclaredSegment(NamedTuple):
    """Actors whose behaviours are slices of a model, as one."""

    name: str
    unit: str
    model: str
    actors: Sequence[str]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    live: Live = Live()

    @property
    def on_engine(self) -> bool:
        """It needs what runs the unit's actors."""
        return True

    def make(self, files: Files, engine: Engine, parameters: Mapping[str, str]) -> Actor:
        """Its behaviour, not initialized."""
        return SegmentActor(partial(files.read, self.model), _for_models(engine, self.name), self.inputs, self.outputs)


def _for_models(engine: Engine, actor: str) -> ModelEngine:
    """What runs models, where an actor needs it. Raises UsageError for a device, which runs none."""
    if isinstance(engine, Device):
        raise UsageError(f"actor {actor!r}: OpenCL {engine.place} runs no models")
    return engine


#: tokens per firing, or their lower and upper limit
Rate = Union[int, tuple[int, int]]
#: tokens per firing, or of one firing after the other
Phases = Union[int, tuple[int, ...]]


class DeclaredFifo(NamedTuple):
    """A FIFO with at least one end on this platform."""

    name: str
    source: Optional[str]  # actor.port, None where the FIFO comes from another platform
    target: Optional[str]  # actor.port, None where it goes to another platform
    dtype: str
    shape: Shape
    rates: Rate
    control: Optional[str]
    capacity: int
    delay: int
    initial: Optional[str]
    peer: str = ""
    address: str = ""
    port: int = 0
    policy: str = "stop"
    timeout: Optional[float] = None
    ack: str = "fired"
    shared: bool = False
    number: int = 0
    security: str = "none"
    window: int = 0
    room_timeout: Optional[float] = None
    timeout_floor: Optional[float] = None
    group: Optional[str] = None
    #: how it shares its tokens with others of its actor, and whether these are kept until one brings an answer
    route: Optional[str] = None
    #: what carries its connection, "zenoh"; '' where it is made directly
    via: str = ""
    keeps: bool = False
    #: the rates of a multi-rate FIFO's ends, None where ``rates`` is that of both
    produced: Optional[Phases] = None
    consumed: Optional[Phases] = None
    #: how many of its tokens pass in an iteration, under "wait"
    iteration: int = 0

    @property
    def plain(self) -> bool:
        """Whether the FIFO is within the platform, or has a connection of its own that may not break."""
        return not self.peer or (not self.shared and self.policy == "stop")

    @property
    def acting(self) -> str:
        """The policy that acts: within a platform none does but one."""
        return self.policy if self.peer or self.policy == NEWEST else ""

    @property
    def room_wait(self) -> float:
        """Seconds for which room is waited for in a FIFO that may lose tokens."""
        return self.room_timeout or (self.timeout or TIMEOUT) * ROOM_SHARE

    @property
    def range(self) -> Optional[tuple[float, float]]:
        """The shortest and the longest time-out, if it follows what tokens take."""
        return None if self.timeout_floor is None or self.timeout is None else (self.timeout_floor, self.timeout)

    @property
    def rate(self) -> int:
        """The upper rate limit."""
        return self.rates if isinstance(self.rates, int) else self.rates[1]

    @property
    def gives(self) -> tuple[int, ...]:
        """What the producer writes, firing by firing, over and over."""
        return _phases(self.rate if self.produced is None else self.produced)

    @property
    def takes(self) -> tuple[int, ...]:
        """What the consumer reads, firing by firing, over and over."""
        return _phases(self.rate if self.consumed is None else self.consumed)

    @property
    def token(self) -> str:
        """The token type, on which both ends of a link must agree."""
        rates = self.rates if isinstance(self.rates, int) else f"{self.rates[0]}..{self.rates[1]}"
        if self.produced is not None:
            rates = f"{self.produced} to {self.consumed}"
        shape = f"[{self.shape}]" if isinstance(self.shape, str) else list(self.shape)
        return f"{self.dtype}{shape} at rate {rates}"


@dataclass
class Declared:
    """All that a program declares."""

    application: str
    platform: str
    digest: str
    files: Files
    #: some FIFO of the application may lose tokens: inputs are matched by firing index
    aligned: bool = False
    units: dict[str, DeclaredUnit] = field(default_factory=dict)
    figures: dict[str, Figures] = field(default_factory=dict)
    actors: list[DeclaredActor | DeclaredSegment] = field(default_factory=list)
    #: actors that one thread fires, in firing order; an actor that is in none has a thread of its own
    clusters: list[tuple[str, ...]] = field(default_factory=list)
    #: of a multi-rate graph, the firings of each thread in an iteration, by actor
    schedules: list[tuple[str, ...]] = field(default_factory=list)
    fifos: list[DeclaredFifo] = field(default_factory=list)
    tables: dict[str, dict[int, Mapping[str, int]]] = field(default_factory=dict)
    #: what is required of tokens that pass here, and the rows for those that are late
    required: list[Required] = field(default_factory=list)
    late: list[LateRow] = field(default_factory=list)

    @property
    def traced(self) -> frozenset[str]:
        """The FIFOs on the way of a requirement."""
        return frozenset(fifo for each in self.required for fifo in each.fifos)

    @property
    def peers(self) -> list[str]:
        """The other platforms that FIFOs come from or go to."""
        return sorted({fifo.peer for fifo in self.fifos if fifo.peer})

    def repeats(self, actor: str) -> int:
        """How often an actor fires in an iteration of a multi-rate graph; 0 where the graph is none."""
        return sum(names.count(actor) for names in self.schedules)

    def engines(self, interpreter: str) -> dict[str, Engine]:
        """Unit -> what runs models or kernels on it, of those that have some; of TFLite's interpreters this one.

        Of a plain unit with models of several formats, the others are those of ``UNIT (SUFFIX)``.
        """
        found: dict[str, Engine] = {}
        for actor in self.actors:
            if actor.on_engine:
                engine = self.engine(actor, interpreter)
                if found.setdefault(actor.unit, engine) != engine:
                    found[f"{actor.unit} ({PurePath(actor.model or '').suffix})"] = engine
        return found

    def engine(self, actor: DeclaredActor | DeclaredSegment, interpreter: str) -> Engine:
        """What runs an actor, as far as it needs more than Python; of TFLite's interpreters this one."""
        return self.units.get(actor.unit, DeclaredUnit()).runs(interpreter, actor.model or "")

    def first_port(self, peer: str) -> int:
        """The lowest port of the link with a peer; the others are given as distances from it."""
        return min(fifo.port for fifo in self.fifos if fifo.peer == peer)

    def joined(self) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
        """The two ends, actor and port, of each FIFO for data within this platform."""
        for fifo in self.fifos:
            if fifo.source and fifo.target and not fifo.control:
                yield (owner(fifo.source), _port(fifo.source)), (owner(fifo.target), _port(fifo.target))

    def on_hold(self) -> set[str]:
        """The inputs here, ``actor.port``, that give their last tokens again."""
        return {f"{actor.name}.{port}" for actor in self.actors for port in actor.live.hold}

    def consumed(self, actor: str) -> dict[str, DeclaredFifo]:
        """Input port -> FIFO, of an actor."""
        return {_port(fifo.target): fifo for fifo in self.fifos if owner(fifo.target) == actor}

    def produced(self, actor: str) -> dict[str, DeclaredFifo]:
        """Output port -> FIFO, of an actor."""
        return {_port(fifo.source): fifo for fifo in self.fifos if owner(fifo.source) == actor}


def no_service(declared: Declared) -> str:
    """Why a program cannot serve one stream after the other, '' if it can."""
    if not any(fifo.peer and fifo.source is None for fifo in declared.fifos):
        return f"{declared.platform} receives nothing from other platforms, so it has no streams to wait for"
    own = next((actor.name for actor in declared.actors if not declared.consumed(actor.name)), "")
    if own:
        return f"actor {own!r} has no inputs: when it ends, nothing can start it again"
    return ""


def port_types(fifos: Mapping[str, DeclaredFifo], consumed: bool) -> dict[str, PortType]:
    """The types of a behaviour's ports: those for data."""
    return {
        port: (VariablePortType if isinstance(fifo.shape, str) else PortType)(
            fifo.dtype, most(fifo.shape), max(fifo.takes if consumed else fifo.gives)
        )
        for port, fifo in fifos.items()
        if not fifo.control
    }


def _phases(rates: Phases) -> tuple[int, ...]:
    return (rates,) if isinstance(rates, int) else tuple(rates)


def owner(end: Optional[str]) -> str:
    """The actor of an end ``actor.port``; '' where that is on another platform."""
    return (end or "").partition(".")[0]


def _port(end: Optional[str]) -> str:
    return (end or "").partition(".")[2]
