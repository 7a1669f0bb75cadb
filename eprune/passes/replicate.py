"""Replicate a chain over many endpoints and servers, each joined to each, to survive failures: K(m,n).

This is the fault-tolerance use case of the Edge-PRUNE papers. Endpoints and servers are numbered from 1. Actors and
FIFOs of endpoint 2 are named after the chain's, ``L1-2``, and so are those of server 2; the FIFO that was cut becomes
``f4-2-1`` from endpoint 2 to server 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from eprune.model.graph import Actor, FaultPolicy, Fifo, Graph, Port, PortRef, default_capacity
from eprune.model.mapping import Mapping, Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.system import System
from eprune.passes.base import Report, Result, option

UNMAPPED = True

_UNIT = "cpu"


@dataclass(frozen=True)
class Options:
    """How many of each, and where the chain is cut."""

    endpoints: int = option(help="How many endpoints.", metavar="N")
    servers: int = option(help="How many servers.", metavar="M")
    cut_after: str = option(
        help="The endpoint's last actor: it and everything before it run on each endpoint, the rest on each server.",
        metavar="ACTOR",
    )
    policy: FaultPolicy = option(
        FaultPolicy.DROP,
        help="The fault policy of the FIFOs between endpoints and servers (drop). For live cameras newest: a server "
        "that comes late takes each camera's newest token, and the oldest ones are dropped.",
    )
    port: int = option(Link.port, help="The first TCP port; each link has one (5100).", metavar="PORT")


def apply(system: System, options: Options) -> Result:
    """K(servers, endpoints) of a sound graph: ``cut_after`` and all that leads to it on endpoints, the rest on servers.

    One FIFO must lead from the endpoint's part to the server's, and it must begin at ``cut_after``. That actor gets an
    output for each server: those of a slice all carry its tensor, a class must write each. The server's first actor
    gets an input for each endpoint, which it can do without; but a slice needs all its inputs, so it can serve one
    endpoint only. Under ``newest`` the FIFOs between them have room for a token that is ready beside one that is read
    and one that is written. Each link has a TCP port of its own, from ``port`` on. Platforms and mappings of the system
    are left out. Raises ValueError, with a message for the user, for a graph that cannot be cut so.
    """
    chain, endpoints, servers = system.graph, options.endpoints, options.servers
    if not (0 < endpoints < 1000 and 0 < servers < 1000):
        raise ValueError(f"{endpoints} endpoints and {servers} servers: there are 1 to 999 of each")
    if not 0 < options.port <= 65536 - endpoints * servers:
        raise ValueError(f"--port {options.port}: {endpoints * servers} links would need TCP ports above 65535")
    local = _upstream(chain, options.cut_after)
    cut = _cut(chain, options.cut_after, local)
    parts = [[actor for actor in chain.actors if (actor.name in local) is near] for near in (True, False)]
    first = next(actor for actor in parts[1] if actor.name == cut.target.actor)
    needy = first.behaviour is not None and first.behaviour.needs_all_inputs
    if needy and endpoints > 1:
        raise ValueError(
            f"actor '{first.name}' is a slice of a model, which takes the tokens of one endpoint, not of {endpoints}; "
            "give it a class too, which calls the slice for each input, such as classifier.py:Classifier"
        )
    interface = system.interfaces.get(options.cut_after)
    tensor = None if interface is None else interface.tensors.get(cut.source.port)
    outputs, inputs = _numbered(cut.source.port, servers), _numbered(cut.target.port, endpoints)
    parts[0] = [_widened(actor, cut.source, outputs, True, tensor) for actor in parts[0]]
    parts[1] = [_widened(actor, cut.target, inputs, needy, None) for actor in parts[1]]
    capacity = cut.capacity
    if options.policy is FaultPolicy.NEWEST:
        capacity = max(capacity, default_capacity(dict(chain.ports())[cut.source].url, cut.delay, options.policy))
    actors: list[Actor] = []
    fifos: list[Fifo] = []
    for part, count in zip(parts, (endpoints, servers)):
        names = {actor.name for actor in part}
        inner = [fifo for fifo in chain.fifos if fifo is not cut and fifo.target.actor in names]
        for number in range(1, count + 1):
            actors += [replace(actor, name=f"{actor.name}-{number}") for actor in part]
            fifos += [_joined(fifo, f"{number}", number, fifo.source.port, number, fifo.target.port) for fifo in inner]
    for e, into in enumerate(inputs, 1):
        fifos += [
            replace(_joined(cut, f"{e}-{s}", e, out, s, into), policy=options.policy, capacity=capacity)
            for s, out in enumerate(outputs, 1)
        ]
    graph = replace(chain, name=f"{chain.name}-{servers}-{endpoints}", actors=tuple(actors), fifos=tuple(fifos))
    platforms, mappings = _deploy(graph.name, parts, endpoints, servers, options.port)
    made = replace(system, graph=graph, platforms=platforms, mappings=mappings, interfaces={}, problems=())
    line = f"{len(actors)} actors and {len(fifos)} FIFOs"
    return Result(made, Report((line,), {"actors": len(actors), "fifos": len(fifos)}))


def _upstream(chain: Graph, actor: str) -> set[str]:
    """The actor and all from which tokens reach it."""
    if chain.actor(actor) is None:
        raise ValueError(f"there is no actor '{actor}'")
    reached, stack = {actor}, [actor]
    while stack:
        target = stack.pop()
        fresh = {fifo.source.actor for fifo in chain.fifos if fifo.target.actor == target} - reached
        reached |= fresh
        stack += fresh
    return reached


def _cut(chain: Graph, cut_after: str, local: set[str]) -> Fifo:
    """The one FIFO that leads from the endpoint's part to the server's."""
    crossing = [fifo for fifo in chain.fifos if fifo.source.actor in local and fifo.target.actor not in local]
    if [fifo.source.actor for fifo in crossing] != [cut_after]:
        names = ", ".join(f"'{fifo.name}'" for fifo in crossing) or "no FIFO"
        raise ValueError(f"cut after '{cut_after}', exactly one FIFO must lead on, and from there; here {names} would")
    return crossing[0]


def _numbered(name: str, count: int) -> list[str]:
    """``out`` for one, ``out1`` and so on for several."""
    return [name] if count == 1 else [f"{name}{number}" for number in range(1, count + 1)]


def _widened(actor: Actor, ref: PortRef, names: Sequence[str], required: bool, tensor: Optional[int]) -> Actor:
    """The actor with several ports in the place of one, if it is that port's."""
    ports: list[Port] = []
    for port in actor.ports:
        if PortRef(actor.name, port.name) == ref:
            carried = tensor if len(names) > 1 else port.tensor
            ports += [replace(port, name=name, required=required, tensor=carried) for name in names]
        else:
            ports.append(port)
    return replace(actor, ports=tuple(ports))


def _joined(fifo: Fifo, suffix: str, from_number: int, out: str, to_number: int, into: str) -> Fifo:
    """A FIFO of the chain between copies of its actors."""
    source = PortRef(f"{fifo.source.actor}-{from_number}", out)
    target = PortRef(f"{fifo.target.actor}-{to_number}", into)
    return replace(fifo, name=f"{fifo.name}-{suffix}", source=source, target=target)


def _deploy(
    application: str, parts: Sequence[Sequence[Actor]], endpoints: int, servers: int, port: int
) -> tuple[tuple[Platform, ...], tuple[Mapping, ...]]:
    """A platform and a mapping for each endpoint and server."""
    ends = [f"endpoint{number}" for number in range(1, endpoints + 1)]
    far = [f"server{number}" for number in range(1, servers + 1)]
    ports = {(end, server): port + e * servers + s for e, end in enumerate(ends) for s, server in enumerate(far)}
    homes = [
        (f"{actor.name}-{number}", name)
        for part, names in zip(parts, (ends, far))
        for number, name in enumerate(names, 1)
        for actor in part
    ]

    def platform(name: str, peers: Iterable[tuple[str, int]]) -> Platform:
        return Platform(name, (Unit(_UNIT),), tuple(Link(peer, port=number) for peer, number in peers))

    def placement(actor: str, home: str, own: str) -> Placement:
        return Placement(actor, unit=_UNIT) if home == own else Placement(actor, platform=home)

    platforms = [platform(end, [(server, ports[end, server]) for server in far]) for end in ends]
    platforms += [platform(server, [(end, ports[end, server]) for end in ends]) for server in far]
    mappings = [
        Mapping(application, own, tuple(placement(actor, home, own) for actor, home in homes)) for own in (*ends, *far)
    ]
    return tuple(platforms), tuple(mappings)
