"""The ways of requirements: the FIFOs over which tokens get from a source to a sink, and who is late where."""

from __future__ import annotations

from typing import Optional

from eprune.analysis.requirements import reached
from eprune.model.graph import Dpg, Fifo, Graph, Requirement


def way(graph: Graph, requirement: Requirement) -> tuple[Fifo, ...]:
    """The FIFOs, in order, over which tokens of the source get to the sink, or what is made of them.

    Those of control tokens are among them, and those to other ports of the sink: what they bring is waited for as well.
    """
    behind = {ref.actor for ref in reached(graph, requirement.source)}
    before: dict[str, list[str]] = {}
    for fifo in graph.fifos:
        before.setdefault(fifo.target.actor, []).append(fifo.source.actor)
    stack, leading = [requirement.target.actor], {requirement.target.actor}
    while stack:
        fresh = [name for name in before.get(stack.pop(), ()) if name not in leading]
        leading.update(fresh)
        stack += fresh
    return tuple(
        fifo
        for fifo in graph.fifos
        if (fifo.source == requirement.source or fifo.source.actor in behind) and fifo.target.actor in leading
    )


def budgets(graph: Graph, dpg: Dpg) -> dict[str, float]:
    """Output of a source -> seconds after which its tokens are late at the control source; of "": the oldest there.

    Empty where nothing says when.
    """
    passing: dict[str, Optional[float]] = {}
    for each in graph.requirements:
        if any(fifo.target.actor == dpg.control for fifo in way(graph, each)):
            known = [passing.get(str(each.source)), None if each.latency is None else float(each.latency)]
            passing[str(each.source)] = min((limit for limit in known if limit is not None), default=None)
    if dpg.late_after is not None:
        return dict.fromkeys(passing or ("",), dpg.late_after)
    return {source: limit for source, limit in passing.items() if limit is not None}
