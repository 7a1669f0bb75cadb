"""In which ranges floats are rounded, and onto which directions tokens are projected: from calibration tokens.

Reference for the projection: the best approximation of a linear layer's outputs in k dimensions is by the first k
principal components of these outputs (Zhang et al., Accelerating Very Deep Convolutional Networks, 2016, section 3).
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

import numpy as np

from eprune.formats.model_files import read_model
from eprune.formats.models.boundary import boundary
from eprune.formats.tflite.constants import constant
from eprune.model.graph import Actor

#: Values of a token that are kept to choose ranges by.
_KEPT = 2**14
#: Parts of the range from the least to the greatest value that are tried: what is beyond is cut off.
_SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
#: Of codes of a projection, which few pictures are known of: how far beyond these ranges go, in parts of them.
_MARGIN = 0.1


@dataclass
class Statistics:
    """What is kept of the tokens of a FIFO: extremes of each channel, some values, and what the next layer makes.

    ``weights`` are those of that layer, of whole tokens, or (``places``) of the channels of each place.
    """

    weights: Optional[np.ndarray] = None
    places: bool = False
    low: Optional[np.ndarray] = None
    high: Optional[np.ndarray] = None
    rows: list[np.ndarray] = field(default_factory=list)
    outputs: list[np.ndarray] = field(default_factory=list)
    random: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))

    def add(self, token: np.ndarray) -> None:
        """One more token."""
        table = token.reshape(-1, token.shape[-1] if token.ndim else 1).astype(np.float64)
        low, high = table.min(axis=0), table.max(axis=0)
        self.low = low if self.low is None else np.minimum(self.low, low)
        self.high = high if self.high is None else np.maximum(self.high, high)
        kept = self.random.permutation(len(table))[: max(1, _KEPT // table.shape[1])]
        self.rows.append(table[kept])
        if self.weights is not None:
            seen = table[kept] if self.places else token.reshape(1, -1).astype(np.float64)
            self.outputs += [*(seen @ self.weights.T)]

    def ranges(self, levels: int, by_channel: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """``low`` and ``step`` of whole numbers up to ``levels``, with the least error in the mean of squares."""
        assert self.low is not None
        assert self.high is not None
        rows = np.concatenate(self.rows)
        if not by_channel:
            return _best(rows.reshape(-1, 1), self.low.min(keepdims=True), self.high.max(keepdims=True), levels)
        return _best(rows, self.low, self.high, levels)


def _best(
    rows: np.ndarray, low: np.ndarray, high: np.ndarray, levels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """For each column the range of which the rounded values are nearest."""
    best = np.full(len(low), np.inf)
    lows, steps = np.zeros(len(low)), np.ones(len(low))
    for share in _SHARES:
        first, step = grid(low * share, high * share, levels) if share < 1 else grid(low, high, levels)
        codes = np.clip(np.rint((rows - first) / step), 0, levels)
        error = ((codes * step + first - rows) ** 2).mean(axis=0)
        better = error < best
        best[better], lows[better], steps[better] = error[better], first[better], step[better]
    return tuple(lows.astype(np.float32).tolist()), tuple(steps.astype(np.float32).tolist())


def grid(low: np.ndarray, high: np.ndarray, levels: int) -> tuple[np.ndarray, np.ndarray]:
    """First value and step from ``low`` to ``high``; 0 is one of the values where it lies between."""
    width = (high - low) / levels
    step = np.where(width > 0, width, 1.0)
    first = np.where((low <= 0) & (high >= 0), -np.rint(-low / step) * step, low)
    return first, step


def basis_file(project: np.ndarray, restore: np.ndarray, offset: np.ndarray) -> bytes:
    """The .npz file of ``token_coding.read_basis``."""
    stream = io.BytesIO()
    arrays = {"project": project, "restore": restore, "offset": offset}
    np.savez(stream, **{name: array.astype(np.float32) for name, array in arrays.items()})
    return stream.getvalue()


@dataclass(frozen=True)
class Projection:
    """Of the inputs of a layer: directions in the order of what they matter for its outputs.

    ``directions`` [out,out] are orthonormal columns, ``inverse`` [in,out] is the pseudoinverse of the weights [out,in].
    ``rank`` is the layer's: so many numbers say all.
    """

    weights: np.ndarray
    inverse: np.ndarray
    directions: np.ndarray
    mean: np.ndarray
    outputs: np.ndarray
    rank: int

    def basis(self, rank: int) -> bytes:
        """The .npz file of ``token_coding.read_basis`` for so many numbers."""
        kept = self.directions[:, :rank]
        rest = self.mean - kept @ (kept.T @ self.mean)
        return basis_file(kept.T @ self.weights, (self.inverse @ kept).T, self.inverse @ rest)

    def ranges(self, rank: int, levels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """As those of ``Statistics``, of the numbers that are sent."""
        sent = self.outputs @ self.directions[:, :rank]
        low, high = sent.min(axis=0), sent.max(axis=0)
        margin = _MARGIN * (high - low)
        first, step = grid(low - margin, high + margin, levels)
        return tuple(first.astype(np.float32).tolist()), tuple(step.astype(np.float32).tolist())


def projection(found: Statistics) -> Optional[Projection]:
    """The directions for the next layer; None where it is not fully connected."""
    if found.weights is None or not found.outputs:
        return None
    weights = found.weights
    outputs = np.array(found.outputs)
    mean = outputs.mean(axis=0)
    own = weights @ weights.T
    spread = (outputs - mean).T @ (outputs - mean) / len(outputs)
    # Of few pictures some directions are not known at all: there, what the weights do with any input counts.
    spread += 1e-6 * (np.trace(spread) or 1.0) / np.trace(own) * own
    values, vectors = np.linalg.eigh(spread)
    directions = vectors[:, np.argsort(values)[::-1]]
    return Projection(weights, np.linalg.pinv(weights), directions, mean, outputs, int(np.linalg.matrix_rank(weights)))


def next_layer(actor: Optional[Actor]) -> Optional[np.ndarray]:
    """The weights [out,in] of the fully connected layer that an actor begins with; None where it does not.

    A reshape before it changes nothing. Raises EpruneError for a model that cannot be read.
    """
    found = _first(actor, "FULLY_CONNECTED")
    return found if found is not None and found.ndim == 2 else None


def next_convolution(actor: Optional[Actor]) -> Optional[np.ndarray]:
    """Weights [channels,channels] that stand for the convolution which an actor begins with; None where it does not.

    What they make of the channels of a place is as long as what the convolution makes of them, over all of its places
    and outputs together: the root of the sum of W^T W over all taps W [out,channels]. An error that is small behind
    them is small behind the convolution (the errors of neighbouring places are taken to be independent).
    """
    found = _first(actor, "CONV_2D")
    if found is None or found.ndim != 4:
        return None
    taps = found.astype(np.float64).reshape(-1, found.shape[3])
    values, vectors = np.linalg.eigh(taps.T @ taps)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _first(actor: Optional[Actor], layer: str) -> Optional[np.ndarray]:
    """The weights of the layer of that kind that an actor begins with, a reshape before it aside."""
    if actor is None or actor.behaviour is None or not actor.behaviour.operators:
        return None
    if len([port for port in actor.inputs if not port.control]) != 1:
        return None
    model = read_model(actor.behaviour.path)
    own = [each for each in model.operators if each.index in set(actor.behaviour.operators)]
    inputs, _ = boundary(model, actor.behaviour.operators)
    tensors: Sequence[int] = inputs
    while len(tensors) == 1:
        users = [each for each in own if tensors[0] in each.inputs]
        if len(users) != 1 or users[0].inputs[0] != tensors[0]:
            return None
        if users[0].name == layer:
            weights = model.tensors[users[0].inputs[1]]
            return constant(model, users[0].inputs[1]) if weights.constant and weights.dtype == "float32" else None
        if users[0].name != "RESHAPE":
            return None
        tensors = users[0].outputs
    return None
