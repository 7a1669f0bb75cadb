"""Token types: the dtype and shape of what a FIFO carries, so its size in bytes, or the most that it has."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

#: dtype name -> bytes an element. The names are numpy's.
ITEM_SIZES = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "uint64": 8,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}

#: Tokens lie in slots that begin at multiples of this many bytes, in every FIFO, whoever runs it.
SLOT_ALIGNMENT = 64

_TOKEN = re.compile(r"\s*([a-z]+[0-9]*)\s*(?:\[\s*(<=)?([0-9,\s]*)\])?\s*")


@dataclass(frozen=True)
class TokenType:
    """A tensor: dtype (numpy's name) and shape; rank 0 is a scalar. If it is ``variable``, its one dimension is the
    most elements that a token may have.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    variable: bool = False

    @property
    def nbytes(self) -> int:
        """Bytes of one token, the most where they vary."""
        return ITEM_SIZES[self.dtype] * math.prod(self.shape)

    @property
    def slot_bytes(self) -> int:
        """Bytes that one token takes in a FIFO's memory."""
        return -(-self.nbytes // SLOT_ALIGNMENT) * SLOT_ALIGNMENT

    def __str__(self) -> str:
        most = "<=" if self.variable else ""
        return f"{self.dtype}[{most}{','.join(map(str, self.shape))}]" if self.shape else self.dtype


def parse_token(text: str) -> TokenType:
    """Read ``float32[1,96,96,3]``, ``int32`` for a scalar, or ``uint8[<=65536]`` for up to so many elements.

    Raises ValueError, with a message for the user, for anything else, for unknown dtypes and for dimensions below 1.
    """
    match = _TOKEN.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a token type; write for example 'float32[1,96,96,3]', or 'int32' for a scalar"
        )
    dtype, variable, dims = match.group(1), bool(match.group(2)), match.group(3)
    if dtype not in ITEM_SIZES:
        raise ValueError(f"unknown dtype {dtype!r}; known are {', '.join(ITEM_SIZES)}")
    if dims is None or not (dims.strip() or variable):
        return TokenType(dtype)
    try:
        shape = tuple(int(dim) for dim in dims.split(","))
    except ValueError:
        raise ValueError(f"{text!r} has an empty dimension") from None
    if min(shape) < 1:
        raise ValueError(f"{text!r} has a dimension below 1; tokens have a positive size")
    if variable and len(shape) > 1:
        raise ValueError(f"{text!r} varies in size and has several dimensions; write for example '{dtype}[<=65536]'")
    token = TokenType(dtype, shape, variable)
    if token.nbytes >= 2**40:
        raise ValueError(f"{text!r} is a token of {token.nbytes} bytes; the limit is 1 TiB")
    return token
