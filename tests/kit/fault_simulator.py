"""The slow, obvious simulator of failures: one event at a time, and in the midst of it things fail.

As ``eprune.analysis.simulate``, with a platform for each actor. When things fail, their actors are gone at once, with
the firing that they were in; over a link that fails no token passes any more, while the consumer keeps what has
arrived. What then happens at the ends of a FIFO that lost its other end, or its link:

- ``stop``: the run stops. ``wait``: the consumer waits once it has used what it has, the producer once its room is
  full. ``drop``: the consumer has the rest, then goes without; the producer writes to nowhere. ``zero``: the same, with
  a token of zeros.
- An actor that has to go without a required input, or has fewer than its quorum, closes all its FIFOs and is no more.
- FIFOs within a platform are ``drop``, but if a unit fails, whoever of the same platform is joined to it stops the run.

A token tells which firings of which sources it comes from, the last one of each. Nothing here knows of the closure that
the analysis computes.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from eprune.analysis.lookup import fifo_rates
from eprune.model.graph import FaultPolicy, Fifo, Graph


@dataclass
class Queue:
    """A FIFO at run time. ``fill`` is what the producer knows of: no room comes free any more once it is broken."""

    fifo: Fifo
    rate: int
    policy: FaultPolicy
    local: bool
    required: bool
    control: bool
    tokens: deque[dict[str, int]] = field(default_factory=deque)
    fill: int = 0
    broken: bool = False

    @property
    def ends(self) -> set[str]:
        return {self.fifo.source.actor, self.fifo.target.actor}

    @property
    def fed(self) -> bool:
        return len(self.tokens) >= self.rate


class FaultSimulator:
    """A run that things can fail in.

    ``firings``: actor name -> firings finished; ``last``: actor name -> what its last firing came from.
    """

    def __init__(self, graph: Graph, homes: Mapping[str, str], rng: random.Random) -> None:
        self.rng = rng
        ports = dict(graph.ports())
        rates = fifo_rates(graph)
        self.quorum = {actor.name: actor.quorum or 1 for actor in graph.actors}
        self.inputs: dict[str, list[Queue]] = {actor.name: [] for actor in graph.actors}
        self.outputs: dict[str, list[Queue]] = {actor.name: [] for actor in graph.actors}
        for fifo in graph.fifos:
            target = ports[fifo.target]
            local = homes[fifo.source.actor] == homes[fifo.target.actor]
            policy = FaultPolicy.DROP if local else fifo.policy
            queue = Queue(fifo, rates[fifo.name], policy, local, target.required, target.control)
            queue.tokens.extend([{}] * fifo.delay)
            queue.fill = fifo.delay
            self.outputs[fifo.source.actor].append(queue)
            self.inputs[fifo.target.actor].append(queue)
        self.firings = dict.fromkeys(self.inputs, 0)
        self.running: dict[str, dict[str, int]] = {}
        self.last: dict[str, dict[str, int]] = {actor: {} for actor in self.inputs}
        self.gone: set[str] = set()
        self.starved: set[str] = set()
        self.stopped = False

    def run(self, target: int, events: int | None = None) -> None:
        """Until everybody left has fired ``target`` times or can do nothing more, or for so many events."""
        while not self.stopped and events != 0:
            possible = [event for actor in self.firings for event in self._events(actor, target)]
            if not possible:
                return
            what, actor = self.rng.choice(possible)
            {"start": self._start, "finish": self._finish, "starve": self._starve}[what](actor)
            events = None if events is None else events - 1

    def fail(self, actors: frozenset[str], links: frozenset[str]) -> None:
        """These actors are gone, and over these FIFOs nothing passes any more."""
        self.gone |= actors
        for actor in actors:
            self.running.pop(actor, None)
        for queue in [queue for queues in self.inputs.values() for queue in queues]:
            if queue.ends & actors or queue.fifo.name in links:
                queue.broken = True
                if not queue.ends <= actors and (queue.local or queue.policy is FaultPolicy.STOP):
                    self.stopped = True

    def blocked(self, target: int) -> set[str]:
        """Who is left and came to a stand before the target."""
        return {actor for actor, count in self.firings.items() if count < target} - self.gone - self.starved

    def _events(self, actor: str, target: int) -> list[tuple[str, str]]:
        if actor in self.gone or actor in self.starved:
            return []
        if actor in self.running:
            return [("finish", actor)]
        if self._goes_without(actor):
            return [("starve", actor)]
        return [("start", actor)] if self.firings[actor] < target and self._ready(actor) else []

    def _goes_without(self, actor: str) -> bool:
        lost = [q for q in self.inputs[actor] if q.broken and not q.fed and q.policy is FaultPolicy.DROP]
        data = [q for q in self.inputs[actor] if not q.control]
        left = [q for q in data if q not in lost]
        return any(q.required or q.control for q in lost) or (len(data) > 0 and len(left) < self.quorum[actor])

    def _ready(self, actor: str) -> bool:
        return all(
            q.fed or (q.broken and q.policy in (FaultPolicy.DROP, FaultPolicy.ZERO)) for q in self.inputs[actor]
        ) and all(
            q.fill + q.rate <= q.fifo.capacity or (q.broken and q.policy in (FaultPolicy.DROP, FaultPolicy.ZERO))
            for q in self.outputs[actor]
        )

    def _start(self, actor: str) -> None:
        origin = {} if self.inputs[actor] else {actor: self.firings[actor]}
        for token in [token for q in self.inputs[actor] if q.fed for token in list(q.tokens)[: q.rate]]:
            for source, firing in token.items():
                origin[source] = max(firing, origin.get(source, 0))
        self.running[actor] = origin
        for queue in self.outputs[actor]:
            queue.fill += queue.rate

    def _finish(self, actor: str) -> None:
        self.last[actor] = token = self.running.pop(actor)
        self.firings[actor] += 1
        for queue in [queue for queue in self.inputs[actor] if queue.fed]:
            for _ in range(queue.rate):
                queue.tokens.popleft()
            queue.fill -= 0 if queue.broken else queue.rate
        for queue in [queue for queue in self.outputs[actor] if not queue.broken]:
            queue.tokens.extend([token] * queue.rate)

    def _starve(self, actor: str) -> None:
        self.starved.add(actor)
        for queue in (*self.inputs[actor], *self.outputs[actor]):
            queue.broken = True
            self.stopped |= queue.policy is FaultPolicy.STOP
