"""What a check says: a rule, a place, a message and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum


class Severity(str, Enum):
    """How bad a finding is. An error blocks code generation; a warning blocks nothing."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, order=True)
class Location:
    """A place in an input file. ``line`` is 1-based; 0 stands for the file as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Finding:
    """One violation of one rule.

    ``rule`` is an identifier of the design rules (``G4``), or ``XML`` and ``FILE`` for input that could not be read.
    ``hint`` says what to do; ``related`` lists further places, each with the reason why it matters (a cycle's edges).
    """

    rule: str
    where: Location
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR
    related: tuple[tuple[Location, str], ...] = field(default=())

    def __str__(self) -> str:
        return f"{self.where}: {self.severity.value}[{self.rule}]: {self.message}"


class EpruneError(Exception):
    """Input that cannot be used at all: the findings say why, and the command exits with ``exit_code``.

    ``exit_code`` is 2 for unreadable or malformed input and wrong usage (the default), 1 for input that was read and
    then found to violate a rule.
    """

    def __init__(self, *findings: Finding, exit_code: int = 2) -> None:
        super().__init__("\n".join(str(finding) for finding in findings))
        self.findings = findings
        self.exit_code = exit_code


class Failure(Exception):
    """What was asked for went wrong, though it made sense: the message is for the user, ``exit_code`` for scripts."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class WrongUsage(Exception):
    """What was asked for makes no sense, with a message for the user; ``option`` is the one that asks for it."""

    def __init__(self, message: str, option: str = "") -> None:
        super().__init__(message)
        self.option = option


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether any finding is an error rather than a warning."""
    return bool(errors(findings))


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that are errors."""
    return [finding for finding in findings if finding.severity is Severity.ERROR]
