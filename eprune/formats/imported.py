"""Writing what was imported, again and again, without losing what a user has edited in between."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from eprune.formats.atomic import write_file
from eprune.formats.system import Written, rendered, write_system
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.system import System

#: The file that says which files an import has written, and with what contents.
RECORD = "import.json"


def write_imported(system: System, folder: str, force: bool = False) -> Written:
    """Write an imported system into a folder (``write_system``), and remove what an earlier import has left there.

    Raises EpruneError (FILE), before anything is written, where a file that is in the way is not what an import wrote,
    unless ``force`` says that it may be replaced.
    """
    files = rendered(system)
    written = _recorded(folder)
    here = [name for name in {**files, **written} if os.path.lexists(Path(folder, name))]
    edited = [
        name
        for name in here
        if _digest_of(Path(folder, name)) not in (written.get(name), name in files and _digest(files[name]))
    ]
    if edited and not force:
        hint = "choose another folder with -o, or give --force to replace what is there"
        raise EpruneError(
            *(
                Finding("FILE", Location(str(Path(folder, name))), "is not as an import has written it", hint)
                for name in edited
            )
        )
    for name in written:
        if name not in files and name in here and _inside(folder, name):
            Path(folder, name).unlink()
            _remove_empty(Path(folder, name).parent, Path(folder))
    result = write_system(system, folder)
    record = {"files": {name: _digest(data) for name, data in files.items()}}
    write_file(str(Path(folder, RECORD)), f"{json.dumps(record, indent=2)}\n")
    return result


def _recorded(folder: str) -> Mapping[str, str]:
    """Name -> digest of the files that were written; none where there is no record, or one that is none of ours."""
    try:
        files = json.loads(Path(folder, RECORD).read_text(encoding="utf-8"))["files"]
        return {name: digest for name, digest in files.items() if isinstance(digest, str) and _inside(folder, name)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _inside(folder: str, name: str) -> bool:
    """Whether a recorded name is of a file in the folder: the record may have been written by anyone."""
    place = os.path.realpath(Path(folder, name))
    return (
        os.path.commonpath([place, os.path.realpath(folder)]) == os.path.realpath(folder) and not Path(place).is_dir()
    )


def _digest_of(path: Path) -> str:
    """The digest of a file's contents; that of none for what is no file."""
    return _digest(path.read_bytes()) if path.is_file() else ""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder, and those above it up to ``top``, as far as they are empty."""
    while folder != top:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
