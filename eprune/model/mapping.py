"""The mapping, one object per platform: each actor on a local unit, or remote on a named platform."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from eprune.model.finding import Location
from eprune.model.graph import NOWHERE


@dataclass(frozen=True)
class Placement:
    """Where an actor runs: ``unit`` of this platform, or ``platform`` elsewhere; exactly one of them is set.

    Local model slices with the same ``segment`` name are to be fused into one segment (rule M4); None leaves the choice
    to the code generator.
    """

    actor: str
    unit: Optional[str] = None
    platform: Optional[str] = None
    segment: Optional[str] = None
    where: Location = field(default=NOWHERE, compare=False)


@dataclass(frozen=True)
class Mapping:
    """One platform's view of where every actor of an application runs."""

    application: str
    platform: str
    placements: tuple[Placement, ...] = ()
    where: Location = field(default=NOWHERE, compare=False)

    def home(self, placement: Placement) -> str:
        """The name of the platform that a placement of this mapping puts its actor on."""
        return placement.platform or self.platform

    def homes(self) -> dict[str, str]:
        """Actor name -> platform name, for every actor that the mapping names."""
        return {placement.actor: self.home(placement) for placement in self.placements}
