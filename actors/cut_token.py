"""How a token says at which block of a network it was cut: what the packer and the opener of cuts agree on."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from eprune.runtime import PortType

#: bytes of the block's number, before the tensor
HEADER_BYTES = 8


def block_number(port: str) -> int:
    """The number that a port ``block3`` names. Raises ValueError for another name."""
    match = re.fullmatch(r"block([0-9]{1,6})", port)
    if match is None:
        raise ValueError(f"port {port!r}: expected a name like 'block0', with the number of a block")
    return int(match[1])


def expect_cut(port: PortType, blocks: Mapping[str, PortType], name: str) -> None:
    """Raise ValueError unless a port takes the largest tensor of the blocks, with its number."""
    most = HEADER_BYTES + max((nbytes(each) for each in blocks.values()), default=0)
    if not (port.variable and port.dtype == "uint8" and port.rate == 1 and port.shape[0] >= most):
        raise ValueError(f"port {name!r}: expected tokens uint8[<={most}], or more")


def nbytes(port: PortType) -> int:
    """Bytes of a port's token."""
    return np.dtype(port.dtype).itemsize * int(np.prod(port.shape, dtype=np.int64))
