"""The slow, obvious simulator: what the model of computation means, one event at a time.

A firing has two phases. It starts when every input holds the rate's tokens and every output has room for the rate's
tokens, not counting reserved room; the inputs stay in their FIFOs, and the outputs' room is reserved. When it finishes,
its inputs leave and its outputs arrive. An actor has at most one firing at a time. Any event that is possible may be
the next. Nothing here knows of the precedence graph: the clever algorithms are tested against this.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Callable, Union

from eprune.analysis.lookup import fifo_rates
from eprune.model.graph import Fifo, Graph

#: ("start" or "finish", actor name)
Event = tuple[str, str]
Choice = Union[random.Random, Callable[[Sequence[Event]], Event]]


@dataclass(frozen=True)
class Result:
    """How a run ended.

    ``firings``: actor name -> firings finished. ``peak``: FIFO name -> the most tokens that it had to hold at one
    time, reserved room included. ``blocked``: actor name -> why it cannot fire, for each that is short of its
    iterations; empty if all went well.
    """

    firings: dict[str, int]
    peak: dict[str, int]
    blocked: dict[str, tuple[str, ...]]

    @property
    def deadlocked(self) -> bool:
        """Whether the run stopped before all actors had fired as often as asked."""
        return bool(self.blocked)


class _State:
    """Tokens and reserved room per FIFO, firings per actor: all that changes."""

    def __init__(self, graph: Graph, iterations: int) -> None:
        self.rates = fifo_rates(graph)
        self.iterations = iterations
        self.inputs: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        self.outputs: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        for fifo in graph.fifos:
            self.outputs[fifo.source.actor].append(fifo)
            self.inputs[fifo.target.actor].append(fifo)
        self.tokens = {fifo.name: fifo.delay for fifo in graph.fifos}
        self.reserved = {fifo.name: 0 for fifo in graph.fifos}
        self.peak = dict(self.tokens)
        self.finished = {actor.name: 0 for actor in graph.actors}
        self.running: set[str] = set()

    def obstacles(self, actor: str) -> tuple[str, ...]:
        """Why an actor that is not running cannot start."""
        short = (
            f"{fifo.name} holds {self.tokens[fifo.name]} of {self.rates[fifo.name]} tokens"
            for fifo in self.inputs[actor]
            if self.tokens[fifo.name] < self.rates[fifo.name]
        )
        full = (
            f"{fifo.name} has room for {self.room(fifo)} of {self.rates[fifo.name]} tokens"
            for fifo in self.outputs[actor]
            if self.room(fifo) < self.rates[fifo.name]
        )
        return (*short, *full)

    def room(self, fifo: Fifo) -> int:
        return fifo.capacity - self.tokens[fifo.name] - self.reserved[fifo.name]

    def events(self) -> list[Event]:
        """All that can happen next, in file order."""
        possible = []
        for actor, count in self.finished.items():
            if actor in self.running:
                possible.append(("finish", actor))
            elif count < self.iterations and not self.obstacles(actor):
                possible.append(("start", actor))
        return possible

    def happen(self, event: Event) -> None:
        phase, actor = event
        if phase == "start":
            self.running.add(actor)
            for fifo in self.outputs[actor]:
                self.reserved[fifo.name] += self.rates[fifo.name]
                self.peak[fifo.name] = max(self.peak[fifo.name], self.tokens[fifo.name] + self.reserved[fifo.name])
        else:
            self.running.remove(actor)
            self.finished[actor] += 1
            for fifo in self.inputs[actor]:
                self.tokens[fifo.name] -= self.rates[fifo.name]
            for fifo in self.outputs[actor]:
                self.reserved[fifo.name] -= self.rates[fifo.name]
                self.tokens[fifo.name] += self.rates[fifo.name]


def simulate(graph: Graph, iterations: int, choose: Choice) -> Result:
    """Run until every actor has fired ``iterations`` times or nothing more can happen.

    ``choose`` picks the next event among those that are possible: a random generator, or a function of their list.
    All ports run at their upper rate limit. The graph must be sound by rules G1 to G4.
    """
    pick: Callable[[Sequence[Event]], Event] = choose.choice if isinstance(choose, random.Random) else choose
    state = _State(graph, iterations)
    events = state.events()
    while events:
        state.happen(pick(events))
        events = state.events()
    blocked = {actor: state.obstacles(actor) for actor, count in state.finished.items() if count < iterations}
    return Result(state.finished, state.peak, blocked)
