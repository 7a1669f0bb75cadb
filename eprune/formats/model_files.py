"""Reading a model file, whatever its format."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Optional

from eprune.formats.models.errors import model_error
from eprune.formats.models.parts import Format
from eprune.formats.onnx.format import ONNX
from eprune.formats.tflite.format import TFLITE

if TYPE_CHECKING:
    from eprune.formats.models.parts import Model

#: Suffix -> format. What has another suffix is taken to be the first one.
FORMATS: dict[str, Format] = {each.suffix: each for each in (TFLITE, ONNX)}
#: Offsets in flatbuffers are signed 32-bit numbers, and protobuf knows no larger messages either.
_LARGEST_FILE = 2**31 - 1


def format_of(path: str) -> Format:
    """The format of a file of that name."""
    return FORMATS.get(PurePath(path).suffix.lower(), TFLITE)


def is_model(path: str) -> bool:
    """Whether a file of that name is a model."""
    return PurePath(path).suffix.lower() in FORMATS


def read_model(path: str, signature: Optional[str] = None) -> Model:
    """Read the model file ``path``: the graph of ``signature``, by default the first.

    Raises EpruneError (FILE) for a file that is missing, unreadable, no model, corrupt, or stores weights elsewhere.
    """
    form = format_of(path)
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as stream:
            data = stream.read(_LARGEST_FILE + 1) if size <= _LARGEST_FILE else b""
        size = max(size, len(data))
        if size > _LARGEST_FILE:
            raise model_error(path, f"{size} bytes are more than a {form.suffix} model can have (2 GiB)")
    except OSError as error:
        raise model_error(path, f"cannot be read: {error.strerror}") from None
    return form.parse(data, path, signature)


def parse_model(data: bytes, path: str = "<bytes>", signature: Optional[str] = None) -> Model:
    """Like ``read_model`` for a file's bytes; ``path`` is what errors call it, and its suffix says the format."""
    return format_of(path).parse(data, path, signature)
