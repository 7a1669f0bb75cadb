"""The bundles of an exploration in parts: what several of them hold is on the disk once.

The programs of all partition points are made of the same runtime, actors and weights. A bundle is kept as a list of
parts: those that others are likely to have lie in the folder ``store``, under the digest of their contents; the rest is
in the list itself. ``measure.script``, which runs on devices, joins them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Union

from eprune.formats.atomic import write_file
from eprune.formats.model_files import format_of, is_model
from eprune.measure.script import PARTS, STORE

#: Fewer bytes than this are not worth a file of their own.
_LEAST = 1024
#: Of a zip archive, in front of an entry's name.
_LOCAL_HEADER = 30


class Store:
    """Writes bundles in parts into an exploration's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: set[str] = set()

    def add(self, data: bytes, alternative: str, platform: str) -> bytes:
        """Write a bundle as the program of an alternative on a platform; its digest."""
        parts: list[Union[str, int]] = []
        own = b""
        end = 0
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
        for span in _shared(data, entries):
            if span.start > end:
                parts.append(span.start - end)
                own += data[end : span.start]
            parts.append(self._part(data[span]))
            end = span.stop
        parts.append(len(data) - end)
        own += data[end:]
        digest = hashlib.sha256(data)
        head = {
            "sha256": digest.hexdigest(),
            "model": any(is_model(e.filename) for e in entries),
            "parts": parts,
        }
        path = self._folder / alternative / f"{platform}{PARTS}"
        write_file(str(path), zlib.compress(json.dumps(head).encode() + b"\n" + own))
        return digest.digest()

    def _part(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()[:32]
        if name not in self._known:
            write_file(str(self._folder / STORE / name), zlib.compress(data))
            self._known.add(name)
        return name


def empty(folder: Path) -> None:
    """Remove the parts in an exploration's folder; what is not one of ours stays."""
    store = folder / STORE
    for path in store.iterdir() if store.is_dir() else ():
        if re.fullmatch("[0-9a-f]{32}", path.name):
            path.unlink()
    with contextlib.suppress(OSError):
        store.rmdir()


def _shared(bundle: bytes, entries: Sequence[zipfile.ZipInfo]) -> Iterator[slice]:
    """What other bundles may hold as well, in rising order: the runtime as a whole, actors, the constants of models."""
    names = {entry.filename for entry in entries}
    runtime: list[int] = []
    for entry in entries:
        start = entry.header_offset + _LOCAL_HEADER + len(entry.filename.encode()) + len(entry.extra)
        stop = start + entry.file_size
        if entry.filename.startswith("eprune/"):  # one after the other, for archives are sorted by name
            runtime = [runtime[0] if runtime else entry.header_offset, stop]
            continue
        if runtime:
            yield slice(*runtime)
            runtime = []
        spans = [slice(start, stop)]
        if is_model(entry.filename):
            # A model with an index has lost its constants to files of their own.
            whole = f"{entry.filename}.index" not in names
            inner = format_of(entry.filename).constant_spans(bundle[start:stop]) if whole else ()
            spans = [slice(start + span.start, start + span.stop) for span in inner]
        yield from (span for span in spans if span.stop - span.start >= _LEAST)
    if runtime:
        yield slice(*runtime)
