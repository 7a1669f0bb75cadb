"""Learn by ridge regression how pixels follow from tokens, in closed form: from whole tokens, or place by place.

Reference: Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems" (1970).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eprune.measure.attacks.base import Inversion, Own, Target, best_of, drawn, spatial
from eprune.measure.attacks.places import EXAMPLES, Places

LINE = "ridge regression"
#: Strengths of the regularisation that are tried, as parts of the mean square of a token.
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


def ridge(known: np.ndarray, wanted: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Predictions for ``seen`` [m,d] by ridge regression from ``known`` [n,d] to ``wanted`` [n,k], in closed form.

    In the dual, so that n pictures of d features take n x n numbers. The strength is chosen on a quarter of the known.
    """
    held = drawn(len(known), 0.25)
    best = _RIDGES[2]
    if 0 < held.sum() < len(known):
        errors = [
            float(((found - wanted[held]) ** 2).mean())
            for found in _regressions(known[~held], wanted[~held], known[held], _RIDGES)
        ]
        best = _RIDGES[int(np.argmin(errors))]
    (found,) = _regressions(known, wanted, seen, (best,))
    return found


def local_ridge(known: np.ndarray, wanted: np.ndarray, seen: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The same from the features around a place, [rows,columns,channels] in all, to the pixels there.

    ``wanted`` are pictures [n,H,W,C].
    """
    places = Places(shape, wanted.shape[1:])
    targets = places.pixels(wanted)
    chosen = np.random.default_rng(1).permutation(len(targets))[:EXAMPLES]
    own, targets = places.features(known)[chosen], targets[chosen]
    mean, middle = own.mean(axis=0), targets.mean(axis=0)
    own = own - mean
    products = (own.T @ own).astype(np.float64)
    strength = 1e-3 * (float(np.trace(products)) / len(products) or 1.0)
    weights = np.linalg.solve(products + strength * np.eye(len(products)), own.T @ (targets - middle))
    return np.stack([places.assembled((places.features(each) - mean) @ weights + middle) for each in seen])


def prepared(own: Own, target: Target) -> Inversion:
    """The attack that does better on a quarter of the attacker's own pictures: from whole tokens, or place by place."""

    def whole(mine: Own, seen: np.ndarray) -> np.ndarray:
        found = ridge(mine.tokens, mine.pictures.reshape(len(mine), -1), seen)
        return np.clip(found, 0, 1).reshape(-1, *mine.pictures.shape[1:])

    def local(mine: Own, seen: np.ndarray) -> np.ndarray:
        return np.clip(local_ridge(mine.tokens, mine.pictures, seen, target.token.shape[1:]), 0, 1)

    return best_of(own, [whole, local] if spatial(target.token) else [whole])


def _regressions(
    known: np.ndarray, wanted: np.ndarray, seen: np.ndarray, strengths: Sequence[float]
) -> list[np.ndarray]:
    mean, middle = known.mean(axis=0), wanted.mean(axis=0)
    own = known - mean
    products = (own @ own.T).astype(np.float64)
    scale = float(np.trace(products)) / len(known) or 1.0
    other = ((seen - mean) @ own.T).astype(np.float64)
    found = []
    for strength in strengths:
        inverse = products + strength * scale * np.eye(len(known))
        found.append(other @ np.linalg.solve(inverse, wanted - middle) + middle)
    return found
