"""What FIFOs held in the course of a run, followed by hand."""

from __future__ import annotations

from sample_graphs import build

from eprune.analysis.filling import Filling
from eprune.analysis.simulate import simulate


def test_fills_means_and_stretches():
    graph = build([("a", "b", 1, 1, 3)])
    filling = Filling.of(graph)
    # a starts (room reserved: 2), a finishes (2), b starts (2), b finishes (1); again; then both are done.
    simulate(graph, 2, lambda events: events[0], watch=filling)
    assert filling.events == 8
    assert filling.steps == {"f0": [(0, 1), (1, 2), (3, 3), (6, 2), (8, 1)]}
    assert filling.mean("f0") == (1 * 1 + 2 * 2 + 3 * 3 + 2 * 2 + 1 * 1) / 9
    assert filling.most("f0", 3) == [2, 3, 2]
    assert filling.most("f0", 100) == [1, 2, 2, 3, 3, 3, 2, 2, 1]
