"""The slow, obvious simulator of failures: one event at a time, and in the midst of it things fail.

As ``eprune.analysis.simulate``, with a platform for each actor. When things fail, their actors are gone at once, with
the firing that they were in; over a link that fails no token passes any more, while the consumer keeps what has
arrived. What then happens at the ends of a FIFO that lost its other end, or its link:

- ``stop``: the processes at its ends end. ``wait``: the consumer waits once it has used what it has, the producer once
  its room is full. ``drop``: the consumer has the rest, then goes without; the producer writes to nowhere. ``zero``:
  the same, with a token of zeros.
- An actor that has to go without a required input, or has fewer than its quorum, makes no more tokens and says so:
  its consumers go without, whatever the policy. It throws tokens away, but takes none over ``wait``.
- ``newest`` is ``drop``, within a platform, too. The others there are ``drop`` without time-outs, but if a unit fails,
  the process of whoever is joined to it ends.

Time-outs pass only when nothing else can happen, upstream first. Then an actor that lacks but tokens or room of
``drop`` and ``zero`` FIFOs goes on without them. Where nobody can do that, one that requires such a token gives up, and
starves like one that has lost it.

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

LOSSY = (FaultPolicy.DROP, FaultPolicy.ZERO)


@dataclass
class Queue:
    """A FIFO at run time. ``fill`` is what the producer knows of: no room comes free any more once it is broken."""

    fifo: Fifo
    rate: int
    policy: FaultPolicy
    local: bool
    newest: bool
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

    def goes_on(self, late: bool) -> bool:
        """Whether its ends do without it: at once, or, ``late``, after a time-out."""
        return (self.broken or (late and (self.newest or not self.local))) and self.policy in LOSSY


class FaultSimulator:
    """A run that things can fail in.

    ``firings``: actor name -> firings finished; ``last``: actor name -> source -> the last firing of it that the
    actor's firings came from.
    """

    def __init__(self, graph: Graph, homes: Mapping[str, str], rng: random.Random) -> None:
        self.rng = rng
        self.homes = homes
        ports = dict(graph.ports())
        rates = fifo_rates(graph)
        self.quorum = {actor.name: actor.quorum or 1 for actor in graph.actors}
        self.inputs: dict[str, list[Queue]] = {actor.name: [] for actor in graph.actors}
        self.outputs: dict[str, list[Queue]] = {actor.name: [] for actor in graph.actors}
        for fifo in graph.fifos:
            target = ports[fifo.target]
            local = homes[fifo.source.actor] == homes[fifo.target.actor]
            newest = fifo.policy is FaultPolicy.NEWEST
            policy = FaultPolicy.DROP if local or newest else fifo.policy
            queue = Queue(fifo, rates[fifo.name], policy, local, newest, target.required, target.control)
            queue.tokens.extend([{}] * fifo.delay)
            queue.fill = fifo.delay
            self.outputs[fifo.source.actor].append(queue)
            self.inputs[fifo.target.actor].append(queue)
        self.firings = dict.fromkeys(self.inputs, 0)
        self.running: dict[str, dict[str, int]] = {}
        self.last: dict[str, dict[str, int]] = {actor: {} for actor in self.inputs}
        self.gone: set[str] = set()
        self.ended: set[str] = set()
        self.starved: set[str] = set()

    def run(self, target: int, events: int | None = None) -> None:
        """Until everybody left has fired ``target`` times or can do nothing more, or for so many events."""
        while events != 0:
            possible = [event for actor in self.firings for event in self._events(actor, target)]
            possible = possible or [("start", actor) for actor in self._first(self._late(target))]
            possible = possible or [("starve", actor) for actor in self._first(self._lacking(target))]
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
        cut = [q for queues in self.inputs.values() for q in queues if q.ends & actors or q.fifo.name in links]
        for queue in cut:
            queue.broken = True
        for queue in cut:
            if queue.local or queue.policy is FaultPolicy.STOP:
                self._end(queue.ends)

    def _end(self, actors: set[str]) -> None:
        """The processes of these actors end, and those that are joined to them by ``stop``."""
        homes = {self.homes[actor] for actor in actors - self.gone}
        fresh = {actor for actor, home in self.homes.items() if home in homes} - self.gone - self.ended
        self.ended |= fresh
        for actor in fresh:
            self.running.pop(actor, None)
        for queue in [q for actor in fresh for q in (*self.inputs[actor], *self.outputs[actor])]:
            queue.broken = True
            if queue.policy is FaultPolicy.STOP:
                self._end(queue.ends)

    @property
    def left(self) -> set[str]:
        """Who has neither gone nor ended nor starved."""
        return self.firings.keys() - self.gone - self.ended - self.starved

    def blocked(self, target: int) -> set[str]:
        """Who is left and came to a stand before the target."""
        return {actor for actor in self.left if self.firings[actor] < target}

    def _events(self, actor: str, target: int) -> list[tuple[str, str]]:
        if actor not in self.left:
            return []
        if actor in self.running:
            return [("finish", actor)]
        if self._goes_without(actor):
            return [("starve", actor)]
        return [("start", actor)] if self._ready(actor, target, False) else []

    def _goes_without(self, actor: str, late: bool = False) -> bool:
        """Whether it has to go without what it needs."""
        unfed = [q for q in self.inputs[actor] if q.policy is FaultPolicy.DROP and not q.fed]
        lost = [q for q in unfed if q.goes_on(late)]
        data = [q for q in self.inputs[actor] if not q.control]
        left = [q for q in data if q not in lost]
        return any(q.required or q.control for q in lost) or (len(data) > 0 and len(left) < self.quorum[actor])

    def _ready(self, actor: str, target: int, late: bool) -> bool:
        return (
            actor in self.left
            and actor not in self.running
            and self.firings[actor] < target
            and not self._goes_without(actor, late)
            and all(q.fed or q.goes_on(late) for q in self.inputs[actor])
            and all(q.fill + q.rate <= q.fifo.capacity or q.goes_on(late) for q in self.outputs[actor])
        )

    def _late(self, target: int) -> set[str]:
        """Who can fire after a time-out."""
        return {actor for actor in self.left if self._ready(actor, target, True)}

    def _lacking(self, target: int) -> set[str]:
        """Who lacks, after a time-out, what it needs."""
        return {actor for actor in self.left if self.firings[actor] < target and self._goes_without(actor, True)}

    def _first(self, actors: set[str]) -> list[str]:
        """Those of the actors that no others of them lead to: time-outs grow downstream."""
        behind = {actor: self._behind(actor) for actor in actors}
        first = [actor for actor in actors if not any(actor in behind[other] for other in actors - {actor})]
        return sorted(first or actors)

    def _behind(self, actor: str) -> set[str]:
        """All that tokens of this actor lead to."""
        found: set[str] = set()
        stack = [actor]
        while stack:
            fresh = {q.fifo.target.actor for q in self.outputs[stack.pop()]} - found
            found |= fresh
            stack += fresh
        return found

    def _start(self, actor: str) -> None:
        origin = {} if self.inputs[actor] else {actor: self.firings[actor]}
        for token in [token for q in self.inputs[actor] if q.fed for token in list(q.tokens)[: q.rate]]:
            for source, firing in token.items():
                origin[source] = max(firing, origin.get(source, 0))
        self.running[actor] = origin
        for queue in self.outputs[actor]:
            queue.fill += queue.rate

    def _finish(self, actor: str) -> None:
        token = self.running.pop(actor)
        self.last[actor] = {
            source: max(token.get(source, 0), self.last[actor].get(source, 0)) for source in {*token, *self.last[actor]}
        }
        self.firings[actor] += 1
        for queue in [queue for queue in self.inputs[actor] if queue.fed]:
            for _ in range(queue.rate):
                queue.tokens.popleft()
            queue.fill -= 0 if queue.broken else queue.rate
        for queue in [queue for queue in self.outputs[actor] if not queue.broken]:
            queue.tokens.extend([token] * queue.rate)

    def _starve(self, actor: str) -> None:
        self.starved.add(actor)
        for queue in self.inputs[actor]:
            queue.broken = True
            if queue.policy is FaultPolicy.STOP:
                queue.policy = FaultPolicy.DROP
        for queue in self.outputs[actor]:
            queue.broken = True
            if queue.policy is not FaultPolicy.ZERO:
                queue.policy = FaultPolicy.DROP
