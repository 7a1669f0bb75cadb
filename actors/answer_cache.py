"""Answers kept by a key, and found again by what is near: the cache of ``cache_gate``, and of its calibration.

A key is a tensor of means: less its own mean, and of length 1, so that neither brightness nor the scale of a quantised
tensor counts. The distance of two keys is 1 less their cosine, 0 to 2. All is exact: every key is compared.

References: Guo et al., FoggyCache (MobiCom 2018): the homogenised k nearest neighbours.
"""

from __future__ import annotations

import math
import os
import threading
import zipfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

import numpy as np
from wilson import ONE_SIDED, bounds

#: The rows of the control table.
HIT, MISS, AUDIT = 0, 1, 2
#: Distances that a bound can be; what is further away than the last one is not a neighbour.
EDGES = tuple(round(0.5 * 0.7 ** (23 - place), 7) for place in range(24))
#: So many observations are remembered of each interval of distances; older ones fade.
_REMEMBERED = 500


def key_of(features: np.ndarray, values: int) -> Optional[np.ndarray]:
    """The key of a tensor: float32 of length 1, of about ``values`` numbers at most; None where it has no direction.

    Of features [1,H,W,C] means over equal parts of the rows and columns remain, for each channel; of others, means over
    equal pieces. No less than one for each channel remains.
    """
    if features.ndim == 4:
        places = max(1, math.isqrt(max(1, values // features.shape[3])))
        grid = _means(_means(features[0], 0, places), 1, places)
        means = grid.reshape(-1)
    else:
        means = _means(features.reshape(-1), 0, values)
    means = means - means.mean(dtype=np.float64)
    length = math.sqrt(float(np.square(means, dtype=np.float64).sum()))
    if not math.isfinite(length) or length == 0:
        return None
    return (means / length).astype(np.float32)


def _means(values: np.ndarray, axis: int, places: int) -> np.ndarray:
    """Means along an axis over so many pieces that are equal but for one element."""
    size = values.shape[axis]
    if size <= places:
        return values.astype(np.float32)
    begins = np.arange(places) * size // places
    sums = np.add.reduceat(values, begins, axis=axis, dtype=np.float32)
    counts = np.diff(np.append(begins, size)).astype(np.float32)
    found: np.ndarray = sums / counts.reshape((-1,) + (1,) * (values.ndim - axis - 1))
    return found


def label_of(answer: np.ndarray) -> int:
    """The class that an answer names: of several scores the largest; a single number is the class itself."""
    return int(answer.reshape(-1)[0]) if answer.size == 1 else int(answer.argmax())


@dataclass(frozen=True)
class Match:
    """What is near a key: the nearest ``slot`` of the label that prevails, and its ``distance``.

    ``number`` is that of its entry, of all that were ever put in.
    """

    slot: int
    label: int
    distance: float
    number: int


class AnswerCache:
    """At most so many keys, each with an answer. The one that was used least recently makes room for a new one.

    ``nearest``: so many neighbours have a say, of which at least ``share`` must have one label. ``lifetime``: entries
    are dropped so many frames after they were put in (0: never). With ``rounded``, keys are kept as int8, in a quarter
    of the memory. ``model`` identifies what computes the answers.
    """

    def __init__(
        self,
        entries: int,
        nearest: int = 3,
        share: float = 0.6,
        lifetime: int = 0,
        rounded: bool = False,
        model: str = "",
    ) -> None:
        self.entries, self.nearest, self.share = entries, nearest, share
        self.lifetime, self.rounded, self.model = lifetime, rounded, model
        self.kind = (entries, nearest, share, lifetime, rounded, model)
        #: to be held by whoever uses a cache that is shared
        self.lock = threading.Lock()
        self.frame = 0
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self.count = 0
        self._keys = np.empty((0, 0), np.float32)
        self._answers: list[np.ndarray] = [np.empty(0)] * self.entries
        self._scales = np.zeros(self.entries)  # 1 / length of a key as it is kept
        self._labels = np.zeros(self.entries, np.int64)
        self._used = np.zeros(self.entries, np.int64)
        self._born = np.zeros(self.entries, np.int64)
        self._numbers = np.zeros(self.entries, np.int64)
        self._puts = self._touches = 0

    def save(self, path: str) -> None:
        """Write all entries to an .npz file, in place of what it was."""
        order = self._used[: self.count].argsort()  # the least recently used first
        arrays = {
            "model": np.array(self.model),
            "keys": self._keys[: self.count][order],
            "answers": np.array([self._answers[slot] for slot in order]),
            "ages": self.frame - self._born[: self.count][order],
        }
        made = Path(f"{path}.{os.getpid()}.part")
        try:
            with made.open("wb") as file:
                np.savez(file, **arrays)
            made.replace(path)
        finally:
            made.unlink(missing_ok=True)

    def load(self, path: str, shape: tuple[int, ...], dtype: str) -> bool:
        """Take the entries of a file, whose answers have this shape and dtype; whether there were any for this model.

        Raises ValueError for a file that is not one.
        """
        self.clear()
        if not Path(path).exists():
            return False
        try:
            with np.load(path, allow_pickle=False) as file:
                model, keys, answers, ages = (file[name] for name in ("model", "keys", "answers", "ages"))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"path={path}: holds no answers of a cache: {error}") from None
        fit = keys.ndim == 2 and len(keys) == len(answers) == len(ages) and len(keys)
        fit = fit and keys.dtype == (np.int8 if self.rounded else np.float32)
        if not fit or str(model) != self.model or (answers.shape[1:], str(answers.dtype)) != (shape, dtype):
            return False
        for key, answer, age in list(zip(keys, answers, ages))[-self.entries :]:
            self.put(key.astype(np.float32), answer)
            self._born[self.count - 1] = self.frame - int(age)
        return True

    def tick(self) -> None:
        """A frame has gone by: entries that are too old are forgotten."""
        self.frame += 1

    def look_up(self, key: np.ndarray) -> Optional[Match]:
        """The nearest entry of the label that prevails among the neighbours; None if there is none.

        Neighbours are the ``nearest`` entries no further away than the last of ``EDGES``; of entries equally far away,
        the one that was put in last.
        """
        if not self.count:
            return None
        kept, scale = self._as_kept(key)
        near = self._products(kept) * self._scales[: self.count] * scale
        least = 1 - EDGES[-1]
        if self.lifetime:
            near[self.frame - self._born[: self.count] > self.lifetime] = -1
        some = self._best(near)
        some = some[near[some] >= least]
        if not len(some):
            return None
        labels = self._labels[some]
        known, counts = np.unique(labels, return_counts=True)
        # Of labels that are as frequent, the nearest one's.
        most = int(counts.max())
        frequent = set(known[counts == most].tolist())
        place = next(place for place, label in enumerate(labels.tolist()) if label in frequent)
        if most < self.share * len(some):
            return None
        slot = int(some[place])
        number = int(self._numbers[slot])
        return Match(slot, int(labels[place]), max(0.0, 1 - float(near[slot])), number)

    def _best(self, near: np.ndarray) -> np.ndarray:
        """The slots of the greatest cosines, the greatest first."""
        wanted = min(self.nearest, len(near))
        limit = np.partition(near, len(near) - wanted)[len(near) - wanted]
        some = np.flatnonzero(near >= limit)
        found: np.ndarray = some[np.lexsort((-self._numbers[some], -near[some]))][:wanted]
        return found

    def _products(self, key: np.ndarray) -> np.ndarray:
        keys = self._keys[: self.count]
        found: np.ndarray = (keys.astype(np.float32) if self.rounded else keys) @ key
        return found.astype(np.float64)

    def _as_kept(self, key: np.ndarray) -> tuple[np.ndarray, float]:
        """A key as it is kept, float32, and 1 / its length."""
        if not self.rounded:
            return key, 1.0
        whole = np.rint(key * np.float32(127 / np.abs(key).max()))
        return whole, 1 / math.sqrt(float(np.square(whole, dtype=np.float64).sum()))

    def use(self, match: Match) -> np.ndarray:
        """The answer of an entry, which is used herewith."""
        self._touch(match.slot)
        return self._answers[match.slot]

    def put(self, key: np.ndarray, answer: np.ndarray, instead: Optional[Match] = None) -> None:
        """Keep an answer, in place of the entry used least recently if the cache is full.

        An entry given as ``instead`` is replaced, if it is still there.
        """
        if not self._keys.size:
            self._keys = np.zeros((self.entries, len(key)), np.int8 if self.rounded else np.float32)
        slot = self.count
        if instead is not None and self._numbers[instead.slot] == instead.number:
            slot = instead.slot
        elif slot == self.entries:
            slot = int(self._used.argmin())
            if self.lifetime and self.frame - int(self._born.min()) > self.lifetime:
                slot = int(self._born.argmin())
        else:
            self.count += 1
        self._keys[slot], self._scales[slot] = self._as_kept(key)
        self._answers[slot] = np.array(answer)
        self._labels[slot], self._born[slot] = label_of(answer), self.frame
        self._puts += 1
        self._numbers[slot] = self._puts
        self._touch(slot)

    def _touch(self, slot: int) -> None:
        self._touches += 1
        self._used[slot] = self._touches


_stores: dict[str, AnswerCache] = {}
_stores_lock = threading.Lock()


def store_of(name: str, own: AnswerCache) -> AnswerCache:
    """The store of that name, which all caches of this process that ask for it share: that of the first one.

    Raises ValueError where it is of another kind than ``own``, or of another model.
    """
    with _stores_lock:
        store = _stores.setdefault(name, own)
    if store.kind != own.kind:
        raise ValueError(f"shared={name}: another cache of that name has another model, place or size")
    return store


class Bound:
    """The distance within which answers are reused: the largest at which false hits are rare enough.

    Of each interval between ``EDGES`` it counts frames of which the answer was computed as well, and those of which the
    reused one named another class. The bound is the largest edge up to which the upper bound of the (one-sided, 95 %,
    Wilson's) confidence interval of false hits is at most ``wish``; with no such edge nothing is reused. Frames that
    follow one another with the same two classes are one observation: false hits come in rows, as long as a scene.
    Frames beyond the bound are all computed, so they tell whether it may grow; of those within, only audits are, so
    that frames further away weigh more in the sum: it errs on the safe side. It begins with the ``evidence`` of the
    calibration, beyond 500 frames of an interval the older ones fade, and it is never larger than ``most``, for which
    the calibration stands: with a larger bound fewer entries are kept, and false hits are other ones.
    """

    def __init__(self, wish: float, evidence: str = "", most: float = EDGES[-1]) -> None:
        self.wish, self.most = wish, most
        #: of each interval: frames, false ones, and rows of frames of which the nearest was in it
        self.seen = np.zeros((3, len(EDGES)))
        for place, text in enumerate(evidence.split(",") if evidence else ()):
            try:
                frames, wrong, rows = map(float, text.split(":"))
                self.seen[:, place] = frames, wrong, rows
            except (ValueError, IndexError):
                raise ValueError(f"evidence: expected {len(EDGES)} times FRAMES:FALSE:ROWS, not {text!r}") from None
        if not (np.isfinite(self.seen).all() and (self.seen >= 0).all() and (self.seen[1] <= self.seen[0]).all()):
            raise ValueError("evidence: more false hits than frames")
        #: both classes of the last frame, and the lowest interval that the frames of its row have reached
        self._row: Optional[tuple[tuple[int, int], int]] = None
        self._choose()

    @property
    def evidence(self) -> str:
        """What is known, as the parameter of that name."""
        return ",".join(":".join(f"{number:.4g}" for number in column) for column in self.seen.T)

    def observe(self, distance: float, known: int, computed: int) -> None:
        """Count a frame at this distance: the class of the ``known`` answer, and the ``computed`` one."""
        place = int(np.searchsorted(EDGES, distance))
        if place == len(EDGES):
            return
        if self.seen[0, place] >= _REMEMBERED:
            self.seen[:, place] *= 1 - 1 / _REMEMBERED
        self.seen[:2, place] += 1, known != computed
        classes = known, computed
        least = self._row[1] if self._row is not None and self._row[0] == classes else None
        if least is None or place < least:
            self.seen[2, place] += 1
            if least is not None:
                self.seen[2, least] = max(0.0, self.seen[2, least] - 1)
            self._row = classes, place
        self._choose()

    def _choose(self) -> None:
        frames, wrong, rows = np.cumsum(self.seen, axis=1)
        share = wrong / np.maximum(frames, 1)
        fit = np.flatnonzero(
            (rows > 0) & (upper(share, np.maximum(rows, 1e-9)) <= self.wish) & (np.array(EDGES) <= self.most)
        )
        #: the largest distance of a hit; negative if there are to be none
        self.distance = EDGES[int(fit[-1])] if len(fit) else -1.0


def upper(share: Union[float, np.ndarray], count: Union[float, np.ndarray]) -> np.ndarray:
    """The upper bound of Wilson's one-sided 95 % confidence interval of a share of so many."""
    return bounds(share, count, ONE_SIDED)[1]


@dataclass
class _Decision:
    """What was decided of a frame whose answer is not back yet."""

    row: int
    key: Optional[np.ndarray]
    match: Optional[Match]


class Reuse:
    """Decides, frame by frame, whether an answer is reused; answers come back ``under_way`` frames later.

    ``audit`` is the share of hits that are computed nevertheless.
    """

    def __init__(self, cache: AnswerCache, bound: Bound, under_way: int, audit: float) -> None:
        self.cache, self.bound = cache, bound
        self.under_way, self.audit = under_way, audit
        self.due = 0.0  # audits, of the hits so far
        self.frames = self.hits = self.audits = self.wrong = 0
        self._pending: deque[_Decision] = deque()
        #: what is told of frames that are computed
        self.observe: Callable[[float, int, int], None] = bound.observe
        #: the answer that the last frame reuses
        self.reused: Optional[np.ndarray] = None
        self.match: Optional[Match] = None

    def decide(self, key: Optional[np.ndarray]) -> int:
        """HIT, MISS or AUDIT, for the next frame; None: a frame without a key."""
        self.frames += 1
        self.cache.tick()
        self.reused, self.match = None, None if key is None else self.cache.look_up(key)
        row = MISS
        if self.match is not None and self.match.distance <= self.bound.distance:
            self.reused = self.cache.use(self.match)
            self.hits += 1
            self.due += self.audit
            row = HIT
            if self.due >= 1:
                self.due -= 1
                row = AUDIT
        self._pending.append(_Decision(row, key, self.match))
        return row

    def returned(self, answer: np.ndarray) -> None:
        """What the application answered ``under_way`` frames ago; to be called before ``decide``, also with the
        initial tokens, which say nothing.
        """
        if len(self._pending) < self.under_way:
            return
        made = self._pending.popleft()
        if made.row == HIT or made.key is None:
            return
        false = False
        if made.match is not None:
            computed = label_of(answer)
            false = made.match.label != computed
            self.observe(made.match.distance, made.match.label, computed)
        if made.row == AUDIT:
            self.audits += 1
            self.wrong += false
        # What has misled makes room for what is right.
        if made.row == MISS or false:
            self.cache.put(made.key, answer, made.match if made.row == AUDIT else None)


def shares(reuse: Reuse) -> dict[str, float]:
    """What it has decided so far, as figures of an actor."""
    found = {"hits": reuse.hits, "hit_share": round(reuse.hits / max(1, reuse.frames), 6), "audits": reuse.audits}
    found.update(false_hits=reuse.wrong, bound=reuse.bound.distance, entries=reuse.cache.count)
    if reuse.audits:
        share = reuse.wrong / reuse.audits
        found.update(false_share=round(share, 6), false_share_high=round(float(upper(share, reuse.audits)), 6))
    return found


def misled(reuse: Reuse) -> bool:
    """Whether the audits say that false hits are more than wished for: the lower bound of their share is."""
    if not reuse.audits:
        return False
    return bool(bounds(reuse.wrong / reuse.audits, reuse.audits, ONE_SIDED)[0] > reuse.bound.wish)
