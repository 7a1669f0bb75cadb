"""A cache of answers: what was computed for a frame much like this one is not computed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from answer_cache import AUDIT, HIT, AnswerCache, Bound, Reuse, key_of, misled, shares, store_of
from checks import fraction, number, one_of, whole_number

from eprune.runtime import Actor


class CacheGate(Actor):
    """Gives a known answer to ``hit``, or the ``features`` to ``deep``: an entry DA and the control source.

    The control values are 0, hit, 1, miss, and 2, audit: both. The key is made of the features: their means over a
    coarse grid, less their mean, of length 1. Neighbours are found by the cosine, exactly; the answer of the nearest
    of the prevailing class is reused if it is within a bound. The input ``answer`` brings back, over a FIFO with a
    delay of ``under_way``, what the application answered so many frames before: on a miss, it is kept with its key.

    The bound is the largest distance up to which the upper bound of the 95 % confidence interval of false hits is no
    more than ``false_hits``. False is a hit whose class is not the computed one: audits tell, and misses, of which the
    nearest answer would have been false or right, too. It begins with the ``evidence`` of a calibration; without, all
    frames are misses until there is evidence.

    Figures are ``hits`` (audits, too) and ``hit_share``, ``audits``, ``false_hits`` among these, ``false_share`` with
    the upper bound ``false_share_high``, ``bound`` (-1: nothing hits), and ``entries``. A note says, once, that the
    audits find more false hits than are wished for.

    Parameters:
        false_hits: the share of false hits among hits that is accepted, 0 to 1.
        bound: the largest distance of a hit, as it is calibrated.
        evidence: what the calibration has seen, for each of 24 intervals of distances ``FRAMES:FALSE:ROWS``.
        audit: the share of hits that are computed nevertheless, 0 to 1.
        under_way: the delay of the FIFO that returns answers.
        entries: at most so many answers are kept; the one least recently used makes room.
        lifetime: an answer is forgotten so many frames after it was kept; 0 keeps it.
        nearest: so many neighbours are asked.
        share: at least this share of them must be of one class.
        values: at most about so many numbers are in a key.
        keys: ``float32``, or ``int8``, in a quarter of the memory.
        path: a file from which answers are taken at the beginning, and which gets them at the end; empty: none. Whoever
            reads it learns what the frames showed.
        model: identifies the model and the place of the key: answers that were kept under another one are not taken.
        shared: a name: all caches of this process with that name have their answers in common, those of other cameras,
            and of streams that a service has served before. Whoever sends frames may then learn what others saw.
    """

    PATHS: ClassVar[Mapping[str, str]] = {"path": "write"}

    def __init__(
        self,
        false_hits: str = "0.02",
        bound: str = "0.5",
        evidence: str = "",
        audit: str = "0.02",
        under_way: str = "4",
        entries: str = "1000",
        lifetime: str = "0",
        nearest: str = "3",
        share: str = "0.6",
        values: str = "256",
        keys: str = "float32",
        path: str = "",
        model: str = "",
        shared: str = "",
    ) -> None:
        self.values = _positive("values", values)
        self.under_way = _positive("under_way", under_way)
        self.path = path
        cache = AnswerCache(
            _positive("entries", entries),
            _positive("nearest", nearest),
            fraction("share", share),
            whole_number("lifetime", lifetime),
            one_of("keys", keys, ("float32", "int8")) == "int8",
            model,
        )
        if shared and path:
            raise ValueError("path is for a cache of one's own, and shared for one in common: give one of them")
        if shared:
            cache = store_of(shared, cache)
        limit = Bound(fraction("false_hits", false_hits), evidence, number("bound", bound))
        self.reuse = Reuse(cache, limit, self.under_way, fraction("audit", audit))
        self.noted = False

    def initialize(self) -> None:
        """Check the ports. Raises ValueError if they do not fit."""
        if set(self.inputs) != {"features", "answer"} or set(self.outputs) != {"hit", "deep"}:
            raise ValueError("needs the inputs 'features' and 'answer', the outputs 'hit' and 'deep'")
        if (self.inputs["features"], self.inputs["answer"]) != (self.outputs["deep"], self.outputs["hit"]):
            raise ValueError("needs 'deep' with the type and rate of 'features', and 'hit' with those of 'answer'")
        if {port.rate for port in self.inputs.values()} != {1}:
            raise ValueError("handles one token per firing")
        if self.path:
            self.reuse.cache.load(self.path, self.inputs["answer"].shape, self.inputs["answer"].dtype)

    def finalize(self) -> None:
        """Write the file."""
        if self.path:
            self.reuse.cache.save(self.path)

    def control(self, inputs: Mapping[str, np.ndarray]) -> int:
        """0 for a hit, 1 for a miss, 2 for both."""
        audits = self.reuse.audits
        key = key_of(inputs["features"], self.values)
        with self.reuse.cache.lock:
            self.reuse.returned(inputs["answer"])
            row = self.reuse.decide(key)
        self.figures = shares(self.reuse)
        if self.reuse.audits > audits and not self.noted and misled(self.reuse):
            self.noted = True
            self.note(
                f"of {self.reuse.audits} audited hits {self.reuse.wrong} are false, and the wish is "
                f"{self.reuse.bound.wish:g}: the bound is now {self.reuse.bound.distance:.4g}"
            )
        return row

    def fire(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Copy what is active."""
        if self.mode in (HIT, AUDIT):
            outputs["hit"][...] = self.reuse.reused
        if "deep" in outputs:
            outputs["deep"][...] = inputs["features"]


def _positive(name: str, text: str) -> int:
    value = whole_number(name, text)
    if value < 1:
        raise ValueError(f"{name}={text}: expected 1 or more")
    return value
