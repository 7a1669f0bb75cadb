"""The search for the best of all cuts, as graphs grow."""

from __future__ import annotations

import random
import time
from pathlib import Path

from scripts.bench.harness import say

#: Actors, and for which objectives.
SIZES = (10, 100, 1000, 10_000)
OBJECTIVES = ("endpoint", "latency", "throughput")


def search(_: Path) -> None:
    """Seconds by actors and tiers; what is not proved to be the best comes with the bound that is proved."""
    from eprune.explore.search import Search
    from eprune.explore.space import Constraints, Roles

    tiers = {"2": Roles(("endpoint",), "server"), "3": Roles(("endpoint",), "server", ("edge",))}
    say("actors", "tiers", *(f"{objective}, s" for objective in OBJECTIVES))
    say(*["---"] * (2 + len(OBJECTIVES)))
    for size in SIZES:
        flow = _layers(size)
        for count, roles in tiers.items():
            cells = []
            for objective in OBJECTIVES:
                begin = time.perf_counter()
                best = Search(flow, roles, Constraints(), _costs(flow, roles)).best(objective)
                taken = time.perf_counter() - begin
                assert best is not None  # all on the endpoint is always allowed
                gap = "" if best.exact else f" (at most {100 * (best.value / best.bound - 1):.2g} % off)"
                cells.append(f"{taken:.2g}{gap}")
            say(str(size), count, *cells)


def _layers(size: int):
    """Each actor is fed by one or two of the twenty before it."""
    from eprune.explore.flow import Flow, Stream

    rng = random.Random(size)
    names = [f"a{number}" for number in range(size)]
    pairs = [
        (names[max(0, number - 1 - rng.randrange(20))], names[number]) for number in range(1, size) for _ in range(2)
    ]
    streams = (Stream(f"f{number}", *pair, rng.randrange(1, 100)) for number, pair in enumerate(dict.fromkeys(pairs)))
    return Flow("bench", tuple(names), tuple(streams))


def _costs(flow, roles):
    from eprune.explore.cost import Costs
    from eprune.explore.plan import LinkFigures

    rng = random.Random(1)
    speeds = [1.0, *[0.5] * len(roles.edges), 0.2]
    times = {
        platform: {actor: rng.uniform(0.1, 10) * speed for actor in flow.actors}
        for platform, speed in zip(roles.platforms, speeds)
    }
    pairs = list(zip(roles.platforms, roles.platforms[1:]))
    links = tuple(LinkFigures(*ends, "", 20.0, 0.1) for pair in pairs for ends in (pair, pair[::-1]))
    return Costs(times, links)
