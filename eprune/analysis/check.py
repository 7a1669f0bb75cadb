"""All rules, in stages: a stage reports everything that it finds, and the next begins only if it found no error.

So each problem is reported once, and none is an echo of another.
"""

from __future__ import annotations

from collections.abc import Sequence

from eprune.analysis.consistency import consistency
from eprune.analysis.dynamic import check_dynamic
from eprune.analysis.faults import declarations
from eprune.analysis.graph import check_graph, roomy
from eprune.analysis.late_rows import late_rows
from eprune.analysis.live import lateness, meetings
from eprune.analysis.liveness import connections, deadlocks
from eprune.analysis.mapping import groups, links, memory, placements, segments
from eprune.analysis.requirements import requirements
from eprune.analysis.routes import misrouted
from eprune.analysis.sdf.rules import check_sdf
from eprune.analysis.table import activity, borders, constants, nested, totality, unasked
from eprune.analysis.units import units
from eprune.model.finding import Finding, has_errors
from eprune.model.system import System


def _sound_but_for_room(findings: Sequence[Finding]) -> bool:
    """Whether there are no errors but those of G5, which asks each FIFO by itself for room: these hide no others."""
    return not has_errors([finding for finding in findings if finding.rule != "G5"])


def check(system: System) -> list[Finding]:
    """What is wrong with a system: without errors it runs in bounded memory, and does not deadlock.

    Platforms and mappings may be those of a part of it, interfaces of some actors. What was wrong with behaviours when
    they were read comes first. The findings are in the order of the files, as given, and of the lines in them.
    """
    findings = check_sdf(system) if system.graph.is_sdf else _symmetric(system)
    findings = [*system.problems, *findings]
    graph = system.graph
    places = [graph.where, *(each.where for each in system.platforms), *(each.where for each in system.mappings)]
    files = [where.file for where in places]
    rank = {file: index for index, file in reversed(list(enumerate(files)))}
    return sorted(findings, key=lambda finding: (rank.get(finding.where.file, len(files)), finding.where.line))


def _symmetric(system: System) -> list[Finding]:
    """What is wrong with a system whose graph is to be read as VR-PRUNE."""
    graph = system.graph
    findings = [*check_graph(graph, system.interfaces), *check_dynamic(graph), *declarations(graph)]
    findings += [*requirements(graph), *late_rows(graph)]
    if graph.dpgs and _sound_but_for_room(findings):
        findings += [*totality(graph), *borders(graph)]
    if graph.dpgs and _sound_but_for_room(findings):
        findings += [*unasked(graph), *activity(graph), *nested(graph), *constants(graph)]
    if _sound_but_for_room(findings):
        with_room = roomy(graph) if has_errors(findings) else graph
        warnings = () if has_errors(findings) else connections(graph)
        findings += [*consistency(graph), *deadlocks(with_room), *warnings, *placements(system)]
    if not has_errors(findings):
        findings += [*misrouted(system), *links(system), *groups(system), *memory(system), *segments(system)]
        findings += units(system)
    if not has_errors(findings):
        findings += [*meetings(graph), *lateness(system)]
    return findings
