"""Reading what the commands work on: all files, and all that is wrong with any of them, in one go."""

from __future__ import annotations

from collections.abc import Sequence

from eprune.model.finding import EpruneError, has_errors
from eprune.model.system import System


def read(
    application: str, platforms: Sequence[str] = (), mappings: Sequence[str] = (), multi_rate: bool = False
) -> System:
    """The system of these files. Raises EpruneError with all findings where one is unreadable or malformed.

    The running command's --allow-outside lets the application name files anywhere, and its --model says how rates are
    read. Where it has none, an application with other than symmetric rates is refused, unless it may be ``multi_rate``.
    """
    from eprune.analysis.check import check
    from eprune.analysis.graph import symmetric_only
    from eprune.cli.options import allows_outside, computation, reads_rates
    from eprune.formats.system import read_system

    system = read_system(application, platforms, mappings, check, allows_outside(), computation())
    if system.graph.is_sdf and not (multi_rate or reads_rates()):
        raise EpruneError(symmetric_only(system.graph), exit_code=1)
    return system


def read_sound(
    application: str, platforms: Sequence[str] = (), mappings: Sequence[str] = (), multi_rate: bool = False
) -> System:
    """The same, and warnings go to stderr. Raises EpruneError (exit code 1) if the system breaks a rule."""
    system = read(application, platforms, mappings, multi_rate)
    sound(system)
    return system


def sound(system: System) -> None:
    """Warnings go to stderr. Raises EpruneError (exit code 1) if the system breaks a rule."""
    from eprune.analysis.check import check
    from eprune.cli.errors import say_findings

    findings = check(system)
    if has_errors(findings):
        raise EpruneError(*findings, exit_code=1)
    if findings:
        say_findings(findings)
