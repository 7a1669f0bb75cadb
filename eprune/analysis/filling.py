"""What FIFOs held in the course of a simulated run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from eprune.analysis.simulate import Event
from eprune.model.graph import Graph


@dataclass
class Filling:
    """A watch for ``simulate`` that keeps what each FIFO holds.

    ``steps``: FIFO name -> (event, tokens from it on, reserved room included), whenever they change; event 0 is the
    beginning. ``events`` is how many there were.
    """

    steps: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    events: int = 0

    @classmethod
    def of(cls, graph: Graph) -> Filling:
        """Before the first event of a graph's run: each FIFO holds its delay."""
        return cls({fifo.name: [(0, fifo.delay)] for fifo in graph.fifos})

    def __call__(self, event: Event, held: Mapping[str, int]) -> None:
        """Take note of one event."""
        self.events += 1
        for name, steps in self.steps.items():
            if steps[-1][1] != held[name]:
                steps.append((self.events, held[name]))

    def mean(self, fifo: str) -> float:
        """The tokens that a FIFO held, on average over all events."""
        steps = self.steps[fifo]
        ends = [begin for begin, _ in steps[1:]] + [self.events + 1]
        return sum(tokens * (end - begin) for (begin, tokens), end in zip(steps, ends)) / (self.events + 1)

    def most(self, fifo: str, stretches: int) -> list[int]:
        """The most tokens in each of so many equal stretches of the run, or in each event if there are fewer."""
        length = self.events + 1
        count = min(stretches, length)
        most = [0] * count
        steps = self.steps[fifo]
        ends = [begin for begin, _ in steps[1:]] + [length]
        for (begin, tokens), end in zip(steps, ends):
            for stretch in range(begin * count // length, (end - 1) * count // length + 1):
                most[stretch] = max(most[stretch], tokens)
        return most
