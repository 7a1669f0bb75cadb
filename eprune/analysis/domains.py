"""Rate domains: ``newest`` FIFOs and inputs on ``hold`` divide a graph into parts that fire at paces of their own.

Iterations, consistency and throughput hold within each.
"""

from __future__ import annotations

from eprune.model.graph import FaultPolicy, Fifo, Graph


def dividing(graph: Graph) -> tuple[Fifo, ...]:
    """The FIFOs whose ends need not fire as often: ``newest``, and those into an input on hold."""
    held = {ref for ref, port in graph.ports() if port.hold}
    return tuple(fifo for fifo in graph.fifos if fifo.policy is FaultPolicy.NEWEST or fifo.target in held)


def rate_domains(graph: Graph) -> tuple[tuple[str, ...], ...]:
    """The actors that fire equally often: what the other FIFOs join, in file order.

    A graph without FIFOs that divide is one domain, even where it is not connected.
    """
    between = set(dividing(graph))
    if not between:
        return (tuple(actor.name for actor in graph.actors),)
    beside: dict[str, list[str]] = {actor.name: [] for actor in graph.actors}
    for fifo in graph.fifos:
        if fifo not in between:
            beside[fifo.source.actor].append(fifo.target.actor)
            beside[fifo.target.actor].append(fifo.source.actor)
    owner: dict[str, str] = {}
    for root in beside:
        stack = [root]
        while stack:
            name = stack.pop()
            if name not in owner:
                owner[name] = root
                stack += beside[name]
    return tuple(tuple(name for name in beside if owner[name] == root) for root in dict.fromkeys(owner.values()))
