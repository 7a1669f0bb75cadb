"""F2, and what survives which failures."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_graphs import build, fifos_like

from eprune.analysis.faults import declarations
from eprune.model.graph import FaultPolicy


def control(policy, required=True):
    """a controls b: a control FIFO, whose policy and required input are these."""
    graph = fifos_like(build([("a", "b", 1, 0, 2)]), policy=policy)
    a, b = graph.actors
    ports = replace(a.ports[0], control=True), replace(b.ports[0], control=True, required=required)
    return replace(graph, actors=(replace(a, ports=ports[:1]), replace(b, ports=ports[1:])))


@pytest.mark.parametrize("policy", FaultPolicy)
def test_a_lost_control_token_would_shift_every_later_row(policy):
    found = [finding.message for finding in declarations(control(policy))]
    lossy = policy in (FaultPolicy.DROP, FaultPolicy.ZERO, FaultPolicy.NEWEST)
    assert found == [f"FIFO 'f0': policy {policy.value} on a control FIFO would shift every later row"] * lossy


def test_a_control_input_is_required():
    (finding,) = declarations(control(FaultPolicy.STOP, required=False))
    assert finding.message == "actor 'b': the control input 'i0' is always required"
