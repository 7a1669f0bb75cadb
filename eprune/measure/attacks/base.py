"""What every attack is given, and what it gives.

An attack is a module of this package: a docstring whose first line says what the attacker does, and
``prepared(own, target)``, which settles what is to be chosen on the attacker's own pictures and returns an
``Inversion``. ``LINE`` says in a few words what ``eprune privacy`` did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Optional

import numpy as np

from eprune.measure.pictures import Pictures
from eprune.model.system import System
from eprune.model.token import TokenType

#: Of the attacker's own pictures, this part is held back where something is to be chosen.
_HELD = 0.25


@dataclass(frozen=True)
class Own:
    """What the attacker has: his own ``pictures`` [n,H,W,C] from 0 to 1, the ``tokens`` [n,d] that the application
    makes of them, float32, and their ``classes`` (None: he does not know them).
    """

    tokens: np.ndarray
    pictures: np.ndarray
    classes: Optional[np.ndarray] = None

    def __len__(self) -> int:
        return len(self.tokens)

    def part(self, chosen: np.ndarray) -> Own:
        """Some of them."""
        classes = None if self.classes is None else self.classes[chosen]
        return replace(self, tokens=self.tokens[chosen], pictures=self.pictures[chosen], classes=classes)

    def held_back(self) -> Optional[tuple[Own, Own]]:
        """Most of them, and the others to choose by; None where they are too few."""
        held = drawn(len(self), _HELD)
        return (self.part(~held), self.part(held)) if 0 < held.sum() < len(self) else None


@dataclass(frozen=True)
class Target:
    """The FIFO that is listened to, in an application whose files are on disk.

    ``source`` is the actor's port, ``NODE.PORT``, from which its tokens come, of the type ``token``; ``inputs`` makes
    tokens of pictures as the application's source does. ``bases`` are the matrices [k,d] that tokens were multiplied
    with on their way, where they are sent in a lower dimension.
    """

    system: System
    fifo: str
    source: str
    token: TokenType
    inputs: Pictures
    bases: tuple[np.ndarray, ...] = ()


#: The attacker's pictures, and tokens [m,d] -> what he makes of them: pictures [m,H,W,C] from 0 to 1.
Inversion = Callable[[Own, np.ndarray], np.ndarray]


def drawn(count: int, share: float) -> np.ndarray:
    """Which of so many are drawn: a mask; always the same ones, and in no order that the pictures may have."""
    mask: np.ndarray = np.random.default_rng(1).permutation(count) < int(share * count)
    return mask


def find(name: str) -> Any:
    """The module of an attack."""
    return import_module(f"eprune.measure.attacks.{name}")


def error_of(found: np.ndarray, own: Own) -> float:
    """The mean square error of reconstructions."""
    return float(((found - own.pictures) ** 2).mean())


def best_of(own: Own, inversions: list[Inversion]) -> Inversion:
    """The one that does best on a quarter of the attacker's own pictures, fitted on the others."""
    parts = own.held_back()
    if len(inversions) == 1 or parts is None:
        return inversions[0]
    known, held = parts
    errors = [error_of(each(known, held.tokens), held) for each in inversions]
    return inversions[int(np.argmin(errors))]


def of_own(own: Own, inversion: Inversion) -> np.ndarray:
    """Of each of the attacker's pictures, what the attack that was fitted on the other half makes of its tokens."""
    half = drawn(len(own), 0.5)
    found = np.array(own.pictures)
    for mine in (half, ~half):
        if mine.any() and not mine.all():
            found[mine] = inversion(own.part(~mine), own.tokens[mine])
    return found


def spatial(token: TokenType) -> bool:
    """Whether a token is a picture of features: [1,rows,columns,channels]."""
    return len(token.shape) == 4 and token.shape[0] == 1 and min(token.shape[1:3]) > 1
