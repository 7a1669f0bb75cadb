"""A cache of answers, calibrated and tried on a stream of frames of which all answers are known.

What decides here is what decides when the application runs (``actors/answer_cache.py``), frame by frame and in order;
answers come back as late as they do there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Optional

import numpy as np

from eprune.formats.library import library_folder
from eprune.measure.answers import SystemAnswers, class_of, milliseconds, on_disk
from eprune.measure.executor import Firing
from eprune.model.samples import Share
from eprune.model.system import System
from eprune.passes.cache import Keys, Options
from eprune.runtime.main import imports

#: Look-ups that are timed.
_TIMED = 20


def library() -> Any:
    """The module ``answer_cache`` of the actors."""
    return imports.load(str(Path(library_folder(), "answer_cache.py")))


@dataclass(frozen=True)
class Stream:
    """Frames in order: the key of each (None: none), and what is computed for it."""

    keys: Sequence[Optional[np.ndarray]]
    answers: Sequence[np.ndarray]


@dataclass(frozen=True)
class Tried:
    """What became of a stream.

    ``rows`` are the control values, ``classes`` what is answered, ``false`` the frames that hit, or are audited, and of
    which the known answer is of another class than the computed one. ``evidence`` is what is known then, ``bound`` the
    distance within which answers are reused.
    """

    rows: np.ndarray
    classes: np.ndarray
    false: np.ndarray
    evidence: str
    bound: float
    entries: int

    @property
    def hits(self) -> Share:
        """Frames that hit, audits too, of all."""
        return Share(int((self.rows != library().MISS).sum()), len(self.rows))

    @property
    def false_hits(self) -> Optional[Share]:
        """False ones of these; None without any."""
        hits = int(self.hits.right)
        return Share(int(self.false.sum()), hits) if hits else None

    @property
    def reused(self) -> float:
        """The share of frames of which nothing is computed."""
        return float((self.rows == library().HIT).mean())


def tried(stream: Stream, options: Options, known: Tried) -> Tried:
    """The cache on a stream, as it runs after that calibration: only audits and misses tell it what is true."""
    bound = library().Bound(options.false_hits, known.evidence, known.bound)
    return _run(stream, options, bound, options.audit)


def calibrated(stream: Stream, options: Options) -> Tried:
    """The cache on a stream of which it may know everything: its bound and its evidence are to begin with elsewhere.

    The bound decides what is kept, and that, how often hits are false. So each bound is tried by a pass over the
    stream; the largest with which false hits are rare enough is found by bisection.
    """
    found, edge = largest(stream, options, lambda tried, edge: tried.bound >= edge)
    return replace(found, bound=edge)


def largest(stream: Stream, options: Options, fit: Callable[[Tried, float], bool]) -> tuple[Tried, float]:
    """The cache with the largest bound that is ``fit``, by bisection; -1 where none is."""
    edges = library().EDGES
    found, least, most = fixed(stream, options, -1.0), -1, len(edges)
    while most - least > 1:
        middle = (least + most) // 2
        tried = fixed(stream, options, edges[middle])
        if fit(tried, edges[middle]):
            least, found = middle, tried
        else:
            most = middle
    return found, edges[least] if least >= 0 else -1.0


def fixed(stream: Stream, options: Options, distance: float) -> Tried:
    """With a bound that stays; ``bound`` is then what the frames allow."""
    bound, seen = library().Bound(options.false_hits), library().Bound(options.false_hits)
    bound.distance = distance
    return _run(stream, options, bound, 0.0, seen)


def _run(stream: Stream, options: Options, bound: Any, audit: float, seen: Any = None) -> Tried:
    """Frame by frame. Where ``seen``, a bound, is given, that is told of all frames, and ``bound`` of none."""
    actors = library()
    reuse = actors.Reuse(_cache(options), bound, options.frames_under_way, audit)
    if seen is not None:
        reuse.observe = seen.observe
    rows, false, given = [], [], list[np.ndarray]()
    for frame, (key, computed) in enumerate(zip(stream.keys, stream.answers)):
        if frame >= options.frames_under_way:
            reuse.returned(given[frame - options.frames_under_way])
        row = reuse.decide(key)
        hit = row != actors.MISS
        false.append(hit and reuse.match.label != class_of(computed))
        if hit and seen is not None:
            seen.observe(reuse.match.distance, reuse.match.label, class_of(computed))
        given.append(np.array(reuse.reused) if row == actors.HIT else computed)
        rows.append(row)
    known = bound if seen is None else seen
    classes = np.array([class_of(each) for each in given])
    return Tried(np.array(rows), classes, np.array(false), known.evidence, known.distance, reuse.cache.count)


def _cache(options: Options) -> Any:
    rounded = options.keys is Keys.INT8
    return library().AnswerCache(options.entries, options.nearest, options.share, options.lifetime, rounded)


def exact(marks: Sequence[bytes], answers: Sequence[np.ndarray], options: Options) -> Share:
    """Frames whose input was there before, byte by byte, and is answered already: what a table of hashes would find."""
    first: dict[bytes, int] = {}
    found = 0
    for frame, mark in enumerate(marks):
        begun = first.setdefault(mark, frame)
        found += begun <= frame - options.frames_under_way
    return Share(found, len(answers))


@dataclass(frozen=True)
class Times:
    """Seconds of frames, by the schedule of the platform files, and which of them an answer was reused for."""

    seconds: np.ndarray
    hits: np.ndarray

    def milliseconds(self, share: float, hits: Optional[bool] = None) -> Optional[float]:
        """What this share of all frames, or of those that hit or not, does not exceed; None where there are none."""
        chosen = self.seconds if hits is None else self.seconds[self.hits == hits]
        return milliseconds(chosen.tolist(), share) if len(chosen) else None


def timed(system: System, tokens: Sequence[np.ndarray], gate: str = "") -> Times:
    """An application's frames, in order; ``gate`` is the actor that reuses answers."""
    seconds, hits, rows = list[float](), list[bool](), list[int]()

    def watch(firing: Firing) -> None:
        if firing.node == gate and firing.mode is not None:
            rows.append(firing.mode)

    with on_disk(system) as stored, SystemAnswers(stored) as answers:
        for token in tokens:
            rows.clear()
            seconds.append(answers.frame(token, watch=watch).seconds)
            hits.append(library().HIT in rows)
    return Times(np.array(seconds), np.array(hits))


def look_up_seconds(features: np.ndarray, options: Options) -> float:
    """The median time of making a key and looking it up in a full cache, on this machine."""
    cache = library()
    key = cache.key_of(features, options.values)
    if key is None:
        key = np.ones(1, np.float32)
    full = _cache(options)
    random = np.random.default_rng(1)
    for each in random.normal(size=(options.entries, len(key))):
        full.put(np.float32(each / np.linalg.norm(each)), np.zeros(1, np.int32))
    seconds = []
    for _ in range(_TIMED):
        begin = perf_counter()
        cache.key_of(features, options.values)
        full.look_up(key)
        seconds.append(perf_counter() - begin)
    return float(np.median(seconds))
