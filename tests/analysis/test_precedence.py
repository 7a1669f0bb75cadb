"""The precedence graph: its edges, its order, and what contracting does to it."""

from __future__ import annotations

import pytest
from sample_graphs import build, chain

from eprune.analysis.precedence import (
    Edge,
    components,
    contract,
    explain,
    find_cycle,
    firing_order,
    order,
    precedence,
    untangled,
)

TOKEN, ROOM = Edge("a", "b", "token", "f0"), Edge("b", "a", "room", "f0")


@pytest.mark.parametrize(
    ("rate", "delay", "capacity", "edges"),
    [
        (1, 0, 1, (TOKEN,)),
        (1, 1, 1, (ROOM,)),
        (1, 1, 2, ()),
        (2, 1, 3, (TOKEN,)),
        (2, 1, 2, (TOKEN, ROOM)),
        (2, 3, 4, (ROOM,)),
    ],
)
def test_a_fifo_draws_an_edge_for_missing_tokens_and_one_for_missing_room(rate, delay, capacity, edges):
    graph = build([("a", "b", rate, delay, capacity)])
    assert precedence(graph).edges == edges


def test_a_rate_of_zero_draws_no_edge():
    assert precedence(build([("a", "b", 2, 1, 2)]), {"f0": 0}).edges == ()


def test_the_file_decides_where_the_order_is_open():
    assert order(precedence(build([("c", "b", 1, 0, 2)], ("a", "b", "c")))) == ("a", "c", "b")


def test_reasons_count_what_is_missing():
    fifo = build([("a", "b", 3, 1, 5)]).fifos[0]
    assert explain(TOKEN, fifo, 3) == "b first needs 2 tokens of a over f0: rate 3, delay 1"
    assert explain(TOKEN, fifo, 2) == "b first needs a token of a over f0: rate 2, delay 1"


def test_a_cluster_is_one_node_named_like_its_first_member():
    whole = precedence(chain(4))
    contracted = contract(whole, [("a2", "a1")])
    assert contracted.nodes == ("a0", "a1", "a3")
    assert [(edge.source, edge.target, edge.fifo) for edge in contracted.edges] == [
        ("a0", "a1", "f0"),
        ("a1", "a3", "f2"),
    ]
    assert find_cycle(contract(whole, [("a0", "a2")])) is not None


def test_contracting_hides_no_self_loop():
    graph = precedence(build([("a", "a", 1, 0, 2), ("a", "b", 1, 0, 2)]))
    assert [part.nodes for part in components(contract(graph, [("a", "b")]))] == [("a",)]


def test_names_that_occur_twice_or_nowhere_do_not_stop_it():
    graph = build([("a", "b", 1, 0, 2)], ("a", "b"))
    twice = type(graph)("g", graph.actors * 2, graph.fifos * 2)
    assert precedence(twice).nodes == ("a", "b")
    assert precedence(type(graph)("g", graph.actors[:1], graph.fifos)).edges == ()


def test_many_thousand_actors_need_no_recursion():
    whole = precedence(chain(20_000))
    assert len(order(whole)) == 20_000
    last = Edge("a19999", "a0", "token", "back")
    assert len(find_cycle(type(whole)(whole.nodes, (*whole.edges, last))) or ()) == 20_000


def test_a_ring_that_no_mode_closes_becomes_a_chain_that_keeps_every_way_past_it():
    """a -> {b, c, d} -> e, where b, c and d wait for each other in turn."""
    fifos = [("a", "c"), ("b", "c"), ("c", "d"), ("d", "b"), ("c", "e"), ("e", "f")]
    graph = build([(source, target, 1, 0, 2) for source, target in fifos], tuple("abcdef"))
    loose = untangled(graph)
    assert [(edge.source, edge.target, edge.kind) for edge in loose.edges] == [
        ("a", "b", "token"),
        ("d", "e", "token"),
        ("e", "f", "token"),
        ("b", "c", "ring"),
        ("c", "d", "ring"),
    ]
    assert firing_order(graph) == tuple("abcdef")
    assert untangled(chain(4)) == precedence(chain(4))
