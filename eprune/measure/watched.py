"""What actors do while pictures go through an application: how often each one computes, and how much it sends.

Where there are choices, not all of it happens for each picture, so this is what work and bytes are weighed by.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from eprune.measure.executor import Firing
from eprune.model.graph import Fifo, PortRef
from eprune.model.system import System


@dataclass
class Watched:
    """Counts of firings; to be called with each of them, and ``frames`` to be counted by whoever does."""

    system: System
    frames: int = 0
    fired: Counter[str] = field(default_factory=Counter)
    chose: Counter[str] = field(default_factory=Counter)
    nbytes: Counter[PortRef] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.ports = dict(self.system.graph.ports())

    def __call__(self, firing: Firing) -> None:
        """Count what a firing did. One that has no outputs was idle."""
        self.fired[firing.node] += bool(firing.outputs)
        self.chose[firing.node] += firing.chose
        for name, sent in firing.outputs.items():
            ref = PortRef(firing.node, name)
            if ref in self.ports:
                self.nbytes[ref] += sum(_size(token) for token in (sent if isinstance(sent, list) else [sent]))

    def share(self, actor: str) -> float:
        """In which part of the frames an actor computes; 1 where nothing is known of it."""
        return self.fired[actor] / self.frames if self.frames and actor in self.fired else 1.0

    def sent(self, fifo: Fifo) -> float:
        """The mean bytes per frame in a FIFO."""
        port = self.ports[fifo.source]
        if not self.frames or fifo.source.actor not in self.fired:
            return float(port.token.nbytes)
        if port.control:
            return port.token.nbytes * self.chose[fifo.source.actor] / self.frames
        if fifo.source not in self.nbytes:  # it carries what another port does
            return port.token.nbytes * self.share(fifo.source.actor)
        return self.nbytes[fifo.source] / self.frames

    def crossing(self, control: bool = True) -> float:
        """The mean bytes per frame between platforms."""
        sent = (
            self.sent(fifo)
            for fifo in self.system.graph.fifos
            if self.system.crosses(fifo) and (control or not self.ports[fifo.source].control)
        )
        return sum(sent, 0.0)


def _size(token: Any) -> int:
    return int(token.used * token.itemsize if hasattr(token, "used") else token.nbytes)
