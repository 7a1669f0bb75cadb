"""Decide frame by frame how much of a network runs on the device, and how much on a server.

The network is what lies between the first and the last slice of a model; it is cut into blocks where a single tensor
leads on. The device holds all blocks, and so does each server. An actor on the device chooses for each frame how many
blocks run there; the tensor behind them goes to the server as one token, with the number of the block that is next, and
the answer comes back. Where all blocks run on the device, nothing is sent at all. A second server is one to which the
first may send, which decides as the device does. With data, the device's network gets early exits: a frame of which one
is sure is answered there. A server's half is a dynamic processing graph inside of that of whoever sends to it; of the
frames, it keeps nothing.

Reference: Furutanpey and Dustdar, Adaptive and Collaborative Inference (WEBIST 2022), section 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from eprune.formats.model_files import parse_model, read_model
from eprune.model.quantity import parse_time, parse_timeout
from eprune.model.system import System
from eprune.passes._offload_network import Network, network_of, times_of
from eprune.passes._offload_wiring import HEADER, OUTER, SENDING, Wiring
from eprune.passes._places import places
from eprune.passes.base import Report, Result, carries, option
from eprune.passes.compress import Coding
from eprune.passes.exits import Exit

__all__ = ["OUTER", "SENDING", "Again", "Coded", "Objective", "Options", "apply"]

#: Seconds of a block of which nothing is known.
ASSUMED = 0.001


class Objective(Enum):
    """What the decider minimises."""

    LATENCY = "latency"
    ENDPOINT = "endpoint"
    BYTES = "bytes"
    ENERGY = "energy"


class Again(Enum):
    """What the device does with a frame to which no answer has come."""

    WHOLE = "whole"
    EXIT = "exit"


@dataclass(frozen=True)
class Coded:
    """How the tensor at a cut is coded, and its mean bytes then."""

    coding: Coding
    nbytes: float


@dataclass(frozen=True)
class Options:
    """Between which platforms, where the network may be cut or left, and what is known of times.

    ``made`` are exits, as they are fitted before (``measure.plans.offload``), ``shares`` the part of the frames that
    come so far which leaves at each; ``codings``: number of blocks before a cut -> how that is coded; ``lines`` and
    ``figures``: what is known of them.
    """

    device: str = option(help="The platform that has the frames.", metavar="PLATFORM")
    server: tuple[str, ...] = option(
        help="The platform that may compute the rest; a second one is where the first may send to.", metavar="PLATFORM"
    )
    beside: tuple[str, ...] = option(
        (), help="One more platform that may do what the server does: each cut goes to one of them (with --retry).",
        metavar="PLATFORM",
    )  # fmt: skip
    cut: tuple[str, ...] = option(
        (), help="An actor behind which the network may be cut; without any, wherever a single tensor leads on.",
        metavar="ACTOR",
    )  # fmt: skip
    behind: str = option(
        "",
        help="Share out only what is behind this actor; it, and all before it, stay where they are.",
        metavar="ACTOR",
    )
    here: str = option("", help="Seconds of each block on the device: 0.005,0.01.", metavar="LIST")
    there: tuple[str, ...] = option((), help="Seconds of each block on each server.", metavar="LIST")
    profile: str = option(
        "", help="Instead, the times that eprune profile DIR --actors has taken of the actors.", metavar="DIR"
    )
    objective: Objective = option(
        Objective.LATENCY,
        help="What a choice minimises: the latency (the default), the device's computing, the bytes, or the device's "
        "energy, by the watts in its platform file.",
    )
    latency: str = option(
        "",
        help="What a frame may take: the objective chooses among the cuts that keep that, and what would be late takes "
        "the last exit.",
        metavar="TIME",
    )
    probe: int = option(
        50, help="Try what has not been used for so many frames, or a second, where it costs little (50; 0: never)."
    )
    frames: int = option(4, help="How many frames may be under way (4).")
    retry: str = option(
        "",
        help="Where the first server dies, or has not answered for so long, the device computes a frame itself; else "
        "the run ends.",
        metavar="TIME",
    )
    again: Again = option(
        Again.WHOLE,
        help="With --retry: compute the whole network (the default), or take the answer of the last exit that the "
        "frame has passed; one that has passed none is computed up to the first exit.",
    )
    compress: str = option(
        "",
        help="Code what is cut, as apply compress does, so that this holds of each cut: agreement=0.99, accuracy=0.97.",
        metavar="METRIC=VALUE",
    )
    data: str = option(
        "",
        help="Give the device's network early exits, fitted on these pictures; --compress measures on them, too.",
        metavar="DIR|FILE",
    )
    wish: str = option("agreement=0.99", help="What exits must keep, as of apply exits.", metavar="WHAT=VALUE")
    at: tuple[str, ...] = option((), help="An actor behind which an exit is put.", metavar="ACTOR")
    exits: int = option(1, help="At most so many exits, where --at does not name them (1; 0: none).", metavar="N")
    made: tuple[Exit, ...] = ()
    shares: tuple[float, ...] = ()
    codings: Mapping[int, Coded] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """The system with deciders, a copy of the network for each platform, and an answer. Raises ValueError.

    Actors before the network stay where they are mapped; the others of the device's part are on the device, and the
    answer too. The platforms need a mapping, as ``eprune apply`` asks for; which actors of the network it puts where
    makes no difference.
    """
    tiers = (options.device, *options.server)
    for name in (*tiers, *options.beside):
        if system.platform(name) is None:
            raise ValueError(f"there is no platform '{name}'; there are {', '.join(p.name for p in system.platforms)}")
    if len(options.server) not in (1, 2):
        raise ValueError(f"{len(options.server)} servers: expected one, and perhaps one behind it")
    if len(set(tiers)) < len(tiers):
        twice = next(name for name in tiers if tiers.count(name) > 1)
        raise ValueError(
            f"the device and the server are both '{twice}'" if twice == tiers[0] else f"--server {twice} twice"
        )
    if options.beside and (len(options.server) > 1 or not options.retry):
        raise ValueError("--beside is for one server, and needs --retry: after that time a frame is computed here")
    if len({*tiers, *options.beside}) < len(tiers) + len(options.beside):
        raise ValueError(f"--beside {' '.join(options.beside)}: a platform is named twice")
    network = network_of(system.graph, options.cut, options.behind)
    if network.inside and (options.retry or options.made):
        wrong = "--retry" if options.retry else "--data"
        raise ValueError(
            f"{wrong}: the network is in a branch of '{network.inside}', where frames can neither be lost nor leave on "
            "their way; leave it out (exits can be put there by eprune apply exits, before or afterwards)"
        )
    exits = _exits(system, network, options.made)
    if len(options.there) > len(options.server):
        raise ValueError("more --there than --server")
    told = [options.here, *options.there, *[""] * (len(options.server) - len(options.there))]
    found = [times_of(text, network, "there" if tier else "here", system.graph) for tier, text in enumerate(told)]
    guessed = dict.fromkeys("--there" if tier else "--here" for tier, each in enumerate(found) if each is None)
    times = [each or (ASSUMED,) * len(network.blocks) for each in found]
    parameters = _parameters(system, network, options, tiers, times, exits)
    retry = parse_timeout(options.retry) if options.retry else None
    last = options.again is Again.EXIT
    if last and not (retry and exits):
        raise ValueError("--again exit is for --retry, and takes exits: give --retry, and --data")
    codings = {number: each.coding for number, each in options.codings.items()}
    wiring = Wiring(system, network, tiers, parameters, exits, options.frames, retry, options.beside, last, codings)
    graph = wiring.sheet.graph(network.actors, "-offload")
    made = replace(
        system,
        graph=graph,
        mappings=wiring.sheet.mappings(graph, options.device),
        interfaces=wiring.interfaces,
        problems=(),
        files={**system.files, **wiring.files},
    )
    lines = [
        f"{len(network.blocks)} blocks: {'; '.join(' '.join(block.actors) for block in network.blocks)}",
        f"the most that crosses: {wiring.cut.nbytes} bytes per frame",
        *options.lines,
    ]
    if guessed:
        lines.append(f"nothing says how long blocks take: 1 ms each is assumed; give {' and '.join(guessed)}")
    figures: dict[str, Any] = {"blocks": [list(block.actors) for block in network.blocks], "bytes": wiring.sizes[:-1]}
    figures.update(options.figures)
    return Result(made, Report(tuple(lines), figures))


def _exits(system: System, network: Network, made: Sequence[Exit]) -> dict[int, Exit]:
    """The number of blocks before an exit -> the exit. Raises ValueError where there cannot be one."""
    known = {place.fifo.name: place for place in places(system.graph)} if made else {}
    found: dict[int, Exit] = {}
    for each in made:
        before = network.behind(each.fifo)
        if before is None or known[each.fifo].late.name != network.blocks[-1].out.name:
            raise ValueError(f"an exit at {each.fifo} would not answer what the network does: its last slice must")
        found[before] = each
    return dict(sorted(found.items()))


def _parameters(
    system: System, network: Network, options: Options, tiers: Sequence[str], times: Sequence[Sequence[float]],
    exits: Mapping[int, Exit],
) -> list[dict[str, str]]:  # fmt: skip
    """What each platform's decider is told: its blocks' seconds, and what the others behind it are expected to take."""
    ports = dict(system.graph.ports())
    coded = options.codings
    sizes = [
        HEADER + (round(coded[number].nbytes) if number in coded else ports[block.into.source].token.nbytes)
        for number, block in enumerate(network.blocks)
    ]
    rest = _sums(times[-1])
    found: list[dict[str, str]] = []
    for tier in range(len(tiers) - 2, -1, -1):
        parameters = {"here": _listed(times[tier]), "rest": _listed(rest), "bytes": ",".join(map(str, sizes))}
        parameters["between"] = f"{tiers[tier]},{tiers[tier + 1]}"
        platform = system.platform(tiers[tier])
        assert platform is not None  # as was checked
        link = platform.link(tiers[tier + 1])
        bandwidth = float(link.bandwidth) if link is not None and link.bandwidth else 1e9
        latency = float(link.latency) if link is not None and link.latency else 0.0
        if bandwidth != 1e9:
            parameters["bandwidth"] = f"{bandwidth:g}"
        if latency:
            parameters["latency"] = f"{latency:g}"
        if not tier:
            parameters["objective"] = options.objective.value
            if options.latency:
                parameters["within"] = f"{parse_time(options.latency):g}"
            if options.objective is Objective.ENERGY:
                parameters["watts"] = _watts(system, options)
            if exits:
                parameters["exits"] = ",".join(map(str, exits))
                parameters["shares"] = _listed(options.shares or (0.0,) * len(exits))
                parameters["heads"] = _listed(_heads(system, network, exits, times[0]))
        parameters["probe"] = str(options.probe)
        found.append(parameters)
        # What this platform takes from each block on, by its own choice.
        rest = _least(times[tier], [2 * latency + size / bandwidth + there for size, there in zip(sizes, rest)])
    return found[::-1]


def _least(here: Sequence[float], onwards: Sequence[float]) -> list[float]:
    """What a platform takes from each block on: it computes that one, or sends what is there, whatever is faster."""
    found = [0.0]
    for own, sent in zip(reversed(here), reversed(onwards)):
        found.append(min(own + found[-1], sent))
    return found[:0:-1]


def _sums(times: Sequence[float]) -> list[float]:
    """The seconds of each block and all behind it."""
    return [sum(times[number:]) for number in range(len(times))]


def _listed(values: Sequence[float]) -> str:
    return ",".join(f"{each:.6g}" for each in values)


def _heads(system: System, network: Network, exits: Mapping[int, Exit], here: Sequence[float]) -> list[float]:
    """The seconds of exits' heads: by their MACs beside those of the blocks."""
    whole = 0
    for actor in system.graph.actors:
        if actor.name in network.actors and actor.behaviour is not None:
            model = read_model(actor.behaviour.path)
            whole += sum(model.format.macs(model, model.operators[index]) for index in actor.behaviour.operators)
    heads = [parse_model(each.data) for each in exits.values()]
    own = [sum(model.format.macs(model, operator) for operator in model.operators) for model in heads]
    return [sum(here) * each / whole if whole else 0.0 for each in own]


def _watts(system: System, options: Options) -> str:
    """What the device takes while it computes, waits and, besides, sends."""
    platform = system.platform(options.device)
    assert platform is not None  # as was checked
    unit, link = platform.units[0], platform.link(options.server[0])
    if unit.watts is None:
        raise ValueError(f"--objective energy: platform '{platform.name}' does not state the watts of its unit")
    sending = link.watts if link is not None and link.watts is not None else 0
    return f"{unit.watts:g},{unit.idle or 0:g},{sending:g}"
