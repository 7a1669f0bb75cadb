"""Make what a cut sends reveal less of the picture: noise, gaps, rounding, few numbers, a stochastic bottleneck.

Pictures can be reconstructed from features (eprune privacy). Ways to make that harder are measured on your pictures,
each by an attack that was fitted on the defended tokens, and beside it the accuracy and the bytes that are left:

\b
noise       on the features; drawn for each frame, or for each scene
weights     noise on the parameters of the head, once
dropout     a share of the features become 0
int8, int4  rounding, as eprune apply compress has it
rank        a low dimension before a fully connected layer, likewise
bottleneck  a few numbers, with noise, of which an own classifier tells the class: a variational bottleneck, fitted on
            features of your pictures, while the network stays as it is

Of those that keep the wish, the one is taken with the lowest SSIM. It resists these attacks, as far as the table
says; what resists them may not resist a better one. Noise that is drawn for each frame is also attacked by who averages
over frames of a scene. What is fitted, and the choice by the wish, is of the calibration part; figures are of the test
part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Optional

from eprune.analysis.reach import leaving, reached
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.model.graph import Actor, ActorType, Fifo, Graph, PortRef
from eprune.model.system import System
from eprune.passes import compress
from eprune.passes._draft import Draft
from eprune.passes.base import Report, Result, carries, option
from eprune.passes.compress import Coding, checked, token_of

#: ``eprune apply`` has --chart, drawn by ``views.defend``.
CHART = True
DEFENDER = "Defend"


class Method(Enum):
    """How tokens are defended; ``auto``: as the wish asks for."""

    AUTO = "auto"
    NOISE = "noise"
    WEIGHTS = "weights"
    DROPOUT = "dropout"
    INT8 = "int8"
    INT4 = "int4"
    RANK = "rank"
    BOTTLENECK = "bottleneck"


class Draw(Enum):
    """When noise is drawn anew."""

    FRAME = "frame"
    SCENE = "scene"


@dataclass(frozen=True)
class Defence:
    """What is done to the tokens of one FIFO.

    ``disturbed`` are the parameters of a ``Defender`` in front of it, ``coding`` is how it is coded, and ``models`` are
    the files of models in place of others, which the actors before it have parts of: file -> bytes.
    """

    disturbed: tuple[tuple[str, str], ...] = ()
    coding: Optional[Coding] = None
    models: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Options:
    """Which FIFO, and what must hold.

    ``made`` is the defence, as it is measured before (``measure.plans.defend``); ``lines`` and ``figures`` are what is
    known of it.
    """

    fifo: str = option(help="A FIFO between two platforms.", metavar="FIFO")
    data: str = option(help="Your pictures.", metavar="DATA")
    wish: str = option(
        "", help="What must still hold: accuracy=0.95, or agreement=0.95 (the default).", metavar="METRIC=VALUE"
    )
    method: Method = option(Method.AUTO, help="Defend in this way (auto: the best that keeps --wish).")
    strength: float = option(
        -1.0,
        help="Of --method noise and weights: how many standard deviations; dropout: the share; bottleneck: how much it "
        "counts that little is sent (default: several are tried).",
    )
    rank: int = option(0, help="Of --method rank and bottleneck: how many numbers are sent (0: several are tried).")
    draw: Draw = option(Draw.FRAME, help="When noise and gaps are drawn anew (frame).")
    attack: tuple[str, ...] = option((), help="An attack of eprune privacy; may be repeated (ridge).", metavar="ATTACK")
    average: int = option(8, help="Frames of a scene that an attacker averages over (8).")
    seed: int = option(-1, help="Draw the same in each run (default: what nobody can foresee).")
    frames: int = option(100, help="Measure on up to so many pictures of each part (100).")
    made: Optional[Defence] = None
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """The system with the defence. Raises ValueError for a FIFO that cannot be defended, and without one."""
    fifo = defensible(system, options.fifo)
    if options.made is None:
        raise ValueError(f"how {options.fifo} is defended must be measured first")
    made = options.made
    if made.models:
        system = _with_models(system, fifo, made.models)
    if made.disturbed:
        system = _disturbed(system, fifo, made.disturbed)
    if made.coding is not None:
        given = compress.Options((fifo.name,), made={fifo.name: made.coding})
        system = compress.apply(system, given).system
    return Result(system, Report(options.lines, dict(options.figures)))


def defensible(system: System, name: str) -> Fifo:
    """The FIFO of a name. Raises ValueError if it cannot be defended."""
    fifo = checked(system, name)
    if not token_of(system, fifo).dtype.startswith("float"):
        raise ValueError(f"--fifo {name}: it carries {token_of(system, fifo)}, and noise is for floats")
    return fifo


def head_of(graph: Graph, fifo: Fifo) -> dict[str, list[Actor]]:
    """Model file -> the actors before a FIFO that are slices of it."""
    found: dict[str, list[Actor]] = {}
    ways = leaving(graph)
    for actor in graph.actors:
        if isinstance(actor.behaviour, ModelSlice) and fifo.source.actor in reached(actor.name, ways):
            found.setdefault(actor.behaviour.file, []).append(actor)
    return found


def _with_models(system: System, fifo: Fifo, models: Mapping[str, bytes]) -> System:
    """The actors before the FIFO with other models of the same operators and tensors."""
    graph, files, changed = system.graph, dict(system.files), dict[str, Actor]()
    for number, (file, data) in enumerate(models.items(), 1):
        name = f"defended_{number}_{Path(file).name}"
        files[name] = data
        for actor in head_of(graph, fifo)[file]:
            assert isinstance(actor.behaviour, ModelSlice)
            changed[actor.name] = replace(actor, behaviour=replace(actor.behaviour, file=name, path=""))
    actors = tuple(changed.get(actor.name, actor) for actor in graph.actors)
    return replace(system, graph=replace(graph, actors=actors), files=files)


def _disturbed(system: System, fifo: Fifo, parameters: tuple[tuple[str, str], ...]) -> System:
    """The system with a ``Defend-FIFO`` in front of the FIFO, which keeps its name, on the unit of its source.

    In a branch of a choice, it is idle when the FIFO is.
    """
    draft = Draft(system)
    on = draft.branch(fifo)
    kind = ActorType.SPA if on is None else ActorType.DPA
    name = draft.library(f"{DEFENDER}-{fifo.name}", kind, "defender.py:Defender", fifo.source.actor, dict(parameters))
    if on is not None:
        on[0].members.append(name)
    draft.split(fifo, PortRef(name, "in"), PortRef(name, "out"), on, on, near=True)
    return replace(draft.made(""), problems=system.problems)
