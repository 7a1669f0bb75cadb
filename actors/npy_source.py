"""A source of tokens from a .npy file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from checks import only_port, whole_number

from eprune.runtime import Actor, EndOfStream, PortType

#: Other files that are taken for .npy files, who reads them, and how they begin.
KINDS = {
    ("a picture", "ImageSource (image_source.py)"): (b"\xff\xd8\xff", b"\x89PNG", b"BM"),
    ("a sound", "WavSource (wav_source.py)"): (b"RIFF",),
}


class NpySource(Actor):
    """The tokens stacked in a .npy file, which is mapped into memory and never loaded as a whole.

    For a token type float32[1,96,96,3] the file is a float32 array of shape (N,96,96,3) or (N,1,96,96,3).

    Parameters:
        path: the file, or ``-``: tokens are taken from standard input as they come, until it ends.
        repeat: the number of passes; 0 never ends. Standard input passes once.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "read"}
    STATE = ("frame",)
    stdin = "path"

    def __init__(self, path: str, repeat: str = "1") -> None:
        self.path = path
        self.repeat = whole_number("repeat", repeat)
        self.frame = 0
        if path == "-":
            if self.repeat != 1:
                raise ValueError(f"repeat={repeat}: standard input can be read once only")
            self.waits = True
            self.stack: Any = _StandardInput()
            return
        if not Path(path).is_file():
            raise FileNotFoundError(f"{path}: no such file")
        try:
            self.stack = np.lib.format.open_memmap(path, mode="r")
        except (ValueError, TypeError, EOFError, OverflowError) as error:  # no .npy file, cut short, Python objects
            raise ValueError(f"{path}: {_other_kind(path) or f'not a .npy file of plain numbers: {error}'}") from None

    def initialize(self) -> None:
        """Check the port. Raises ValueError if the tokens of the file do not fit it."""
        self.port, port = only_port(self.outputs, "output")
        if self.path != "-":  # the beginning of standard input may be long in coming
            self._check(port)

    def _check(self, port: PortType) -> None:
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
        if self.path == "-" and not self.frame:
            self.stack.read_header()
            self._check(self.outputs[self.port])
        if self.repeat and self.frame == self.repeat * len(self.stack):
            raise EndOfStream
        token = self.stack[self.frame % len(self.stack)]
        if self.path == "-":
            self.came()
        outputs[self.port][...] = token
        self.frame += 1


def _other_kind(path: str) -> str:
    """What a file is that is no .npy file, and who reads it; "" if that is not known."""
    with Path(path).open("rb") as file:
        start = file.read(4)
    for (kind, reader), starts in KINDS.items():
        if start.startswith(starts):
            return f"{kind}, not a .npy file: {reader} reads it"
    return ""


class _StandardInput:
    """What comes on standard input, as a stack of tokens of which only the next one can be had."""

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = (0,)
        self.dtype = np.dtype(np.uint8)

    def __len__(self) -> int:
        return self.shape[0]

    def read_header(self) -> None:
        """Wait for the beginning. Raises ValueError if it is not that of a .npy file of plain numbers."""
        self._file = open(0, "rb", closefd=False)  # noqa: SIM115
        try:
            version = np.lib.format.read_magic(self._file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            self.shape, columns_first, self.dtype = read(self._file)
            if self.dtype.hasobject or (columns_first and len(self.shape) > 1) or not self.shape:
                raise ValueError("expected a stack of numbers in C order")
        except (ValueError, TypeError, OverflowError) as error:
            raise ValueError(f"standard input: not a .npy file of plain numbers: {error}") from None

    def __getitem__(self, _: int) -> np.ndarray:
        """The next token. Raises EndOfStream if there is none, ValueError if there is only a part of it."""
        token: np.ndarray = np.empty(self.shape[1:], self.dtype)
        data = self._file.read(token.nbytes)
        if not data:
            raise EndOfStream
        if len(data) < token.nbytes:
            raise ValueError(f"standard input: ends after {len(data)} of the {token.nbytes} bytes of a token")
        token.reshape(-1).view(np.uint8)[...] = np.frombuffer(data, np.uint8)
        return token
