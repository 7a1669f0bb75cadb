"""What actors do while pictures go through an application: how often each one computes, and how much it sends.

Where there are choices, not all of it happens for each picture, so this is what work and bytes are weighed by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eprune.measure.answers import SystemAnswers, class_of
from eprune.measure.data import Data, token_of
from eprune.measure.evaluate import check_class, class_names
from eprune.measure.executor import Firing
from eprune.measure.pictures import Pictures
from eprune.measure.progress import Progress
from eprune.model.graph import Fifo, PortRef
from eprune.model.system import System


@dataclass
class Watched:
    """Counts of firings, with each of which it is to be called, and of the ``frames`` of ``pass_by``."""

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

    def pass_by(
        self, whole: SystemAnswers, part: Data, labelled: bool, progress: Progress
    ) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Run an application on pictures: the token of each, the answer, and the right class.

        That is the label, or where these do not count, what was answered. Raises EpruneError for pictures that do not
        fit.
        """
        pictures = Pictures(whole.token, whole.parameters)
        classes = part.classes(class_names(whole.labels)) if labelled else [None] * len(part)
        for place, (example, label) in enumerate(zip(part, classes)):
            token = token_of(pictures, example)
            answer = whole.frame(token, label).answer
            if label is not None:
                check_class(part, example, label, answer)
            self.frames += 1
            progress.update(place + 1)
            yield token, answer, class_of(answer) if label is None else label

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
