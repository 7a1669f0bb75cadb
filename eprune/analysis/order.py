"""The order in which actors fire, whatever the model of computation."""

from __future__ import annotations

from eprune.analysis import precedence
from eprune.analysis.sdf import execution
from eprune.model.graph import Graph


def firing_order(graph: Graph) -> tuple[str, ...]:
    """The actors in an order in which they can fire, for the first time, of a graph that has passed ``check``."""
    return execution.firing_order(graph) if graph.is_sdf else precedence.firing_order(graph)
