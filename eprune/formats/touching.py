"""What an application may touch: the files in its own folder, and those that ship with eprune.

Everything is decided from names, links and sizes (``stat``) before anything is read, so that a pipe does not hang a
command, a device is not read, and no message quotes a file that is none of the application's business.
"""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Optional

import eprune
from eprune.formats.behaviours.python_class import CARRIED, names_file
from eprune.formats.examples import example
from eprune.formats.library import library_folder
from eprune.formats.python_source import MAX_BYTES
from eprune.model.behaviour import Behaviour
from eprune.model.finding import Finding, Location
from eprune.model.graph import Actor, Fifo, Graph
from eprune.model.interface import Interface
from eprune.model.system import System
from eprune.model.touched import Access, Touched

#: The rule that this module holds.
RULE = "S1"
#: An empty file of this name says that the folder which holds it is one whole, for the applications anywhere in it.
MARK = ".eprune-root"
#: So many links in a folder, or files of a pattern, are looked at; what has more is refused.
MAX_ENTRIES = 100_000
#: Bytes of a file that a bundle takes along because a parameter names it.
MAX_PART = 2**28
#: The largest header of a .npy file.
_HEADER = 2**16


@dataclass(frozen=True)
class Territory:
    """Where an application may touch files: in ``root`` and in eprune's ``own`` folders, all without symbolic links."""

    root: str
    own: tuple[str, ...]

    @staticmethod
    def of(application: str) -> Territory:
        """That of an application file, "-" for stdin: its folder, or the nearest one above it with the mark."""
        folder = os.path.realpath("" if application == "-" else Path(application).parent)
        marked = (str(each) for each in (Path(folder), *Path(folder).parents) if Path(each, MARK).is_file())
        # The package; in a checkout its actors and examples lie beside it.
        own = (str(Path(eprune.__file__).parent), library_folder(), str(Path(example("graphs/vehicle.xml")).parent))
        return Territory(next(marked, folder), tuple(dict.fromkeys(map(os.path.realpath, own))))

    def owned(self, path: str) -> bool:
        """Whether a file ships with eprune."""
        return any(_within(os.path.realpath(path), folder) for folder in self.own)

    def contains(self, path: str) -> bool:
        """Whether a file, there or not yet there, is the application's own: in ``root``, with all links followed."""
        return _within(os.path.realpath(path), self.root)

    def holds(self, path: str) -> bool:
        """Whether it is in one of these folders, and so may be read."""
        return self.contains(path) or self.owned(path)


@dataclass(frozen=True)
class Survey:
    """The files that are touched, what is wrong with that, and the actors and FIFOs whose files must not be read."""

    touched: tuple[Touched, ...]
    findings: tuple[Finding, ...]
    refused: frozenset[str]
    fifos: frozenset[str] = frozenset()


def behaviours(graph: Graph, territory: Territory, allow_outside: bool) -> Survey:
    """The files of behaviours and initial tokens, none of which is read before it is known to be fine."""
    looked = _Look(territory, allow_outside)
    beside: dict[Behaviour, list[str]] = {}  # read once, however many actors run it
    for actor in graph.actors:
        behaviour = actor.behaviour
        if behaviour is not None:
            named = behaviour.named()
            fine = [looked.file(actor, path, access) for path, access in named.items()]
            if all(fine):
                if behaviour not in beside:
                    paths = dict.fromkeys(path for paths in behaviour.files().values() for path in paths)
                    beside[behaviour] = [path for path in paths if path not in named and not territory.owned(path)]
                for path in beside[behaviour]:
                    looked.file(actor, path, Access.RUN)
    ports = dict(graph.ports())
    for fifo in graph.fifos:
        if fifo.initial is not None:
            port = ports.get(fifo.source) or ports.get(fifo.target)
            looked.initial(fifo, port.token.nbytes if port else 0)
    return looked.survey()


def parameters(graph: Graph, interfaces: Mapping[str, Interface], territory: Territory, allow_outside: bool) -> Survey:
    """The files that parameters name, where the actor's class says which parameters do (``PATHS``)."""
    looked = _Look(territory, allow_outside)
    for actor in graph.actors:
        interface = interfaces.get(actor.name)
        for name, value in actor.parameters if interface else ():
            access = interface.paths.get(name) if interface else None
            place = None if access is None else placed(actor, access, value)
            if access is not None and place is not None:
                limit = MAX_PART if access in CARRIED else None
                looked.parameter(actor, name, place, Access.WRITE if access == "write" else Access.READ, limit)
    return looked.survey()


def parts_of(system: System) -> Iterator[tuple[Actor, str]]:
    """The files that are parts of actors, as their models are, each with an actor whose parameter names it."""
    for actor in system.graph.actors:
        interface = system.interfaces.get(actor.name)
        for name, value in actor.parameters if interface else ():
            place = placed(actor, "part", value) if interface and interface.paths.get(name) == "part" else None
            if place is not None:
                yield actor, place


def placed(actor: Actor, access: str, value: str) -> Optional[str]:
    """The file that a parameter's value names: relative to the application's folder. None: it names no file."""
    return str(Path(actor.where.file).parent / value) if names_file(access, value) else None


def readable(application: str, path: str) -> bool:
    """Whether a file that an application names may be read."""
    return Territory.of(application).holds(path) and not _special(path)


class _Look:
    """Looks at one file after the other."""

    def __init__(self, territory: Territory, allow_outside: bool) -> None:
        self.territory, self.allowed = territory, allow_outside
        self.touched: list[Touched] = []
        self.findings: list[Finding] = []
        self.refused: set[str] = set()
        self.fifos: set[str] = set()
        self.known: dict[tuple[str, Optional[int]], tuple[bool, str]] = {}
        self.owned = lru_cache(maxsize=None)(territory.owned)

    def survey(self) -> Survey:
        return Survey(tuple(self.touched), tuple(self.findings), frozenset(self.refused), frozenset(self.fifos))

    def file(self, actor: Actor, path: str, access: Access) -> bool:
        """A file that a behaviour is made from; whether it may be read."""
        limit = MAX_BYTES if access is Access.RUN else None
        fine = self._judge(f"actor {actor.name!r}", actor.name, actor.where, path, access, limit)
        if not fine:
            self.refused.add(actor.name)
        return fine

    def initial(self, fifo: Fifo, nbytes: int) -> None:
        path = str(Path(fifo.where.file).parent / str(fifo.initial))
        limit = fifo.delay * nbytes + _HEADER
        if not self._judge(f"FIFO {fifo.name!r}: initial", fifo.name, fifo.where, path, Access.READ, limit):
            self.fifos.add(fifo.name)

    def parameter(self, actor: Actor, name: str, path: str, access: Access, limit: Optional[int]) -> None:
        who, by = f"actor {actor.name!r}: parameter {name!r}", f"{actor.name}.{name}"
        holds = self.territory.contains if access is Access.WRITE else self.territory.holds
        inside = holds(path)
        self._note(path, access, by, actor.where, inside)
        if self.allowed:
            return
        entries = _entries(path) if inside else []
        outside = path if not inside else next((each for each in entries if not holds(each)), "")
        if outside:
            self._outside(who, actor.where, outside, "or name a file in that folder")
        elif len(entries) > MAX_ENTRIES:
            message = f"{who}: {path!r} has more than {MAX_ENTRIES} files, too many to look at each"
            self.findings.append(Finding(RULE, actor.where, message, "--allow-outside, if you trust the application"))
        elif special := _special(path):
            self.findings.append(Finding("FILE", actor.where, f"{who}: {path!r} is {special}, and is not touched"))
        elif large := _too_large(path, limit):
            self.findings.append(Finding("FILE", actor.where, f"{who}: {path!r} is {large}"))

    def _judge(self, who: str, by: str, where: Location, path: str, access: Access, limit: Optional[int]) -> bool:
        key = (path, limit)
        if key not in self.known:
            inside = self.territory.holds(path)
            self.known[key] = (inside, _special(path) or _too_large(path, limit))
        inside, problem = self.known[key]
        self._note(path, access, by, where, inside)
        if not inside and not self.allowed:
            self._outside(who, where, path, "or copy the file into that folder")
        elif problem:
            self.findings.append(Finding("FILE", where, f"{who}: {path!r} is {problem}, and is not read"))
        else:
            return True
        return False

    def _note(self, path: str, access: Access, by: str, where: Location, inside: bool) -> None:
        self.touched.append(Touched(path, access, by, where, self.owned(path), inside))

    def _outside(self, who: str, where: Location, path: str, otherwise: str) -> None:
        real = os.path.realpath(path)
        led = "" if os.path.abspath(path) == real else f" (a link leads to {real!r})"  # noqa: PTH100
        message = f"{who}: {path!r} is outside of the application's folder{led}, and is not touched"
        hint = f"--allow-outside, if you trust the application; {otherwise}"
        self.findings.append(Finding(RULE, where, message, hint))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _entries(path: str) -> list[str]:
    """The links in a folder, or what a pattern stands for; a class may read or write through any of them.

    At most one more than MAX_ENTRIES, of a pattern and of links.
    """
    if Path(path).is_dir():
        with os.scandir(path) as entries:
            return list(islice((entry.path for entry in entries if entry.is_symlink()), MAX_ENTRIES + 1))
    if glob.has_magic(path) and not Path(path).exists():
        return list(islice(glob.iglob(path), MAX_ENTRIES + 1))  # noqa: PTH207
    return []


def _special(path: str) -> str:
    """What a file is that is neither a regular one nor a folder; "" for those, and for what is not there."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a path with a NUL character raises ValueError
    except (OSError, ValueError):
        return ""
    names = {stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}
    return next((name for test, name in names.items() if test(mode)), "")


def _too_large(path: str, limit: Optional[int]) -> str:
    try:
        size = Path(path).stat().st_size
    except (OSError, ValueError):
        return ""
    return "" if limit is None or size <= limit else f"of {size} bytes, where at most {limit} are expected"
