"""What cuts have to keep: how long a single frame may take, and how many frames a second there have to be.

The cost model knows one latency and one rate of a cut, for all its sources and sinks together: a frame begins with the
first source that fires, and ends when the last sink is done. So of several requirements the strictest counts, whatever
their ends are, and the sinks' own time counts although a requirement ends where its sink begins: both are on the safe
side.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from eprune.model.quantity import exact_rate, exact_seconds, parse_timeout

if TYPE_CHECKING:
    from eprune.explore.cost import Prediction
    from eprune.model.graph import Graph

#: A requirement is met up to rounding, relatively.
CLOSE = 1e-6


@dataclass(frozen=True)
class Required:
    """At most so many seconds for a single frame, and at least so many frames per second; None: any."""

    latency: Optional[float] = None
    rate: Optional[float] = None

    def __bool__(self) -> bool:
        return self != ANYTHING

    def __str__(self) -> str:
        rate = [] if self.rate is None else [f"{self.rate:.4g} frames/s"]
        latency = [] if self.latency is None else [f"{1e3 * self.latency:.4g} ms for a single frame"]
        return " and ".join([*rate, *latency])

    def and_(self, other: Required) -> Required:
        """Both together."""
        latencies = [each for each in (self.latency, other.latency) if each is not None]
        rates = [each for each in (self.rate, other.rate) if each is not None]
        return Required(min(latencies, default=None), max(rates, default=None))

    def ratio(self, latency: Optional[float], period: Optional[float]) -> float:
        """How many times as much a cut takes as it may, at worst; 1 or less: it meets this. None: not known."""
        parts = [0.0]
        if self.latency is not None and latency is not None:
            parts.append(latency / self.latency)
        if self.rate is not None and period is not None:
            parts.append(period * self.rate)
        return max(parts)

    def of(self, prediction: Prediction) -> float:
        """The ratio of a cut that is predicted."""
        return self.ratio(prediction.latency, prediction.period)

    def missed(self, latency: Optional[float], period: Optional[float]) -> str:
        """By how much a cut misses this, for people; "" if it does not."""
        parts = []
        if self.rate is not None and period is not None and period * self.rate > 1 + CLOSE:
            parts.append(f"{1 / period:.3g} of {self.rate:.4g} frames/s")
        if self.latency is not None and latency is not None and latency / self.latency > 1 + CLOSE:
            parts.append(f"{1e3 * (latency - self.latency):.3g} ms late")
        return ", ".join(parts)


#: No requirement.
ANYTHING = Required()


def required_of(graph: Graph) -> Required:
    """What an application itself requires."""
    return together(
        Required(None if each.latency is None else float(each.latency), None if each.rate is None else float(each.rate))
        for each in graph.requirements
    )


def together(given: Iterable[Required]) -> Required:
    """All of them."""
    found = ANYTHING
    for each in given:
        found = found.and_(each)
    return found


def parse_required(text: str) -> Required:
    """What ``rate=30/s,latency=100ms`` requires. Raises ValueError, with a message for the user, for anything else."""
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        name = name.strip()
        if name not in ("rate", "latency") or name in found:
            raise ValueError(f"{part!r}: expected rate=30/s, latency=100ms, or both, with a comma")
        if name == "latency":
            parse_timeout(value)  # it is not 0
        found[name] = float(exact_rate(value) if name == "rate" else exact_seconds(value))
    return Required(**found)
