"""The noun of the house: an application on its platforms. Passes turn a System into a System; questions take one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Optional

from eprune.model.finding import Finding
from eprune.model.graph import FaultPolicy, Fifo, Graph
from eprune.model.interface import Interface
from eprune.model.mapping import Mapping as PlatformMapping
from eprune.model.platform import Platform
from eprune.model.touched import Touched


@dataclass(frozen=True)
class System:
    """An application graph, the platforms that it runs on, and where each actor runs; both may be absent.

    ``interfaces`` maps actors to what their behaviours say of themselves, and ``problems`` is what was wrong with
    behaviours when they were asked; both are made by ``formats``, and so is ``touched``, the files that were or will be
    touched. ``files`` are what passes made and nobody has written
    yet: name, as the graph has it, -> bytes.
    """

    graph: Graph
    platforms: tuple[Platform, ...] = ()
    mappings: tuple[PlatformMapping, ...] = ()
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    problems: tuple[Finding, ...] = ()
    touched: tuple[Touched, ...] = ()

    @cached_property
    def homes(self) -> dict[str, str]:
        """Actor name -> platform name, for every actor that a mapping names."""
        return {actor: home for mapping in self.mappings for actor, home in mapping.homes().items()}

    @cached_property
    def units(self) -> dict[str, tuple[str, str]]:
        """Actor name -> platform name and unit name, for every actor that a mapping puts on a unit."""
        return {
            placement.actor: (mapping.platform, placement.unit)
            for mapping in self.mappings
            for placement in mapping.placements
            if placement.unit is not None
        }

    def crosses(self, fifo: Fifo) -> bool:
        """Whether a FIFO leads from one platform to another."""
        return self.homes.get(fifo.source.actor) != self.homes.get(fifo.target.actor)

    @property
    def tolerant(self) -> bool:
        """Whether some FIFO has a fault policy, so that a run goes on without what failed."""
        return any(fifo.policy is not FaultPolicy.STOP for fifo in self.graph.fifos)

    def platform(self, name: str) -> Optional[Platform]:
        """The platform of that name, or None."""
        return next((platform for platform in self.platforms if platform.name == name), None)

    def mapping(self, platform: str) -> Optional[PlatformMapping]:
        """The mapping of the platform of that name, or None."""
        return next((mapping for mapping in self.mappings if mapping.platform == platform), None)
