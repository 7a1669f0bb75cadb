"""Train a small inverse network: tokens in, pictures out, a hidden layer between.

From whole tokens, reduced to their principal components, to those of pictures; or place by place, from the features
around each place to the pixels there: whichever does better on a quarter of the attacker's own pictures. By
scikit-learn, which takes seconds to minutes.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from eprune.measure.attacks.base import Inversion, Own, Target, best_of, spatial
from eprune.measure.attacks.places import EXAMPLES, Places
from eprune.model.finding import WrongUsage

LINE = "an inverse network"
#: Principal components of tokens, of features around a place, and of pictures, at most.
_TOKENS, _FEATURES, _PICTURES = 128, 96, 128
_HIDDEN, _EPOCHS = (256,), 200


def prepared(own: Own, target: Target) -> Inversion:
    """The better one of the two networks. Raises WrongUsage without scikit-learn."""
    try:
        import sklearn.neural_network  # noqa: F401
    except ImportError:
        raise WrongUsage(
            "an inverse network takes scikit-learn, which is not installed: pip install 'eprune[exits]'", "--attack"
        ) from None

    def whole(mine: Own, seen: np.ndarray) -> np.ndarray:
        tokens = _Components(mine.tokens, _TOKENS)
        pictures = _Components(mine.pictures.reshape(len(mine), -1), _PICTURES)
        network = _fitted(tokens(mine.tokens), pictures(mine.pictures.reshape(len(mine), -1)))
        found = pictures.back(network(tokens(seen)))
        return np.clip(found, 0, 1).reshape(-1, *mine.pictures.shape[1:])

    def local(mine: Own, seen: np.ndarray) -> np.ndarray:
        places = Places(target.token.shape[1:], mine.pictures.shape[1:])
        pixels = places.pixels(mine.pictures)
        chosen = np.random.default_rng(1).permutation(len(pixels))[:EXAMPLES]
        features = places.features(mine.tokens)[chosen]
        components = _Components(features, _FEATURES)
        network = _fitted(components(features), pixels[chosen])
        found = [places.assembled(network(components(places.features(each)))) for each in seen]
        return np.clip(np.stack(found), 0, 1)

    return best_of(own, [whole, local] if spatial(target.token) else [whole])


class _Components:
    """Rows by their principal components, all of them on one scale."""

    def __init__(self, rows: np.ndarray, most: int) -> None:
        self.mean = rows.mean(axis=0)
        own = (rows - self.mean).astype(np.float64)
        # In whichever of the two spaces is smaller.
        if len(own) <= own.shape[1]:
            values, vectors = np.linalg.eigh(own @ own.T)
            directions = own.T @ vectors
        else:
            values, directions = np.linalg.eigh(own.T @ own)
        kept = [place for place in np.argsort(values)[::-1][:most] if values[place] > 1e-9 * max(values.max(), 1e-30)]
        chosen = directions[:, kept]
        self.directions = chosen / np.maximum(np.linalg.norm(chosen, axis=0), 1e-30)
        spread = np.sqrt(values[kept] / max(len(own) - 1, 1))
        self.scale = float(spread.max()) if len(kept) else 1.0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        found: np.ndarray = (rows - self.mean) @ self.directions / self.scale
        return found

    def back(self, components: np.ndarray) -> np.ndarray:
        """Rows again."""
        found: np.ndarray = components * self.scale @ self.directions.T + self.mean
        return found


def _fitted(given: np.ndarray, wanted: np.ndarray) -> Any:
    """A network with one hidden layer; it stops when it does no better on a tenth of the examples."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    if not given.shape[1]:  # tokens that are all the same
        middle = wanted.mean(axis=0)
        return lambda rows: np.tile(middle, (len(rows), 1))
    network = MLPRegressor(
        hidden_layer_sizes=_HIDDEN,
        alpha=1e-4,
        batch_size=min(256, max(8, len(given) // 16)),
        early_stopping=len(given) >= 50,
        n_iter_no_change=8,
        max_iter=_EPOCHS,
        random_state=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit(given, wanted if wanted.shape[1] > 1 else wanted[:, 0])
    return lambda rows: network.predict(rows).reshape(len(rows), -1)
