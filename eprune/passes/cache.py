"""Reuse answers: a frame that is much like an earlier one is not computed again.

At one place of a classifier stands a cache. What comes by there is made a key; where a key is known that is near
enough, its answer is reused, and nothing behind is computed or sent. How near is near enough is calibrated on the
calibration part of your own pictures, so that no more than the wished share of hits is false (of another class than
the computed answer), and kept by audits: a few hits are computed nevertheless. The report is about the test part.

The pictures must be in the order in which a camera would take them. Where their order means nothing, as in most data
sets for training, what is found says little.

References: Guo et al., FoggyCache (MobiCom 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from eprune.model.graph import ActorType, PortRef
from eprune.model.system import System
from eprune.passes._draft import Draft
from eprune.passes._places import Place, places
from eprune.passes.base import Report, Result, carries, option
from eprune.passes.exits import MERGED, ending_in_one

#: A .tflite model will do: it becomes an actor for each operator.
MODELS = True
#: Rates in the rows hit, miss and audit.
KNOWN, COMPUTED = (1, 0, 1), (0, 1, 1)


class Side(Enum):
    """On which platform the cache is, where it is between two: in front of what travels, or behind."""

    ENDPOINT = "endpoint"
    SERVER = "server"


class Keys(Enum):
    """How keys are kept."""

    FLOAT32 = "float32"
    INT8 = "int8"


@dataclass(frozen=True)
class Cache:
    """A cache on a FIFO: the largest distance of a hit, what the calibration with it has seen
    (``actors/answer_cache.py``), and what the answers are of.
    """

    fifo: str
    evidence: str
    bound: float = 0.5
    model: str = ""


@dataclass(frozen=True)
class Options:
    """On what the cache is calibrated, and where and how large it is.

    ``made`` is the cache, as it is calibrated before (``measure.plans.cache``), ``lines`` and ``figures`` what is known
    of it.
    """

    data: str = option(
        help="Pictures in the order in which they are taken, with labels or without: a folder, or an .npz file whose "
        "array source names their scenes.",
        metavar="DIR|FILE",
    )
    at: str = option("", help="The actor behind which the key is taken; without, where most is saved.", metavar="ACTOR")
    on: Side = option(Side.ENDPOINT, help="Where what the key is made of travels: in front of the link or behind.")
    false_hits: float = option(0.05, help="At most this share of hits may be of another class (0.05).", metavar="SHARE")
    audit: float = option(0.02, help="The share of hits that are computed nevertheless (0.02).", metavar="SHARE")
    entries: int = option(1000, help="At most so many answers are kept (1000).", metavar="N")
    lifetime: int = option(0, help="An answer is forgotten after so many frames; 0 keeps it (0).", metavar="FRAMES")
    nearest: int = option(3, help="So many neighbours are asked (3).", metavar="N")
    share: float = option(0.6, help="At least this share of them must be of one class (0.6).", metavar="SHARE")
    values: int = option(256, help="At most about so many numbers are in a key (256).", metavar="N")
    keys: Keys = option(Keys.FLOAT32, help="How keys are kept; int8 takes a quarter of the memory.")
    frames_under_way: int = option(4, help="So many frames are computed at a time (4).", metavar="N")
    shared: str = option(
        "", help="Have answers in common with all caches of that name in the same process, as those of other cameras: "
        "who sends frames may learn what others saw.", metavar="NAME",
    )  # fmt: skip
    frames: int = option(1000, help="At most so many pictures of each part, the first ones (1000).", metavar="N")
    made: Optional[Cache] = None
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@carries
def apply(system: System, options: Options) -> Result:
    """The system with this cache. Raises ValueError where there is no place for it."""
    if options.made is None:
        raise ValueError("no cache is given")
    one = ending_in_one(system)
    known = {place.fifo.name: place for place in places(one.graph)}
    if options.made.fifo not in known:
        raise ValueError(f"FIFO {options.made.fifo}: no cache can be there")
    made = _cached(Draft(one), known[options.made.fifo], options, options.made)
    lines = (*options.lines, *([MERGED] if one is not system else []))
    return Result(made, Report(lines, dict(options.figures)))


def _cached(draft: Draft, place: Place, options: Options, made: Cache) -> System:
    """A gate where the key is taken, and where answers come together, on the platform of what is in front or behind."""
    fifo, late = place.fifo, place.late
    before, behind = (fifo.source, late.target), (fifo.target, late.source)
    near = options.on is Side.ENDPOINT
    units = [ref.actor for ref in (before if near else behind)]
    gate = draft.library("Cache", ActorType.DA, "cache_gate.py:CacheGate", units[0], _parameters(options, made))
    answer = draft.library("Answer", ActorType.DA, "cache_answer.py:CacheAnswer", units[1])
    values = 3 if options.audit else 2
    known, computed = KNOWN[:values], COMPUTED[:values]
    token = draft.port(late.source).token
    outer = draft.branch(fifo)
    table = draft.choice(place, "Reuse", gate, answer, computed)
    inside = table, computed
    # What travels keeps its name, and with it its policy and its room.
    draft.split(fifo, PortRef(gate, "features"), PortRef(gate, "deep"), outer, inside, near=near)
    draft.split(late, PortRef(answer, "late"), PortRef(answer, "out"), inside, outer, near=not near)
    room = options.frames_under_way + 1
    draft.join(PortRef(gate, "hit"), PortRef(answer, "hit"), token, (table, known), capacity=room)
    back = PortRef(answer, "back"), PortRef(gate, "answer")
    draft.join(*back, token, capacity=room, delay=options.frames_under_way, name=f"{answer}-back")
    draft.lead(gate, answer, room)
    return draft.made("-cache")


def _parameters(options: Options, made: Cache) -> dict[str, str]:
    return {
        "false_hits": f"{options.false_hits:g}",
        "bound": f"{made.bound:.7g}",
        "evidence": made.evidence,
        "audit": f"{options.audit:g}",
        "under_way": str(options.frames_under_way),
        "entries": str(options.entries),
        "lifetime": str(options.lifetime),
        "nearest": str(options.nearest),
        "share": f"{options.share:g}",
        "values": str(options.values),
        "keys": options.keys.value,
        "model": made.model,
        **({"shared": options.shared} if options.shared else {}),
    }
