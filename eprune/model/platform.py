"""The platform graph, one object per platform: processing units, memory, links to other platforms."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Optional

from eprune.model.finding import Location
from eprune.model.graph import NOWHERE, Actor


class Security(str, Enum):
    """What protects a link: NONE, an SSH tunnel, or mutual TLS."""

    NONE = "none"
    SSH = "ssh"
    TLS = "tls"


class Via(str, Enum):
    """What carries the connections of a link that are not made directly."""

    ZENOH = "zenoh"


class Engine(str, Enum):
    """The library that runs slices of models."""

    TFLITE = "tflite"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


@dataclass(frozen=True)
class Unit:
    """A processing unit. ``cores`` are the CPU cores that its threads are pinned to; (): not pinned.

    Slices of models run by its ``engine``, None: each by that of its format, in so many ``threads``. ``delegate`` is
    the shared library of an accelerator for TFLite, as the loader finds it, None: there is none; ``opencl`` the device
    that runs kernels, PLATFORM:DEVICE. ``options`` are what the delegate, the device or the engine is told.
    ``slowdown`` is how many times slower than that core the unit is, where this machine emulates it.
    ``watts`` is what it takes while it works, ``idle`` while it does not; None where the file does not state it.
    ``groups`` of units, links and platforms name common causes of failure: all things of one group fail together.
    """

    name: str
    cores: tuple[int, ...] = ()
    slowdown: float = 1
    watts: Optional[float] = None
    idle: Optional[float] = None
    groups: tuple[str, ...] = ()
    engine: Optional[Engine] = None
    threads: int = 1
    delegate: Optional[str] = None
    opencl: Optional[str] = None
    options: tuple[tuple[str, str], ...] = ()
    where: Location = field(default=NOWHERE, compare=False)

    @property
    def runs(self) -> str:
        """What runs models or kernels here, in words: ``openvino, 2 threads``; "" where nothing is said of it."""
        parts = [self.engine.value] if self.engine is not None else []
        parts += [f"delegate {self.delegate}"] if self.delegate else []
        parts += [f"OpenCL {self.opencl}"] if self.opencl else []
        parts += [f"{self.threads} threads"] if self.threads > 1 else []
        return ", ".join([*parts, *(f"{name}={value}" for name, value in self.options)])


@dataclass(frozen=True)
class Link:
    """A link to another platform.

    ``address`` is where the other platform is reached. Each FIFO between the two platforms, in either direction, has
    one TCP port, numbered from ``port`` in the order of the application file; or, if ``shared``, all of them have one
    connection, to ``port`` of the platform that receives the first of them. Both platforms' files state the same
    ``port``, ``shared``, ``security``, ``via`` and ``window``. ``via`` is what carries the connections; None: nothing
    else than the network. ``bandwidth`` is in bytes per second, ``latency`` in seconds, and
    ``watts`` what the platform takes while it sends there; None where unknown. ``window`` is how many bytes of a FIFO
    may be under way beyond its capacity, rounded up to whole tokens, where the FIFO does not say.
    """

    to: str
    address: str = "127.0.0.1"
    port: int = 5100
    bandwidth: Optional[float] = None
    latency: Optional[float] = None
    watts: Optional[float] = None
    shared: bool = False
    security: Security = Security.NONE
    via: Optional[Via] = None
    window: int = 0
    groups: tuple[str, ...] = ()
    where: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Platform:
    """A device or a server. ``memory`` is in bytes, None where the file does not state it.

    ``host`` is where ``eprune deploy`` finds it: what ssh calls it, or "local" for the machine that deploys. ``python``
    is the Python to use there, and ``folder`` where programs are put; None: the defaults.
    """

    name: str
    units: tuple[Unit, ...] = ()
    links: tuple[Link, ...] = ()
    memory: Optional[int] = None
    groups: tuple[str, ...] = ()
    host: Optional[str] = None
    python: Optional[str] = None
    folder: Optional[str] = None
    where: Location = field(default=NOWHERE, compare=False)

    def unit(self, name: str) -> Optional[Unit]:
        """The unit of that name, or None."""
        return next((unit for unit in self.units if unit.name == name), None)

    def takers(self, actor: Actor) -> list[Unit]:
        """The units that take an actor."""
        return [unit for unit in self.units if not actor.misplaced(unit)]

    def unit_for(self, actor: Actor) -> Optional[Unit]:
        """The first unit that takes an actor, or the first one; None where there are none."""
        return next(iter((*self.takers(actor), *self.units)), None)

    def link(self, to: str) -> Optional[Link]:
        """The link to that platform, or None."""
        return next((link for link in self.links if link.to == to), None)
