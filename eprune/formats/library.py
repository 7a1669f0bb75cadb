"""The library of actors that ship with eprune, and where a graph's files are found."""

from __future__ import annotations

from pathlib import Path

import eprune


def library_folder() -> str:
    """The folder of the actors that ship with eprune: the package eprune.actors, in a checkout the folder actors."""
    package = Path(eprune.__file__).parent
    installed = package / "actors"
    return str(installed if installed.is_dir() else package.parent / "actors")


def find(folder: str, file: str, library: bool) -> str:
    """The path of a file that a graph names: in ``folder``, else, if it is there, in the library of actors.

    A file that is nowhere gets the path that it would have in ``folder``.
    """
    near = Path(folder, file)
    far = Path(library_folder(), file)
    return str(far if library and not near.exists() and far.exists() else near)


def library_files() -> list[str]:
    """The names of the library's Python files."""
    return sorted(path.name for path in Path(library_folder()).glob("*.py") if not path.name.startswith("_"))
