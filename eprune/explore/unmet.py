"""Where no cut keeps what is required: which is nearest, and what would have to change for one to do so.

Each remedy is looked for by itself, over all cuts: the nearest cut with very much of it, how much of it that cut needs
at least, the nearest cut with a little less than that, and so on until none is left.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Callable, Optional

from eprune.explore.cost import Costs, Prediction, predict
from eprune.explore.flow import Flow
from eprune.explore.integer import Unsolved
from eprune.explore.required import ANYTHING, CLOSE, Required
from eprune.explore.search import SECONDS, Best, Search
from eprune.explore.space import Constraints, Roles

#: More than so many times as much of something is no remedy.
MOST = 1000.0
#: A remedy may be so much larger than the least one, relatively.
STEP = 0.01
#: Between a remedy and one that is too small, for a given cut, relatively.
_FINE = 1e-4


@dataclass(frozen=True)
class Remedy:
    """What lets a cut meet all that is required. ``factor``: so many times as much of it; None: it does not help.

    ``platforms``: those that have to be that much faster; none of them: the links, or tokens that are that much
    smaller. ``proved``: with 1 % less no cut does.
    """

    platforms: tuple[str, ...]
    factor: Optional[float]
    best: Optional[Best] = None
    proved: bool = True


@dataclass(frozen=True)
class Unmet:
    """That no cut keeps what is required: the ``nearest`` one, whose value is how many times too much it takes.

    ``least`` are the figures that cuts can have at best, one at a time: seconds of a single frame, and frames per
    second; None where that is not required. ``coded``: a cut that meets all with coded tokens, where they were not.
    """

    required: Required
    nearest: Best
    predicted: Prediction
    least: Required
    remedies: tuple[Remedy, ...]
    coded: Optional[Best] = None


def unmet(
    flow: Flow,
    roles: Roles,
    constraints: Constraints,
    costs: Costs,
    seconds: Optional[float] = None,
    coded: Optional[Costs] = None,
) -> Optional[Unmet]:
    """Why no cut keeps what ``constraints`` require. None where no other constraint leaves a cut, or where one does.

    ``coded`` are the costs with coded tokens, where that was tried but is not wanted. ``seconds`` are those of all
    searches together, more or less. Raises integer.Unsolved, and ImportError without scipy.
    """
    end = time.monotonic() + (seconds or SECONDS)
    required, free = constraints.required, replace(constraints, required=ANYTHING)

    def nearest(changed: Costs, goal: Required = required) -> Optional[Best]:
        return Search(flow, roles, free, changed).best(goal, max(end - time.monotonic(), 0.5))

    found = nearest(costs)
    if found is None or found.value <= 1 + CLOSE:
        return None
    predicted = predict(flow, roles, costs.placed(found.units), found.homes)
    latency, rate = required.latency, required.rate
    alone = [Required(latency), Required(None, rate)]
    values = [None if not each or not (best := nearest(costs, each)) else best.value for each in alone]
    least = Required(
        None if values[0] is None or latency is None else values[0] * latency,
        None if values[1] is None or rate is None else rate / values[1] if values[1] else math.inf,
    )

    def remedy(platforms: tuple[str, ...], change: Callable[[float], Costs]) -> Remedy:
        def needed(best: Best) -> float:
            """The least factor with which this cut does, which it does with ``high``."""
            low, high = math.log(1.0), math.log(MOST)
            while high - low > _FINE:
                middle = (low + high) / 2
                made = predict(flow, roles, change(math.exp(middle)).placed(best.units), best.homes)
                low, high = (low, middle) if required.of(made) <= 1 + CLOSE else (middle, high)
            return math.exp(high)

        best = nearest(change(MOST))
        if best is None or best.value > 1 + CLOSE:
            return Remedy(platforms, None)
        while True:
            factor = needed(best)
            try:
                closer = nearest(change(factor * (1 - STEP))) if time.monotonic() < end else best
            except Unsolved:
                closer = best
            if closer is best:
                return Remedy(platforms, factor, best, proved=False)
            if closer is None or closer.value > 1 + CLOSE:
                return Remedy(platforms, factor, best, proved=closer is None or closer.exact)
            best = closer

    remedies = [
        remedy((), partial(faster_links, costs)),
        *(remedy(group, partial(faster_units, costs, group)) for group in _alike(roles)),
    ]
    with_codings = nearest(coded) if coded else None
    met = with_codings is not None and with_codings.value <= 1 + CLOSE
    return Unmet(required, found, predicted, least, tuple(remedies), with_codings if met else None)


def _alike(roles: Roles) -> Sequence[tuple[str, ...]]:
    """Platforms that would be made faster together: those of a tier; of a graph, each, and all."""
    return [*((each,) for each in roles.platforms), roles.platforms] if roles.anywhere else roles.tiers


def faster_links(costs: Costs, factor: float) -> Costs:
    """All links carry so many times as many bytes per second, after the same latency."""
    links = tuple(replace(each, bandwidth=each.bandwidth and each.bandwidth * factor) for each in costs.links)
    return replace(costs, links=links)


def faster_units(costs: Costs, platforms: Sequence[str], factor: float) -> Costs:
    """All units of these platforms are so many times as fast, at coding as well."""
    times = {
        name: {actor: seconds / factor for actor, seconds in own.items()} if name in platforms else own
        for name, own in costs.times.items()
    }
    on = {
        name: {unit: {actor: seconds / factor for actor, seconds in each.items()} for unit, each in own.items()}
        if name in platforms
        else own
        for name, own in costs.on.items()
    }
    speeds = {**costs.speeds, **{name: costs.speeds.get(name, 1.0) * factor for name in platforms}}
    return replace(costs, times=times, on=on, speeds=speeds)
