"""Pictures that a source draws before the run: drawing them is not part of the application that is being tried."""

from __future__ import annotations

from typing import Callable, Optional

import numpy as np

#: Bytes of pictures that are drawn ahead at most.
LIMIT = 64 * 2**20


class Ahead:
    """Pictures by number, from 0. ``draw`` makes one.

    Of the ``count`` that are needed (None: nobody knows) as many as fit into LIMIT bytes are drawn at once, the others
    when it is their turn.
    """

    def __init__(self, draw: Callable[[int], np.ndarray], count: Optional[int]) -> None:
        self._draw = draw
        self._drawn: list[np.ndarray] = []
        size = 0
        for number in range(count or 0):
            if size > LIMIT:
                break
            self._drawn.append(draw(number))
            size += self._drawn[-1].nbytes

    def __getitem__(self, number: int) -> np.ndarray:
        return self._drawn[number] if number < len(self._drawn) else self._draw(number)


def needed(count: int, firings: Optional[int]) -> Optional[int]:
    """How many pictures a source makes that ends after ``count`` (0: never) or, as the run has it, ``firings``."""
    known = [each for each in (count or None, firings) if each is not None]
    return min(known, default=None)
