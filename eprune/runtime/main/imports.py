"""Imports of users' Python files: each folder of actor files is a private package, which sees its own files only.

An actor file may import its neighbours by their plain names, as a script does. A plain name means, in this order: a
module of the standard library, eprune or numpy; a neighbour; an installed module. No folder is ever put on sys.path:
two folders may have files of the same name, and a file may have the name of any other module, without anybody but its
neighbours seeing it.

That works by the ``__import__`` that the code of a folder gets among its builtins, which looks into the folder's
package first, and by a finder that is asked for modules of these packages alone.
"""

from __future__ import annotations

import builtins
import importlib
import os
import sys
import sysconfig
import threading
import types
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Any, Optional
from zipimport import zipimporter

#: The names of the packages, each followed by a number.
PREFIX = "eprune_actors_"
#: Besides the standard library, what a neighbour cannot stand in for.
_RESERVED = {"eprune", "numpy"}

_lock = threading.RLock()
#: path of a folder, which may be inside a .pyz -> its package
_folders: dict[str, _Folder] = {}
#: the same by the packages' names
_packages: dict[str, _Folder] = {}


def load(path: str) -> types.ModuleType:
    """The module of a Python file, loaded once in a process, and whole. Raises whatever its code raises."""
    # Under one lock: two files that import one another from two threads would else see each other half loaded.
    with _lock:
        folder, name = os.path.split(path)
        if folder not in _folders:
            package = f"{PREFIX}{len(_folders)}"
            _folders[folder] = _packages[package] = _Folder(package, folder)
        return _folders[folder].load(name)


class _Folder:
    """The package of a folder's files."""

    def __init__(self, package: str, path: str) -> None:
        self.package = package
        self.path = path
        self.builtins = {**vars(builtins), "__import__": self._import}
        #: module -> file, of files that no import could name
        self.files: dict[str, str] = {}
        #: plain name -> whether a neighbour has it
        self._known: dict[str, bool] = {}
        module = types.ModuleType(package)
        module.__path__ = [path]
        sys.modules[package] = module
        if _Finder not in sys.meta_path:
            sys.meta_path.insert(0, _Finder)

    def load(self, file: str) -> types.ModuleType:
        stem = Path(file).stem
        module = f"{self.package}.{stem}"
        if "." in stem:
            module = f"{self.package}.{stem.replace('.', '-')}"
            self.files[module] = str(Path(self.path, file))
        return importlib.import_module(module)

    def _import(
        self,
        name: str,
        globals: Optional[Mapping[str, Any]] = None,  # noqa: A002
        locals: Optional[Mapping[str, Any]] = None,  # noqa: A002
        fromlist: Optional[Sequence[str]] = (),
        level: int = 0,
    ) -> Any:
        """What ``import`` calls in this folder's code; see ``__import__``."""
        top = name.partition(".")[0]
        if level or not self._is_neighbour(top):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        found = builtins.__import__(f"{self.package}.{name}", globals, locals, fromlist or (), 0)
        return found if fromlist else sys.modules[f"{self.package}.{top}"]

    def _is_neighbour(self, name: str) -> bool:
        if name not in self._known:
            self._known[name] = not _is_reserved(name) and _Finder.find_spec(f"{self.package}.{name}") is not None
        return self._known[name]


class _Finder:
    """Finds modules of the folders' packages, at any depth."""

    @staticmethod
    def find_spec(name: str, path: Optional[Sequence[str]] = None, target: object = None) -> Optional[ModuleSpec]:
        if not name.startswith(PREFIX):
            return None
        folder = _packages[name.partition(".")[0]]
        if name in folder.files:
            spec = spec_from_file_location(name, folder.files[name])
        else:
            spec = PathFinder.find_spec(name, path or [folder.path])
            if spec is None:
                importlib.invalidate_caches()  # the file may be younger than what Python remembers of the folder
                spec = PathFinder.find_spec(name, path or [folder.path])
        if spec is None or spec.loader is None:
            return spec
        spec.loader = _Loader(spec.loader, folder)  # type: ignore[assignment]
        return spec


class _Loader:
    """Runs a module's code with its folder's builtins, and leaves no compiled code beside the user's files."""

    def __init__(self, loader: Any, folder: _Folder) -> None:
        self._loader = loader
        self._folder = folder

    def create_module(self, spec: ModuleSpec) -> Optional[types.ModuleType]:
        create = getattr(self._loader, "create_module", None)  # a zipimporter of Python 3.9 has none
        return create(spec) if create else None

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module)["__builtins__"] = self._folder.builtins
        loader = self._loader
        if type(loader) is SourceFileLoader:
            path = loader.path
            exec(loader.source_to_code(loader.get_data(path), path), vars(module))
        elif isinstance(loader, zipimporter):
            exec(loader.get_code(module.__name__), vars(module))
        else:
            loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _is_reserved(name: str) -> bool:
    """Whether a plain name means the same module everywhere."""
    if name in _RESERVED or name in sys.builtin_module_names:
        return True
    if sys.version_info >= (3, 10):
        return name in sys.stdlib_module_names
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    return PathFinder.find_spec(name, [*folders, *(f"{folder}/lib-dynload" for folder in folders)]) is not None
