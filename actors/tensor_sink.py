"""A sink for a model's outputs: a line about each frame, or .npy files of all tensors."""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np

from eprune.runtime import Actor, EndOfStream

_DESIGNATED = "designated"
#: Bytes in front of the numbers of a .npy file: the format asks for a multiple of 64.
_HEADER = 512


class TensorSink(Actor):
    """Takes a tensor at each input port.

    Without a path, one line of JSON per frame is printed: for each port the smallest and the largest element, and the
    index of the largest in the flat tensor (``at``: for scores, the class).

    With ``layers``, the port ``missing`` is a table of parts (see ``Exchange``), and the line says what it means:
    ``"missing": {"conv2d_2": ["device3"]}`` names the devices whose parts of a layer were not there, and ``"exact"`` is
    false if channels were lost with them. The port ``designated`` (see there, too) makes ``"designated"`` true or
    false.

    Parameters:
        path: a folder, which is created; ``PORT.npy`` in it receives the tensors of a port, and is complete at the end.
        layers: the layers that the rows of the port ``missing`` are for, ``conv2d_2,dense_4``.
        devices: the devices that its columns are for.
        only: ``designated`` leaves out all frames but those whose port ``designated`` is 1.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "write"}
    STATE = ("frame", "written")

    def __init__(self, path: str = "", layers: str = "", devices: str = "", only: str = "") -> None:
        self.path = path
        self.layers = [name for name in layers.split(",") if name]
        self.devices = [name for name in devices.split(",") if name]
        if only not in ("", _DESIGNATED):
            raise ValueError(f"only={only!r}: expected {_DESIGNATED}")
        self.only = only
        self.files: dict[str, BinaryIO] = {}
        self.frame = self.written = 0

    def initialize(self) -> None:
        """Create the files. Raises ValueError for ports ``missing`` and ``designated`` that do not fit."""
        if self.only and self.inputs.get(_DESIGNATED) != ("uint8", (1,), 1):
            raise ValueError(f"only={self.only} is for a port {_DESIGNATED!r} of one number, uint8")
        if self.layers and self.inputs.get("missing") != ("uint8", (len(self.layers), len(self.devices)), 1):
            raise ValueError("layers and devices are for a port 'missing' of as many rows and columns, uint8")
        for port, described in self.inputs.items():
            if described.rate != 1:
                raise ValueError(f"port {port!r}: handles one token per firing, but its rate is {described.rate}")
            if self.path:
                Path(self.path).mkdir(parents=True, exist_ok=True)
                mode = "r+b" if self.written else "wb"
                self.files[port] = Path(self.path, f"{port}.npy").open(mode)  # noqa: SIM115 - closed by finalize
                self.files[port].write(self._header(port))
                self.files[port].seek(0, os.SEEK_END)

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Write one frame."""
        if not self.only or inputs[_DESIGNATED][0]:
            for port, file in self.files.items():
                file.write(np.ascontiguousarray(inputs[port]).data)
            if not self.files:
                self._print(inputs)
            self.written += 1
        self.frame += 1

    def _print(self, inputs: Mapping[str, np.ndarray]) -> None:
        line: dict[str, object] = {"frame": self.frame}
        for port, token in inputs.items():
            if self.layers and port == "missing":
                line.update(self._missing(token))
            elif self.layers and port == _DESIGNATED:
                line[port] = bool(token[0])
            else:
                line[port] = _summary(token)
        try:
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise EndOfStream from None  # the reader has seen enough

    def _missing(self, table: np.ndarray) -> dict[str, object]:
        """What a table of parts says."""
        rows = zip(self.layers, table)
        names = {layer: [name for name, state in zip(self.devices, row) if state] for layer, row in rows}
        return {"missing": {layer: gone for layer, gone in names.items() if gone}, "exact": bool(table.max() < 2)}

    def finalize(self) -> None:
        """Write the number of tensors into each file, and close it."""
        for port, file in self.files.items():
            with file:
                file.seek(0)
                file.write(self._header(port))

    def _header(self, port: str) -> bytes:
        """Version 1.0 of numpy's format, with a fixed size, because the count is known only at the end."""
        described = self.inputs[port]
        shape = (self.written, *described.shape)
        text = str({"descr": np.dtype(described.dtype).str, "fortran_order": False, "shape": shape})
        start = b"\x93NUMPY\x01\x00" + struct.pack("<H", _HEADER - 10)
        return start + text.encode().ljust(_HEADER - 11) + b"\n"


def _summary(token: np.ndarray) -> dict[str, object]:
    flat = token.reshape(-1)
    numbers = flat.real if np.iscomplexobj(flat) else flat
    place = int(numbers.argmax())
    values = {"min": numbers.min().item(), "max": numbers[place].item()}
    return {**{name: value if np.isfinite(value) else None for name, value in values.items()}, "at": place}
