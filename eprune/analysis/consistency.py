"""Rule C1: the repetition vector, worked out from the rates alone.

Symmetric rates (G4) make it all ones. This module does not use that: it is the assertion that it is so.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from eprune.analysis.lookup import port_table
from eprune.model.finding import Finding
from eprune.model.graph import Fifo, Graph


def consistency(graph: Graph) -> Iterator[Finding]:
    """C1: in one iteration every actor fires once and every FIFO is as full after it as before.

    The firings of one actor give those of its neighbours (rate at the source times its firings are rate at the target
    times its firings); a FIFO that contradicts what others gave, or gives anything but one firing, is a finding.
    """
    table = port_table(graph)
    fifos_of: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
    for fifo in graph.fifos:
        fifos_of[fifo.source.actor].append(fifo)
        fifos_of[fifo.target.actor].append(fifo)
    firings: dict[str, Fraction] = {}
    for root in fifos_of:
        if root in firings:
            continue
        firings[root] = Fraction(1)
        stack = [root]
        while stack:
            for fifo in fifos_of[stack.pop()]:
                source, target = fifo.source.actor, fifo.target.actor
                ahead = Fraction(table[source][fifo.source.port].url, table[target][fifo.target.port].url)
                for known, other, ratio in ((source, target, ahead), (target, source, 1 / ahead)):
                    if known in firings and other not in firings:
                        firings[other] = firings[known] * ratio
                        stack.append(other)
    for fifo in graph.fifos:
        source, target = fifo.source.actor, fifo.target.actor
        produced = table[source][fifo.source.port].url * firings[source]
        consumed = table[target][fifo.target.port].url * firings[target]
        if produced != consumed or firings[source] != 1 or firings[target] != 1:
            yield Finding(
                "C1",
                fifo.where,
                f"FIFO '{fifo.name}': one firing each of all actors writes {produced} tokens and reads {consumed}",
                "token rates are symmetric: write the same rate at both ends",
            )
