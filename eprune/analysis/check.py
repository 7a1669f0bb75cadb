"""All rules, in stages: a stage reports everything that it finds, and the next begins only if it found no error.

So each problem is reported once, and none is an echo of another.
"""

from __future__ import annotations

from eprune.analysis.consistency import consistency
from eprune.analysis.dynamic import check_dynamic
from eprune.analysis.faults import declarations
from eprune.analysis.graph import check_graph
from eprune.analysis.live import lateness, meetings
from eprune.analysis.liveness import connections, deadlocks
from eprune.analysis.mapping import groups, links, memory, placements, segments
from eprune.analysis.table import activity, borders, constants, totality
from eprune.model.finding import Finding, has_errors
from eprune.model.system import System


def check(system: System) -> list[Finding]:
    """What is wrong with a system: without errors it runs in bounded memory, and does not deadlock.

    Platforms and mappings may be those of a part of it, interfaces of some actors. What was wrong with behaviours when
    they were read comes first. The findings are in the order of the files, as given, and of the lines in them.
    """
    graph = system.graph
    findings = [*check_graph(graph, system.interfaces), *check_dynamic(graph), *declarations(graph)]
    if graph.dpgs and not has_errors(findings):
        findings += [*totality(graph), *borders(graph)]
    if graph.dpgs and not has_errors(findings):
        findings += [*activity(graph), *constants(graph)]
    if not has_errors(findings):
        findings += [*consistency(graph), *deadlocks(graph), *connections(graph)]
        findings += placements(system)
    if not has_errors(findings):
        findings += [*links(system), *groups(system), *memory(system), *segments(system)]
    if not has_errors(findings):
        findings += [*meetings(graph), *lateness(system)]
    findings = [*system.problems, *findings]
    places = [graph.where, *(each.where for each in system.platforms), *(each.where for each in system.mappings)]
    files = [where.file for where in places]
    rank = {file: index for index, file in reversed(list(enumerate(files)))}
    return sorted(findings, key=lambda finding: (rank.get(finding.where.file, len(files)), finding.where.line))
