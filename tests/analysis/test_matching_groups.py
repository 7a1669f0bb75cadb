"""Which inputs are matched by index, and who numbers its firings."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from sample_graphs import build, fifos_like

from eprune.analysis.matching import matching
from eprune.model.graph import Graph, Match


def graph_of(*fifos: tuple[str, str], delays: tuple[str, ...] = ()) -> Graph:
    """FIFOs f0, f1 ... between actors; those in ``delays`` have one."""
    delay = [int(f"f{number}" in delays) for number in range(len(fifos))]
    return build([(a, b, 1, delay[number], 2 + delay[number]) for number, (a, b) in enumerate(fifos)])


def with_actor(graph: Graph, name: str, **changes: object) -> Graph:
    """One actor changed."""
    return replace(graph, actors=tuple(replace(a, **changes) if a.name == name else a for a in graph.actors))


def test_the_arms_of_a_diamond_are_matched_by_index():
    found = matching(graph_of(("s", "a"), ("s", "b"), ("a", "join"), ("b", "join"), ("join", "sink")))
    assert found.groups["join"] == (("i2", "i3"),)
    assert found.origins["sink"] == {"s"} and not found.numbers("join")
    assert found.groups["s"] == ()


def test_inputs_of_sources_that_have_nothing_to_do_with_each_other_are_matched_by_arrival():
    found = matching(graph_of(("s", "join"), ("t", "join"), ("join", "sink")))
    assert found.groups["join"] == (("i0",), ("i1",))
    assert found.numbers("join")
    assert found.origins["sink"] == {"join"}


def test_behind_an_actor_that_numbers_its_firings_it_is_the_source():
    """One arm leads around the join: its tokens have the source's index, those of the join another."""
    found = matching(graph_of(("s", "join"), ("t", "join"), ("join", "last"), ("s", "last"), ("join", "last")))
    assert found.groups["last"] == (("i2", "i4"), ("i3",))


def test_sources_of_one_clock_number_alike():
    graph = graph_of(("s", "join"), ("t", "join"), ("u", "join"))
    for name, clock in (("s", 30.0), ("t", 30.0), ("u", 10.0)):
        graph = with_actor(graph, name, clock=clock)
    assert matching(graph).groups["join"] == (("i0", "i1"), ("i2",))


def test_the_file_may_say_otherwise():
    graph = graph_of(("s", "join"), ("t", "join"), ("join", "sink"))
    found = matching(with_actor(graph, "join", match=Match.INDEX))
    assert found.groups["join"] == (("i0", "i1"),) and found.origins["sink"] == {"s", "t"}
    diamond = graph_of(("s", "join"), ("s", "join"))
    assert matching(with_actor(diamond, "join", match=Match.ARRIVAL)).groups["join"] == (("i0",), ("i1",))


def test_what_is_held_or_has_a_delay_is_in_no_group():
    graph = graph_of(("s", "join"), ("t", "join"), ("u", "join"), delays=("f2",))
    (join,) = [actor for actor in graph.actors if actor.name == "join"]
    ports = tuple(replace(port, hold=port.name == "i1") for port in join.ports)
    assert matching(with_actor(graph, "join", ports=ports)).groups["join"] == (("i0",),)
    ring = matching(graph_of(("a", "b"), ("b", "a"), delays=("f1",)))
    assert ring.groups == {"a": (("i1",),), "b": (("i0",),)} and ring.origins == {"a": {"a"}, "b": {"a"}}


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)).filter(lambda ends: ends[0] < ends[1]), max_size=12))
def test_each_input_is_in_one_group_and_groups_have_no_origin_in_common(ends):
    graph = fifos_like(graph_of(*((f"a{source}", f"a{target}") for source, target in ends)))
    found = matching(graph)
    source_of = {(fifo.target.actor, fifo.target.port): fifo.source.actor for fifo in graph.fifos}
    for actor in graph.actors:
        groups = found.groups[actor.name]
        assert sorted(name for group in groups for name in group) == sorted(port.name for port in actor.inputs)
        seen: set[str] = set()
        for group in groups:
            origins = set().union(*(found.origins[source_of[actor.name, name]] for name in group))
            assert not origins & seen
            seen |= origins
