"""How a token becomes few bytes, and a token again: what the compressor and the decompressor at a cut agree on."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection
from typing import Any, Optional

import numpy as np
from checks import number, one_of, put, whole_number

from eprune.runtime import PortType

METHODS = ("lossless", "int8", "int4")
ENTROPIES = ("none", "zlib", "zstd")
#: the largest code of a method that rounds
LEVELS = {"int8": 255, "int4": 15}
#: the first byte of a token: what follows is as it is, or entropy-coded
STORED, CODED = 0, 1
#: what zstd's own levels end at; zlib's end at 9
_MOST_LEVEL = 22


class TokenCoding:
    """A token of one dtype and shape, or of variable size, as up to ``most`` bytes.

    Takes the texts of parameters, and raises ValueError for what does not fit.

    First the projection, where there is one; then codes: the elements' bytes, all first bytes before all second ones
    (``lossless``), or a whole number from 0 to 255 (``int8``) or 15 (``int4``, two of them in a byte) for each element,
    code c for ``low + c * step``; then the entropy coder. A first byte says whether that has made it smaller.
    """

    def __init__(
        self,
        token: PortType,
        method: str = "lossless",
        entropy: str = "zlib",
        level: str = "6",
        low: str = "",
        step: str = "",
        basis: str = "",
    ) -> None:
        self.method = one_of("method", method, METHODS)
        self.dtype, self.shape = np.dtype(token.dtype), token.shape
        self.count = math.prod(token.shape)
        # A basis of as many numbers as there are channels projects the channels of each place.
        self.basis = read_basis(basis, {self.count, *token.shape[-1:]}) if basis else None
        self.variable = token.variable
        if (self.basis is not None or method in LEVELS) and (self.dtype.kind != "f" or self.variable):
            kind = "tokens of variable size" if self.variable else f"{token.dtype} tokens"
            raise ValueError(f"method={method!r}: {kind} are only coded without loss")
        self.coded_shape = self.shape
        if self.basis is not None:
            rank, width = self.basis["project"].shape
            self.coded_shape = (rank,) if width == self.count else (*token.shape[:-1], rank)
        self.elements = math.prod(self.coded_shape)
        if method in LEVELS:
            channels = self.coded_shape[-1] if self.coded_shape else 1
            self.low, self.step = _numbers("low", low, channels), _numbers("step", step, channels)
            if (self.step <= 0).any():
                raise ValueError("step: expected numbers above 0")
        elif low or step:
            raise ValueError("low and step are for methods that round")
        self.coded_dtype = self.dtype if self.basis is None else np.dtype(np.float32)
        self.packed = {
            "lossless": self.elements * self.coded_dtype.itemsize,
            "int8": self.elements,
            "int4": -(-self.elements // 2),
        }[method]
        self.most = 1 + self.packed
        self.entropy = _entropy(entropy, whole_number("level", level))

    def encode(
        self, token: np.ndarray, room: np.ndarray, disturb: Optional[Callable[[np.ndarray], np.ndarray]] = None
    ) -> int:
        """Write a token into ``room``, uint8; how many bytes it has. NaN becomes the lowest number of a method that
        rounds, and what is beyond its range the end of that. What is sent is disturbed before it is rounded.
        """
        packed = self._packed(token, disturb)
        coded = self.entropy.compress(packed)
        if len(coded) < len(packed):
            room[0] = CODED
            room[1 : 1 + len(coded)] = np.frombuffer(coded, np.uint8)
            return 1 + len(coded)
        room[0] = STORED
        room[1 : 1 + len(packed)] = np.frombuffer(packed, np.uint8)
        return 1 + len(packed)

    def decode(self, data: np.ndarray, out: Any) -> None:
        """Write the token that ``data``, uint8, stands for into ``out``.

        Never takes more memory than the largest token needs. Raises ValueError for bytes that ``encode`` does not make.
        """
        kind, rest = (int(data[0]), data[1:].tobytes()) if len(data) else (-1, b"")
        packed = rest if kind == STORED else self.entropy.decompress(rest, self.packed) if kind == CODED else None
        if packed is None or not self._fits(len(packed)):
            raise ValueError(
                f"{len(data)} bytes that are no {self.dtype}{list(self.shape)} coded by {self.method} and "
                f"{self.entropy.name}: damaged, or the two ends have different parameters"
            )
        values = self._unpacked(np.frombuffer(packed, np.uint8))
        if self.basis is not None:
            values = values.reshape(-1, len(self.basis["restore"])) @ self.basis["restore"] + self.basis["offset"]
        put(out, values if self.variable else values.reshape(self.shape))

    def _fits(self, size: int) -> bool:
        """Whether so many bytes are a token before it is entropy-coded."""
        if self.variable:
            return size <= self.packed and size % self.coded_dtype.itemsize == 0
        return size == self.packed

    def _packed(self, token: np.ndarray, disturb: Optional[Callable[[np.ndarray], np.ndarray]]) -> bytes:
        values = token
        if self.basis is not None:
            project = self.basis["project"]
            values = (token.reshape(-1, project.shape[1]).astype(np.float32) @ project.T).reshape(self.coded_shape)
        if disturb is not None:
            values = disturb(values)
        if self.method == "lossless":
            flat = np.ascontiguousarray(values, self.coded_dtype).reshape(-1).view(np.uint8)
            return flat.reshape(-1, self.coded_dtype.itemsize).T.tobytes()
        # fmin and fmax give the number where the other is NaN
        steps = np.rint((values.astype(np.float32) - self.low) / self.step)
        codes = np.fmin(np.fmax(steps, 0), LEVELS[self.method]).astype(np.uint8).reshape(-1)
        if self.method == "int8":
            return codes.tobytes()
        if len(codes) % 2:
            codes = np.append(codes, np.uint8(0))
        return bytes(codes[::2] << 4 | codes[1::2])

    def _unpacked(self, packed: np.ndarray) -> np.ndarray:
        if self.method == "lossless":
            whole = np.ascontiguousarray(packed.reshape(self.coded_dtype.itemsize, -1).T)
            if self.coded_dtype.kind == "b":
                whole = np.minimum(whole, 1)
            found: np.ndarray = whole.view(self.coded_dtype)
            return found.reshape(-1) if self.variable else found.reshape(self.coded_shape)
        codes = packed
        if self.method == "int4":
            codes = np.empty(2 * len(packed), np.uint8)
            codes[::2], codes[1::2] = packed >> 4, packed & 15
            codes = codes[: self.elements]
        return codes.reshape(self.coded_shape).astype(np.float32) * self.step + self.low


def read_basis(path: str, counts: Collection[int]) -> dict[str, np.ndarray]:
    """The projection in an .npz file: ``project`` [k,n], ``restore`` [k,n], ``offset`` [n], all float32.

    ``counts`` are what n may be: the elements of a token, or its channels. A token x, or the channels x of each of its
    places, is sent as project @ x, k numbers, and arrives as these @ restore + offset. Raises ValueError for a file
    that has none.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("project", "restore", "offset")}
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever numpy meets in a broken file
        raise ValueError(f"{path}: holds no projection: {error}") from None
    rank, count = arrays["project"].shape if arrays["project"].ndim == 2 else (0, 0)
    wanted = {"project": (rank, count), "restore": (rank, count), "offset": (count,)}
    for name, array in arrays.items():
        if not rank or count not in counts or array.shape != wanted[name] or array.dtype != np.float32:
            many = " or ".join(map(str, sorted(counts)))
            raise ValueError(f"{path}: {name} is {array.dtype}{list(array.shape)}, for tokens of {many} elements")
    return arrays


def _numbers(name: str, text: str, channels: int) -> np.ndarray:
    """One number, or one for each channel."""
    found = np.array([number(name, each) for each in text.split(",")], np.float32)
    if len(found) not in (1, channels):
        raise ValueError(f"{name}: has {len(found)} numbers; expected one, or {channels}, one for each channel")
    return found


class _Stored:
    """No entropy coder."""

    name = "none"

    def compress(self, data: bytes) -> bytes:
        """As it is."""
        return data

    def decompress(self, data: bytes, size: int) -> Any:
        """Nothing is ever coded."""
        return None


class _Zlib:
    name = "zlib"

    def __init__(self, level: int) -> None:
        self.level = level

    def compress(self, data: bytes) -> bytes:
        """By zlib."""
        return zlib.compress(data, self.level)

    def decompress(self, data: bytes, size: int) -> Any:
        """Up to so many bytes, or None. One more would be given room, so that the end is seen."""
        decoder = zlib.decompressobj()
        try:
            found = decoder.decompress(data, size + 1)
        except zlib.error:
            return None
        return found if decoder.eof and not decoder.unused_data else None


class _Zstd:
    name = "zstd"

    def __init__(self, level: int) -> None:
        try:
            import zstandard
        except ImportError:
            raise ValueError("entropy='zstd' needs zstandard: pip install 'eprune[zstd]'; or code by zlib") from None
        self.zstandard = zstandard
        self.compressor = zstandard.ZstdCompressor(level=level)
        self.decompressor = zstandard.ZstdDecompressor()

    def compress(self, data: bytes) -> bytes:
        """By zstd; the frame states its size."""
        coded: bytes = self.compressor.compress(data)
        return coded

    def decompress(self, data: bytes, size: int) -> Any:
        """Up to so many bytes, or None. The size that a frame states would be allocated, so it is looked at first."""
        try:
            if self.zstandard.get_frame_parameters(data).content_size > size:
                return None
            return self.decompressor.decompress(data, max_output_size=size, allow_extra_data=False)
        except self.zstandard.ZstdError:
            return None


def _entropy(name: str, level: int) -> Any:
    one_of("entropy", name, ENTROPIES)
    most = {"none": _MOST_LEVEL, "zlib": 9, "zstd": _MOST_LEVEL}[name]
    if level > most:
        raise ValueError(f"level={level}: {name} has levels up to {most}")
    return {"none": lambda level: _Stored(), "zlib": _Zlib, "zstd": _Zstd}[name](level)
