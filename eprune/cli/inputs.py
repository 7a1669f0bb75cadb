"""Reading what the commands work on: all files, and all that is wrong with any of them, in one go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Optional, TypeVar

from eprune.model.finding import EpruneError, Finding, Severity, has_errors
from eprune.model.graph import Graph
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping
from eprune.model.platform import Platform
from eprune.views.tables import counted

T = TypeVar("T")


@dataclass(frozen=True)
class Inputs:
    """An application with the platforms and mappings that were given, and what the analyzer says of them."""

    graph: Graph
    interfaces: dict[str, Interface]
    platforms: tuple[Platform, ...]
    mappings: tuple[Mapping, ...]
    findings: tuple[Finding, ...]


def read_inputs(application: str, platforms: Sequence[str] = (), mappings: Sequence[str] = ()) -> Inputs:
    """Read and check everything.

    Where a file is unreadable or malformed, raises EpruneError with the findings of all files, and with what is wrong
    with the graph by itself if that could be read.
    """
    from eprune.analysis.check import check
    from eprune.formats.behaviour import inspect
    from eprune.formats.xml.application import read_application
    from eprune.formats.xml.mapping import read_mapping
    from eprune.formats.xml.platform import read_platform

    unreadable: list[Finding] = []

    def attempt(read: Callable[[str], T], path: str) -> Optional[T]:
        try:
            return read(path)
        except EpruneError as error:
            unreadable.extend(error.findings)
            return None

    graph = attempt(read_application, application)
    platforms_read = tuple(filter(None, [attempt(read_platform, path) for path in platforms]))
    mappings_read = tuple(filter(None, [attempt(read_mapping, path) for path in mappings]))
    if graph is None:
        raise EpruneError(*unreadable)
    interfaces, findings = inspect(graph)
    if unreadable:
        raise EpruneError(*findings, *check(graph, interfaces), *unreadable)
    findings = [*findings, *check(graph, interfaces, platforms_read, mappings_read)]
    files = {file: place for place, file in enumerate((graph.where.file, *platforms, *mappings))}
    findings.sort(key=lambda finding: (files.get(finding.where.file, len(files)), finding.where.line))
    return Inputs(graph, interfaces, platforms_read, mappings_read, tuple(findings))


def sound(inputs: Inputs) -> Inputs:
    """The same inputs, their warnings told on stderr. Raises EpruneError (exit code 1) if they break a rule."""
    from eprune.cli.errors import say_findings

    if has_errors(inputs.findings):
        raise EpruneError(*inputs.findings, exit_code=1)
    if inputs.findings:
        say_findings(inputs.findings)
    return inputs


def counts(findings: Sequence[Finding]) -> str:
    """``2 errors and 1 warning``."""
    parts = [
        counted(count, severity.value)
        for severity in Severity
        if (count := sum(finding.severity is severity for finding in findings))
    ]
    return " and ".join(parts) or "no findings"
