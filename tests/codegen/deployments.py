"""Small mapped graphs, made without files: chains of Python actors and of slices of a model of one-operator slices."""

from __future__ import annotations

from eprune.codegen.digest import digest
from eprune.codegen.lower import lower
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.model.finding import Location
from eprune.model.graph import Actor, Direction, Fifo, Graph, Port, PortRef
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes import fuse as fusing

TOKEN = TokenType("float32", (1, 4))
FILE = "graphs/app.xml"

ENDPOINT = Platform(
    "endpoint",
    (Unit("cpu0", (0,)), Unit("idle", (3,))),
    (Link("server", "10.0.0.2", 5100), Link("third", "10.0.0.3", 5200)),
    where=Location("graphs/endpoint.xml", 1),
)
SERVER = Platform(
    "server",
    (Unit("cpu1", (1,)),),
    (Link("endpoint", "10.0.0.1", 5100), Link("third", "10.0.0.3", 5300)),
    where=Location("graphs/server.xml", 1),
)

#: Slice Sn is operator n-1, which turns tensor n-1 into tensor n.
INTERFACES = {f"S{n}": Interface(tensors={"in": n - 1, "out": n}) for n in range(1, 9)}
INTERFACES["S1"].tensors["probe"] = 1
INTERFACES["S2"].tensors["again"] = 2


def actor(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], line: int = 0) -> Actor:
    """An actor with these ports; S1, S2, ... are slices of one model, others are Python classes."""
    ports = [Port(port, Direction.IN, TOKEN) for port in inputs] + [
        Port(port, Direction.OUT, TOKEN) for port in outputs
    ]
    number = name[1:]
    behaviour = (
        ModelSlice("model.tflite", int(number) - 1, int(number) - 1, "graphs/model.tflite")
        if name.startswith("S") and number.isdigit()
        else PythonBehaviour(f"{name.lower()}.py", name, f"actors/{name.lower()}.py")
    )
    return Actor(name, tuple(ports), behaviour=behaviour, where=Location(FILE, line))


def fifo(source: str, target: str, line: int = 0) -> Fifo:
    """A FIFO between two ports, named after their actors."""
    ends = [PortRef(*end.split(".")) for end in (source, target)]
    return Fifo(f"{ends[0].actor}-{ends[1].actor}", *ends, where=Location(FILE, line))


def chain(*names: str) -> Graph:
    """One actor after another."""
    actors = [
        actor(name, ("in",) if index else (), ("out",) if index < len(names) - 1 else (), 2 + index)
        for index, name in enumerate(names)
    ]
    fifos = [fifo(f"{a}.out", f"{b}.in", 20 + index) for index, (a, b) in enumerate(zip(names, names[1:]))]
    return Graph("app", tuple(actors), tuple(fifos), where=Location(FILE, 1))


def sliced(*slices: str) -> Graph:
    """A source ``In``, slices, and a sink ``Out``."""
    return chain("In", *slices, "Out")


#: S1's tensor is read by S2 and by Probe, that of S2 twice by Out.
FORK = Graph(
    "fork",
    (
        actor("In", (), ("out",)),
        actor("S1", ("in",), ("out", "probe")),
        actor("S2", ("in",), ("out", "again")),
        actor("Probe", ("in",), ()),
        actor("Out", ("in", "too"), ()),
    ),
    (
        fifo("In.out", "S1.in"),
        fifo("S1.out", "S2.in"),
        fifo("S1.probe", "Probe.in"),
        fifo("S2.out", "Out.in"),
        Fifo("again", PortRef("S2", "again"), PortRef("Out", "too")),
    ),
    where=Location(FILE, 1),
)


def mapping(graph: Graph, platform: str, homes: dict[str, str]) -> Mapping:
    """The mapping of one platform; its actors are on its first unit."""
    unit = {"endpoint": "cpu0", "server": "cpu1"}[platform]
    placements = tuple(
        Placement(actor.name, unit=unit)
        if homes[actor.name] == platform
        else Placement(actor.name, platform=homes[actor.name])
        for actor in graph.actors
    )
    return Mapping(graph.name, platform, placements, Location(f"mappings/{platform}.xml", 1))


def program_of(graph: Graph, platform: Platform, mapped: Mapping, interfaces=INTERFACES, fuse=True, hashes=None):
    """The program of a platform, made as programs are made: fused, then lowered."""
    system = System(graph, (platform,), (mapped,), interfaces)
    (program,) = lower(fusing.apply(system, fusing.Options(fuse)).system, digest(system, hashes or {}))
    return program
