"""Rule F2: what a graph says of faults makes sense."""

from __future__ import annotations

from collections.abc import Iterator

from eprune.model.finding import Finding
from eprune.model.graph import Ack, Actor, FaultPolicy, Graph, ModelSlice


def declarations(graph: Graph) -> Iterator[Finding]:
    """F2: policies, optional inputs and quorums are such that an actor can live with them."""
    control = {ref for ref, port in graph.ports() if port.control}
    for fifo in graph.fifos:
        what = f"FIFO '{fifo.name}'"
        if fifo.policy in (FaultPolicy.DROP, FaultPolicy.ZERO) and {fifo.source, fifo.target} & control:
            message = f"{what}: policy {fifo.policy.value} on a control FIFO would shift every later row"
            yield Finding("F2", fifo.where, message, 'write policy="wait" or policy="stop"')
        if fifo.ack is Ack.FIRED and fifo.policy is not FaultPolicy.WAIT:
            message = f'{what}: ack="fired" with policy {fifo.policy.value}, which sends nothing again'
            yield Finding("F2", fifo.where, message, 'write policy="wait", or leave ack out')
    for actor in graph.actors:
        yield from _inputs(actor)


def _inputs(actor: Actor) -> Iterator[Finding]:
    for port in actor.inputs:
        if not port.required and port.control:
            message = f"actor '{actor.name}': the control input '{port.name}' is always required"
            yield Finding("F2", port.where, message, "leave required out")
        elif not port.required and isinstance(actor.behaviour, ModelSlice):
            message = f"actor '{actor.name}' is a slice of a model, which needs its input '{port.name}'"
            hint = 'leave required out, and give the FIFO policy="zero" where zeros will do'
            yield Finding("F2", port.where, message, hint)
    data = sum(not port.control for port in actor.inputs)
    if actor.quorum is not None and actor.quorum > data:
        message = f"actor '{actor.name}': a quorum of {actor.quorum}, but {data or 'no'} data inputs"
        hint = f"write a quorum of 1 to {data}" if data else "leave quorum out"
        yield Finding("F2", actor.where, message, hint)
