"""Behaviours of programs that are changed while they run."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from eprune.runtime import Actor, EndOfStream


class Numbers(Actor):
    """0, 1, 2 ..., one per ``pause`` seconds, at most ``n``."""

    STATE = ("number",)

    def __init__(self, pause="0.002", n="100000"):
        self.pause, self.n, self.number = float(pause), int(n), 0

    def fire(self, inputs, outputs):
        if self.number == self.n:
            raise EndOfStream
        time.sleep(self.pause)
        outputs["out"][...] = self.number
        self.number += 1


class Add(Actor):
    """Adds ``more``. ``broken``: it cannot be initialized."""

    def __init__(self, more="0", broken=""):
        self.more, self.broken = int(more), broken

    def initialize(self):
        if self.broken:
            raise ValueError("broken")

    def fire(self, inputs, outputs):
        outputs["out"][...] = sum(int(token) for token in inputs.values()) + self.more


class Accumulate(Actor):
    """Adds what comes back to what comes: its state is in the FIFO."""

    def fire(self, inputs, outputs):
        outputs["out"][...] = outputs["back"][...] = inputs["in"] + inputs["last"]


class Sum(Actor):
    """The sum of everything so far: its state is its own."""

    STATE = ("total",)

    def __init__(self):
        self.total = np.zeros((), np.int64)

    def fire(self, inputs, outputs):
        self.total = self.total + int(inputs["in"])
        outputs["out"][...] = self.total


class File(Actor):
    """A line per token, in ``path``: how many it has written, and the token. Nobody else may write there meanwhile."""

    STATE = ("count",)

    def __init__(self, path):
        self.path, self.count = Path(path), 0

    def initialize(self):
        self.lock = self.path.with_suffix(".lock")
        self.lock.touch(exist_ok=False)
        self.file = self.path.open("a", buffering=1)

    def fire(self, inputs, outputs):
        (token,) = inputs.values()
        self.file.write(f"{self.count} {int(token)}\n")
        self.count += 1

    def finalize(self):
        self.file.close()
        self.lock.unlink()
