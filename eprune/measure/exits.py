"""Heads for early exits: fitted on features of calibration pictures, with thresholds by held-out accuracy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Optional

import numpy as np

from eprune.formats.models.quantization import Quantization
from eprune.formats.tflite.head import pooled
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.quantity import parse_size

ACCURACY, AGREEMENT, BYTES = "accuracy", "agreement", "bytes"
#: No confidence is as high: nothing exits.
NEVER = 1.1
#: So many thresholds are tried: those that divide the frames evenly by their confidence.
BINS = 20
#: Inverse strengths of the regularisation, of which held-out pictures choose.
_STRENGTHS = (0.003, 0.03, 0.3)
#: What a class that no picture shows has less, as a logit, than any other.
_UNSEEN = 30.0


@dataclass(frozen=True)
class Wish:
    """What is wished for: ``accuracy`` or ``agreement`` of at least ``value``, or ``bytes`` per frame of at most it."""

    what: str
    value: float


def parse_wish(text: str) -> Wish:
    """``accuracy=0.97``, ``agreement=0.99``, ``bytes=20KiB``. Raises ValueError for anything else."""
    what, _, value = text.partition("=")
    message = f"--wish {text}: expected accuracy=0.97, agreement=0.99 or bytes=20KiB"
    try:
        if what == BYTES:
            return Wish(BYTES, float(parse_size(value)))
        number = float(value)
    except ValueError:
        raise ValueError(message) from None
    if what not in (ACCURACY, AGREEMENT) or not 0 < number <= 1:
        raise ValueError(message)
    return Wish(what, number)


@dataclass(frozen=True)
class Head:
    """What is behind pooling: ``weights`` [classes, values] and ``biases`` [classes], float32."""

    pool: Optional[tuple[int, int]]
    weights: np.ndarray
    biases: np.ndarray
    quantized: Optional[Quantization] = None
    answer: Optional[Quantization] = None

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Probabilities [frames, classes] of pooled features [frames, values], as the head's file gives them."""
        logits = values @ self.weights.T + self.biases
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        scores = powers / powers.sum(axis=1, keepdims=True)
        if self.answer is not None:
            scores = np.minimum(np.round(scores / self.answer.scale), 255) * self.answer.scale
        found: np.ndarray = scores
        return found

    @property
    def macs(self) -> int:
        """Multiplications that are added up, for a frame."""
        return int(self.weights.size)


def values_of(features: np.ndarray, head: Head) -> np.ndarray:
    """What the head's layer gets of a frame's features."""
    return pooled(features, head.pool, head.quantized)


def fitted(values: np.ndarray, wanted: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights and biases of a multinomial logistic regression, for values [frames, n] and their classes.

    Raises ValueError where all pictures are of one class, or scikit-learn is missing.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ValueError(
            "fitting exits takes scikit-learn, which is not installed: pip install 'eprune[exits]'"
        ) from None
    known = np.unique(wanted)
    if len(known) < 2:
        raise ValueError(
            f"all {len(wanted)} pictures for fitting are of class {', '.join(map(str, known)) or 'none'}: "
            "there is nothing that an exit could tell apart"
        )
    mean, spread = values.mean(axis=0), values.std(axis=0)
    spread[spread < 1e-6 * max(1.0, float(spread.max(initial=0)))] = 1
    scaled = (values - mean) / spread

    def regression(strength: float, chosen: np.ndarray) -> LogisticRegression:
        return LogisticRegression(C=strength, max_iter=300).fit(scaled[chosen], wanted[chosen])

    held = np.arange(len(wanted)) % 4 == 3
    strength = _STRENGTHS[1]
    if len(np.unique(wanted[~held])) > 1 and held.any():
        right = [float(regression(each, ~held).score(scaled[held], wanted[held])) for each in _STRENGTHS]
        strength = _STRENGTHS[int(np.argmax(right))]
    found = regression(strength, np.ones(len(wanted), bool))
    coefficients, intercepts = found.coef_, found.intercept_
    if len(known) == 2:
        coefficients, intercepts = np.vstack((0 * coefficients, coefficients)), np.append(0, intercepts)
    # The scaling is folded into the weights.
    own = coefficients / spread
    weights = np.zeros((classes, values.shape[1]), np.float32)
    biases = np.full(classes, (intercepts - own @ mean).min() - _UNSEEN, np.float32)
    weights[known], biases[known] = own, intercepts - own @ mean
    return weights, biases


def likelihood(values: np.ndarray, happens: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights [n] and bias of a logistic regression: how likely something happens, by values [frames, n].

    Where it always happens, or never, the values say nothing of it. Raises ValueError as ``fitted`` does.
    """
    if len(set(happens.tolist())) < 2:
        share = (happens.sum() + 1) / (len(happens) + 2)
        return np.zeros(values.shape[1], np.float32), float(np.log(share / (1 - share)))
    weights, biases = fitted(values, happens.astype(int), 2)
    return weights[1] - weights[0], float(biases[1] - biases[0])


def quantiles(scores: np.ndarray) -> list[float]:
    """Thresholds between bins of equal size."""
    return sorted(set(np.quantile(scores, np.linspace(0, 1, BINS + 1)[1:-1]).tolist()))


@dataclass(frozen=True)
class Candidate:
    """What an exit somewhere does to frames: their confidence there, and the class that it answers.

    ``cost`` of computing and ``nbytes`` over links are what a frame saves that leaves there; ``own`` is what the head
    costs each frame that comes by.
    """

    confidence: np.ndarray
    answers: np.ndarray
    cost: float
    own: float
    nbytes: float


@dataclass(frozen=True)
class Frames:
    """What the whole model says of frames, what is right, and what it costs.

    Without ``wanted``, all ``answers`` are how right they are, 0 to 1.
    """

    answers: np.ndarray
    wanted: Optional[np.ndarray]
    cost: float
    nbytes: float


@dataclass(frozen=True)
class Outcome:
    """``leaves``: for each frame the exit at which it leaves, -1 for none; ``right``: if, or how much, its answer is.

    ``effort`` is what is least: the cost, and the bytes, as shares of what they are without exits. ``lost`` is
    the share of frames that exits answer wrongly, and the whole model would not.
    """

    leaves: np.ndarray
    right: np.ndarray
    cost: float
    nbytes: float
    effort: float

    lost: float = 0.0

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return float(self.right.mean())

    @property
    def careful(self) -> float:
        """The accuracy less the standard error of what exits lose: of many thresholds, the best is lucky, too."""
        return self.accuracy - math.sqrt(self.lost * (1 - self.lost) / len(self.right))


def outcome(frames: Frames, exits: Sequence[Candidate], thresholds: Sequence[float]) -> Outcome:
    """What becomes of frames with these exits, the first one the nearest to the source."""
    leaves = np.full(len(frames.answers), -1)
    answers = frames.answers.copy()
    cost, nbytes = np.full(len(answers), frames.cost), np.full(len(answers), frames.nbytes)
    for number, (each, threshold) in enumerate(zip(exits, thresholds)):
        here = leaves < 0
        cost[here] += each.own
        out = here & (each.confidence.astype(np.float32) >= threshold)
        leaves[out], answers[out] = number, each.answers[out]
        cost[out] -= each.cost
        nbytes[out] -= each.nbytes
    effort = sum(float(each.mean()) / whole for each, whole in ((cost, frames.cost), (nbytes, frames.nbytes)) if whole)
    right, whole = ((each if frames.wanted is None else each == frames.wanted) for each in (answers, frames.answers))
    lost = float(np.maximum(whole.astype(float) - right, 0).mean())
    return Outcome(leaves, right, float(cost.mean()), float(nbytes.mean()), effort, lost)


def lacks(wish: Wish, found: Outcome) -> float:
    """By how much an outcome misses the wish; 0 if it fulfils it."""
    if wish.what == BYTES:
        return max(0.0, found.nbytes - wish.value)
    return max(0.0, wish.value - found.careful - 1e-9)


def rank(wish: Wish, found: Outcome) -> tuple[float, ...]:
    """Less is better: what fulfils the wish at the least cost; of a budget of bytes, with the most right answers."""
    return (lacks(wish, found), -found.accuracy if wish.what == BYTES else 0.0, found.effort)


def edges(confidence: np.ndarray) -> list[float]:
    """Thresholds between bins of equal size, and one that nothing reaches."""
    ordered = np.unique(confidence.astype(np.float32))[::-1].astype(float)
    places = np.unique(np.linspace(1, len(ordered), min(BINS, len(ordered)), dtype=int))
    # Half-way to the next lower confidence: rounding does not change what exits.
    return [NEVER, *((ordered[p - 1] + (ordered[p] if p < len(ordered) else 0.0)) / 2 for p in places)]


def thresholds(frames: Frames, exits: Sequence[Candidate], wish: Wish) -> tuple[list[float], Outcome]:
    """The thresholds nearest to the wish, at the least cost: one after the other is improved until none can be."""
    tried = [edges(each.confidence) for each in exits]
    return improved([NEVER] * len(exits), tried, lambda each: outcome(frames, exits, each), wish)


def improved(
    found: list[float],
    tried: Sequence[Sequence[float]],
    outcome_of: Callable[[Sequence[float]], Outcome],
    wish: Wish,
) -> tuple[list[float], Outcome]:
    """Thresholds nearer to the wish, or of less cost: of those ``tried``, one is changed as long as that helps."""
    best = outcome_of(found)
    while True:
        options = [[*found[:number], edge, *found[number + 1 :]] for number, each in enumerate(tried) for edge in each]
        outcomes = [(outcome_of(each), each) for each in options]
        nearest, chosen = min(outcomes, key=lambda each: rank(wish, each[0]))
        if not rank(wish, nearest) < rank(wish, best):
            return found, best
        found, best = chosen, nearest


def chosen(frames: Frames, candidates: Sequence[Candidate], wish: Wish, most: int) -> list[int]:
    """Which exits to have, at most so many: one after the other is added that saves most, as long as any does."""
    found: list[int] = []
    best: tuple[float, ...] = (math.inf,)
    while len(found) < most:
        tries = [sorted([*found, each]) for each in range(len(candidates)) if each not in found]
        ranks = [rank(wish, thresholds(frames, [candidates[i] for i in each], wish)[1]) for each in tries]
        if not ranks or not min(ranks) < best:
            break
        best = min(ranks)
        found = tries[ranks.index(best)]
    return found


def unreachable(path: str, wish: Wish, found: Outcome) -> EpruneError:
    """What to raise where the wish cannot be fulfilled."""
    reached = f"{found.nbytes:.0f} bytes" if wish.what == BYTES else f"{wish.what} {found.careful:.4g}"
    wanted = f"at most {wish.value:.0f} bytes per frame" if wish.what == BYTES else f"{wish.what} {wish.value:g}"
    message = f"{wanted} is out of reach: on held-out calibration pictures the best is {reached}"
    return EpruneError(
        Finding("FILE", Location(path), message, "wish for less, allow more exits, or give more pictures"), exit_code=1
    )
