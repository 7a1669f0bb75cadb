"""An application as a pipeline over equal devices: its actors timed on this machine, and dealt so that none waits long.

Each device has what comes next, and some of it; what takes longest is to take as little as possible, and of equals that
which sends less. Links count with their bytes only: nothing is known of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from eprune.explore.cost import Costs, memory_use, predict
from eprune.explore.flow import flow
from eprune.explore.plan import LinkFigures
from eprune.explore.search import SECONDS, Search
from eprune.explore.space import Constraints, Roles
from eprune.measure.answers import on_disk
from eprune.measure.progress import SILENT, Progress
from eprune.measure.timing import time_actors
from eprune.model.platform import Unit
from eprune.model.system import System

#: What all FIFOs together weigh if all of them cross, as a part of all work: it decides between equals.
BYTES = 1e-4


@dataclass(frozen=True)
class Pipeline:
    """Actor -> device; device -> seconds and bytes of memory per frame; ``nbytes`` a frame over all links.

    ``bound``: no pipeline has a slowest device that takes less seconds; ``exact``: this one is the best, but for what
    decides between equals.
    """

    homes: Mapping[str, str]
    seconds: Mapping[str, float]
    memory: Mapping[str, int]
    nbytes: float
    bound: float
    exact: bool


def pipeline(
    system: System, devices: Sequence[str], unit: Unit, memory: Optional[int] = None, progress: Progress = SILENT
) -> Optional[Pipeline]:
    """The best pipeline over so many devices with such a unit, and ``memory`` bytes each; None if there is none.

    Raises RuntimeError where the actors cannot be timed, integer.Unsolved, and ImportError without scipy.
    """
    progress.begin("timing the actors")
    with on_disk(system) as stored:
        times = time_actors(stored.graph.where.file, unit, None, progress, allow_outside=True)["actors"]
    return dealt(system, devices, times, memory)


def dealt(
    system: System, devices: Sequence[str], times: Mapping[str, float], memory: Optional[int] = None
) -> Optional[Pipeline]:
    """The same of actors that take these seconds: from device to neighbour, or past some where that is no way."""
    found = flow(system.graph, system.interfaces)
    roles = Roles(tuple(devices[:1]), devices[-1], tuple(devices[1:-1]))
    nbytes, work = sum(stream.nbytes for stream in found.streams), 1e3 * sum(times.values())
    weight = BYTES * work / nbytes if work and nbytes else 1.0
    room = {} if memory is None else dict.fromkeys(devices, memory)
    objective = f"throughput=1,bytes={weight!r}"
    lines = [*zip(devices, devices[1:])]
    meshes = [(one, other) for place, one in enumerate(devices) for other in devices[place + 1 :]]
    for pairs in (lines, meshes):
        links = tuple(LinkFigures(*ends) for pair in pairs for ends in (pair, pair[::-1]))
        costs = Costs(dict.fromkeys(devices, times), links, memory=room)
        best = Search(found, roles, Constraints(must_use=tuple(devices)), costs).best(objective, SECONDS)
        if best is not None:
            made = predict(found, roles, costs, best.homes)
            held = memory_use(found, costs, best.homes)
            least = max(best.bound - weight * nbytes, 0.0) / 1e3
            return Pipeline(best.homes, made.platforms, held, made.nbytes, least, best.exact)
    return None
