"""What a sink of the kind ``Stamps`` wrote: firings with their times, and what is asked of them."""

import time
from pathlib import Path
from typing import NamedTuple


class Firing(NamedTuple):
    """A firing at ``time`` (time.monotonic). ``tokens``: input port -> count of the camera, and when it was made."""

    time: float
    tokens: dict[str, tuple[int, float]]


class Stamps(list):
    """Firings in their order."""

    def between(self, begin: float, end: float) -> "Stamps":
        """Those of a span of time."""
        return Stamps(firing for firing in self if begin <= firing.time < end)

    def of(self, port: str) -> "Stamps":
        """Those that had a token at this input."""
        return Stamps(firing for firing in self if port in firing.tokens)

    def counts(self, port: str) -> list[int]:
        """What came at an input, by the count of the camera."""
        return [firing.tokens[port][0] for firing in self.of(port)]

    def ages(self, port: str) -> list[float]:
        """How old the tokens of an input were when they were fired on, in seconds."""
        return [firing.time - firing.tokens[port][1] for firing in self.of(port)]

    def pause(self, begin: float, end: float) -> float:
        """The longest time without a firing between two moments."""
        times = [begin, *(firing.time for firing in self.between(begin, end)), end]
        return max(after - before for before, after in zip(times, times[1:]))

    def rate(self, begin: float, end: float) -> float:
        """Firings per second."""
        return len(self.between(begin, end)) / (end - begin)


def read(path: Path) -> Stamps:
    """What has been written so far."""
    stamps = Stamps()
    if path.exists():
        text = path.read_text(encoding="ascii")
        for line in text[: text.rfind("\n") + 1].splitlines():
            moment, *tokens = line.split()
            parts = [token.split("=") for token in tokens]
            stamps.append(Firing(float(moment), {port: (int(count), float(made)) for port, count, made in parts}))
    return stamps


def wait_for(path: Path, there, seconds: float = 30) -> Stamps:
    """Wait until ``there(stamps)``."""
    end = time.monotonic() + seconds
    while True:
        stamps = read(path)
        if there(stamps):
            return stamps
        assert time.monotonic() < end, f"{len(stamps)} firings, the last one {stamps[-1:]}"
        time.sleep(0.02)
