"""Tables as plain aligned text."""

from __future__ import annotations

from collections.abc import Sequence

from eprune.model.finding import Finding, Severity


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lines of text, indented; columns of numbers are aligned to the right."""
    cells = [[str(value) for value in row] for row in rows]
    lines = [""] * (len(cells) + 1)
    for column in zip(header, *cells):
        width = max(map(len, column))
        right = all(value.lstrip("-")[:1].isdigit() for value in column[1:] if value)
        for line, value in enumerate(column):
            lines[line] += "  " + (value.rjust(width) if right else value.ljust(width))
    return "".join(f"{line.rstrip()}\n" for line in lines)


def counts(findings: Sequence[Finding]) -> str:
    """``2 errors and 1 warning``."""
    parts = [
        counted(count, severity.value)
        for severity in Severity
        if (count := sum(finding.severity is severity for finding in findings))
    ]
    return " and ".join(parts) or "no findings"


def counted(number: int, noun: str) -> str:
    """``1 actor``, ``2 actors``."""
    return f"{number} {noun}{'s' * (number != 1)}"
