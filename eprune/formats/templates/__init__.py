"""What a new application or a new actor begins with. The files NAME.tmpl beside this one become NAME."""

from __future__ import annotations

import shutil
from pathlib import Path

from eprune.formats.atomic import beside
from eprune.model.finding import EpruneError, Finding, Location

_FOLDER = Path(__file__).parent
_ENDING = ".tmpl"
_NAME = "{{name}}"


def application(name: str) -> dict[str, str]:
    """The files of a new application: path in its folder -> text. It can be analyzed and run as it is."""
    folder = _FOLDER / "app"
    paths = sorted(folder.rglob(f"*{_ENDING}"))
    return {path.relative_to(folder).as_posix()[: -len(_ENDING)]: _filled(path, name) for path in paths}


def actor(name: str) -> str:
    """The Python file of a new actor: a class of that name, with the ports ``in`` and ``out``."""
    return _filled(_FOLDER / f"actor.py{_ENDING}", name)


def c_actor(name: str) -> str:
    """The C file of a new actor of that name, with the ports ``in`` and ``out``."""
    return _filled(_FOLDER / f"actor.c{_ENDING}", name)


def opencl_actor(name: str) -> str:
    """The OpenCL file of a new actor of that name, with the ports ``in`` and ``out``."""
    return _filled(_FOLDER / f"actor.cl{_ENDING}", name)


def _filled(path: Path, name: str) -> str:
    return path.read_text(encoding="utf-8").replace(_NAME, name)


def write_folder(folder: str, files: dict[str, str]) -> None:
    """Write all files into a new folder, or none. Raises EpruneError (FILE), also for a folder that has files."""
    target = Path(folder)
    temporary = beside(target)
    made = False
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            hint = "choose another name, or another folder with -o"
            raise EpruneError(Finding("FILE", Location(folder), "is there already, and is not overwritten", hint))
        temporary.mkdir(parents=True)
        made = True
        for name, text in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        temporary.replace(target)
    except OSError as error:
        raise EpruneError(Finding("FILE", Location(folder), f"cannot be written: {error.strerror}")) from None
    finally:
        if made:
            shutil.rmtree(temporary, ignore_errors=True)
