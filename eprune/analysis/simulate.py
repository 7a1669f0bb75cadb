"""The slow, obvious simulator: what the model of computation means, one event at a time.

A firing has two phases. It starts when every input holds the rate's tokens and every output has room for the rate's
tokens, not counting reserved room; the inputs stay in their FIFOs, and the outputs' room is reserved. When it finishes,
its inputs leave and its outputs arrive. An actor has at most one firing at a time. Any event that is possible may be
the next. An actor with a control input looks at the control token that is there before it starts: the rates of its
ports are those of that token's row. A DPA without one fires in those iterations in which its row gives it a rate.

Over ``newest``, and into an input on hold, the producer does not wait: where there is no room, the oldest tokens that
no firing reads are dropped. An input on hold takes the newest tokens, drops the older ones, and gives the last ones
again where there are none. So some actors fire less often than others: one whose tokens will not come any more, for
their producer has done all its firings, has ended, and so has one whose room will not come.

Nothing here knows of the precedence graph: the clever algorithms are tested against this.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Callable, Optional, Union

from eprune.analysis.domains import dividing
from eprune.analysis.lookup import untold
from eprune.analysis.nests import Nests
from eprune.analysis.sdf.repetition import repetition
from eprune.model.graph import Dpg, Fifo, Graph, PortRef

#: ("start" or "finish", actor name)
Event = tuple[str, str]
Choice = Union[random.Random, Callable[[Sequence[Event]], Event]]
#: is given each event, and what each FIFO holds after it, reserved room included: FIFO name -> tokens
Watch = Callable[[Event, Mapping[str, int]], None]


@dataclass(frozen=True)
class Simulation:
    """How a run ended.

    ``firings``: actor name -> firings finished. ``peak``: FIFO name -> the most tokens that it had to hold at one
    time, reserved room included. ``passed``: FIFO name -> tokens that its reader took. ``blocked``: actor name -> why
    it cannot fire, for each that is short of its iterations and has not ended; empty if all went well. ``dropped``:
    FIFO name -> tokens that newer ones took the place of.
    """

    firings: dict[str, int]
    peak: dict[str, int]
    passed: dict[str, int]
    blocked: dict[str, tuple[str, ...]]
    dropped: dict[str, int] = field(default_factory=dict)

    @property
    def deadlocked(self) -> bool:
        """Whether the run stopped before all actors had fired as often as asked."""
        return bool(self.blocked)


#: a FIFO's name, the actor's port at its end, and the port's rates firing by firing
_End = tuple[str, PortRef, tuple[int, ...]]
#: FIFO name -> tokens that a firing takes from it, and those that it gives to it
Rates = tuple[dict[str, int], dict[str, int]]


def _at(ends: Sequence[_End], row: Mapping[PortRef, int], firing: int) -> dict[str, int]:
    """FIFO name -> the tokens of that firing."""
    if row:
        return {name: row.get(ref, rates[firing % len(rates)]) for name, ref, rates in ends}
    return {name: rates[firing % len(rates)] for name, _, rates in ends}


class Wiring:
    """What does not change in a run: who joins whom, the rows that give rates, how often each actor fires.

    ``due``: actor -> firings that are asked of it in so many iterations, with these control values.
    """

    def __init__(self, graph: Graph, iterations: int, control: Mapping[str, Sequence[int]]) -> None:
        self.iterations = iterations
        self.control = control
        #: actor -> its inputs, and its outputs: FIFO, port, and of a static port its rates firing by firing, else its
        #: upper limit, which a row may change
        self.ends: dict[str, tuple[list[_End], list[_End]]] = {actor.name: ([], []) for actor in graph.actors}
        ports = dict(graph.ports())
        self.rows = {dpg.name: {row.value: dpg.rates(row) for row in dpg.rows} for dpg in graph.dpgs}
        self.leads: dict[str, Dpg] = {dpg.control: dpg for dpg in graph.dpgs}
        nests = Nests(graph)
        self.follows = nests.home
        control_ports = {ref for ref, port in graph.ports() if port.control}
        self.inputs: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        self.outputs: dict[str, list[Fifo]] = {actor.name: [] for actor in graph.actors}
        self.controlled: dict[str, Fifo] = {}
        for fifo in graph.fifos:
            self.outputs[fifo.source.actor].append(fifo)
            self.inputs[fifo.target.actor].append(fifo)
            self.ends[fifo.target.actor][0].append((fifo.name, fifo.target, ports[fifo.target].rates))
            self.ends[fifo.source.actor][1].append((fifo.name, fifo.source, ports[fifo.source].rates))
            if fifo.target in control_ports:
                self.controlled[fifo.target.actor] = fifo
        repeats = repetition(graph).firings if graph.is_sdf else {}
        self.due = {actor.name: iterations * repeats.get(actor.name, 1) for actor in graph.actors}
        #: graph -> how often it works; inner ones in those rows of the outer one that give their border a rate
        working: dict[str, int] = {}
        for dpg in reversed(nests.inside_out()):
            working[dpg.name] = iterations
            if dpg.inside:
                border = {ref for ref, owner in nests.border.items() if owner is dpg}
                working[dpg.name] = self._active(dpg.inside, working[dpg.inside], border)
        self.due.update({name: working[dpg.name] for name, dpg in nests.home.items()})
        # those without a control input fire in the rows that give them a rate
        for name in untold(graph):
            dpg = self.follows[name]
            own = {ref for ref in dpg.ports if ref.actor == name}
            self.due[name] = self._active(dpg.name, working[dpg.name], own)
        held = {ref for ref, port in graph.ports() if port.hold}
        self.yielding = {fifo.name for fifo in dividing(graph)}
        self.holding = {fifo.name for fifo in graph.fifos if fifo.target in held}

    def _active(self, dpg: str, iterations: int, ports: Set[PortRef]) -> int:
        """In how many iterations of a graph some of these ports have a rate."""
        values = self.control[dpg]
        rows = (self.rows[dpg][values[k % len(values)]] for k in range(iterations))
        return sum(any(row.get(ref) for ref in ports) for row in rows)

    def chosen(self, actor: str, firing: int) -> Optional[int]:
        """The control value that a control source sends in that firing, from 0; None where it is none."""
        if actor not in self.leads:
            return None
        values = self.control[self.leads[actor].name]
        return values[firing % len(values)]

    def rates_at(self, actor: str, value: Optional[int], firing: int = 0) -> Rates:
        """What a firing, counted from 0, takes and gives with that control value."""
        row: Mapping[PortRef, int] = {}
        if value is not None:
            dpg = self.leads[actor] if actor in self.leads else self.follows[actor]
            row = self.rows[dpg.name][value]
        inputs, outputs = self.ends[actor]
        return _at(inputs, row, firing), _at(outputs, row, firing)


class _State(Wiring):
    """Tokens and reserved room per FIFO, firings per actor: all that changes."""

    def __init__(self, graph: Graph, iterations: int, control: Mapping[str, Sequence[int]]) -> None:
        super().__init__(graph, iterations, control)
        #: the values of the tokens in each control FIFO, the oldest first
        self.values: dict[str, deque[int]] = {fifo.name: deque() for fifo in self.controlled.values()}
        self.tokens = {fifo.name: fifo.delay for fifo in graph.fifos}
        self.reserved = {fifo.name: 0 for fifo in graph.fifos}
        self.peak = dict(self.tokens)
        self.passed = {fifo.name: 0 for fifo in graph.fifos}
        self.finished = {actor.name: 0 for actor in graph.actors}
        self.running: dict[str, Rates] = {}
        self.dropped = dict.fromkeys(self.yielding, 0)

    def value(self, actor: str) -> Optional[int]:
        """The control value of an actor's next firing; None if there is none, or none yet."""
        if actor in self.controlled and actor not in self.leads:
            waiting = self.values[self.controlled[actor].name]
            return waiting[0] if waiting else None
        return self.chosen(actor, self.finished[actor])

    def rates(self, actor: str) -> Rates:
        """What an actor's next firing takes and gives."""
        return self.rates_at(actor, self.value(actor), self.finished[actor])

    def obstacles(self, actor: str) -> tuple[str, ...]:
        """Why an actor that is not running cannot start."""
        chosen = self.value(actor)
        if chosen is None and actor in self.controlled:
            return (f"{self.controlled[actor].name} holds no control token",)
        takes, gives = self.rates(actor)
        short = (
            f"{fifo.name} holds {self.tokens[fifo.name]} of {takes[fifo.name]} tokens"
            for fifo in self.inputs[actor]
            if self.tokens[fifo.name] < takes[fifo.name] and not self.again(fifo)
        )
        full = (
            f"{fifo.name} has room for {self.room(fifo)} of {gives[fifo.name]} tokens"
            for fifo in self.outputs[actor]
            if self.room(fifo) + self.idle(fifo) < gives[fifo.name]
        )
        dpg = self.leads.get(actor) or self.follows.get(actor)
        mode = "" if chosen is None or dpg is None else f" (row {chosen} of '{dpg.name}')"
        return tuple(f"{obstacle}{mode}" for obstacle in (*short, *full))

    def room(self, fifo: Fifo) -> int:
        return fifo.capacity - self.tokens[fifo.name] - self.reserved[fifo.name]

    def again(self, fifo: Fifo) -> bool:
        """Whether the reader has tokens that it may take again."""
        return fifo.name in self.holding and self.passed[fifo.name] > 0

    def idle(self, fifo: Fifo) -> int:
        """Tokens that newer ones may take the place of."""
        if fifo.name not in self.yielding:
            return 0
        reading = self.running.get(fifo.target.actor)
        return self.tokens[fifo.name] - (0 if reading is None else reading[0][fifo.name])

    def drop(self, fifo: Fifo, count: int) -> None:
        self.tokens[fifo.name] -= count
        self.dropped[fifo.name] += count

    def ended(self) -> set[str]:
        """The actors that can fire no more, for others have ended or done all their firings."""
        found: set[str] = set()
        done = {actor for actor, count in self.finished.items() if count >= self.due[actor]}
        while True:
            fresh = {actor for actor in self.finished if actor not in done and self._is_over(actor, done, found)}
            if not fresh:
                return found
            done |= fresh
            found |= fresh

    def _is_over(self, actor: str, done: set[str], ended: set[str]) -> bool:
        takes, gives = self.rates(actor)
        return any(
            fifo.source.actor in done and self.tokens[fifo.name] < takes[fifo.name] and not self.again(fifo)
            for fifo in self.inputs[actor]
        ) or any(
            fifo.target.actor in ended and self.room(fifo) + self.idle(fifo) < gives[fifo.name]
            for fifo in self.outputs[actor]
        )

    def events(self) -> list[Event]:
        """All that can happen next, in file order."""
        possible = []
        for actor, count in self.finished.items():
            if actor in self.running:
                possible.append(("finish", actor))
            elif count < self.due[actor] and not self.obstacles(actor):
                possible.append(("start", actor))
        return possible

    def happen(self, event: Event) -> None:
        phase, actor = event
        if phase == "start":
            takes, gives = self.running[actor] = self.rates(actor)
            for fifo in self.inputs[actor]:
                if fifo.name in self.holding:
                    takes[fifo.name] = min(takes[fifo.name], self.tokens[fifo.name])
                    self.drop(fifo, self.tokens[fifo.name] - takes[fifo.name])
            for fifo in self.outputs[actor]:
                if self.room(fifo) < gives[fifo.name]:
                    self.drop(fifo, gives[fifo.name] - self.room(fifo))
                self.reserved[fifo.name] += gives[fifo.name]
                self.peak[fifo.name] = max(self.peak[fifo.name], self.tokens[fifo.name] + self.reserved[fifo.name])
        else:
            chosen = self.value(actor)
            takes, gives = self.running.pop(actor)
            self.finished[actor] += 1
            for fifo in self.inputs[actor]:
                self.tokens[fifo.name] -= takes[fifo.name]
                self.passed[fifo.name] += takes[fifo.name]
                if fifo.name in self.values:
                    self.values[fifo.name].popleft()
            for fifo in self.outputs[actor]:
                self.reserved[fifo.name] -= gives[fifo.name]
                self.tokens[fifo.name] += gives[fifo.name]
                if fifo.name in self.values and chosen is not None:
                    self.values[fifo.name].append(chosen)

    def held(self) -> dict[str, int]:
        """FIFO name -> tokens, reserved room included."""
        return {name: tokens + self.reserved[name] for name, tokens in self.tokens.items()}


def simulate(
    graph: Graph,
    iterations: int,
    choose: Choice,
    control: Optional[Mapping[str, Sequence[int]]] = None,
    watch: Optional[Watch] = None,
) -> Simulation:
    """Run until every actor has fired ``iterations`` times or nothing more can happen; of a multi-rate graph, so many
    times what it fires in an iteration.

    ``choose`` picks the next event among those that are possible: a random generator, or a function of their list.
    ``control``: dynamic processing graph -> the control values of its firings, one or more, begun again when they are
    used up. Ports that no row gives a rate run at their upper limit. The graph must be sound by all rules but C2.
    Raises KeyError for a graph without values, or a value without a row.
    """
    pick: Callable[[Sequence[Event]], Event] = choose.choice if isinstance(choose, random.Random) else choose
    state = _State(graph, iterations, control or {})
    events = state.events()
    while events:
        event = pick(events)
        state.happen(event)
        if watch is not None:
            watch(event, state.held())
        events = state.events()
    short = [actor for actor, count in state.finished.items() if count < state.due[actor]]
    ended: set[str] = state.ended() if short and state.yielding else set()
    blocked = {actor: state.obstacles(actor) for actor in short if actor not in ended}
    return Simulation(state.finished, state.peak, state.passed, blocked, state.dropped)
