"""The old names of modules that users' actors import: each works for one more version, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from typing import Optional

#: old name -> where the module is now
MOVED = {
    "eprune.runtime.actor": "eprune.runtime.kernel.actor",
    "eprune.runtime.errors": "eprune.runtime.kernel.errors",
    "eprune.runtime.fifo": "eprune.runtime.kernel.fifo",
    "eprune.runtime.files": "eprune.runtime.main.files",
    "eprune.runtime.launch": "eprune.deploy.local",
    "eprune.runtime.program": "eprune.runtime.main.program",
    "eprune.runtime.record": "eprune.runtime.tell.record",
    "eprune.runtime.tflite": "eprune.runtime.fire.tflite",
}


class _Finder:
    """Finds an old name; its loader puts the module that has the new name in its place."""

    @staticmethod
    def find_spec(name: str, path: Optional[Sequence[str]] = None, target: object = None) -> Optional[ModuleSpec]:
        return ModuleSpec(name, _Loader()) if name in MOVED else None  # type: ignore[arg-type]


class _Loader:
    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """An ordinary, empty module, which nobody keeps."""

    @staticmethod
    def exec_module(module: types.ModuleType) -> None:
        old = module.__name__
        warnings.warn(f"{old} is now {MOVED[old]}", DeprecationWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(MOVED[old])


def install() -> None:
    """Make the old names work from now on. Costs nothing until one is used."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
