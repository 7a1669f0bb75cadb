"""The library of actors that ship with eprune, and where a graph's files are found."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

import eprune
from eprune.formats.python_classes import ClassDescription, describe_classes
from eprune.model.finding import EpruneError


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


def library_classes() -> tuple[ClassDescription, ...]:
    """The behaviours of the library, by name."""
    classes = (each for name in library_files() for each in describe_classes(str(Path(library_folder(), name))))
    return tuple(sorted((each for each in classes if each.is_actor), key=lambda each: each.name))


def find_class(behaviour: str, folder: str) -> Optional[ClassDescription]:
    """The class that ``FILE.py:Class`` names in a graph of this folder; None where it cannot be found or read."""
    file, _, name = behaviour.rpartition(":")
    try:
        classes = describe_classes(find(folder, file, library=True))
    except EpruneError:
        return None
    return next((each for each in classes if each.name == name), None)
