"""Memory for tokens."""

from __future__ import annotations

import mmap

import numpy as np

#: Slots start at multiples of this many bytes: a cache line, and what vector instructions like.
ALIGNMENT = 64


def slots(number: int, token_bytes: int) -> np.ndarray:
    """Zeros, uint8 [number, bytes]: each row has room for a token, and begins at a multiple of ``ALIGNMENT``.

    All of it is there from now on. The system gives a page when it is first written: the first firings that write to
    these slots would wait for it, for as long as they compute, and a device without memory would end one of them.
    """
    stride = -(-token_bytes // ALIGNMENT) * ALIGNMENT
    memory = np.zeros(stride * number + ALIGNMENT, np.uint8)
    memory[:: mmap.PAGESIZE] = 0
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + stride * number].reshape(number, stride)
