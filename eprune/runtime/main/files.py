"""Files that a generated program needs, from its folder or from inside its own .pyz."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import types
import zipfile
from pathlib import Path

from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.errors import UsageError

#: Programs that share a process load a file once, and none takes a class from it before it is whole.
_LOADING = threading.RLock()


class Files:
    """Reads files by their path relative to the program ``program`` (its ``__file__``)."""

    def __init__(self, program: str) -> None:
        self._root = Path(program).resolve().parent
        self._archive = zipfile.ZipFile(self._root) if self._root.is_file() else None

    def read(self, path: str) -> bytes:
        """The file's bytes. Raises UsageError where it is missing or unreadable."""
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

    def locate(self, path: str) -> str:
        """Where a person finds the file."""
        return os.path.normpath(self._root / path)

    def load_class(self, reference: str) -> type[Actor]:
        """The behaviour class of ``file.py:Class``. Its file may import its neighbours.

        Raises UsageError where the file cannot be loaded or has no such class.
        """
        path, _, name = reference.rpartition(":")
        location = self.locate(path)
        source = self.read(path)
        folder = str(Path(location).parent)
        if folder not in sys.path:
            sys.path.append(folder)
        with _LOADING:
            module = sys.modules.get(location) or _execute(location, source)
        behaviour = getattr(module, name, None)
        if not (isinstance(behaviour, type) and issubclass(behaviour, Actor)):
            raise UsageError(f"{location}: has no class {name} derived from eprune.runtime.Actor")
        return behaviour


def _execute(location: str, source: bytes) -> types.ModuleType:
    module = types.ModuleType(location)
    module.__file__ = location
    sys.modules[location] = module
    try:
        exec(compile(source, location, "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[location]
        raise UsageError(f"{location}: cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _join(archive: zipfile.ZipFile, rest: bytes, name: str) -> bytes:
    """A model whose shared constants lie apart, as ``eprune.codegen.bundle.share`` stored it.

    Raises ValueError or TypeError where the index does not fit.
    """
    index = json.loads(archive.read(name))
    if not (isinstance(index, dict) and index.keys() == {"size", "constants"}):
        raise ValueError(f"{name} is no index of constants")
    data = bytearray()
    taken = 0
    for digest, start in index["constants"]:
        if not (re.fullmatch("[0-9a-f]{64}", digest) and f"constants/{digest}" in archive.namelist()):
            raise ValueError(f"{name} names a constant {digest!r}, which is not there")
        step = start - len(data)
        if not 0 <= step <= len(rest) - taken:
            raise ValueError(f"{name} puts a constant at byte {start}, where it cannot be")
        data += rest[taken : taken + step]
        taken += step
        data += archive.read(f"constants/{digest}")
    data += rest[taken:]
    if len(data) != index["size"]:
        raise ValueError(f"{name} says {index['size']} bytes, the parts have {len(data)}")
    return bytes(data)
