"""A program and all it needs in one file that Python runs: a zip archive behind a ``#!`` line (.pyz)."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_SHEBANG = b"#!/usr/bin/env python3\n"
_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive can state


def inside(folder: str, paths: Iterable[str]) -> dict[str, str]:
    """Path -> name in the archive: ``folder/FILE`` for files of the first folder, ``folder_2/FILE`` for the second's.

    Files keep their names, and those of one folder stay together, so that an actor can import its neighbours.
    """
    numbers: dict[Path, int] = {}
    names = {}
    for path in map(Path, paths):
        number = numbers.setdefault(path.parent, len(numbers) + 1)
        names[str(path)] = f"{folder if number == 1 else f'{folder}_{number}'}/{path.name}"
    return names


def bundle(text: str, files: Mapping[str, bytes]) -> bytes:
    """The bytes of the .pyz: the program as ``__main__.py``, and ``files`` (path in the archive -> contents).

    Equal arguments give equal bytes: sorted names, one fixed date, nothing compressed (libraries differ in that).
    """
    stream = io.BytesIO()
    stream.write(_SHEBANG)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted({**files, "__main__.py": text.encode()}.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.create_system = 3  # Unix, on every system
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return stream.getvalue()


def share(models: Mapping[str, bytes], constants: Mapping[str, Sequence[slice]]) -> dict[str, bytes]:
    """The files of a bundle for models (name in the archive -> contents): what several of them hold is there once.

    ``constants`` says where each model's constants lie, in rising order. One that several models have becomes
    ``constants/DIGEST``; such a model is stored without it, and ``NAME.index`` says what goes where: JSON, the model's
    size in bytes and, for each constant, its digest and first byte. ``eprune.runtime.main.files`` joins them again.
    """
    found = {
        name: [(hashlib.sha256(data[span]).hexdigest(), span) for span in constants[name]]
        for name, data in models.items()
    }
    holders = Counter(digest for spans in found.values() for digest in {digest for digest, _ in spans})
    files = {}
    for name, data in models.items():
        shared = [(digest, span) for digest, span in found[name] if holders[digest] > 1]
        rest, end = b"", 0
        for digest, span in shared:
            rest += data[end : span.start]
            end = span.stop
            files[f"constants/{digest}"] = data[span]
        files[name] = rest + data[end:]
        if shared:
            index = {"size": len(data), "constants": [[digest, span.start] for digest, span in shared]}
            files[f"{name}.index"] = json.dumps(index).encode()
    return files
