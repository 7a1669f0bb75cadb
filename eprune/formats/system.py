"""A System from files and into files: an application, and the platforms and mappings that belong to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional, TypeVar

from eprune.formats import touching
from eprune.formats.atomic import write_file
from eprune.formats.behaviours import inspect
from eprune.formats.initial import check_initial
from eprune.formats.xml.application import read_application, write_application
from eprune.formats.xml.mapping import read_mapping, write_mapping
from eprune.formats.xml.platform import read_platform, write_platform
from eprune.model.finding import EpruneError, Finding, WrongUsage
from eprune.model.graph import Computation, Graph
from eprune.model.system import System

T = TypeVar("T")
#: The name of an application's file in the folder of a system.
APPLICATION = "application.xml"


def read_system(
    application: str,
    platforms: Sequence[str] = (),
    mappings: Sequence[str] = (),
    check: Callable[[System], Sequence[Finding]] = lambda system: system.problems,
    allow_outside: bool = False,
    computation: Optional[Computation] = None,
) -> System:
    """The system of these files, "-" for stdin, with what its behaviours say of themselves, and of its
    files of initial tokens what is wrong with them.

    Files that the application names are read where they are in its folder or ship with eprune (rule S1), with
    ``allow_outside`` wherever they are. ``computation`` is how rates are read, by default as the application says.
    Where a file is unreadable or malformed, raises EpruneError with the findings of all files, and with what ``check``
    finds in the application alone if that could be read.
    """
    unreadable: list[Finding] = []

    def attempt(read: Callable[[str], T], path: str) -> Optional[T]:
        try:
            return read(path)
        except EpruneError as error:
            unreadable.extend(error.findings)
            return None

    graph = attempt(read_application, application)
    read_platforms = tuple(filter(None, [attempt(read_platform, path) for path in platforms]))
    read_mappings = tuple(filter(None, [attempt(read_mapping, path) for path in mappings]))
    if graph is None:
        raise EpruneError(*unreadable)
    graph = graph if computation is None else replace(graph, computation=computation)
    alone = _inspected(graph, touching.Territory.of(application), allow_outside)
    if unreadable:
        raise EpruneError(*check(alone), *unreadable)
    return replace(alone, platforms=read_platforms, mappings=read_mappings)


def _inspected(graph: Graph, territory: touching.Territory, allow_outside: bool) -> System:
    """The graph with what its behaviours say of themselves, and the files that it touches."""
    first = touching.behaviours(graph, territory, allow_outside)
    interfaces, problems = inspect(graph, first.refused)
    second = touching.parameters(graph, interfaces, territory, allow_outside)
    return System(
        graph,
        interfaces=interfaces,
        problems=(*first.findings, *problems, *second.findings, *check_initial(graph, first.fifos)),
        touched=(*first.touched, *second.touched),
    )


def reaches_outside(application: str) -> bool:
    """Whether an application names files that only ``allow_outside`` lets it touch."""
    return any(finding.rule == touching.RULE for finding in read_system(application).problems)


def files_in(paths: Sequence[str], kind: str) -> list[str]:
    """The paths with folders replaced by the files of a kind ("platform", "mapping") in them; each file counts once.

    Raises WrongUsage for a folder that has none.
    """
    files: dict[str, None] = {}
    for path in paths:
        if path != "-" and Path(path).is_dir():
            found = sorted(str(file) for file in Path(path).glob("*.xml") if _kind(file) in (kind, ""))
            if not found:
                raise WrongUsage(f"there is no {kind} file (*.xml) in the folder {path!r}")
            files.update(dict.fromkeys(found))
        else:
            files[path] = None
    return list(files)


def written_in(folder: str) -> tuple[str, list[str], list[str]]:
    """The application, platforms and mappings that ``write_system`` has put there: several platforms, one, or none."""

    def files(kind: str) -> list[str]:
        one, several = Path(folder, f"{kind}.xml"), Path(folder, f"{kind}s")
        return files_in([str(several if several.is_dir() else one)], kind) if several.is_dir() or one.exists() else []

    return str(Path(folder, APPLICATION)), files("platform"), files("mapping")


@dataclass(frozen=True)
class Inputs:
    """Paths by kind, each once, in the order in which they were given or found."""

    applications: tuple[str, ...]
    platforms: tuple[str, ...] = ()
    mappings: tuple[str, ...] = ()


def inputs_in(paths: Sequence[str]) -> Inputs:
    """The files, and those in the folders and below them, by kind. A file of another kind counts as an application.

    In folders, XML of other kinds is passed over, and so are hidden folders. Raises WrongUsage for a folder that has
    no application, platform or mapping.
    """
    found: dict[str, dict[str, None]] = {"application": {}, "platform": {}, "mapping": {}}
    for path in paths:
        if path == "-" or not Path(path).is_dir():
            kind = _kind(Path(path)) if path != "-" and Path(path).is_file() else ""
            found[kind or "application"][path] = None
            continue
        inside = [
            (str(file), _kind(file))
            for file in sorted(Path(path).rglob("*.xml"))
            if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
        ]
        if not any(kind for _, kind in inside):
            raise WrongUsage(f"there is no application, platform or mapping (*.xml) in the folder {path!r}")
        for name, kind in inside:
            if kind:
                found[kind][name] = None
    return Inputs(*(tuple(each) for each in found.values()))


def parts_of(application: str, inputs: Inputs) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The platform and mapping files that belong to an application: its mappings, one a platform, and their platforms.

    None where there are several mappings of one platform, for nobody has said which are meant, or no mapping.
    """
    try:
        name = read_application(application).name if application != "-" else ""
        mappings = {path: read_mapping(path) for path in inputs.mappings}
        platforms = {path: read_platform(path) for path in inputs.platforms}
    except EpruneError:
        return (), ()  # what is wrong is reported when they are read to be checked
    own = {path: mapping.platform for path, mapping in mappings.items() if mapping.application == name}
    theirs = {path: platform.name for path, platform in platforms.items() if platform.name in own.values()}
    if len(set(own.values())) < len(own) or len(set(theirs.values())) < len(theirs):
        return (), ()
    return (tuple(theirs), tuple(own)) if set(own.values()) == set(theirs.values()) else ((), ())


def _kind(file: Path) -> str:
    """Which kind of file it is by its first element; "" where it is none of ours, which its reader reports."""
    try:
        with file.open("rb") as stream:
            beginning = stream.read(65536)
    except OSError:
        return ""
    text = re.sub(rb"<!--.*?-->", b"", beginning, flags=re.DOTALL)
    match = re.match(rb"[^<]*(?:<\?.*?\?>\s*)?<(application|platform|mapping)\b", text, flags=re.DOTALL)
    return match.group(1).decode() if match else ""


@dataclass(frozen=True)
class Written:
    """Where a system was written: the application's file, and what to give to -p and -m; "" for what it has not."""

    application: str
    platforms: str = ""
    mappings: str = ""
    files: tuple[str, ...] = ()


def write_system(system: System, folder: str) -> Written:
    """Write a system into a folder: files that passes made, platforms, mappings, and the application last.

    What it refers to is then there. One platform is written to platform.xml and mapping.xml, several to platforms/ and
    mappings/. A file that is there and has these contents is left alone. Mappings of this application to platforms that
    it no longer is on would contradict the others: they go, with the files of these platforms.
    """
    _remove_former(system, folder)
    for name, data in rendered(system).items():
        target = Path(folder, name)
        if not (target.is_file() and target.read_bytes() == data):
            write_file(str(target), data)
    single = len(system.platforms) == 1
    places = ("platform.xml", "mapping.xml") if single else ("platforms", "mappings")
    platforms, mappings = (str(Path(folder, place)) for place in places)
    return Written(
        str(Path(folder, APPLICATION)),
        platforms if system.platforms else "",
        mappings if system.mappings else "",
        tuple(str(Path(folder, name)) for name in system.files),
    )


def _remove_former(system: System, folder: str) -> None:
    """Take away what an earlier system of the same application has in mappings/ and platforms/, and this has not."""
    written = rendered(system)
    if not system.mappings:
        return
    for path in Path(folder, "mappings").glob("*.xml"):
        if f"mappings/{path.name}" in written:
            continue
        try:
            former = read_mapping(str(path))
        except EpruneError:
            continue  # not one of ours
        if former.application == system.graph.name and path.stem == former.platform:
            path.unlink()
            Path(folder, "platforms", path.name).unlink(missing_ok=True)
    for name in ("mappings", "platforms"):
        if len(system.platforms) == 1 and Path(folder, name).is_dir() and not any(Path(folder, name).iterdir()):
            Path(folder, name).rmdir()


def rendered(system: System) -> dict[str, bytes]:
    """The files that a system is written to, by their names in its folder, in the order in which they are written."""
    single = len(system.platforms) == 1
    files = dict(system.files)
    for platform in system.platforms:
        name = "platform.xml" if single else f"platforms/{platform.name}.xml"
        files[name] = write_platform(platform).encode(errors="surrogateescape")
    for mapping in system.mappings:
        name = "mapping.xml" if single else f"mappings/{mapping.platform}.xml"
        files[name] = write_mapping(mapping).encode(errors="surrogateescape")
    files[APPLICATION] = write_application(system.graph).encode(errors="surrogateescape")
    return files
