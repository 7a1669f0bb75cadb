"""Files that a generated program needs, from its folder or from inside its own .pyz."""

from __future__ import annotations

import os
import sys
import types
import zipfile
from pathlib import Path

from eprune.runtime.actor import Actor
from eprune.runtime.errors import UsageError


class Files:
    """Reads files by their path relative to the program ``program`` (its ``__file__``)."""

    def __init__(self, program: str) -> None:
        self._root = Path(program).resolve().parent
        self._archive = zipfile.ZipFile(self._root) if self._root.is_file() else None

    def read(self, path: str) -> bytes:
        """The file's bytes. Raises UsageError where it is missing or unreadable."""
        try:
            return self._archive.read(path) if self._archive else (self._root / path).read_bytes()
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
        module = sys.modules.get(location)
        if module is None:
            module = types.ModuleType(location)
            module.__file__ = location
            sys.modules[location] = module
            try:
                exec(compile(source, location, "exec"), module.__dict__)
            except Exception as error:
                del sys.modules[location]
                raise UsageError(f"{location}: cannot be loaded: {type(error).__name__}: {error}") from error
        behaviour = getattr(module, name, None)
        if not (isinstance(behaviour, type) and issubclass(behaviour, Actor)):
            raise UsageError(f"{location}: has no class {name} derived from eprune.runtime.Actor")
        return behaviour
