"""Trade-offs of an application that runs at several values of its actors' parameters: values, Pareto front, choice."""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Optional

#: Runs of one sweep at most.
MAX_POINTS = 1000
#: What a metric has in its name if less of it is better.
_SMALLER = {"ms", "s", "seconds", "latency", "bytes", "error", "errors", "loss", "lost"}
#: Decimals of a bin's edge.
_DIGITS = 6


@dataclass(frozen=True)
class Point:
    """One run: the ``values`` of the parameters (``ACTOR.PARAM`` -> text), and what came of it.

    ``metrics`` are what sinks reported, ``shares`` the part of the firings that each row of a dynamic processing graph
    had (graph -> value of the control token -> 0 to 1), ``links`` bytes per frame (``SOURCE -> TARGET`` -> bytes),
    ``ms`` the milliseconds from frame to frame, ``busy`` those that a platform's actors computed per frame. ``problem``
    is why there are none, "" if there are; ``notes`` are what programs noted of what was left out or cut short.
    """

    values: Mapping[str, str]
    metrics: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    links: Mapping[str, float] = field(default_factory=dict)
    ms: Optional[float] = None
    busy: Mapping[str, float] = field(default_factory=dict)
    frames: int = 0
    emulated: bool = False
    problem: str = ""
    notes: Sequence[str] = ()

    @property
    def title(self) -> str:
        """``Exit.threshold=0.8``."""
        return " ".join(f"{name}={value}" for name, value in self.values.items())

    def figures(self) -> dict[str, float]:
        """All figures by the names that an axis or a wish uses: ``accuracy``, ``bytes``, ``ms``, ``Exit.0``."""
        found = dict(self.metrics)
        found.update((f"{dpg}.{row}", share) for dpg, rows in self.shares.items() for row, share in rows.items())
        if self.links:
            found["bytes"] = sum(self.links.values())
        if self.ms is not None:
            found["ms"] = self.ms
        return found


def parse_values(text: str) -> list[str]:
    """The values that ``v1,v2,...``, ``v1;v2;...`` (where values have commas) or ``lo:hi:step`` means.

    A range has both its ends, if a step leads there, and is exact: ``0:0.3:0.1`` has 0.3. Raises ValueError.
    """
    if ";" in text:
        values = [value.strip() for value in text.rstrip("; ").split(";")]
    elif text.count(":") == 2 and "," not in text:
        values = _range(*text.split(":"))
    else:
        values = [value.strip() for value in text.split(",")]
    if "" in values:
        raise ValueError(f"{text!r}: a value is empty")
    return list(dict.fromkeys(values))


def _range(*parts: str) -> list[str]:
    try:
        low, high, step = map(Decimal, parts)
        finite = low.is_finite() and high.is_finite() and step.is_finite()
    except InvalidOperation:
        finite = False
    if not finite or step <= 0 or high < low:
        raise ValueError(f"{':'.join(parts)!r}: expected LOW:HIGH:STEP, numbers, with a step above 0")
    count = int((high - low) / step) + 1
    if count > MAX_POINTS:
        raise ValueError(f"{':'.join(parts)!r}: {count} values are more than {MAX_POINTS}")
    return [f"{low + index * step:f}" for index in range(count)]


def combinations(varied: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every combination of values, the last ones changing fastest. Raises ValueError where they are too many.

    Parameters that vary together are one key, with commas between them.
    """
    count = math.prod(map(len, varied.values()))
    if count > MAX_POINTS:
        raise ValueError(f"{count} combinations are more than {MAX_POINTS}")
    return [
        {name: value for names, value in zip(varied, values) for name in names.split(",")}
        for values in itertools.product(*varied.values())
    ]


def bin_edges(values: Iterable[float], count: int) -> list[str]:
    """Numbers that cut ``values`` into ``count`` bins of as many each: the lower edge of each, and one above all.

    They are rounded down to six decimals, and fewer where values are equal. Raises ValueError where there are none.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("there is nothing to put into bins")
    scale = 10**_DIGITS
    lower = [math.floor(ordered[index * len(ordered) // count] * scale) for index in range(count)]
    edges = sorted({*lower, math.floor(ordered[-1] * scale) + 1})
    return [f"{Decimal(edge) / scale:f}" for edge in edges]


class SweepFrame(NamedTuple):
    """What a sink reported of one frame: how sure the answer was, and whether it was right (None: not known)."""

    confidence: float
    right: Optional[bool] = None


def of_lines(lines: Iterable[Any]) -> tuple[dict[str, float], list[SweepFrame]]:
    """The numbers in JSON objects that are about a whole run, and the frames of which one states the ``confidence``.

    An object with a ``frame`` is about that frame alone, and right if its ``class`` is the ``wanted`` one; of the
    others the last one counts for each name.
    """
    whole: dict[str, float] = {}
    frames: list[SweepFrame] = []
    for line in lines:
        if not isinstance(line, dict):
            continue
        if "frame" not in line:
            whole.update((name, float(value)) for name, value in line.items() if _number(value))
        elif _number(line.get("confidence")):
            known = "class" in line and "wanted" in line
            frames.append(SweepFrame(float(line["confidence"]), line["class"] == line["wanted"] if known else None))
    return whole, frames


def least_accurate_bin(frames: Iterable[SweepFrame], edges: Iterable[float], lowest: float) -> Optional[float]:
    """The accuracy of the least accurate bin among those from ``lowest`` on; None where no frame in them is reported.

    ``edges`` are the lower edges of all bins. A frame that is sure enough to be in these bins leaves early where
    ``lowest`` is the threshold, so its answer is the early exit's.
    """
    counts = {edge: [0, 0] for edge in sorted(edges) if edge >= lowest}
    bounds = list(counts)
    for frame in frames:
        place = bisect.bisect_right(bounds, frame.confidence) - 1
        if place >= 0 and frame.right is not None:
            count = counts[bounds[place]]
            count[0] += frame.right
            count[1] += 1
    return min((right / total for right, total in counts.values() if total), default=None)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def less_is_better(name: str, smaller: Iterable[str] = ()) -> bool:
    """Whether less of a metric is better: those in ``smaller``, and those that are named like a time or an error."""
    return name in smaller or not _SMALLER.isdisjoint(re.split(r"[^a-z]+", name.lower()))


def axes(points: Sequence[Point]) -> Optional[tuple[str, str]]:
    """The quality and the cost that there is a trade-off between, None where no sink reports a quality.

    The quality is the first metric that differs between points, or else that is not just how many frames there were;
    the cost is bytes, where these differ, else milliseconds.
    """
    good = [point for point in points if not point.problem]
    names = list(dict.fromkeys(name for point in good for name in point.metrics))
    differing = [name for name in names if len({point.metrics.get(name) for point in good}) > 1]
    differing += [name for name in names if any(point.metrics.get(name) != point.frames for point in good)]
    if not names:
        return None
    sent = {sum(point.links.values()) for point in good}
    return (differing or names)[0], "bytes" if len(sent) > 1 else "ms"


def front(points: Sequence[Point], axes: Sequence[str], smaller: Iterable[str] = ()) -> list[bool]:
    """For each point whether it is Pareto-optimal: no other is as good along all axes and better along one.

    A point that failed, or lacks a figure, is not. Of points that are equal all are, or none.
    """
    costs = []
    for point in points:
        figures = point.figures()
        whole = not point.problem and all(name in figures for name in axes)
        costs.append([cost(figures[name], name, smaller) for name in axes] if whole else None)
    return pareto(costs)


def pareto(costs: Sequence[Optional[Sequence[float]]]) -> list[bool]:
    """For each tuple of costs whether it is Pareto-optimal: no other is as low in all and lower in one; None is not."""
    front: dict[tuple[float, ...], None] = {}
    for own in sorted({tuple(each) for each in costs if each is not None}):  # what dominates comes first
        if not any(_dominates(other, own) for other in front):
            front[own] = None
    return [each is not None and tuple(each) in front for each in costs]


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(a <= b for a, b in zip(one, other))


def cost(value: float, name: str, smaller: Iterable[str] = ()) -> float:
    """A figure as something of which less is better."""
    return value if less_is_better(name, smaller) else -value


def choose(
    points: Sequence[Point], wishes: Mapping[str, float], price: str, smaller: Iterable[str] = ()
) -> Optional[Point]:
    """The point with the least ``price`` (a figure's name) that is as good as wished; None if none is.

    Where prices are equal, the one that is best at what was wished for.
    """
    granted = []
    for point in points:
        figures = point.figures()
        names = [*wishes, price]
        if point.problem or not all(name in figures for name in names):
            continue
        costs = {name: cost(figures[name], name, smaller) for name in names}
        if all(costs[name] <= cost(wish, name, smaller) for name, wish in wishes.items()):
            granted.append(((costs[price], *(costs[name] for name in wishes)), point))
    return min(granted, key=lambda each: each[0])[1] if granted else None


def best(points: Sequence[Point], name: str, smaller: Iterable[str] = ()) -> Optional[Point]:
    """The point that is best at a figure; None if none has it."""
    having = [point for point in points if not point.problem and name in point.figures()]
    return min(having, key=lambda point: cost(point.figures()[name], name, smaller), default=None)
