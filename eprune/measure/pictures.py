"""Pictures as a network takes them: by ``ImageSource`` of the library of actors, so as a run would have them."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Union

import numpy as np

from eprune.formats.library import library_folder
from eprune.model.token import TokenType
from eprune.runtime.kernel.actor import PortType
from eprune.runtime.main import imports

#: Parameters of the source that say which pictures there are, not how they are scaled.
_WHICH = {"path", "repeat", "on_error", "count", "seed", "view"}


@lru_cache(maxsize=1)
def image_source() -> ModuleType:
    """The module of ``ImageSource``."""
    return imports.load(str(Path(library_folder(), "image_source.py")))


class Pictures:
    """Makes tokens of pictures: resized to the token's height and width, and scaled as ``ImageSource`` does.

    ``parameters`` are those of the application's own source; of them count what ``ImageSource`` knows of scaling
    (``mean``, ``std``). int8 tokens are pixels less 128. Arrays that have the token's type already are taken as they
    are. Raises ValueError for a token that is no picture where one is needed.
    """

    def __init__(self, token: TokenType, parameters: Mapping[str, str] = MappingProxyType({})) -> None:
        self.token = token
        known = set(inspect.signature(image_source().ImageSource.__init__).parameters) - _WHICH
        self._parameters = {name: text for name, text in parameters.items() if name in known}
        self._source: Any = None

    def __call__(self, content: Union[Path, np.ndarray]) -> np.ndarray:
        """The token of a file, or of an array: uint8 pixels [H,W], [H,W,1] or [H,W,3], or a token.

        Raises ValueError, or OSError, for what is none of these.
        """
        if not isinstance(content, np.ndarray):
            return self._read(content)
        if content.dtype == self.token.dtype and _plain(content.shape) == _plain(self.token.shape):
            return np.ascontiguousarray(content).reshape(self.token.shape)
        picture = content.ndim == 2 or (content.ndim == 3 and content.shape[2] in (1, 3))
        if content.dtype != np.uint8 or not picture:
            raise ValueError(
                f"is {content.dtype}{list(content.shape)}: neither a picture, such as uint8[96,96,3], nor {self.token}"
            )
        return self._read(_bitmap(content))

    def _read(self, file: Union[Path, io.BytesIO]) -> np.ndarray:
        """Decoded, resized and scaled."""
        signed = self.token.dtype == "int8"
        dtype = "uint8" if signed else self.token.dtype
        if self._source is None:
            self._source = image_source().ImageSource(__file__, repeat="0", **self._parameters)
            self._source.name = "pictures"
            self._source.outputs = {"out": PortType(dtype, self.token.shape, 1)}
            self._source.initialize()
        out = np.empty(self.token.shape, dtype)
        self._source.files, self._source.position = [file], 0
        self._source.fire({}, {"out": out})
        return (out.astype(np.int16) - 128).astype(np.int8) if signed else out


def _plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size != 1)


def _bitmap(pixels: np.ndarray) -> io.BytesIO:
    """An array as a file, which takes the way of all files."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels).save(stream, "BMP")
    stream.seek(0)
    return stream
