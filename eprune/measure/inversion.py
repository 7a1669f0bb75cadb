"""Pictures from tokens: ridge regression in closed form, from whole tokens or place by place; and how near it comes.

References: Hoerl and Kennard, ridge regression (1970); Wang, Bovik, Sheikh, Simoncelli (2004) for SSIM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eprune.model.token import TokenType

#: Tokens [n,d] and pictures [n,H,W,C] of the attacker, and other tokens [m,d] -> reconstructed pictures [m,H,W,C].
Inversion = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
#: Strengths of the regularisation that are tried, as parts of the mean square of a token.
_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
#: Of the attack place by place: features around a place, and places that it is fitted on, at most.
_PATCH, _EXAMPLES = 1200, 60_000
#: PSNR of what is exact, in dB, and windows of SSIM, in pixels.
_EXACT, _WINDOW = 60.0, 7


def ridge(known: np.ndarray, wanted: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Predictions for ``seen`` [m,d] by ridge regression from ``known`` [n,d] to ``wanted`` [n,k], in closed form.

    In the dual, so that n pictures of d features take n x n numbers. The strength is chosen on a quarter of the known.
    """
    held = np.arange(len(known)) % 4 == 3
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

    ``wanted`` are pictures [n,H,W,C]. Every place of every picture is an example, so that few pictures are many.
    """
    rows, columns, channels = shape
    zoom = max(1, round(wanted.shape[1] / rows)), max(1, round(wanted.shape[2] / columns))
    size = rows * zoom[0], columns * zoom[1]
    blocks = np.stack([_resized(each, *size) for each in wanted])
    count, colours = len(wanted), wanted.shape[3]
    blocks = blocks.reshape(count, rows, zoom[0], columns, zoom[1], colours).transpose(0, 1, 3, 2, 4, 5)
    targets = blocks.reshape(count * rows * columns, -1)
    around = 3 if 9 * channels <= _PATCH else 1
    places = np.random.default_rng(1).permutation(len(targets))[:_EXAMPLES]
    own = _patches(known.reshape(-1, rows, columns, channels), around)[places]
    mean, middle = own.mean(axis=0), targets.mean(axis=0)
    own = own - mean
    products = (own.T @ own).astype(np.float64)
    strength = 1e-3 * (float(np.trace(products)) / len(products) or 1.0)
    weights = np.linalg.solve(products + strength * np.eye(len(products)), own.T @ (targets[places] - middle))
    found = []
    for each in seen.reshape(-1, rows, columns, channels):
        made = (_patches(each[None], around) - mean) @ weights + middle
        made = made.reshape(rows, columns, zoom[0], zoom[1], colours).transpose(0, 2, 1, 3, 4)
        found.append(_resized(made.reshape(*size, colours), *wanted.shape[1:3]))
    return np.stack(found)


def _patches(features: np.ndarray, around: int) -> np.ndarray:
    """The features around each place, as rows."""
    if around == 1:
        return features.reshape(-1, features.shape[-1])
    view: Any = np.lib.stride_tricks.sliding_window_view
    wide = np.pad(features, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    found: np.ndarray = view(wide, (around, around), axis=(1, 2)).reshape(-1, features.shape[-1] * around * around)
    return found


def _resized(picture: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """A picture [H,W,C] of float32 at another size."""
    from PIL import Image

    if picture.shape[:2] == (rows, columns):
        return picture
    size, smooth = (columns, rows), Image.Resampling.BILINEAR
    layers = [Image.fromarray(layer.astype(np.float32)).resize(size, smooth) for layer in np.moveaxis(picture, 2, 0)]
    return np.stack([np.asarray(layer) for layer in layers], axis=2)


def inversion(known: np.ndarray, wanted: np.ndarray, token: TokenType) -> Inversion:
    """The attack that does better on a quarter of the attacker's own pictures: from whole tokens, or place by place."""

    def whole(own: np.ndarray, pictures: np.ndarray, seen: np.ndarray) -> np.ndarray:
        found = ridge(own, pictures.reshape(len(own), -1), seen)
        return np.clip(found, 0, 1).reshape(-1, *pictures.shape[1:])

    if len(token.shape) != 4 or token.shape[0] != 1 or min(token.shape[1:3]) < 2:
        return whole

    def local(own: np.ndarray, pictures: np.ndarray, seen: np.ndarray) -> np.ndarray:
        return np.clip(local_ridge(own, pictures, seen, token.shape[1:]), 0, 1)

    held = np.arange(len(known)) % 4 == 3
    if not held.any() or held.all():
        return whole
    errors = [
        float(((attack(known[~held], wanted[~held], known[held]) - wanted[held]) ** 2).mean())
        for attack in (whole, local)
    ]
    return whole if errors[0] <= errors[1] else local


def of_own(known: np.ndarray, wanted: np.ndarray, attack: Inversion) -> np.ndarray:
    """Of each known picture, what the attack that was fitted on the other half makes of its tokens."""
    half = np.arange(len(known)) % 2 == 1
    found = np.array(wanted)
    for own in (half, ~half):
        if own.any() and not own.all():
            found[own] = attack(known[~own], wanted[~own], known[own])
    return found


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


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Peak signal to noise ratio of two pictures from 0 to 1, in dB; 60 for equal ones."""
    error = float(((one - other) ** 2).mean())
    return min(_EXACT, -10 * np.log10(error)) if error > 0 else _EXACT


def ssim(one: np.ndarray, other: np.ndarray) -> float:
    """Structural similarity of two pictures [H,W,C] from 0 to 1: the mean over channels and windows of 7 x 7 pixels."""
    window = min(_WINDOW, *one.shape[:2])
    count = window * window
    view: Any = np.lib.stride_tricks.sliding_window_view
    values = [view(each.astype(np.float64), (window, window), axis=(0, 1)) for each in (one, other)]
    means = [each.mean(axis=(-1, -2)) for each in values]
    unbiased = count / max(count - 1, 1)
    squares = [unbiased * ((each**2).mean(axis=(-1, -2)) - mean**2) for each, mean in zip(values, means)]
    both = unbiased * ((values[0] * values[1]).mean(axis=(-1, -2)) - means[0] * means[1])
    first, second = 0.01**2, 0.03**2
    above = (2 * means[0] * means[1] + first) * (2 * both + second)
    below = (means[0] ** 2 + means[1] ** 2 + first) * (squares[0] + squares[1] + second)
    return float((above / below).mean())
