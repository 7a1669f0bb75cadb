"""Room for a token of variable size: as many elements as it may have, and how many it has."""

from __future__ import annotations

from typing import Any, Union

import numpy as np

#: a token's shape; ``<=n`` for a vector of up to n elements
Shape = Union[tuple[int, ...], str]


def most(shape: Shape) -> tuple[int, ...]:
    """The shape of the largest token."""
    return (int(shape[2:]),) if isinstance(shape, str) else shape


class VariableRoom(np.ndarray):
    """A vector of the most elements that a token may have. ``used``: how many of them, from the first on, are the
    token. That is all of them unless the behaviour sets it: ``outputs["out"][:n] = data; outputs["out"].used = n``.
    """

    _used: int

    def __array_finalize__(self, origin: Any) -> None:
        """Every new room has all elements in use."""
        self._used = self.shape[0] if self.ndim else 0

    @property
    def used(self) -> int:
        """How many elements the token has."""
        return self._used

    @used.setter
    def used(self, count: int) -> None:
        """Raises ValueError if there is no room for so many."""
        if not 0 <= count <= self.shape[0]:
            raise ValueError(f"a token of {count} elements, where there is room for 0 to {self.shape[0]}")
        self._used = int(count)
