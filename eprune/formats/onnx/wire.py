"""How an ONNX file is written: protocol buffers, messages of fields, each a tag and a value (onnx.proto).

What is asked here is asked of the bytes, before they are unpacked or where it matters where they lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: Message -> its fields that are messages, or nothing but bytes and texts.
_MESSAGES: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value", 15: "sparse"},
    "function": {7: "node", 11: "attribute", 12: "value"},
    "training": {1: "graph", 2: "graph"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "value": {},
}
#: Fields of TensorProto that hold values: as raw bytes, or numbers of a type.
_DATA = (9, 4, 5, 7, 10, 11)
_LARGE = 1024  # bytes: a smaller constant is not worth a file of its own
#: Messages, texts and blocks of bytes that a file may have: unpacked, each takes some hundred bytes.
MOST = 1_000_000
_DEEPEST = 100  # as protocol buffers have it


def check(data: bytes) -> None:
    """Raise ValueError for a file that would take far more memory than it has bytes, or is no such file."""
    for count, _ in enumerate(walk(data)):
        if count > MOST:
            raise ValueError(f"it has more than {MOST} parts")


def constant_spans(data: bytes) -> list[slice]:
    """See ``Format.constant_spans``."""
    found = (span for kind, field, span in walk(data) if kind == "tensor" and field in _DATA)
    return sorted((span for span in found if span.stop - span.start >= _LARGE), key=lambda span: span.start)


def walk(data: bytes) -> Iterator[tuple[str, int, slice]]:
    """All fields that have a length: the message that they are of, their number, and where their value lies.

    Raises ValueError where a value would reach beyond its message.
    """
    waiting = [("model", slice(0, len(data)), 0)]
    while waiting:
        kind, message, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"it has messages inside messages, more than {_DEEPEST} deep")
        for field, span in _fields(data, message):
            yield kind, field, span
            inner = _MESSAGES[kind].get(field)
            if inner is not None:
                waiting.append((inner, span, depth + 1))


def _fields(data: bytes, message: slice) -> Iterator[tuple[int, slice]]:
    place = message.start
    while place < message.stop:
        tag, place = _varint(data, place, message.stop)
        kind = tag & 7
        if kind == 2:
            size, place = _varint(data, place, message.stop)
            if size > message.stop - place:
                raise ValueError("a part is longer than what it is in")
            yield tag >> 3, slice(place, place + size)
            place += size
        elif kind == 0:
            _, place = _varint(data, place, message.stop)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field has the type {kind}, which there is not")


def _varint(data: bytes, place: int, stop: int) -> tuple[int, int]:
    value = shift = 0
    while place < stop and shift < 64:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place
    raise ValueError("a number is cut short")
