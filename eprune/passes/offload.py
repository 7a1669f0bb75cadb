"""Decide frame by frame how much of a network runs on the device, and how much on a server.

The network is what lies between the first and the last slice of a model; it is cut into blocks where a single tensor
leads on. The device holds all blocks, and so does the server. An actor on the device chooses for each frame how many
blocks run there; the tensor behind them goes to the server as one token, with the number of the block that is next, and
the answer comes back. Where all blocks run on the device, nothing is sent at all. The server's half is a dynamic
processing graph inside of the device's: it keeps nothing from one frame to the next.

Reference: Furutanpey and Dustdar, Adaptive and Collaborative Inference (WEBIST 2022), section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Callable, Optional

from eprune.analysis.precedence import firing_order
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.library import library_folder
from eprune.model.graph import Actor, ActorType, Direction, Dpg, Fifo, Graph, Port, PortRef, Row
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.mapping import Placement
from eprune.model.quantity import parse_time
from eprune.model.system import System
from eprune.model.token import TokenType
from eprune.passes.base import Report, Result, option

CONTROL = TokenType("int32")
REPORT = TokenType("float64", (2,))
#: bytes of the block's number in a token that crosses
HEADER = 8
DECIDER, PACKER, OPENER, CLOSER, ANSWER = "Decide", "Pack", "Open", "Close", "Answer"
#: the names of the two dynamic processing graphs
OUTER, INNER = "Offload", "Rest"


class Objective(Enum):
    """What the decider minimises."""

    LATENCY = "latency"
    ENDPOINT = "endpoint"
    BYTES = "bytes"
    ENERGY = "energy"


@dataclass(frozen=True)
class Options:
    """Between which platforms, where the network may be cut, and what is known of times."""

    device: str = option(help="The platform that has the frames.", metavar="PLATFORM")
    server: str = option(help="The platform that may compute the rest.", metavar="PLATFORM")
    cut: tuple[str, ...] = option(
        (), help="An actor behind which the network may be cut; without any, wherever a single tensor leads on.",
        metavar="ACTOR",
    )  # fmt: skip
    here: str = option("", help="Seconds of each block on the device: 0.005,0.01.", metavar="LIST")
    there: str = option("", help="Seconds of each block on the server.", metavar="LIST")
    objective: Objective = option(
        Objective.LATENCY,
        help="What a choice minimises: the latency (the default), the device's computing, the bytes, or the device's "
        "energy, by the watts in its platform file.",
    )
    latency: str = option(
        "", help="What a frame may take: the objective chooses among the cuts that keep that.", metavar="TIME"
    )
    probe: int = option(50, help="After how many frames without one on the server one is sent (50; 0: never).")
    frames: int = option(4, help="How many frames may be under way (4).")


def apply(system: System, options: Options) -> Result:
    """The system with a decider, two copies of the network, and an answer. Raises ValueError where it does not apply.

    Actors before the network stay where they are mapped; the others of the device's part are on the device, and the
    answer too. The platforms need a mapping, as ``eprune apply`` asks for; which actors of the network it puts where
    makes no difference.
    """
    for name in (options.device, options.server):
        if system.platform(name) is None:
            raise ValueError(f"there is no platform '{name}'; there are {', '.join(p.name for p in system.platforms)}")
    if options.device == options.server:
        raise ValueError(f"the device and the server are both '{options.device}'")
    network = _network(system.graph, options.cut)
    given = {"here": options.here, "there": options.there}
    times = {name: _times(text, network, name, system.graph) for name, text in given.items()}
    guessed = [f"--{name}" for name, text in times.items() if not text]
    assumed = ",".join(["0.001"] * len(network.blocks))
    wiring = _Wiring(system, network, options, [text or assumed for text in times.values()])
    graph = wiring.graph()
    made = replace(system, graph=graph, mappings=_mappings(system, graph, wiring, options), interfaces={}, problems=())
    blocks = [" ".join(block.actors) for block in network.blocks]
    lines = [
        f"{len(blocks)} blocks: {'; '.join(blocks)}",
        f"the most that crosses: {wiring.cut.nbytes} bytes per frame",
    ]
    if guessed:
        lines.append(f"nothing says how long blocks take: 1 ms each is assumed; give {' and '.join(guessed)}")
    figures = {"blocks": [list(block.actors) for block in network.blocks], "bytes": wiring.sizes}
    return Result(made, Report(tuple(lines), figures))


@dataclass(frozen=True)
class _Block:
    """Actors between two cuts, in order of precedence; the FIFO that leads in, and the one that leads on."""

    actors: tuple[str, ...]
    into: Fifo
    out: Fifo


@dataclass(frozen=True)
class _Network:
    blocks: tuple[_Block, ...]
    inner: tuple[Fifo, ...]

    @property
    def actors(self) -> frozenset[str]:
        return frozenset(name for block in self.blocks for name in block.actors)


def _network(graph: Graph, cuts: Sequence[str]) -> _Network:
    """The blocks of the graph's network."""
    slices = {actor.name for actor in graph.actors if actor.behaviour is not None and actor.behaviour.operators}
    order = [name for name in firing_order(graph) if name in slices]
    if not order:
        raise ValueError(f"{graph.name} has no slices of a model, which two platforms could share")
    for name in cuts:
        if name not in order:
            raise ValueError(f"--cut {name}: the network consists of {', '.join(order)}")
    if any(actor.type is not ActorType.SPA for actor in graph.actors if actor.name in slices):
        raise ValueError("the network is part of a dynamic processing graph; offloading begins with one that is not")
    ports = dict(graph.ports())
    blocks: list[_Block] = []
    begin = 0
    entering = [fifo for fifo in graph.fifos if fifo.target.actor in slices and fifo.source.actor not in slices]
    if len(entering) != 1:
        raise ValueError("more than one FIFO, or none, leads into the network: what is sent would not be one tensor")
    into = entering[0]
    first = into.source.actor
    for end in range(1, len(order) + 1):
        near = set(order[:end])
        crossing = [fifo for fifo in graph.fifos if fifo.source.actor in near and fifo.target.actor not in near]
        back = [fifo for fifo in graph.fifos if fifo.target.actor in near and fifo.source.actor not in near | {first}]
        single = len(crossing) == 1 and not back and not crossing[0].delay and ports[crossing[0].source].url == 1
        last = end == len(order)
        if last and not single:
            raise ValueError(
                "more than one FIFO, or none, leads out of the network: the answer would not be one tensor"
            )
        if single and (last or not cuts or order[end - 1] in cuts):
            blocks.append(_Block(tuple(order[begin:end]), into, crossing[0]))
            into, begin = crossing[0], end
        elif order[end - 1] in cuts:
            tensors = {(fifo.source, fifo.delay) for fifo in crossing}
            raise ValueError(f"--cut {order[end - 1]}: {len(tensors)} tensors lead on behind it, and a cut is one")
    cut = {block.into.name for block in blocks} | {blocks[-1].out.name}
    inner = tuple(f for f in graph.fifos if f.source.actor in slices and f.target.actor in slices and f.name not in cut)
    return _Network(tuple(blocks), inner)


def _times(text: str, network: _Network, name: str, graph: Graph) -> str:
    """The seconds of the blocks: those given, or what their actors state; an empty text where nothing says them."""
    count = len(network.blocks)
    if text:
        if len(text.split(",")) != count:
            raise ValueError(f"--{name} {text}: the network has {count} blocks")
        return text
    stated = {actor.name: actor.time for actor in graph.actors}
    blocks = [[stated[member] for member in block.actors] for block in network.blocks]
    if any(None in each for each in blocks):
        return ""
    return ",".join(f"{float(sum(time or 0 for time in each)):g}" for each in blocks)


def _watts(system: System, options: Options) -> str:
    """What the device takes while it computes, waits and, besides, sends."""
    platform = system.platform(options.device)
    assert platform is not None  # as was checked
    unit, link = platform.units[0], platform.link(options.server)
    if unit.watts is None:
        raise ValueError(f"--objective energy: platform '{platform.name}' does not state the watts of its unit")
    sending = link.watts if link is not None and link.watts is not None else 0
    return f"{unit.watts:g},{unit.idle or 0:g},{sending:g}"


@dataclass
class _Part:
    """A new actor while it is being wired."""

    type: ActorType
    behaviour: Optional[PythonBehaviour]
    parameters: tuple[tuple[str, str], ...] = ()
    ports: list[Port] = field(default_factory=list)
    model: Optional[Actor] = None


class _Wiring:
    """The graph's new actors, FIFOs and tables."""

    def __init__(self, system: System, network: _Network, options: Options, times: Sequence[str]) -> None:
        self.system, self.network, self.options = system, network, options
        self.taken = {actor.name for actor in system.graph.actors} | {fifo.name for fifo in system.graph.fifos}
        self.ports = dict(system.graph.ports())
        self.parts: dict[str, _Part] = {}
        self.fifos: list[Fifo] = []
        #: port -> its rate in each row of the device's table, and of the server's
        self.columns: dict[str, dict[PortRef, list[int]]] = {"device": {}, "server": {}}
        self.members: dict[str, list[str]] = {"device": [], "server": []}
        count = len(network.blocks)
        self.rows = range(count + 1)
        tokens = [self.ports[block.into.source].token for block in network.blocks]
        self.answer = self.ports[network.blocks[-1].out.source].token
        self.tokens = [*tokens, self.answer]
        self.sizes = [token.nbytes + HEADER for token in tokens]
        self.cut = TokenType("uint8", (max(*self.sizes, self.answer.nbytes + HEADER),), True)
        links = {
            link.to: link for platform in system.platforms if platform.name == options.device for link in platform.links
        }
        link = links.get(options.server)
        self.names = {name: self._fresh(name) for name in (DECIDER, PACKER, OPENER, CLOSER, ANSWER)}
        parameters = {
            "here": times[0],
            "there": times[1],
            "bytes": ",".join(map(str, self.sizes)),
            "objective": options.objective.value,
            "probe": str(options.probe),
        }
        if link is not None and link.bandwidth:
            parameters["bandwidth"] = f"{float(link.bandwidth):g}"
        if link is not None and link.latency:
            parameters["latency"] = f"{float(link.latency):g}"
        if options.latency:
            parameters["within"] = f"{parse_time(options.latency):g}"
        if options.objective is Objective.ENERGY:
            parameters["watts"] = _watts(system, options)
        self._part(DECIDER, ActorType.DA, "offload_decider.py", "OffloadDecider", tuple(parameters.items()))
        self._part(PACKER, ActorType.DPA, "cut_packer.py", "CutPacker")
        self._part(OPENER, ActorType.DA, "cut_opener.py", "CutOpener")
        self._part(CLOSER, ActorType.DA, "merge.py", "Merge")
        self._part(ANSWER, ActorType.DA, "offload_answer.py", "OffloadAnswer")
        self._wire()

    def _fresh(self, name: str) -> str:
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        return name

    def _part(
        self, name: str, type_: ActorType, file: str, class_name: str, parameters: tuple[tuple[str, str], ...] = ()
    ) -> str:
        own = self.names.get(name) or self._fresh(name)
        behaviour = PythonBehaviour(file, class_name, str(Path(library_folder(), file)))
        self.parts[own] = _Part(type_, behaviour, parameters)
        return own

    def _join(
        self,
        source: PortRef,
        target: PortRef,
        token: TokenType,
        active: Optional[Sequence[int]] = None,
        table: str = "",
        like: Optional[Mapping[PortRef, Port]] = None,
        control: bool = False,
        delay: int = 0,
    ) -> None:
        """A FIFO and the ports at its ends; ``active``: its rate in each row of ``table``."""
        lrl = 0 if active is not None else 1
        for ref, direction in ((source, Direction.OUT), (target, Direction.IN)):
            old = (like or {}).get(ref)
            tensor = old.tensor if old is not None else None
            port = Port(ref.port, direction, token, lrl, 1, 1, control=control, tensor=tensor)
            self.parts[ref.actor].ports.append(port)
            if active is not None:
                self.columns[table][ref] = list(active)
        capacity = delay + (1 if delay else 2)
        other = target if control else source
        name = f"{source.actor}-{other.actor if control else other.port}"
        self.fifos.append(Fifo(self._fresh(name), source, target, capacity, delay))

    def _wire(self) -> None:
        names, blocks = self.names, self.network.blocks
        count = len(blocks)
        decide, pack, open_, close, answer = (names[n] for n in (DECIDER, PACKER, OPENER, CLOSER, ANSWER))
        first = blocks[0].into
        self._join_old(first, decide, "in", True)
        self._copy_blocks("device", "", lambda block: [int(row > block) for row in self.rows])
        self._copy_blocks("server", "-server", lambda block: [int(row <= block) for row in self.rows])
        # The device: each block's tensor goes on to the next one, or to the server.
        self._join(
            PortRef(decide, "local"), self._entry(0, ""), self.tokens[0], [int(r > 0) for r in self.rows], "device"
        )
        self._join(
            PortRef(decide, "raw"), PortRef(pack, "block0"), self.tokens[0], [int(r == 0) for r in self.rows], "device"
        )
        for block in range(count):
            on = [int(row > block + 1) for row in self.rows]
            off = [int(row == block + 1) for row in self.rows]
            source = self._exit(block, "")
            if block == count - 1:
                self._join(source, PortRef(answer, "local"), self.answer, off, "device")
                continue
            self._join(replace(source, port="next"), self._entry(block + 1, ""), self.tokens[block + 1], on, "device")
            target = PortRef(pack, f"block{block + 1}")
            self._join(replace(source, port="send"), target, self.tokens[block + 1], off, "device")
        sent = [int(row < count) for row in self.rows]
        self._join(PortRef(pack, "cut"), PortRef(open_, "cut"), self.cut, sent, "device")
        # The server: blocks begin with what the block before gives, or with what was sent.
        for block in range(count + 1):
            here = [int(row == block) for row in self.rows]
            token = self.tokens[block]
            if block == 0:
                self._join(PortRef(open_, "block0"), self._entry(0, "-server"), token, here, "server")
                continue
            before = [int(row < block) for row in self.rows]
            source = self._exit(block - 1, "-server")
            merge = close
            if block < count:
                merge = self._part(f"Merge{block}", ActorType.DPA, "merge.py", "Merge")
                self.members["server"].append(merge)
                both = [int(row <= block) for row in self.rows]
                self._join(PortRef(merge, "out"), self._entry(block, "-server"), token, both, "server")
            self._join(source, PortRef(merge, "before"), token, before, "server")
            self._join(PortRef(open_, f"block{block}"), PortRef(merge, "sent"), token, here, "server")
        self._join(PortRef(close, "out"), PortRef(answer, "remote"), self.answer, sent, "device")
        self._join_old(blocks[-1].out, answer, "out", False)
        self._join(PortRef(answer, "report"), PortRef(decide, "report"), REPORT, delay=self.options.frames)
        self.members["device"].append(pack)
        told = {decide: [*self.members["device"], answer], open_: [*self.members["server"], close]}
        for leader, followers in told.items():
            for follower in followers:
                self._join(PortRef(leader, f"to_{follower}"), PortRef(follower, "mode"), CONTROL, control=True)

    def _join_old(self, fifo: Fifo, actor: str, port: str, into: bool) -> None:
        """An end of a FIFO that is there already."""
        token = self.ports[fifo.source].token
        self.parts[actor].ports.append(Port(port, Direction.IN if into else Direction.OUT, token))
        ref = PortRef(actor, port)
        self.fifos.append(replace(fifo, target=ref) if into else replace(fifo, source=ref))

    def _copy_blocks(self, table: str, suffix: str, active: Callable[[int], list[int]]) -> None:
        for number, block in enumerate(self.network.blocks):
            for name in block.actors:
                old = self.system.graph.actor(name)
                assert old is not None
                self.parts[f"{name}{suffix}"] = _Part(ActorType.DPA, None, model=old)
                self.taken.add(f"{name}{suffix}")
                self.members[table].append(f"{name}{suffix}")
            for fifo in self.network.inner:
                if fifo.source.actor in block.actors:
                    source, target = (replace(ref, actor=f"{ref.actor}{suffix}") for ref in (fifo.source, fifo.target))
                    token = self.ports[fifo.source].token
                    self._join(source, target, token, active(number), table, self._old(suffix))

    def _old(self, suffix: str) -> dict[PortRef, Port]:
        return {PortRef(f"{ref.actor}{suffix}", ref.port): port for ref, port in self.ports.items()}

    def _entry(self, block: int, suffix: str) -> PortRef:
        ref = self.network.blocks[block].into.target
        return PortRef(f"{ref.actor}{suffix}", ref.port)

    def _exit(self, block: int, suffix: str) -> PortRef:
        ref = self.network.blocks[block].out.source
        return PortRef(f"{ref.actor}{suffix}", ref.port)

    def graph(self) -> Graph:
        """The application's graph."""
        old = self.system.graph
        gone = self.network.actors
        interfaces = self.system.interfaces
        actors: list[Actor] = []
        for name, part in self.parts.items():
            if part.model is None:
                actors.append(Actor(name, tuple(part.ports), part.type, part.behaviour, part.parameters))
                continue
            # Ports that carry one tensor, or were told apart by their order, name theirs.
            tensors = interfaces[part.model.name].tensors if part.model.name in interfaces else {}
            out = self.network_out(part.model.name)
            ports = tuple(
                port
                if port.control
                else replace(port, tensor=tensors.get(out if port.name in ("next", "send") else port.name, port.tensor))
                for port in part.ports
            )
            actors.append(replace(part.model, name=name, type=part.type, ports=ports))
        device, server = (self._dpg(table) for table in ("device", "server"))
        kept = tuple(fifo for fifo in old.fifos if not {fifo.source.actor, fifo.target.actor} & gone)
        own = [actor for actor in old.actors if actor.name not in gone]
        return replace(
            old,
            name=f"{old.name}-offload",
            actors=(*own, *actors),
            fifos=(*kept, *self.fifos),
            dpgs=(*old.dpgs, device, server),
        )

    def network_out(self, actor: str) -> str:
        """The port of an actor from which a block's tensor leaves."""
        return next((b.out.source.port for b in self.network.blocks if b.out.source.actor == actor), "")

    def _dpg(self, table: str) -> Dpg:
        columns = self.columns[table]
        rows = tuple(Row(row, tuple(rates[row] for rates in columns.values())) for row in self.rows)
        ends = (DECIDER, ANSWER) if table == "device" else (OPENER, CLOSER)
        entry, leave = (self.names[end] for end in ends)
        name, inside = (OUTER, "") if table == "device" else (INNER, OUTER)
        return Dpg(name, entry, entry, leave, tuple(self.members[table]), tuple(columns), rows, inside)


def _mappings(system: System, graph: Graph, wiring: _Wiring, options: Options) -> tuple[PlatformMapping, ...]:
    """Where everything runs."""
    server = {*wiring.members["server"], wiring.names[OPENER], wiring.names[CLOSER]}
    homes = {actor.name: system.homes.get(actor.name, options.device) for actor in graph.actors}
    for name in wiring.parts:
        homes[name] = options.server if name in server else options.device
    units = {}
    for platform in system.platforms:
        units[platform.name] = platform.units[0].name
    kept = {actor: unit for actor, (platform, unit) in system.units.items() if platform == homes.get(actor)}
    return tuple(
        PlatformMapping(
            graph.name,
            platform.name,
            tuple(
                Placement(name, unit=kept.get(name, units[home]))
                if home == platform.name
                else Placement(name, platform=home)
                for name, home in homes.items()
            ),
        )
        for platform in system.platforms
        if platform.name in homes.values()
    )
