"""The old names of modules that users' actors import: each works for one more version, with a DeprecationWarning.

This module imports nothing but ``sys`` until an old name is used: it is loaded before a program has cleaned its path.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types
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
        if name not in MOVED:
            return None
        from importlib.machinery import ModuleSpec

        return ModuleSpec(name, _Loader())  # type: ignore[arg-type]


class _Loader:
    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """An ordinary, empty module, which nobody keeps."""

    @staticmethod
    def exec_module(module: types.ModuleType) -> None:
        import importlib
        import warnings

        old = module.__name__
        warnings.warn(f"{old} is now {MOVED[old]}", DeprecationWarning, stacklevel=2)
        sys.modules[old] = importlib.import_module(MOVED[old])


def install() -> None:
    """Make the old names work from now on."""
    if _Finder not in sys.meta_path:
        sys.meta_path.append(_Finder)
