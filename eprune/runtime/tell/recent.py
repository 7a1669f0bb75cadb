"""What a run has done in the last seconds, from counters of all that it has done so far."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Callable, Optional

from eprune.runtime.kernel.ages import Age, age_of
from eprune.runtime.tell.judge import RequirementRecord, Tally

#: Seconds that count as recent, and between two of the counts that are kept for it.
WINDOW = 10.0
_STEP = 1.0


@dataclass(frozen=True)
class Counted:
    """Counters at a moment (time.monotonic): of actors their firings and seconds busy, of FIFOs tokens, bytes and lost
    tokens, of sinks' inputs the classes of ages, of requirements what they have found.
    """

    at: float
    actors: Mapping[str, tuple[int, float]]
    fifos: Mapping[str, tuple[int, int, int]]
    ages: Mapping[str, Mapping[int, int]]
    requirements: Mapping[str, Tally] = field(default_factory=dict)


@dataclass(frozen=True)
class Recent:
    """What happened in the last ``seconds``, WINDOW or fewer.

    ``firings_per_s`` of each actor, and ``busy_ms``, the mean time of a firing, of those that fired. ``tokens_per_s``
    and ``bytes_per_s`` of each FIFO, and how many tokens were ``lost`` in those that lost some: dropped, or discarded
    unused. ``ages`` and ``requirements`` as in the status, of the tokens of this time.
    """

    seconds: float = 0.0
    firings_per_s: Mapping[str, float] = field(default_factory=dict)
    busy_ms: Mapping[str, float] = field(default_factory=dict)
    tokens_per_s: Mapping[str, float] = field(default_factory=dict)
    bytes_per_s: Mapping[str, float] = field(default_factory=dict)
    lost: Mapping[str, int] = field(default_factory=dict)
    ages: Mapping[str, Age] = field(default_factory=dict)
    requirements: Mapping[str, RequirementRecord] = field(default_factory=dict)


class Window:
    """Compares counters with those of WINDOW seconds ago, or of its beginning. Any one thread at a time may call it.

    ``judge`` says what counts of a requirement in so many seconds mean.
    """

    def __init__(self, judge: Optional[Callable[[str, Tally, float], RequirementRecord]] = None) -> None:
        self._judge = judge
        self._kept: deque[Counted] = deque()

    def add(self, new: Counted) -> Recent:
        """What has happened since, up to these counters."""
        kept = self._kept
        while len(kept) > 1 and new.at - kept[1].at >= WINDOW:
            kept.popleft()
        if not kept or new.at - kept[-1].at >= _STEP:
            kept.append(new)
        recent = between(kept[0], new)
        if self._judge is None or not recent.seconds:
            return recent
        counts = {name: tally.since(kept[0].requirements[name]) for name, tally in new.requirements.items()}
        judged = {name: self._judge(name, tally, recent.seconds) for name, tally in counts.items()}
        return replace(recent, requirements=judged)


def between(old: Counted, new: Counted) -> Recent:
    """What happened between two moments; nothing is said of less than a second."""
    seconds = new.at - old.at
    if seconds < _STEP:
        return Recent()
    fired = {name: count - old.actors[name][0] for name, (count, _) in new.actors.items()}
    busy = {name: seconds - old.actors[name][1] for name, (_, seconds) in new.actors.items()}
    flown = {name: [a - b for a, b in zip(counts, old.fifos[name])] for name, counts in new.fifos.items()}
    ages = {
        name: age_of({kind: count - old.ages[name].get(kind, 0) for kind, count in counts.items()})
        for name, counts in new.ages.items()
    }
    return Recent(
        round(seconds, 3),
        {name: round(count / seconds, 3) for name, count in fired.items()},
        {name: round(1e3 * busy[name] / count, 4) for name, count in fired.items() if count > 0},
        {name: round(tokens / seconds, 3) for name, (tokens, _, _) in flown.items()},
        {name: round(size / seconds, 1) for name, (_, size, _) in flown.items()},
        {name: lost for name, (_, _, lost) in flown.items() if lost > 0},
        {name: age for name, age in ages.items() if age is not None},
    )
