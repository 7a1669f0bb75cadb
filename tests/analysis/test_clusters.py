"""Clusters: what one thread fires in a static order never blocks, and computes what threads of their own compute."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sample_graphs import build, chain, layered, on
from self_timed import timed_graphs

from eprune.analysis.check import check
from eprune.analysis.clusters import Cluster, clusters
from eprune.analysis.precedence import components, precedence
from eprune.analysis.simulate import Event, simulate
from eprune.formats.system import files_in, read_system
from eprune.model.finding import has_errors
from eprune.model.graph import ActorType, Dpg, FaultPolicy, Graph, Row
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping
from eprune.model.system import System
from eprune.passes import fuse
from tests.kit.dpgs import Sketch, control_sequences, dynamic_graphs
from tests.kit.effort import examples

ROOT = Path(__file__).parents[2]


def mapped(graph: Graph, places: dict[str, str], waits: Sequence[str] = ()) -> System:
    """A system from actor -> ``platform/unit``."""
    mappings = []
    for platform in dict.fromkeys(place.partition("/")[0] for place in places.values()):
        own = {
            name: place.partition("/")[2] if place.startswith(f"{platform}/") else f"@{place.partition('/')[0]}"
            for name, place in places.items()
        }
        mappings.append(on(platform, own))
    interfaces = {name: Interface(waits=True) for name in waits}
    return System(graph, mappings=tuple(mappings), interfaces=interfaces)


def of(graph: Graph, places: str = "", waits: Sequence[str] = ()) -> list[str]:
    """The clusters of all platforms, as ``a b c``; ``places``: ``a:e/cpu ...`` for actors that are not on s/cpu."""
    homes = {actor.name: "s/cpu" for actor in graph.actors}
    homes.update(place.split(":") for place in places.split())  # type: ignore[arg-type]
    found = clusters(mapped(graph, homes, waits))
    return sorted(" ".join(cluster) for parts in found.values() for cluster in parts)


def policy(graph: Graph, name: str, policy: FaultPolicy) -> Graph:
    return replace(
        graph, fifos=tuple(replace(fifo, policy=policy) if fifo.name == name else fifo for fifo in graph.fifos)
    )


DIAMOND = build([("a", "b", 1, 0, 2), ("a", "c", 1, 0, 2), ("b", "d", 1, 0, 2), ("c", "d", 1, 0, 2)])


def test_what_runs_on_one_unit_is_one_cluster_in_firing_order():
    assert of(DIAMOND) == ["a b c d"]


def test_who_waits_for_the_world_has_a_thread_of_its_own():
    assert of(chain(4), waits=["a0"]) == ["a0", "a1 a2 a3"]
    assert of(chain(4), waits=["a2"]) == ["a0 a1", "a2", "a3"]


@pytest.mark.parametrize("pace", ["clock", "rate"])
def test_who_keeps_to_a_pace_has_a_thread_of_its_own(pace):
    first, *rest = chain(4).actors
    assert of(replace(chain(4), actors=(replace(first, **{pace: 30.0}), *rest))) == ["a0", "a1 a2 a3"]


def test_only_the_first_actor_takes_tokens_from_elsewhere():
    # d needs what comes back from e: a and b must not wait for it
    assert of(DIAMOND, "c:e/cpu") == ["a b", "c", "d"]


def test_a_cluster_ends_at_another_unit():
    assert of(chain(4), "a2:s/gpu a3:s/gpu") == ["a0 a1", "a2 a3"]


def test_two_sources_and_what_joins_them_are_one_cluster():
    joined = build([("a", "c", 1, 0, 2), ("b", "c", 1, 0, 2), ("c", "d", 1, 0, 2)])
    assert of(joined) == ["a b c d"]
    # but two arms that each wait for another platform do not wait for each other's tokens
    fed = build([(*pair, 1, 0, 2) for pair in ("xa", "yb", "ac", "bc", "cd")])
    assert of(fed, "x:e/cpu y:f/cpu") == ["a", "b", "c d", "x", "y"]


@pytest.mark.parametrize("lossy", [FaultPolicy.DROP, FaultPolicy.ZERO, FaultPolicy.NEWEST])
def test_a_fifo_that_may_lose_tokens_is_in_no_cluster(lossy):
    assert of(policy(chain(4), "f1", lossy)) == ["a0 a1", "a2 a3"]
    # nor is it where another way leads around it
    assert of(policy(DIAMOND, "f2", lossy)) == ["a b c", "d"]
    assert of(policy(chain(4), "f1", FaultPolicy.WAIT)) == ["a0 a1 a2 a3"]


def test_an_input_on_hold_is_in_no_cluster_with_what_it_holds():
    held = [
        replace(actor, ports=tuple(replace(port, hold=port.name == "i2") for port in actor.ports))
        for actor in build([(*pair, 1, 0, 2) for pair in ("ab", "bd", "cd", "de")]).actors
    ]
    graph = replace(build([(*pair, 1, 0, 2) for pair in ("ab", "bd", "cd", "de")]), actors=tuple(held))
    assert of(graph) == ["a b", "c", "d e"]


def test_state_that_is_fed_back_stays_in_the_cluster():
    loop = build([("a", "b", 1, 0, 2), ("b", "c", 1, 0, 2), ("c", "d", 1, 0, 2), ("d", "b", 1, 1, 3)])
    assert of(loop) == ["a b c d"]
    assert of(loop, "a:e/cpu") == ["a", "b c d"]
    # part of the loop is elsewhere: a does not wait for it
    assert of(loop, "d:e/cpu") == ["a", "b c", "d"]


def test_actors_that_a_delay_parts_are_a_cluster_too():
    assert of(build([("a", "b", 1, 0, 2), ("b", "c", 1, 1, 3), ("c", "d", 1, 0, 2)])) == ["a b c d"]


def test_who_fires_before_another_in_one_row_and_after_it_in_another_keeps_its_thread():
    sketch = Sketch()
    for name, type_ in {"src": "SPA", "in": "DA", "x": "DPA", "y": "DPA", "out": "DA", "sink": "SPA"}.items():
        sketch.actor(name, ActorType(type_))
    for pair in (("src", "in"), ("out", "sink")):
        sketch.join(*pair)
    for follower in ("x", "y", "out"):
        sketch.tell("in", follower, 2)
    ways = {("in", "x"): (1, 0), ("x", "y"): (1, 0), ("y", "out"): (1, 0)}  # in the first row
    ways |= {("in", "y"): (0, 1), ("y", "x"): (0, 1), ("x", "out"): (0, 1)}  # in the second row
    columns = {ref: rates for pair, rates in ways.items() for ref in sketch.join(*pair, (0, 1))}
    rows = tuple(Row(value, tuple(rates[value] for rates in columns.values())) for value in (0, 1))
    sketch.dpgs.append(Dpg("d", "in", "in", "out", ("x", "y"), tuple(columns), rows))
    graph = sketch.graph()
    assert not has_errors(check(System(graph)))
    assert of(graph) == ["out sink", "src in", "x", "y"]


# Examples of the repository.


def example(application: str, platforms: str, mapping: str, together: bool) -> dict[str, tuple[Cluster, ...]]:
    files = [str(ROOT / "graphs" / f"{name}.xml") for name in platforms.split()]
    mappings = files_in([str(ROOT / "mappings" / mapping)], "mapping")
    system = read_system(str(ROOT / "graphs" / f"{application}.xml"), files, mappings)
    return clusters(fuse.apply(system, fuse.Options(together)).system)


def test_ssd_mobilenet_with_each_layer_alone_runs_in_few_threads():
    (whole,) = example("ssd_mobilenet", "endpoint", "ssd_mobilenet_local", False)["endpoint"]
    assert len(whole) == 53
    parts = example("ssd_mobilenet", "endpoint server", "ssd_mobilenet_dw9", False)
    assert [len(cluster) for cluster in parts["endpoint"]] == [20, 1]  # the writer waits for the server
    assert [len(cluster) for cluster in parts["server"]] == [32]


def test_the_vehicle_classifier_runs_in_one_thread_on_each_platform():
    parts = example("vehicle", "endpoint server", "vehicle_split", True)
    assert parts == {"endpoint": (("Input", "L1+L2"),), "server": (("L3+L4-L5", "Sink"),)}


# Random graphs on random units.


class Threads:
    """A thread for each cluster, which fires its actors one after the other and waits where one cannot fire yet."""

    def __init__(self, graph: Graph, parts: Sequence[Cluster], iterations: int) -> None:
        self.graph, self.parts, self.left = graph, parts, [iterations] * len(parts)
        self.rate = {ref: port.url for ref, port in graph.ports()}
        self.tokens = {fifo.name: deque(["initial"] * fifo.delay) for fifo in graph.fifos}
        self.reserved = {fifo.name: 0 for fifo in graph.fifos}
        self.sent: dict[str, list[str]] = {fifo.name: [] for fifo in graph.fifos}
        self.turn = [0] * len(parts)
        self.running = [False] * len(parts)
        self.fired = {actor.name: 0 for actor in graph.actors}

    def lacks_tokens(self, actor: str) -> bool:
        own = [fifo for fifo in self.graph.fifos if fifo.target.actor == actor]
        return any(len(self.tokens[fifo.name]) < self.rate[fifo.target] for fifo in own)

    def lacks_room(self, actor: str) -> Optional[str]:
        """The reader of a FIFO that is too full."""
        for fifo in self.graph.fifos:
            taken = len(self.tokens[fifo.name]) + self.reserved[fifo.name]
            if fifo.source.actor == actor and taken + self.rate[fifo.source] > fifo.capacity:
                return fifo.target.actor
        return None

    def possible(self) -> list[int]:
        found = []
        for number, part in enumerate(self.parts):
            actor = part[self.turn[number]]
            if self.running[number]:
                found.append(number)
            elif self.left[number]:
                if self.turn[number] and part[0] != actor:
                    self.check_a_later_one(number, actor)
                if not self.lacks_tokens(actor) and self.lacks_room(actor) is None:
                    found.append(number)
        return found

    def check_a_later_one(self, number: int, actor: str) -> None:
        """Only the first waits for tokens, and none for room that its own thread has to make."""
        assert not self.lacks_tokens(actor)
        assert self.lacks_room(actor) not in self.parts[number]

    def step(self, number: int) -> None:
        """A firing begins: room is reserved. Or it ends: tokens are taken and written."""
        actor = self.parts[number][self.turn[number]]
        self.running[number] = not self.running[number]
        if self.running[number]:
            for fifo in self.graph.fifos:
                self.reserved[fifo.name] += self.rate[fifo.source] * (fifo.source.actor == actor)
            return
        taken = []
        for fifo in self.graph.fifos:
            if fifo.target.actor == actor:
                taken += [self.tokens[fifo.name].popleft() for _ in range(self.rate[fifo.target])]
        made = str(hash((actor, self.fired[actor], *taken)))
        for fifo in self.graph.fifos:
            if fifo.source.actor == actor:
                new = [f"{made} {fifo.source.port} {index}" for index in range(self.rate[fifo.source])]
                self.reserved[fifo.name] -= len(new)
                self.tokens[fifo.name].extend(new)
                self.sent[fifo.name] += new
        self.fired[actor] += 1
        self.turn[number] = (self.turn[number] + 1) % len(self.parts[number])
        self.left[number] -= self.turn[number] == 0

    def run(self, rng: random.Random) -> dict[str, list[str]]:
        """FIFO -> all tokens that went through it."""
        while any(self.left):
            possible = self.possible()
            assert possible, "deadlock"
            self.step(rng.choice(possible))
        return self.sent


@st.composite
def placements(draw: st.DrawFn, graph: Graph) -> dict[str, str]:
    """Where actors are: on one to three platforms with one or two units each."""
    platforms, units = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    place = st.tuples(st.integers(1, platforms), st.integers(1, units)).map(lambda pair: f"p{pair[0]}/u{pair[1]}")
    return {actor.name: draw(place) for actor in graph.actors}


def every_cluster(data: st.DataObject, graph: Graph, places: dict[str, str]) -> list[Cluster]:
    """The clusters as each platform finds them: its file may have another order, and so its firing order may be other.

    Some actors wait for the world, some FIFOs may lose tokens (but do not, here).
    """
    names = [actor.name for actor in graph.actors]
    waits = data.draw(st.lists(st.sampled_from(names), max_size=1))
    lossy = data.draw(st.sets(st.sampled_from([fifo.name for fifo in graph.fifos]), max_size=1))
    fifos = tuple(replace(f, policy=FaultPolicy.DROP) if f.name in lossy else f for f in graph.fifos)
    parts: list[Cluster] = []
    for platform in dict.fromkeys(place.partition("/")[0] for place in places.values()):
        shuffled = tuple(data.draw(st.permutations(graph.actors)))
        system = mapped(replace(graph, actors=shuffled, fifos=fifos), places, waits)
        again = clusters(system)
        assert again == clusters(system)
        parts += again[platform]
    assert sorted(name for part in parts for name in part) == sorted(names)
    for part in parts:
        assert len({places[name] for name in part}) == 1
        assert len(part) == 1 or not set(waits).intersection(part)
        assert not any(f.name in lossy and {f.source.actor, f.target.actor} <= {*part} for f in fifos if len(part) > 1)
        assert connected(part, graph)
        check_entries(part, graph)
    return parts


def connected(part: Cluster, graph: Graph) -> bool:
    ends = [{fifo.source.actor, fifo.target.actor} for fifo in graph.fifos]
    reached = {part[0]}
    while True:
        more = {name for pair in ends if pair <= {*part} and pair & reached for name in pair}
        if more <= reached:
            return len(reached) == len(part)
        reached |= more


def check_entries(part: Cluster, graph: Graph) -> None:
    """Who takes tokens from elsewhere is the only one that none of the cluster comes before."""
    if len(part) == 1:
        return
    edges = precedence(graph).edges
    first = {name for name in part if not any(e.target == name and e.source in part for e in edges)}
    enters = {fifo.target.actor for fifo in graph.fifos if fifo.source.actor not in part and fifo.target.actor in part}
    assert not enters or enters == first


@settings(max_examples=examples(200), derandomize=True, deadline=None, database=None)
@given(st.data())
def test_clusters_of_live_graphs_never_deadlock_and_compute_the_same(data):
    graph, _ = data.draw(timed_graphs(actors=8, fifos=14))
    assume(not components(precedence(graph)))
    parts = every_cluster(data, graph, data.draw(placements(graph)))
    plain = Threads(graph, [(actor.name,) for actor in graph.actors], 4).run(random.Random(0))
    for seed in (1, 2):
        assert Threads(graph, parts, 4).run(random.Random(seed)) == plain


@pytest.mark.long
@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(st.data())
def test_clusters_of_dynamic_graphs_fire_every_row(data):
    graph = data.draw(dynamic_graphs(tangled=data.draw(st.booleans())))
    assume(not has_errors(check(System(graph))))
    parts = every_cluster(data, graph, data.draw(placements(graph)))
    part_of = {name: part for part in parts for name in part}
    turn = dict.fromkeys(parts, 0)
    rng = random.Random(1)

    def choose(events: Sequence[Event]) -> Event:
        allowed = [
            (phase, name)
            for phase, name in events
            if phase == "finish" or part_of[name][turn[part_of[name]] % len(part_of[name])] == name
        ]
        assert allowed, "deadlock"
        phase, name = rng.choice(allowed)
        turn[part_of[name]] += phase == "finish"
        return phase, name

    control = data.draw(control_sequences(graph, 4))
    run = simulate(graph, 4, choose, control)
    assert not run.blocked
    plain = simulate(graph, 4, random.Random(2), control)
    assert (run.firings, run.passed) == (plain.firings, plain.passed)


def test_thousands_of_actors_are_no_matter():
    graph = layered(4000)
    found = clusters(mapped(graph, dict.fromkeys((actor.name for actor in graph.actors), "s/cpu")))
    assert max(map(len, found["s"])) > 3000


def test_a_system_without_mappings_has_no_clusters():
    assert clusters(System(chain(3))) == {}


def test_a_mapping_that_is_there_alone_is_enough():
    """A platform's program may be made where the other mappings are not at hand."""
    alone: Mapping = on("s", {"a0": "@e", "a1": "cpu", "a2": "cpu", "a3": "@e"})
    assert clusters(System(chain(4), mappings=(alone,))) == {"s": (("a1", "a2"),)}
