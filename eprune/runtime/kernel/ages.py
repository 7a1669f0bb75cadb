"""How old tokens are: the time from the firing of the source that a token comes from to the firing on it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

#: The birth of a token that comes from no firing of a source, as far as is known: later than all others.
UNBORN = 1 << 62

#: Ages are counted in classes: microseconds up to that number, above it as many for each factor of two, and half of
#: them are used.
_BITS = 6
_CLASSES = 1 << _BITS


@dataclass(frozen=True)
class Age:
    """Of ``tokens`` tokens, half were at most ``p50_ms`` milliseconds old, and 99 of 100 at most ``p99_ms``."""

    tokens: int
    p50_ms: float
    p99_ms: float


class Ages:
    """Counts of ages, in bounded memory. Written by one thread."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def add(self, age: int) -> None:
        """A token was so old, in nanoseconds; one that is not born, or whose clock is ahead, does not count."""
        if age < 0:
            return
        micros = age // 1000
        shift = micros.bit_length() - _BITS
        kind = micros if shift <= 0 else ((shift << _BITS) + (micros >> shift))
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def counts(self) -> dict[int, int]:
        """How many ages were counted so far in each class."""
        return self._counts.copy()

    def summary(self) -> Optional[Age]:
        """None where nothing was counted."""
        return age_of(self.counts())


def age_of(classes: Mapping[int, int]) -> Optional[Age]:
    """What so many ages in each class say; None where there are none."""
    counts = sorted(classes.items())
    total = sum(count for _, count in counts)
    if not total:
        return None
    return Age(total, _percentile(counts, 0.50 * total), _percentile(counts, 0.99 * total))


def _percentile(counts: list[tuple[int, int]], rank: float) -> float:
    """Milliseconds: the middle of the class in which that rank is."""
    until = itertools.accumulate(count for _, count in counts)
    kind = next(kind for (kind, _), seen in zip(counts, until) if seen >= rank)
    shift, micros = divmod(kind, _CLASSES)
    return micros / 1e3 if shift == 0 else (micros + 0.5) * 2**shift / 1e3
