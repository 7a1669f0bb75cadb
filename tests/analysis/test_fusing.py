"""Fusing: as much as may run as one segment does, and nothing else; two engines, one answer."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_graphs import fifos_like, layered, on, sliced

from eprune.analysis.fusing import Contraction
from eprune.analysis.mapping import segments
from eprune.analysis.precedence import Edge, Precedence, components, contract, precedence
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.model.graph import FaultPolicy, Graph
from eprune.model.interface import Interface
from eprune.model.system import System
from eprune.passes.fuse import apply, choose
from tests.kit.effort import examples

LINE = [("S", "L1"), ("L1", "L2"), ("L2", "L3"), ("L3", "T")]
SLICES = {"L1": (0, 1), "L2": (2, 3), "L3": (4, 5)}


def clusters(graph, mapping, facts):
    """The sets of slices that the pass ``fuse`` chooses."""
    return tuple(choose(System(graph, mappings=(mapping,), interfaces=facts)))


def fuse(fifos, slices=SLICES, delays=(), segments=None, fed=None, capacity=3, **places):
    graph, facts = sliced(fifos, slices, delays=delays, fed=fed)
    graph = fifos_like(graph, capacity=capacity)
    units = {actor.name: "cpu0" for actor in graph.actors}
    return clusters(graph, on("device", {**units, **places}, segments), facts)


def test_a_line_of_slices_is_one_segment():
    assert fuse(LINE) == (("L1", "L2", "L3"),)


def test_units_and_platforms_part_segments():
    assert fuse(LINE, L2="cpu1") == (("L1",), ("L2",), ("L3",))
    assert fuse(LINE, L3="cpu1") == (("L1", "L2"), ("L3",))
    assert fuse(LINE, L1="@server") == (("L2", "L3"),)


def test_another_model_parts_segments():
    graph, facts = sliced(LINE, SLICES)
    actors = tuple(
        replace(actor, behaviour=ModelSlice("other.tflite", 0, 0)) if actor.name == "L3" else actor
        for actor in graph.actors
    )
    mapping = on("device", {actor.name: "cpu0" for actor in actors})
    assert clusters(replace(graph, actors=actors), mapping, facts) == (("L1", "L2"), ("L3",))


def test_slices_that_fire_at_paces_of_their_own_are_segments_of_their_own():
    graph, facts = sliced(LINE, SLICES)
    newest = tuple(replace(f, policy=FaultPolicy.NEWEST) if f.name == "f1" else f for f in graph.fifos)
    graph = replace(graph, fifos=newest)
    mapping = on("device", {actor.name: "cpu0" for actor in graph.actors})
    assert clusters(graph, mapping, facts) == (("L1",), ("L2", "L3"))
    asked = on("device", {actor.name: "cpu0" for actor in graph.actors}, {"L1": "all", "L2": "all"})
    (finding,) = segments(System(graph, mappings=(asked,), interfaces=facts))
    assert "'L1' and 'L2' fire at different paces: newest or hold is between them" in finding.message


def test_a_segment_may_take_as_long_as_its_slices_together():
    graph, facts = sliced(LINE, SLICES)
    mapping = on("device", {actor.name: "cpu0" for actor in graph.actors})

    def limit(**seconds):
        actors = tuple(replace(actor, stall_after=seconds.get(actor.name)) for actor in graph.actors)
        fused = apply(System(replace(graph, actors=actors), mappings=(mapping,), interfaces=facts)).system.graph
        return next(actor.stall_after for actor in fused.actors if actor.members)

    assert limit(L1=1.0, L2=2.0, L3=0.5) == 3.5
    assert limit(L1=1.0) is None


def test_a_delay_within_the_model_parts_segments():
    assert fuse(LINE, delays=("f1",)) == (("L1",), ("L2", "L3"))


LOOP = [*LINE, ("L3", "L1")]


def test_what_is_fed_back_is_a_loop_of_one_segment():
    assert fuse(LOOP, fed={"f4": 9}) == (("L1", "L2", "L3"),)
    assert fuse([*LOOP, ("L3", "L2")], fed={"f4": 9, "f5": 9}) == (("L1", "L2", "L3"),)


def test_a_loop_without_room_beside_its_delay_parts_segments():
    assert fuse(LOOP, fed={"f4": 9}, capacity=1) == (("L1", "L2"), ("L3",))
    assert fuse(LOOP, fed={"f4": 9}, capacity=2) == (("L1", "L2", "L3"),)


def test_a_loop_does_not_join_what_a_path_outside_leads_back_to():
    assert fuse(LOOP, fed={"f4": 9}, L2="cpu1") == (("L1",), ("L2",), ("L3",))
    assert fuse([("S", "L1"), ("L1", "P"), ("P", "L3"), ("L3", "L1")], fed={"f3": 9}) == (("L1",), ("L3",))


def test_readers_of_what_is_fed_back_are_fused_if_they_get_the_same():
    twice = [*LOOP, ("L3", "L2")]
    graph, facts = sliced(twice, SLICES, fed={"f4": 9, "f5": 9})
    mapping = on("device", {actor.name: "cpu0" for actor in graph.actors})
    begun = replace(graph, fifos=(*graph.fifos[:-1], replace(graph.fifos[-1], initial="other.npy")))
    assert clusters(begun, mapping, facts) == (("L1",), ("L2", "L3"))
    later = replace(graph, fifos=(*graph.fifos[:-1], replace(graph.fifos[-1], delay=2)))
    assert clusters(later, mapping, facts) == (("L1",), ("L2", "L3"))


def test_a_diamond_is_one_segment_and_without_one_arm_it_is_not():
    diamond = [("S", "A"), ("A", "B"), ("A", "C"), ("B", "D"), ("C", "D"), ("D", "T")]
    slices = {"A": (0, 0), "B": (1, 1), "C": (2, 2), "D": (3, 3)}
    assert fuse(diamond, slices) == (("A", "B", "C", "D"),)
    assert fuse(diamond, slices, B="cpu1") == (("A", "C"), ("B",), ("D",))


def test_a_shortcut_is_fused_with_what_it_skips():
    # L1 -> L3 comes first in the file, but may be fused only once L2 is in.
    fifos = [("S", "L1"), ("L1", "L3"), ("L1", "L2"), ("L2", "L3"), ("L3", "T")]
    assert fuse(fifos) == (("L1", "L2", "L3"),)
    assert fuse(fifos, L2="@server") == (("L1",), ("L3",))


def test_segment_names_are_taken_as_they_are():
    assert fuse(LINE, segments={"L2": "alone"}) == (("L1",), ("L2",), ("L3",))
    assert fuse(LINE, segments={"L1": "head", "L2": "head"}) == (("L1", "L2"), ("L3",))


def test_slices_without_facts_stay_alone():
    graph, _ = sliced(LINE, SLICES)
    mapping = on("device", {actor.name: "cpu0" for actor in graph.actors})
    assert clusters(graph, mapping, {}) == (("L1",), ("L2",), ("L3",))


def test_two_instances_of_a_model_are_two_segments():
    fifos = [("S", "A1"), ("A1", "A2"), ("A2", "T"), ("R", "B1"), ("B1", "B2"), ("B2", "T")]
    slices = {"A1": (0, 0), "A2": (1, 1), "B1": (0, 0), "B2": (1, 1)}
    assert fuse(fifos, slices) == (("A1", "A2"), ("B1", "B2"))


def test_slices_that_are_not_joined_as_in_their_model_are_not_fused():
    graph, facts = sliced([("S", "L1"), ("L1", "L2"), ("L2", "T")], {"L1": (0, 1), "L2": (2, 3)})
    mapping = on("device", {actor.name: "cpu0" for actor in graph.actors})
    elsewhere = {"i1": 77, "o2": 3}
    assert clusters(graph, mapping, {**facts, "L2": Interface(tensors=elsewhere)}) == (("L1",), ("L2",))


def test_a_tensor_from_elsewhere_is_not_replaced_by_the_model_s_own():
    # L3 takes tensor 1, which L1 writes, from actor P that changed it; fused with L1 it would get the unchanged one.
    graph, facts = sliced(
        [("S", "L1"), ("L1", "L2"), ("L2", "L3"), ("L1", "P"), ("P", "L3"), ("L3", "T")], SLICES, delays=("f3",)
    )
    tensors = {**facts["L3"].tensors, "i4": 1}
    mapping = on("device", {actor.name: "cpu0" for actor in graph.actors})
    assert clusters(graph, mapping, {**facts, "L3": Interface(tensors=tensors)}) == (("L1", "L2"), ("L3",))


def test_readers_of_one_tensor_are_fused_if_one_slice_feeds_them():
    fifos = [("A", "B"), ("A", "C"), ("B", "D"), ("C", "D")]
    slices = {"A": (0, 0), "B": (1, 1), "C": (2, 2), "D": (3, 3)}
    assert fuse(fifos, slices, A="@server") == (("B", "C", "D"),)
    graph, facts = sliced([("S", "B"), ("R", "C"), *fifos[2:]], {name: slices[name] for name in "BCD"})
    same = {"B": {"i0": 9, "o2": 1}, "C": {"i1": 9, "o3": 2}, "D": facts["D"].tensors}
    mapping = on("device", {actor.name: "cpu0" for actor in graph.actors})
    apart = clusters(graph, mapping, {name: Interface(tensors=tensors) for name, tensors in same.items()})
    assert apart == (("C",), ("B", "D"))


def test_readers_of_one_tensor_of_two_instances_are_not_fused():
    fifos = [("A1", "B"), ("A2", "C"), ("B", "D"), ("C", "D")]
    slices = {"A1": (0, 0), "A2": (0, 0), "B": (1, 1), "C": (2, 2), "D": (3, 3)}
    assert fuse(fifos, slices, A1="@one", A2="@two") == (("C",), ("B", "D"))


@settings(max_examples=examples(400), derandomize=True, deadline=None, database=None)
@given(st.randoms(use_true_random=False), st.integers(3, 14))
def test_merging_keeps_an_order_and_refuses_exactly_the_cycles(rng, count):
    names = tuple(f"a{index}" for index in range(count))
    pairs = [sorted(rng.sample(range(count), 2)) for _ in range(2 * count)]
    graph = Precedence(names, tuple(Edge(names[a], names[b], "token", "f") for a, b in pairs))
    contraction = Contraction(graph)
    for a, b in rng.sample(pairs, len(pairs)):
        sets: dict[str, set[str]] = {}
        for name in names:
            sets.setdefault(contraction.node(name), set()).add(name)
        source, target = contraction.node(names[a]), contraction.node(names[b])
        if source == target:
            continue
        both = sets.pop(source) | sets.pop(target)
        assert contraction.merge(source, target) is not bool(components(contract(graph, [*sets.values(), both])))
        place = contraction.place
        ends = [(contraction.node(edge.source), contraction.node(edge.target)) for edge in graph.edges]
        assert all(place[before] < place[after] for before, after in ends if before != after)
        assert len({place[contraction.node(name)] for name in names}) == len(set(map(contraction.node, names)))


@st.composite
def models(draw: st.DrawFn) -> tuple[Graph, dict[str, Interface], dict[str, str]]:
    """A random acyclic graph of slices and a few other actors, on two units and another platform."""
    count = draw(st.integers(2, 9))
    pairs = draw(st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), min_size=1, max_size=14))
    fifos = [(f"a{min(pair)}", f"a{max(pair)}") for pair in pairs if pair[0] != pair[1]]
    used = sorted({end for pair in fifos for end in pair})
    slices = {name: (int(name[1:]),) * 2 for name in used if draw(st.integers(0, 5))}
    delays = tuple(f"f{index}" for index in range(len(fifos)) if not draw(st.integers(0, 7)))
    places = {name: draw(st.sampled_from(["cpu0", "cpu0", "cpu0", "cpu1", "@server"])) for name in used}
    fed = {}
    for source, target in draw(
        st.lists(st.tuples(st.sampled_from(used or [""]), st.sampled_from(used or [""])), max_size=3)
    ):
        if source > target:
            fed[f"f{len(fifos)}"] = draw(st.integers(100, 101))
            fifos.append((source, target))
    graph, facts = sliced(fifos, slices, delays=delays, fed=fed)
    tight = {name for name in fed if not draw(st.integers(0, 3))}
    graph = replace(graph, fifos=tuple(replace(f, capacity=1) if f.name in tight else f for f in graph.fifos))
    return graph, facts, places


@settings(max_examples=examples(1500), derandomize=True, deadline=None, database=None)
@given(models())
def test_what_is_fused_passes_rule_m4_and_no_two_neighbours_more_would(model):
    graph, facts, places = model
    sets = clusters(graph, on("device", places), facts)
    assert sorted(name for members in sets for name in members) == sorted(
        name for name in facts if places[name] != "@server"
    )

    def sound(*groups):
        names = {name: f"s{index}" for index, members in enumerate(groups) for name in members}
        return not list(segments(System(graph, mappings=(on("device", places, names),), interfaces=facts)))

    assert sound(*sets)
    set_of = {name: members for members in sets for name in members}
    for fifo in graph.fifos:
        a, b = set_of.get(fifo.source.actor), set_of.get(fifo.target.actor)
        if a and b and a != b and not fifo.delay:  # what a loop alone joins is left apart
            assert not sound(*(members for members in sets if members not in (a, b)), a + b)


@settings(max_examples=examples(500), derandomize=True, deadline=None, database=None)
@given(models())
def test_sets_and_their_members_are_in_an_order_in_which_they_can_fire(model):
    graph, facts, places = model
    sets = clusters(graph, on("device", places), facts)
    set_of = {name: index for index, members in enumerate(sets) for name in members}
    rank = {name: index for members in sets for index, name in enumerate(members)}
    for edge in precedence(graph).edges:
        if edge.source in set_of and edge.target in set_of:
            assert (set_of[edge.source], rank[edge.source]) < (set_of[edge.target], rank[edge.target])


def test_ten_thousand_slices_in_a_line_are_one_segment_in_seconds():
    names = [f"L{k}" for k in range(10_000)]
    graph, facts = sliced(list(zip(names, names[1:])), {name: (k, k) for k, name in enumerate(names)})
    mapping = on("device", dict.fromkeys(names, "cpu0"))
    began = time.process_time()
    assert clusters(graph, mapping, facts) == (tuple(names),)
    assert time.process_time() - began < 10  # about one on an idle machine


@pytest.mark.parametrize(("count", "seconds"), [(200, 1), pytest.param(10_000, 20, marks=pytest.mark.long)])
def test_a_wide_graph_on_two_units_is_fused_in_seconds(count, seconds):
    wide = layered(count)
    joints = [(fifo.source.actor, fifo.target.actor) for fifo in wide.fifos]
    graph, facts = sliced(joints, {actor.name: (k, k) for k, actor in enumerate(wide.actors)})
    rng = random.Random(3)
    mapping = on("device", {actor.name: rng.choice(["cpu0", "cpu1"]) for actor in graph.actors})
    began = time.process_time()
    sets = clusters(graph, mapping, facts)
    assert time.process_time() - began < seconds
    assert 2 < len(sets) < count
