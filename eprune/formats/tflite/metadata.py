"""What a model file says of itself, beside the graph: TFLite metadata, and the files that are packed behind it.

The metadata is a flatbuffer inside a buffer that the model lists as TFLITE_METADATA; the files that it names (lists of
labels, mostly) are a zip archive appended to the model. Both are optional, and neither is needed to run a model.
https://ai.google.dev/edge/litert/models/metadata
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, Optional

from eprune.formats.models.metadata import MAX_LABELS, About, Metadata, labels_of
from eprune.formats.models.parts import Model
from eprune.formats.tflite.model import CORRUPT, buffer_bytes, root_of

_NAME = b"TFLITE_METADATA"
#: Members of the union of contents, and of the one of process units.
_IMAGE, _AUDIO = 2, 4
_NORMALIZATION = 1
#: Kinds of associated files: names along an axis, and names of values.
_LABELS = (2, 3)
_GREY = 2
#: More tables than this in one vector are not looked at: in a hostile file all could be one, and that one as large.
_MOST = 256


def read_metadata(model: Model) -> Metadata:
    """What the model's file says of its ends; nothing of a graph that is not the first.

    A file that was written anew (``slicing.restated``) has lost it: ask of the one that it came from.
    """
    root = root_of(model)
    try:
        found = [root.Metadata(place) for place in range(root.MetadataLength())]
        buffers = [each.Buffer() for each in found if each.Name() == _NAME]
        if not buffers or model.graph:
            return Metadata()
        data = bytes(buffer_bytes(model.data, root, buffers[0]))
        return _metadata(_root(data), _Files(model.data))
    except CORRUPT as error:
        return Metadata(problem=f"its metadata cannot be read, and are not used: {error}")


class _Files:
    """The files that are appended to a model."""

    def __init__(self, data: bytes) -> None:
        self.archive: Optional[zipfile.ZipFile] = None
        try:
            self.archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError):
            return

    def labels(self, names: list[str]) -> tuple[str, ...]:
        """The labels in the first of these files that is there; none if none is."""
        members = {member.filename: member for member in (self.archive.infolist() if self.archive else ())}
        for name in names:
            member = members.get(name)
            if self.archive is None or member is None or member.file_size > MAX_LABELS:
                continue
            try:
                with self.archive.open(member) as stream:
                    return labels_of(stream.read(MAX_LABELS + 1).decode())
            except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, UnicodeDecodeError):
                continue
        return ()


class _Table:
    """A table of a flatbuffer, by the numbers of its fields. Raises one of CORRUPT when it is led out of the data."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self.fields = place - self._read("<i", place)
        self.count = (self._read("<H", self.fields) - 4) // 2

    def _read(self, form: str, place: int) -> Any:
        if place < 0:
            raise ValueError("an offset leads out of it")
        return struct.unpack_from(form, self.data, place)[0]

    def _at(self, field: int) -> int:
        """Where a field's value is; 0 if it has the default."""
        offset = self._read("<H", self.fields + 4 + 2 * field) if field < self.count else 0
        return self.place + offset if offset else 0

    def number(self, field: int, form: str) -> Any:
        place = self._at(field)
        return self._read(form, place) if place else 0

    def table(self, field: int) -> Optional[_Table]:
        place = self._at(field)
        return _Table(self.data, place + self._read("<I", place)) if place else None

    def text(self, field: int) -> str:
        start, count = self._vector(field, 1)
        return self.data[start : start + count].decode(errors="replace")

    def floats(self, field: int) -> tuple[float, ...]:
        start, count = self._vector(field, 4)
        return struct.unpack_from(f"<{count}f", self.data, start)

    def tables(self, field: int) -> Iterator[_Table]:
        start, count = self._vector(field, 4)
        for place in range(start, start + 4 * min(count, _MOST), 4):
            yield _Table(self.data, place + self._read("<I", place))

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        place = self._at(field)
        if not place:
            return 0, 0
        start = place + self._read("<I", place)
        count = self._read("<I", start)
        if count * size > len(self.data) - start - 4:
            raise ValueError("a vector leads out of it")
        return start + 4, count


def _root(data: bytes) -> _Table:
    return _Table(data, struct.unpack_from("<I", data)[0])


def _metadata(root: _Table, files: _Files) -> Metadata:
    graph = next(root.tables(3), None)  # subgraph_metadata
    if graph is None:
        return Metadata()
    inputs, outputs = (tuple(_about(tensor, files) for tensor in graph.tables(side)) for side in (2, 3))
    return Metadata(inputs, outputs)


def _about(tensor: _Table, files: _Files) -> About:
    content = tensor.table(3)
    kind = content.number(0, "<B") if content else 0
    properties = content.table(1) if content else None
    scales = [unit.table(1) for unit in tensor.tables(4) if unit.number(0, "<B") == _NORMALIZATION]
    mean, std = (scales[0].floats(0), scales[0].floats(1)) if scales and scales[0] else ((), ())
    named = [file.text(0) for file in tensor.tables(6) if file.number(2, "<b") in _LABELS]
    return About(
        image=kind == _IMAGE,
        audio=kind == _AUDIO,
        grey=bool(kind == _IMAGE and properties and properties.number(0, "<b") == _GREY),
        rate=properties.number(0, "<I") if kind == _AUDIO and properties else 0,
        mean=mean if std and all(std) else (),
        std=std if mean and all(std) else (),
        labels=files.labels(named),
    )
