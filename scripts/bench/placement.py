"""Placing a network's operators on many devices: seconds, how good the answer is, and small cases against all."""

from __future__ import annotations

import itertools
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from scripts.bench.harness import say

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT.parent / "shared" / "models"
OBJECTIVES = ("latency", "throughput", "energy")
#: Milliseconds that dynamic programming over a chain of 185 operators on 4 devices takes elsewhere.
REFERENCE = 41
#: Small cases that are compared with trying all placements.
CASES = 60


def placement(folder: Path) -> None:
    """10 devices and 200 operators; 185 operators in a chain of 4; small cases against brute force."""
    many(10, 200)
    print()
    chain(folder)
    print()
    small()


def many(devices: int, operators: int) -> None:
    """Seconds of the search by the form of the platform graph; a gap where half a minute does not prove the answer."""
    say(f"{operators} operators on {devices} devices", *(f"{each}, s" for each in OBJECTIVES))
    say(*["---"] * (1 + len(OBJECTIVES)))
    for form in ("chain", "tree", "star", "mesh"):
        flow, roles, costs = problem(form, devices, operators)
        say(form, *(_searched(flow, roles, costs, objective) for objective in OBJECTIVES))


def _searched(flow, roles, costs, objective: str) -> str:
    from eprune.explore.search import Search
    from eprune.explore.space import Constraints

    begin = time.perf_counter()
    best = Search(flow, roles, Constraints(), costs).best(objective)
    taken = time.perf_counter() - begin
    assert best is not None  # all on the first one is always allowed
    gap = "" if best.exact else f" (at most {100 * (best.value / best.bound - 1):.2g} % off)"
    return f"{taken:.1f}{gap}"


def chain(folder: Path) -> None:
    """The traffic model, an actor for each operator, on 4 devices in a line, by the estimate of its work."""
    from eprune.explore.flow import flow as flow_of
    from eprune.explore.prefixes import along_ways
    from eprune.explore.search import Search
    from eprune.explore.space import Constraints
    from eprune.formats.system import read_system
    from eprune.measure.costs import estimated
    from eprune.model.platform import Platform, Unit

    say("185 operators on 4 devices in a chain", "best in order, ms", "reference, ms", *(f"{o}, s" for o in OBJECTIVES))
    say(*["---"] * (3 + len(OBJECTIVES)))
    model = MODELS / "traffic_model.tflite"
    if not model.exists():
        say("the model is not here", *[""] * 5)
        return
    command = [sys.executable, "-m", "eprune", "import", str(model), "-o", str(folder), "--per", "operator"]
    subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL, check=True)
    system = read_system(str(folder / "application.xml"))
    flow = flow_of(system.graph, system.interfaces)
    times = estimated(system.graph, [Platform("d", (Unit("cpu"),))])
    for form in ("equal", "unequal"):
        _, roles, costs = problem("chain", 4, 0, form == "equal", own=times["d"]["cpu"])
        search = Search(flow, roles, Constraints(), costs)
        taken = [_timed(lambda: list(along_ways(search))) for _ in range(9)]  # noqa: B023 - called at once
        found = [_searched(flow, roles, costs, objective) for objective in OBJECTIVES]
        say(f"{form} devices", f"{1e3 * statistics.median(taken):.1f}", str(REFERENCE), *found)


def _timed(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def problem(form: str, devices: int, operators: int, equal: bool = False, own=None):
    """A network like those for images, on devices of several speeds, over links of several bandwidths."""
    from eprune.explore.cost import Costs
    from eprune.explore.plan import LinkFigures, Power
    from eprune.explore.space import Roles

    rng = random.Random(7)
    flow = _network(operators)
    names = [f"d{number}" for number in range(1, devices + 1)]
    pairs = {
        "chain": list(zip(names, names[1:])),
        "tree": [(names[(number - 1) // 2], names[number]) for number in range(1, devices)],
        "star": [(names[0], name) for name in names[1:]],
        "mesh": list(itertools.combinations(names, 2)),
    }[form]
    work = own or {actor: rng.uniform(0.2e-3, 5e-3) for actor in flow.actors}
    speeds = {name: 1.0 if equal else rng.choice((0.7, 1, 1.5, 3)) for name in names}
    times = {name: {actor: seconds / speed for actor, seconds in work.items()} for name, speed in speeds.items()}
    bandwidths = {pair: 125e6 if equal else rng.choice((11e6, 40e6, 125e6)) for pair in pairs}
    links = tuple(LinkFigures(*ends, "", bandwidths[pair], 1e-3) for pair in pairs for ends in (pair, pair[::-1]))
    power = {name: Power(rng.uniform(2, 10), rng.uniform(0.3, 1)) for name in names}
    roles = Roles((names[0],), names[-1], tuple(names[1:-1]), anywhere=True)
    return flow, roles, Costs(times, links, power)


def _network(operators: int):
    """A chain in which almost a third of the operators also read from a little further back."""
    from eprune.explore.flow import Flow, Stream

    rng = random.Random(1)
    names = [f"a{number}" for number in range(operators)]
    pairs = dict.fromkeys(
        (names[max(0, number - 1 - (rng.randrange(4) if rng.random() < 0.3 else 0))], names[number])
        for number in range(1, operators)
        for _ in range(2)
    )
    streams = (Stream(f"f{place}", *pair, rng.randrange(10_000, 400_000)) for place, pair in enumerate(pairs))
    return Flow("bench", tuple(names), tuple(streams))


def small() -> None:
    """Six operators on four devices in a random graph: the answer against the best of all 4096 placements."""
    from eprune.explore.cost import Costs, predict
    from eprune.explore.plan import LinkFigures, Power
    from eprune.explore.search import Search
    from eprune.explore.space import Constraints, Roles

    say("6 operators on 4 devices", *OBJECTIVES)
    say(*["---"] * (1 + len(OBJECTIVES)))
    equal = dict.fromkeys(OBJECTIVES, 0)
    for case in range(CASES):
        rng = random.Random(case)
        flow = _network(6)
        names = ["d1", "d2", "d3", "d4"]
        pairs = [(names[rng.randrange(number)], names[number]) for number in range(1, 4)]
        pairs = list(dict.fromkeys([*pairs, tuple(sorted(rng.sample(names, 2)))]))
        times = {name: {actor: rng.uniform(1e-3, 30e-3) for actor in flow.actors} for name in names}
        ends = [both for pair in pairs for both in (pair, pair[::-1])]
        links = tuple(LinkFigures(*each, "", rng.uniform(5e6, 100e6), rng.uniform(0, 2e-3)) for each in ends)
        costs = Costs(times, links, {name: Power(rng.uniform(1, 9), rng.uniform(0, 1)) for name in names})
        roles = Roles(("d1",), "d4", ("d2", "d3"), anywhere=True)
        search = Search(flow, roles, Constraints(), costs)
        every = [dict(zip(flow.actors, places)) for places in itertools.product(names, repeat=len(flow.actors))]
        made = [predict(flow, roles, costs, homes) for homes in every if search.allows(homes)]
        for objective in OBJECTIVES:
            least = min(each.value(objective) for each in made)
            equal[objective] += abs(search.best(objective).value - least) <= 1e-5 * least
    say(f"equal to the best of all, of {CASES}", *(str(equal[objective]) for objective in OBJECTIVES))
