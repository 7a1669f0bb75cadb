"""A user's files for an input."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

from eprune.formats.ends import INPUTS
from eprune.formats.ends.base import InputKind
from eprune.model.finding import EpruneError, Finding, Location

#: Pictures and sounds that no source reads.
_SIMILAR = (
    ".heic",
    ".heif",
    ".webp",
    ".gif",
    ".tif",
    ".tiff",
    ".avif",
    ".dng",
    ".jp2",
    ".mp3",
    ".flac",
    ".ogg",
    ".m4a",
)
#: So many bytes are taken along into the folder of an application; a source can read more from where it is.
LIMIT = 64 * 2**20


@dataclass(frozen=True)
class Gathered:
    """Files of one kind with their contents by name; ``left`` is how many more there are than fit into the limit.

    ``others`` are the names of files that somebody may have meant as well, but that are of no kind, or of another one.
    """

    kind: InputKind
    files: dict[str, bytes]
    left: int = 0
    others: tuple[str, ...] = ()


def gather(path: str) -> Gathered:
    """The files of ``path``, a folder, a pattern or a file, in the order of names.

    Of several kinds, that which has most files is taken. Names that begin with a dot are left out.

    Raises EpruneError (FILE) where there are none, and where they cannot be read.
    """
    place = Path(path)
    try:
        files = sorted(place.iterdir() if place.is_dir() else [place] if place.exists() else map(Path, _matching(path)))
    except OSError as error:
        raise _error(path, f"cannot be read: {error.strerror}") from None
    known = {suffix: kind for kind in INPUTS for suffix in kind.suffixes}
    chosen = [file for file in files if file.suffix.lower() in known and file.name[0] != "." and file.is_file()]
    readable = "; ".join(f"{kind.what} ({', '.join(kind.suffixes)})" for kind in INPUTS)
    if not files and not place.is_dir():
        raise _error(path, "no such file or folder, and no files of that pattern")
    if not chosen:
        raise _error(path, "holds nothing that a source reads" if place.is_dir() else "nothing reads it", readable)
    kinds = [known[file.suffix.lower()] for file in chosen]
    kind = max(INPUTS, key=kinds.count)
    own = [file for file, its in zip(chosen, kinds) if its is kind]
    meant = [file for file in files if file.suffix.lower() in (*known, *_SIMILAR) and file.name[0] != "."]
    others = tuple(file.name for file in meant if file not in own)
    return _read(own, kind, others)


def _read(files: list[Path], kind: InputKind, others: tuple[str, ...]) -> Gathered:
    room = LIMIT
    fitting = []
    for file in files:
        room -= file.stat().st_size
        if room < 0:
            break
        fitting.append(file)
    if not fitting:
        hint = "import without it, and give it to the run with --set NAME.path=... instead"
        raise _error(str(files[0]), f"has more bytes than are copied ({LIMIT})", hint)
    contents: dict[str, bytes] = {}
    for file in fitting:
        if file.name in contents:
            raise _error(str(file), "is the second file of this name")
        try:
            contents[file.name] = file.read_bytes()
        except OSError as error:
            raise _error(str(file), f"cannot be read: {error.strerror}") from None
    return Gathered(kind, contents, len(files) - len(fitting), others)


def _matching(path: str) -> list[str]:
    return glob.glob(path)  # noqa: PTH207 - a pattern may be absolute


def _error(path: str, message: str, hint: str = "") -> EpruneError:
    return EpruneError(Finding("FILE", Location(path), message, hint))
