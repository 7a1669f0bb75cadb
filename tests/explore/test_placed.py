"""A placement as a system: it breaks no rule, and the analysis of its throughput says what was predicted."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
from flows import random_flow
from test_anywhere import random_links

from eprune.analysis.check import check
from eprune.analysis.cycle_ratio import max_cycle_ratio
from eprune.analysis.throughput import resources, timed
from eprune.explore.cost import HOP, Costs
from eprune.explore.flow import flow
from eprune.explore.plan import link_figures
from eprune.explore.search import Search
from eprune.explore.space import Constraints, Roles, place
from eprune.formats.system import read_system
from eprune.model.finding import errors


def application(path, rng, actors):
    """A random graph without behaviours."""
    made = random_flow(rng, actors)
    ports = {name: [] for name in made.actors}
    fifos = []
    for stream in made.streams:
        token = f'token="uint8[{stream.nbytes}]"'
        ports[stream.source].append(f'<out name="o{stream.name}" {token}/>')
        ports[stream.target].append(f'<in name="i{stream.name}" {token}/>')
        ends = f'from="{stream.source}.o{stream.name}" to="{stream.target}.i{stream.name}"'
        fifos.append(f'<fifo name="{stream.name}" {ends}/>')
    body = [f'<actor name="{name}">{"".join(own)}</actor>' for name, own in ports.items()]
    path.write_text(f'<application name="random">{"".join([*body, *fifos])}</application>')
    return str(path)


def platform_files(folder, links, units):
    """A file for each platform, with its links."""
    names = sorted({link.origin for link in links})
    pairs = sorted({tuple(sorted((link.origin, link.to))) for link in links})
    for name in names:
        ends = "".join(
            f'<link to="{link.to}" port="{5100 + 100 * pairs.index(tuple(sorted((name, link.to))))}" '
            f'bandwidth="{link.bandwidth:.3f}B/s" latency="{link.latency:.3f}s"/>'
            for link in links
            if link.origin == name
        )
        own = "".join(f'<unit name="{unit}"/>' for unit in units)
        (folder / f"{name}.xml").write_text(f'<platform name="{name}">{own}{ends}</platform>')
    return [str(folder / f"{name}.xml") for name in names]


@pytest.mark.parametrize("units", [("cpu",), ("cpu0", "cpu1")], ids=["one unit", "two units"])
@pytest.mark.parametrize("seed", range(8))
def test_the_period_that_is_predicted_is_that_of_the_system(tmp_path, seed, units):
    rng = random.Random(seed)
    links = random_links(rng, ["p", "q", "r"], more=seed % 2)
    files = platform_files(tmp_path, links, units)
    system = read_system(application(tmp_path / "app.xml", rng, rng.randrange(3, 9)), files)
    found = flow(system.graph, system.interfaces)
    on = {p: {unit: {a: rng.uniform(0.5, 5) for a in found.actors} for unit in units} for p in "pqr"}
    several = len(units) > 1
    costs = Costs(
        {p: own[units[0]] for p, own in on.items()},
        link_figures(system.platforms),
        units={p: dict.fromkeys(found.actors, units[0]) for p in on} if several else {},
        on=on if several else {},
    )
    best = Search(found, Roles(("p",), "r", ("q",), anywhere=True), Constraints(), costs).best("throughput")
    assert best.exact
    placed = place(system, best.homes, best.units)
    assert errors(check(placed)) == []
    times = {actor: Fraction(on[home][unit][actor]) for actor, (home, unit) in placed.units.items()}
    for stream in found.streams if several else ():  # a hop is the time of the actor that hands over
        if best.homes[stream.source] == best.homes[stream.target]:
            there = best.units[best.homes[stream.source]]
            if there[stream.source] != there[stream.target]:
                times[stream.source] += Fraction(HOP) + stream.nbytes / Fraction(2 * 10**9)
    graph = timed(placed.graph, times, resources(placed))
    cycle = max_cycle_ratio(graph.times, graph.edges)
    assert 1e3 * float(cycle.ratio) == pytest.approx(best.value, rel=1e-6)
