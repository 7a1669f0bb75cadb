"""What every pass has: options in, a System and a report out.

A pass is a module of this package: a docstring whose first line says what it does, a frozen dataclass ``Options``, and
``apply(system, options) -> Result``, a pure function. What must be measured first comes as plain data in the options.
Whatever is in this folder is a pass; ``eprune apply`` makes a command of each that needs no more than a System. A pass
that takes what breaks rules, and mends it, says ``MENDS = True``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any, NamedTuple

from eprune.model.system import System


@dataclass(frozen=True)
class Report:
    """What a pass did: ``lines`` for people, ``figures`` (plain data) for programs."""

    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


class Result(NamedTuple):
    """A pass's result."""

    system: System
    report: Report


def option(default: Any = MISSING, *, help: str, metavar: str = "") -> Any:  # noqa: A002  # as click calls it
    """A field of ``Options`` that a user can set; without a default it is required."""
    return field(default=default, metadata={"help": help, "metavar": metavar})
