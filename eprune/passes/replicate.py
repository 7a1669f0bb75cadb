"""Replicate a chain over many endpoints and servers, each joined to each, to survive failures: K(m,n).

This is the fault-tolerance use case of the Edge-PRUNE papers. Endpoints and servers are numbered from 1. Actors and
FIFOs of endpoint 2 are named after the chain's, ``L1-2``, and so are those of server 2; the FIFO that was cut becomes
``f4-2-1`` from endpoint 2 to server 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Optional

from eprune.model.graph import Actor, Direction, FaultPolicy, Fifo, Graph, Port, PortRef, Route, default_capacity
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.platform import Link, Platform, Unit
from eprune.model.quantity import parse_timeout
from eprune.model.system import System
from eprune.passes.base import Report, Result, carries, option

UNMAPPED = True

_UNIT = "cpu"


class Sharing(Enum):
    """Which servers get an endpoint's token."""

    ALL = "all"
    ONE = "one"
    STICKY = "sticky"


@dataclass(frozen=True)
class Options:
    """How many of each, and where the chain is cut."""

    endpoints: int = option(help="How many endpoints.", metavar="N")
    servers: int = option(help="How many servers.", metavar="M")
    cut_after: str = option(
        help="The endpoint's last actor: it and everything before it run on each endpoint, the rest on each server.",
        metavar="ACTOR",
    )
    back_to: str = option(
        "",
        help="The actor that gets the servers' answers: it and everything behind it run on each endpoint, too.",
        metavar="ACTOR",
    )
    route: Sharing = option(
        Sharing.ALL,
        help="Which servers get a token: all; one, the least loaded, and another one if that does not answer; or "
        "sticky, always the same one as long as it answers, for actors that keep a state (all).",
    )
    policy: FaultPolicy = option(
        FaultPolicy.DROP,
        help="The fault policy of the FIFOs between endpoints and servers (drop). For live cameras newest: a server "
        "that comes late takes each camera's newest token, and the oldest ones are dropped.",
    )
    timeout: str = option(
        "", help="After how long without a sign a server counts as lost, and a token goes to another.", metavar="TIME"
    )
    port: int = option(Link.port, help="The first TCP port; each link has one (5100).", metavar="PORT")


@carries
def apply(system: System, options: Options) -> Result:
    """K(servers, endpoints) of a sound graph: ``cut_after`` and all that leads to it on endpoints, the rest on servers.

    One FIFO must lead from the endpoint's part to the server's, and it must begin at ``cut_after``. That actor gets an
    output for each server: those of a slice all carry its tensor, a class must write each. The server's first actor
    gets an input for each endpoint, which it can do without; but a slice needs all its inputs, so it can serve one
    endpoint only. With ``back_to`` that actor and all behind it are on the endpoint, one FIFO leads back to it, and a
    server has a copy of its part for each endpoint; an actor on the endpoint takes the first answer.

    Under ``newest`` the FIFOs between them have room for a token that is ready beside one that is read
    and one that is written. Each FIFO between two platforms has a TCP port of its own, from ``port`` on. Platforms and
    mappings of the system are left out. Raises ValueError, with a message for the user, for a graph that cannot be cut
    so.
    """
    return _Replication(system, options).result()


class _Replication:
    """The chain's parts, and the copies of each."""

    def __init__(self, system: System, options: Options) -> None:
        self.system, self.options, self.chain = system, options, system.graph
        chain, endpoints, servers = self.chain, options.endpoints, options.servers
        if not (0 < endpoints < 1000 and 0 < servers < 1000):
            raise ValueError(f"{endpoints} endpoints and {servers} servers: there are 1 to 999 of each")
        #: FIFOs between an endpoint and a server
        self.lanes = 2 if options.back_to else 1
        if not 0 < options.port <= 65536 - endpoints * servers * self.lanes:
            many = endpoints * servers * self.lanes
            raise ValueError(f"--port {options.port}: {many} links would need TCP ports above 65535")
        before = _reached(chain, options.cut_after, upstream=True)
        behind = _reached(chain, options.back_to, upstream=False) if options.back_to else set()
        if before & behind:
            raise ValueError(f"--back-to {options.back_to}: it comes before '{options.cut_after}'")
        self.local = [actor for actor in chain.actors if actor.name in before | behind]
        self.far = [actor for actor in chain.actors if actor.name not in before | behind]
        self.cut = _cut(chain, options.cut_after, before, behind)
        self.back = _back(chain, options.back_to, {actor.name for actor in self.far}) if options.back_to else None
        self._check()
        self.actors: list[Actor] = []
        self.fifos: list[Fifo] = []
        #: actor -> the endpoint or server that it is on
        self.homes: dict[str, str] = {}

    def _check(self) -> None:
        """Raises ValueError where the servers' part cannot be shared as it is to be."""
        options, servers = self.options, self.options.servers
        first = next(actor for actor in self.far if actor.name == self.cut.target.actor)
        self.needy = self.back is not None or (first.behaviour is not None and first.behaviour.needs_all_inputs)
        if self.needy and options.endpoints > 1 and not self.back:
            raise ValueError(
                f"actor '{first.name}' is a slice of a model, which takes the tokens of one endpoint, not of "
                f"{options.endpoints}; give it a class too, which calls the slice for each input, such as "
                "classifier.py:Classifier; or let the answers come back (--back-to)"
            )
        if options.route is Sharing.ALL:
            return
        if servers < 2:
            raise ValueError(f"--route {options.route.value}: with one server there is nothing to choose")
        if options.policy not in (FaultPolicy.DROP, FaultPolicy.WAIT):
            raise ValueError(
                f"--route {options.route.value} goes with --policy drop or wait, not {options.policy.value}"
            )
        names = {actor.name for actor in self.far}
        state = [f.name for f in self.chain.fifos if f.delay and {f.source.actor, f.target.actor} <= names]
        if options.route is Sharing.ONE and state:
            raise ValueError(
                f"--route one: the servers' part keeps a state, the delay of FIFO '{state[0]}'; write --route sticky"
            )

    def result(self) -> Result:
        """The system and its report."""
        options, chain = self.options, self.chain
        outputs = _numbered(self.cut.source.port, options.servers)
        interface = self.system.interfaces.get(options.cut_after)
        tensor = None if interface is None else interface.tensors.get(self.cut.source.port)
        near = [_widened(actor, self.cut.source, outputs, True, tensor) for actor in self.local]
        for number in range(1, options.endpoints + 1):
            self._copy(near, f"{number}", f"endpoint{number}")
        if self.back is None:
            inputs = _numbered(self.cut.target.port, options.endpoints)
            far = [_widened(actor, self.cut.target, inputs, self.needy, None) for actor in self.far]
            for number in range(1, options.servers + 1):
                self._copy(far, f"{number}", f"server{number}")
        else:
            for e in range(1, options.endpoints + 1):
                for s in range(1, options.servers + 1):
                    self._copy(self.far, f"{e}-{s}", f"server{s}")
        self._join(outputs)
        name = f"{chain.name}-{options.servers}-{options.endpoints}"
        graph = replace(chain, name=name, actors=tuple(self.actors), fifos=tuple(self.fifos))
        platforms, mappings = _deploy(graph.name, self.homes, options, self.lanes)
        made = replace(self.system, graph=graph, platforms=platforms, mappings=mappings, interfaces={}, problems=())
        line = f"{len(self.actors)} actors and {len(self.fifos)} FIFOs"
        return Result(made, Report((line,), {"actors": len(self.actors), "fifos": len(self.fifos)}))

    def _copy(self, part: Sequence[Actor], suffix: str, home: str) -> None:
        """One more copy of a part, with the FIFOs inside of it."""
        names = {actor.name for actor in part}
        self.actors += [replace(actor, name=f"{actor.name}-{suffix}") for actor in part]
        self.homes.update({f"{actor.name}-{suffix}": home for actor in part})
        self.fifos += [
            _joined(fifo, suffix, suffix, fifo.source.port, suffix, fifo.target.port)
            for fifo in self.chain.fifos
            if fifo not in (self.cut, self.back) and fifo.target.actor in names
        ]

    def _join(self, outputs: Sequence[str]) -> None:
        """The FIFOs between endpoints and servers, and the readers of the answers."""
        options, cut = self.options, self.cut
        capacity = cut.capacity
        if options.policy is FaultPolicy.NEWEST:
            rate = dict(self.chain.ports())[cut.source].url
            capacity = max(capacity, default_capacity(rate, cut.delay, options.policy))
        route = None if options.route is Sharing.ALL else Route(options.route.value)
        timeout = parse_timeout(options.timeout) if options.timeout else cut.timeout
        cut = replace(cut, policy=options.policy, capacity=capacity, route=route, timeout=timeout)
        inputs = _numbered(cut.target.port, 1 if self.back else options.endpoints)
        for e in range(1, options.endpoints + 1):
            for s, out in enumerate(outputs, 1):
                into, home = (inputs[0], f"{e}-{s}") if self.back else (inputs[e - 1], f"{s}")
                self.fifos.append(_joined(cut, f"{e}-{s}", f"{e}", out, home, into))
            if self.back is not None:
                self._read(self.back, e, timeout)

    def _read(self, back: Fifo, endpoint: int, timeout: Optional[float]) -> None:
        """What takes the first answer that comes back to an endpoint."""
        from eprune.formats.behaviours.python_class import PythonBehaviour  # heavy, and --help imports this module

        name, suffix = f"Answer-{endpoint}", f"{endpoint}"
        token = dict(self.chain.ports())[back.source].token
        inputs = _numbered("in", self.options.servers)
        ports = [Port(each, Direction.IN, token, required=False) for each in inputs]
        behaviour = PythonBehaviour.of_library("first_answer.py:FirstAnswer")
        self.actors.append(Actor(name, (*ports, Port("out", Direction.OUT, token)), behaviour=behaviour))
        self.homes[name] = f"endpoint{endpoint}"
        far = replace(back, policy=FaultPolicy.DROP, timeout=timeout)
        for s, into in enumerate(inputs, 1):
            joined = _joined(far, f"{endpoint}-{s}", f"{endpoint}-{s}", back.source.port, suffix, into)
            self.fifos.append(replace(joined, target=PortRef(name, into)))
        near = _joined(back, suffix, suffix, "out", suffix, back.target.port)
        self.fifos.append(replace(near, source=PortRef(name, "out")))


def _reached(chain: Graph, actor: str, upstream: bool) -> set[str]:
    """The actor and all from which tokens reach it, or that its tokens reach."""
    if chain.actor(actor) is None:
        raise ValueError(f"there is no actor '{actor}'")
    ends = [(fifo.target.actor, fifo.source.actor) for fifo in chain.fifos]
    reached, stack = {actor}, [actor]
    while stack:
        name = stack.pop()
        for here, there in ends if upstream else [(b, a) for a, b in ends]:
            if here == name and there not in reached:
                reached.add(there)
                stack.append(there)
    return reached


def _cut(chain: Graph, cut_after: str, before: set[str], behind: set[str]) -> Fifo:
    """The one FIFO that leads from the endpoint's part to the server's."""
    crossing = [f for f in chain.fifos if f.source.actor in before and f.target.actor not in before | behind]
    if [fifo.source.actor for fifo in crossing] != [cut_after]:
        names = ", ".join(f"'{fifo.name}'" for fifo in crossing) or "no FIFO"
        raise ValueError(f"cut after '{cut_after}', exactly one FIFO must lead on, and from there; here {names} would")
    return crossing[0]


def _back(chain: Graph, back_to: str, far: set[str]) -> Fifo:
    """The one FIFO that leads from the server's part back."""
    crossing = [fifo for fifo in chain.fifos if fifo.source.actor in far and fifo.target.actor not in far]
    if [fifo.target.actor for fifo in crossing] != [back_to]:
        names = ", ".join(f"'{fifo.name}'" for fifo in crossing) or "no FIFO"
        raise ValueError(f"back to '{back_to}', exactly one FIFO must lead; here {names} would")
    port = dict(chain.ports())[crossing[0].source]
    if not port.static or port.url != 1 or crossing[0].delay:
        raise ValueError(f"FIFO '{crossing[0].name}' leads back: its rate must be 1, and it must have no delay")
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


def _joined(fifo: Fifo, suffix: str, from_: str, out: str, to: str, into: str) -> Fifo:
    """A FIFO of the chain between copies of its actors."""
    source, target = PortRef(f"{fifo.source.actor}-{from_}", out), PortRef(f"{fifo.target.actor}-{to}", into)
    return replace(fifo, name=f"{fifo.name}-{suffix}", source=source, target=target)


def _deploy(
    application: str, homes: Mapping[str, str], options: Options, lanes: int
) -> tuple[tuple[Platform, ...], tuple[PlatformMapping, ...]]:
    """A platform and a mapping for each endpoint and server."""
    ends = [f"endpoint{number}" for number in range(1, options.endpoints + 1)]
    far = [f"server{number}" for number in range(1, options.servers + 1)]
    pairs = [(end, server) for end in ends for server in far]
    ports = {pair: options.port + lanes * number for number, pair in enumerate(pairs)}

    def platform(name: str, peers: Iterable[tuple[str, int]]) -> Platform:
        return Platform(name, (Unit(_UNIT),), tuple(Link(peer, port=number) for peer, number in peers))

    def placement(actor: str, home: str, own: str) -> Placement:
        return Placement(actor, unit=_UNIT) if home == own else Placement(actor, platform=home)

    platforms = [platform(end, [(server, ports[end, server]) for server in far]) for end in ends]
    platforms += [platform(server, [(end, ports[end, server]) for end in ends]) for server in far]
    mappings = [
        PlatformMapping(application, own, tuple(placement(actor, home, own) for actor, home in homes.items()))
        for own in (*ends, *far)
    ]
    return tuple(platforms), tuple(mappings)
