"""A source of tokens from a .npy file."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from checks import only_port, whole_number

from eprune.runtime import Actor, EndOfStream


class NpySource(Actor):
    """The tokens stacked in a .npy file, which is mapped into memory and never loaded as a whole.

    For a token type float32[1,96,96,3] the file is a float32 array of shape (N,96,96,3) or (N,1,96,96,3).

    Parameters:
        path: the file.
        repeat: the number of passes; 0 never ends.
    """

    def __init__(self, path: str, repeat: str = "1") -> None:
        self.path = path
        self.repeat = whole_number("repeat", repeat)
        try:
            self.stack = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, TypeError, EOFError, OverflowError) as error:  # no .npy file, cut short, Python objects
            raise ValueError(f"{path}: not a .npy file of plain numbers: {error}") from None
        self.frame = 0

    def initialize(self) -> None:
        """Check the port. Raises ValueError if the tokens of the file do not fit it."""
        self.port, port = only_port(self.outputs, "output")
        shapes = [port.shape] if port.shape[:1] != (1,) else [port.shape, port.shape[1:]]
        if self.stack.shape[1:] not in shapes or self.stack.dtype.newbyteorder("=") != port.dtype:
            raise ValueError(
                f"{self.path}: {self.stack.dtype}{list(self.stack.shape)} does not fit port {self.port!r}: "
                f"expected {port.dtype}[N,{','.join(map(str, shapes[-1]))}]"
            )
        if not len(self.stack):
            raise ValueError(f"{self.path}: holds no tokens")

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy the next token."""
        if self.repeat and self.frame == self.repeat * len(self.stack):
            raise EndOfStream
        outputs[self.port][...] = self.stack[self.frame % len(self.stack)]
        self.frame += 1
