"""How a token says at which block of a network it was cut: what packers and openers of cuts agree on.

Two int32, little-endian, are followed by the bytes of a tensor: the number of the block that takes it next, or,
negative, that of the exit at which the frame left with it as its answer; and how many bytes behind the tensor are
padding, which somebody sends to learn how long it takes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from eprune.runtime import PortType

#: bytes of both numbers, before the tensor
HEADER_BYTES = 8
_NUMBERED = re.compile(r"(block|exit)([0-9]{1,6})")


def is_numbered(port: str) -> bool:
    """Whether a port is that of a block or of an exit, by its name."""
    return _NUMBERED.fullmatch(port) is not None


def block_number(port: str) -> int:
    """The number that a port ``block3`` names, -1 for ``exit1``. Raises ValueError for another name."""
    match = _NUMBERED.fullmatch(port)
    if match is None:
        raise ValueError(f"port {port!r}: expected a name like 'block0', with the number of a block")
    return int(match[2]) if match[1] == "block" else -int(match[2])


def expect_cut(port: PortType, blocks: Mapping[str, PortType], name: str) -> None:
    """Raise ValueError unless a port takes the largest tensor of the blocks, with its number."""
    most = HEADER_BYTES + max((nbytes(each) for each in blocks.values()), default=0)
    if not (port.variable and port.dtype == "uint8" and port.rate == 1 and port.shape[0] >= most):
        raise ValueError(f"port {name!r}: expected tokens uint8[<={most}], or more")


def nbytes(port: PortType) -> int:
    """Bytes of a port's token."""
    return np.dtype(port.dtype).itemsize * int(np.prod(port.shape, dtype=np.int64))


def opened(token: np.ndarray, name: str = "", out: Any = None) -> tuple[int, np.ndarray]:
    """The number in a token and the tensor's bytes, which are copied to the output ``out`` of that ``name``.

    Raises ValueError for a token without a number, and for a tensor of another size; of a variable one, for a larger.
    """
    if len(token) < HEADER_BYTES:
        raise ValueError(f"a cut of {len(token)} bytes, which names no block")
    number, padding = token[:HEADER_BYTES].view("<i4").tolist()
    tensor = token[HEADER_BYTES : len(token) - padding] if 0 <= padding <= len(token) - HEADER_BYTES else token[:0]
    if out is not None:
        variable = hasattr(out, "used")
        if len(tensor) > out.nbytes or (len(tensor) < out.nbytes and not variable):
            raise ValueError(f"a tensor of {len(tensor)} bytes for {name}, which takes {out.nbytes}")
        out.reshape(-1).view(np.uint8)[: len(tensor)] = tensor
        if variable:
            out.used = len(tensor) // out.itemsize
    return number, tensor


def packed(out: np.ndarray, number: int, tensor: np.ndarray, padding: int) -> int:
    """Write a token for a tensor to ``out``, with as much of the padding as there is room for; its bytes."""
    data = tensor.reshape(-1).view(np.uint8)
    end = HEADER_BYTES + len(data)
    padding = max(min(padding, len(out) - end), 0)
    out[:HEADER_BYTES].view("<i4")[...] = number, padding
    out[HEADER_BYTES:end] = data
    out[end : end + padding] = 0
    return end + padding
