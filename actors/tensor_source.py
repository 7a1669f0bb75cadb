"""A source of tensors for one input of a model: from a .npy file, or random."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
from checks import whole_number
from npy_source import NpySource

from eprune.runtime import Actor, EndOfStream, PortType


class TensorSource(Actor):
    """One tensor per firing, the same at all output ports.

    Random floats are normally distributed, random 8-bit and 16-bit integers take all values, and wider ones, which are
    often indices, are 0 or 1. The same seed gives the same tensors; actors of different names get different ones.

    Parameters:
        path: a .npy file of a stack of tensors (see ``NpySource``), or a folder with ``ACTOR.npy``, named after the
            actor; ``-`` for standard input; empty for random tensors.
        repeat: the number of passes through the file; 0 never ends.
        count: the number of random tensors; 0 never ends.
        seed: the seed of random tensors.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}
    STATE = ("frame",)
    stdin = "path"
    copies = True

    def __init__(self, path: str = "", repeat: str = "1", count: str = "10", seed: str = "1") -> None:
        self.path = path
        self.repeat = repeat
        self.count = whole_number("count", count)
        self.seed = whole_number("seed", seed)
        whole_number("repeat", repeat)
        self.waits = path == "-"
        self.frame = 0
        self.file: NpySource | None = None
        if path and not Path(path).is_dir():
            self.file = NpySource(path, repeat)

    def initialize(self) -> None:
        """Open the file. Raises ValueError if it does not fit the ports, or if the ports differ."""
        types = set(self.outputs.values())
        if len(types) != 1 or next(iter(types)).rate != 1:
            raise ValueError("needs output ports of one type, with one token per firing")
        self.type: PortType = next(iter(types))
        self.first = next(iter(self.outputs))
        if self.path and self.file is None:
            self.file = NpySource(str(Path(self.path, f"{self.name}.npy")), self.repeat)
        if self.file is not None:
            self.file.frame = self.frame
            self.file.name, self.file.inputs, self.file.outputs = self.name, {}, {self.first: self.type}
            self.file.initialize()

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write the next tensor to every port."""
        if self.file is not None:
            self.file.fire({}, {self.first: outputs[self.first]})
            self.came_ns = self.file.came_ns
        elif self.count and self.frame == self.count:
            raise EndOfStream
        else:
            outputs[self.first][...] = self._random()
        for port, token in outputs.items():
            if port != self.first:
                token[...] = outputs[self.first]
        self.frame += 1

    def _random(self) -> np.ndarray:
        generator = np.random.default_rng([self.seed, zlib.crc32(self.name.encode()), self.frame])
        dtype = np.dtype(self.type.dtype)
        if dtype.kind in "fc":
            return generator.standard_normal(self.type.shape).astype(dtype)
        limits = np.iinfo(dtype) if dtype.kind in "iu" and dtype.itemsize <= 2 else None
        low, high = (int(limits.min), int(limits.max)) if limits else (0, 1)
        return generator.integers(low, high, self.type.shape, endpoint=True).astype(dtype)
