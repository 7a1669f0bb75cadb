"""What the gates of ``eprune apply depth`` and ``width`` are fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

V = TypeVar("V")

#: At most so many values go into a gate.
VALUES = 256


@dataclass(frozen=True)
class Tried(Generic[V]):
    """Frames of a part, each computed in every way, of which the last one is the whole network.

    ``answers`` [frames, ways] are classes, ``values`` what the gates get, and ``wanted`` [frames] is right: the labels,
    or what the whole network answers.
    """

    answers: np.ndarray
    values: V
    wanted: np.ndarray

    @property
    def whole(self) -> np.ndarray:
        """What the whole network answers."""
        found: np.ndarray = self.answers[:, -1]
        return found

    def spoiled(self, way: int) -> np.ndarray:
        """Which frames are wrong in one way, and right by the whole network."""
        found: np.ndarray = (self.whole == self.wanted) & (self.answers[:, way] != self.wanted)
        return found
