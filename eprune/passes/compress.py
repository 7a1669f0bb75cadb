"""Send fewer bytes at a cut: an actor in front of a FIFO codes its tokens, and one behind it decodes them.

Floats are rounded to 8 or 4 bits, in ranges that are measured on your pictures, and what is left is coded by zstd or
zlib; tokens of whole numbers are only coded, without loss. Before a fully connected layer, a token can be projected
first, and before a convolution the channels of each of its places: what the layer makes of the projection is nearly
what it makes of the token. The FIFO has room for the largest that a token can become, and the link carries what is
used.

Every way of coding is measured, beside sending the picture itself as a JPEG: the mean bytes, the share of answers that
stay the same, the accuracy where the pictures have labels, and below which bandwidth it saves time. Ranges are those of
the calibration part of the pictures, and so is the choice; the figures are of the test part.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Optional

from eprune.model.graph import Actor, ActorType, Direction, FaultPolicy, Fifo, Graph, Port, PortRef
from eprune.model.interface import Interface
from eprune.model.system import System
from eprune.model.token import ITEM_SIZES, TokenType
from eprune.passes._draft import Draft
from eprune.passes._names import fresh
from eprune.passes.base import Report, Result, carries, option

COMPRESSOR, DECOMPRESSOR = "Compress", "Decompress"


class Method(Enum):
    """How tokens are coded; ``auto``: as the wish, or the bytes, ask for."""

    AUTO = "auto"
    LOSSLESS = "lossless"
    INT8 = "int8"
    INT8_CHANNEL = "int8-channel"
    INT4 = "int4"
    INT4_CHANNEL = "int4-channel"
    RANK = "rank"


class Entropy(Enum):
    """What codes the codes; ``auto``: zstd, or zlib where zstandard is not installed."""

    AUTO = "auto"
    ZSTD = "zstd"
    ZLIB = "zlib"


@dataclass(frozen=True)
class Coding:
    """How the tokens of one FIFO are coded: the parameters of both its ends.

    ``method`` is the actors' (lossless, int8, int4), ``low`` and ``step`` are their ranges. ``rank`` numbers are sent
    instead of the token where there is a ``basis``, an .npz file (0: the token itself). ``hidden`` are parameters of
    the sender alone: the noise on what is sent (``apply defend``).
    """

    method: str
    entropy: str = "zlib"
    level: int = 6
    low: tuple[float, ...] = ()
    step: tuple[float, ...] = ()
    rank: int = 0
    basis: bytes = field(default=b"", repr=False)
    hidden: tuple[tuple[str, str], ...] = ()

    def most(self, token: TokenType) -> int:
        """The bytes of the largest coded token."""
        item = ITEM_SIZES["float32" if self.rank else token.dtype]
        elements = self.rank or token.nbytes // item
        return 1 + {"lossless": elements * item, "int8": elements, "int4": -(-elements // 2)}[self.method]

    def parameters(self, basis: str) -> tuple[tuple[str, str], ...]:
        """As the actors take them; ``basis`` is the file's name."""
        given = {"method": self.method, "entropy": self.entropy, "level": str(self.level)}
        if self.step:
            given.update(low=listed(self.low), step=listed(self.step))
        if self.rank:
            given["basis"] = basis
        return tuple(given.items())


@dataclass(frozen=True)
class Options:
    """Which FIFOs, and what must hold.

    ``made`` says how each FIFO is coded, as it is measured before (``measure.plans.compress``); ``lines`` and
    ``figures`` are what is known of it.
    """

    fifo: tuple[str, ...] = option(help="A FIFO between two platforms.", metavar="FIFO")
    wish: str = option(
        "", help="The fewest bytes with which this holds: accuracy=0.97, or agreement=0.99 (the default).",
        metavar="METRIC=VALUE",
    )  # fmt: skip
    bytes: str = option("", help="The best answers with no more bytes per token than that, on average.", metavar="SIZE")
    data: str = option("", help="Your pictures (without: random inputs, which say little).", metavar="DATA")
    method: Method = option(Method.AUTO, help="Code in this way (auto: as --wish or --bytes ask for).")
    entropy: Entropy = option(Entropy.AUTO, help="What codes the rest (auto: zstd if it is installed, else zlib).")
    level: int = option(0, help="The level of that: up to 22 of zstd (3), 9 of zlib (6).")
    rank: int = option(
        0,
        help="Of --method rank: how many numbers are sent; before a convolution, for each place (0: enough for all).",
    )
    frames: int = option(100, help="Measure on up to so many pictures of each part (100).")
    bandwidth: str = option(
        "", help="Of the link, in bytes per second: is it worth it? (11.2MB/s; default: the platform file's).",
        metavar="RATE",
    )  # fmt: skip
    made: Mapping[str, Coding] = field(default_factory=dict)
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """The system with a ``Compress-FIFO`` and a ``Decompress-FIFO`` for each FIFO, on the units of its ends.

    Raises ValueError for FIFOs that cannot be coded, and where it is not known how.
    """
    names = list(dict.fromkeys(options.fifo))
    chosen = [checked(system, name) for name in names]
    missing = [name for name in names if name not in options.made]
    if missing:
        raise ValueError(f"how {', '.join(missing)} is coded must be measured first")
    for fifo in chosen:
        system = _inserted(system, fifo, options.made[fifo.name])
    figures = {"fifos": {name: _figures(options.made[name]) for name in names}, **options.figures}
    return Result(system, Report(options.lines, figures))


def checked(system: System, name: str) -> Fifo:
    """The FIFO of a name. Raises ValueError if its tokens cannot be coded."""
    graph = system.graph
    fifo = next((each for each in graph.fifos if each.name == name), None)
    if fifo is None:
        crossing = [f.name for f in graph.fifos if system.crosses(f)]
        raise ValueError(f"--fifo {name}: there is no such FIFO; between platforms there are {', '.join(crossing)}")
    port, refused = dict(graph.ports())[fifo.source], ""
    if system.mappings and not system.crosses(fifo):
        refused = f"does not leave platform '{system.homes.get(fifo.source.actor)}': there is nothing to save"
    elif port.control:
        refused = "carries control tokens, of 4 bytes"
    elif port.url != 1:
        refused = "carries more than one token per firing"
    elif graph.actor(fifo.source.actor) in coders(graph):
        refused = "is coded already"
    elif fifo.delay:
        refused = "has initial tokens, which would have to be coded, too"
    elif fifo.policy not in (FaultPolicy.STOP, FaultPolicy.WAIT):
        refused = f"has the policy {fifo.policy.value}; only stop and wait bring every token"
    if refused:
        raise ValueError(f"--fifo {name}: it {refused}")
    return fifo


def coders(graph: Graph) -> list[Actor]:
    """The actors that code tokens, of which the pass has made one for each FIFO."""
    return [actor for actor in graph.actors if actor.class_name in ("Compressor", "JpegEncoder")]


def token_of(system: System, fifo: Fifo) -> TokenType:
    """The type of what a FIFO carries."""
    return dict(system.graph.ports())[fifo.source].token


def _inserted(system: System, fifo: Fifo, coding: Coding) -> System:
    """One FIFO with an actor at each end; it keeps its name, and all that is said of it, and carries the coded.

    In a branch of a choice, both are idle when the FIFO is.
    """
    draft = Draft(system)
    on = draft.branch(fifo)
    token, file = draft.port(fifo.source).token, f"basis_{fifo.name}.npz"
    coded = TokenType("uint8", (coding.most(token),), True)
    kind = ActorType.SPA if on is None else ActorType.DPA
    given = dict(coding.parameters(file))
    front, back = (
        draft.library(f"{name}-{fifo.name}", kind, class_name, beside.actor, parameters)
        for name, class_name, beside, parameters in (
            (COMPRESSOR, "compressor.py:Compressor", fifo.source, {**given, **dict(coding.hidden)}),
            (DECOMPRESSOR, "decompressor.py:Decompressor", fifo.target, given),
        )
    )
    if on is not None:
        on[0].members += [front, back]
    ends = {(front, "in"): token, (front, "out"): coded, (back, "in"): coded, (back, "out"): token}
    for (actor, name), carried in ends.items():
        draft.ports[actor].append(Port(name, Direction(name), carried))
    refs = [PortRef(*end) for end in ends]
    draft.activate((fifo.source, *refs, fifo.target), on)
    before = Fifo(fresh(f"{fifo.name}-plain", draft.taken), fifo.source, refs[0], where=fifo.where)
    after = Fifo(fresh(f"{fifo.name}-decoded", draft.taken), refs[3], fifo.target, where=fifo.where)
    wire = replace(fifo, source=refs[1], target=refs[2])
    old = draft.fifos.values()
    fifos = [part for each in old for part in ((before, wire, after) if each.name == fifo.name else (each,))]
    draft.fifos = {each.name: each for each in fifos}
    made, paths = draft.made(""), Interface(paths={"basis": "part"})
    return replace(
        made,
        files={**made.files, **({file: coding.basis} if coding.rank else {})},
        interfaces={**made.interfaces, **({front: paths, back: paths} if coding.rank else {})},
        problems=system.problems,
    )


def _figures(coding: Coding) -> dict[str, Optional[Any]]:
    return {"method": coding.method, "entropy": coding.entropy, "level": coding.level, "rank": coding.rank}


def listed(values: Iterable[float]) -> str:
    """Numbers of float32 as a parameter, so that they are the same at both ends."""
    return ",".join(f"{value:.9g}" for value in values)
