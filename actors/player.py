"""A source of the tokens that a FIFO has had."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from checks import one_of, put, tokens_of

from eprune.runtime import Actor, EndOfStream
from eprune.runtime.tell.tap import read


class Player(Actor):
    """The tokens of a recording (`eprune record`), which is mapped into memory and never loaded as a whole.

    It stands where the producer of the FIFO was; the pass ``play`` puts it there. Where tokens were lost while they
    were recorded, that is said once.

    Parameters:
        path: the file.
        pace: ``fast``: as fast as they are taken; ``recorded``: at the times at which they were made.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}

    def __init__(self, path: str, pace: str = "fast") -> None:
        self.rows = read(path)
        self.path = path
        self.paced = one_of("pace", pace, ("fast", "recorded")) == "recorded"
        self.waits = self.paced
        self.place = 0
        self.begun = 0.0

    def initialize(self) -> None:
        """Check the port. Raises ValueError if the tokens of the file do not fit it."""
        if len(self.outputs) != 1:
            raise ValueError(f"needs exactly one output port, has {', '.join(self.outputs) or 'none'}")
        [(self.port, port)] = self.outputs.items()
        token = self.rows.dtype["token"]
        if token.base != port.dtype or token.shape != port.shape:
            shape = ",".join(map(str, token.shape))
            raise ValueError(f"{self.path}: {token.base}[{shape}] does not fit port {self.port!r}: {port}")
        if not len(self.rows):
            raise ValueError(f"{self.path}: holds no tokens")
        lost = int(self.rows["lost"].sum())
        if lost:
            self.note(f"{self.path}: {lost} tokens were lost while it was recorded; they are left out")

    def fire(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Give the next tokens. A firing for which there are not enough of them is the end."""
        rooms = tokens_of(outputs.get(self.port))
        if self.place + len(rooms) > len(self.rows):
            raise EndOfStream
        for room, row in zip(rooms, self.rows[self.place : self.place + len(rooms)]):
            if self.paced:
                self._wait(float(row["time"]))
            token: np.ndarray = row["token"]
            put(room, token[: row["used"]] if hasattr(room, "used") else token)
        self.place += len(rooms)

    def _wait(self, moment: float) -> None:
        now = time.monotonic()
        if self.place == 0:
            self.begun = now - moment
        time.sleep(max(moment + self.begun - now, 0.0))
        self.came()
