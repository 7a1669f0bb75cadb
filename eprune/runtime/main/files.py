"""The files that a generated program needs, from its folder or from inside its own .pyz."""

from __future__ import annotations

import atexit
import io
import json
import os
import platform
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Union

import numpy as np

from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.errors import UsageError
from eprune.runtime.main import imports


class Files:
    """Reads files by their path relative to the program ``program`` (its ``__file__``)."""

    def __init__(self, program: str) -> None:
        self._root = Path(program).resolve().parent
        self._archive = zipfile.ZipFile(self._root) if self._root.is_file() else None
        self._unpacked: list[IO[bytes]] = []

    def read(self, path: str) -> bytes:
        """The file's bytes. Raises UsageError if it is missing or unreadable."""
        try:
            if self._archive is None:
                return (self._root / path).read_bytes()
            rest = self._archive.read(path)
            index = f"{path}.index"
            return _join(self._archive, rest, index) if index in self._archive.namelist() else rest
        except (ValueError, TypeError, zipfile.BadZipFile) as error:
            raise UsageError(f"{self.locate(path)}: is damaged: {error}; generate the program again") from None
        except (OSError, KeyError) as error:
            reason = getattr(error, "strerror", None) or "not in the archive"
            raise UsageError(f"{self.locate(path)}: {reason}; generate the program again") from None

    def tokens(self, path: str, fifo: str, dtype: str, shape: Sequence[Union[int, str]]) -> np.ndarray:
        """The initial tokens of a FIFO, of which there are ``shape[0]``. Raises UsageError if they do not fit."""
        try:
            found = np.load(io.BytesIO(self.read(path)), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UsageError(f"{self.locate(path)}: not a .npy file of plain numbers: {error}") from None
        if found.shape != tuple(shape) or found.dtype != dtype:
            here, there = f"{found.dtype}{list(found.shape)}", f"{dtype}{list(shape)}"
            raise UsageError(f"{self.locate(path)}: {here}, but {fifo} starts with {there}")
        tokens: np.ndarray = found
        return tokens

    def locate(self, path: str) -> str:
        """Where a person finds the file."""
        return os.path.normpath(self._root / path)

    def beside(self, path: str) -> str:
        """Where a file is that is no part of the program: relative to its folder; for a .pyz, to the current one."""
        return path if self._archive is not None else self.locate(path)

    def part(self, path: str) -> str:
        """A path under which the process finds a file that the program brings along; a .pyz unpacks it into memory.

        Raises UsageError if it is missing.
        """
        if self._archive is None:
            found = self.locate(path)
            if not Path(found).is_file():
                raise UsageError(f"{found}: No such file")
            return found
        data = self.read(path)
        if hasattr(os, "memfd_create"):  # nothing is left behind, however the process ends
            descriptor = os.memfd_create(Path(path).name)
            name = f"/proc/self/fd/{descriptor}"
        else:
            descriptor, name = tempfile.mkstemp(suffix=Path(path).suffix)
            atexit.register(os.unlink, name)
        self._unpacked.append(os.fdopen(descriptor, "wb"))
        self._unpacked[-1].write(data)
        self._unpacked[-1].flush()
        return name

    def library(self, path: str, headers: Sequence[str]) -> str:
        """The path of the shared library for a C file, which includes these files beside it, or of a ready one.

        Raises UsageError where it cannot be built.
        """
        from eprune.runtime.fire import c_build  # only such programs need what runs a compiler

        if path.endswith(".c"):
            return c_build.build(Path(path).name, self.sources(path, headers))
        name = c_build.here(path)
        try:
            return self.part(name)
        except UsageError as error:
            raise UsageError(f"{error}: there is no library for this machine ({platform.machine()})") from None

    def sources(self, path: str, headers: Sequence[str]) -> dict[str, bytes]:
        """The bytes of a file that is built, and of the files beside it that it includes, by their names."""
        names = [Path(path).name, *headers]
        return {name: self.read(Path(path).with_name(name).as_posix()) for name in names}

    def load_class(self, reference: str) -> type[Actor]:
        """The behaviour class of ``file.py:Class``. Its file may import its neighbours, see ``imports``.

        Raises UsageError if the file cannot be loaded or has no such class.
        """
        path, _, name = reference.rpartition(":")
        location = self.locate(path)
        self.read(path)
        try:
            module = imports.load(location)
        except Exception as error:
            raise UsageError(f"{location}: cannot be loaded: {type(error).__name__}: {error}") from error
        behaviour = getattr(module, name, None)
        if not (isinstance(behaviour, type) and issubclass(behaviour, Actor)):
            raise UsageError(f"{location}: has no class {name} derived from eprune.runtime.Actor")
        return behaviour


def _join(archive: zipfile.ZipFile, rest: bytes, name: str) -> bytes:
    """A model whose shared constants lie apart, as ``eprune.codegen.bundle.share`` stored it.

    Raises ValueError or TypeError if the index does not fit.
    """
    index = json.loads(archive.read(name))
    if not (isinstance(index, dict) and index.keys() == {"size", "constants"}):
        raise ValueError(f"{name} is not an index of constants")
    data = bytearray()
    taken = 0
    for digest, start in index["constants"]:
        if not (re.fullmatch("[0-9a-f]{64}", digest) and f"constants/{digest}" in archive.namelist()):
            raise ValueError(f"{name} names a constant {digest!r} that does not exist")
        step = start - len(data)
        if not 0 <= step <= len(rest) - taken:
            raise ValueError(f"{name} puts a constant at the impossible byte {start}")
        data += rest[taken : taken + step]
        taken += step
        data += archive.read(f"constants/{digest}")
    data += rest[taken:]
    if len(data) != index["size"]:
        raise ValueError(f"{name} states {index['size']} bytes, but the parts have {len(data)}")
    return bytes(data)
