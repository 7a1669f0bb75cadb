"""All rules, in stages: a stage reports everything that it finds, and the next begins only if it found no error.

So each problem is reported once, and none is an echo of another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Optional

from eprune.analysis.consistency import consistency
from eprune.analysis.dynamic import check_dynamic
from eprune.analysis.faults import declarations
from eprune.analysis.graph import check_graph
from eprune.analysis.liveness import connections, deadlocks
from eprune.analysis.mapping import links, memory, placements, segments
from eprune.analysis.table import activity, borders, constants, totality
from eprune.model.finding import Finding, has_errors
from eprune.model.graph import Graph
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.platform import Platform


def check(
    graph: Graph,
    interfaces: Optional[Mapping[str, Interface]] = None,
    platforms: Sequence[Platform] = (),
    mappings: Sequence[PlatformMapping] = (),
) -> list[Finding]:
    """What is wrong with an application and its mapping: no errors, and it runs in bounded memory without deadlock.

    ``interfaces``: actor name -> facts of its behaviour, where they are known. Platforms and mappings may be those of
    a part of the system. The findings are in the order of the files, as given, and of the lines in them.
    """
    facts = interfaces or {}
    findings = [*check_graph(graph, facts), *check_dynamic(graph), *declarations(graph)]
    if graph.dpgs and not has_errors(findings):
        findings += [*totality(graph), *borders(graph)]
    if graph.dpgs and not has_errors(findings):
        findings += [*activity(graph), *constants(graph)]
    if not has_errors(findings):
        findings += [*consistency(graph), *deadlocks(graph), *connections(graph)]
        findings += placements(graph, platforms, mappings)
    if not has_errors(findings):
        findings += links(graph, platforms, mappings)
        findings += memory(graph, platforms, mappings, facts)
        findings += segments(graph, mappings, facts)
    places = [graph.where, *(platform.where for platform in platforms), *(mapping.where for mapping in mappings)]
    files = [where.file for where in places]
    rank = {file: index for index, file in reversed(list(enumerate(files)))}
    return sorted(findings, key=lambda finding: (rank.get(finding.where.file, len(files)), finding.where.line))
