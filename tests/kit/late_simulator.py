"""A discrete-event simulator of actors whose platforms freeze, hang, restart and lose their links.

The real ``Matcher`` decides for each actor. Around it there is the least that a runtime has: platforms that stand still
or are killed, FIFOs with slots, credits and latency, an owner that looks at its sockets and asks the matcher again when
something has come or the time is up. A platform that is silent for ``DEAD_AFTER`` is taken to be gone, and what was
under way to or from it is lost.

Each token knows when the frames that it was made from were taken; that is what checks look at.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Callable, Optional

from eprune.runtime.fire.decision import Ended, Fire, Starved
from eprune.runtime.fire.matched_ports import ROOM_SHARE, Inlet, Outlet, Standing
from eprune.runtime.fire.matching import Matcher
from eprune.runtime.fire.numbering import Numbering
from eprune.runtime.kernel.adaptive import AdaptiveTimeout

DEAD_AFTER = 2.0
#: seconds between the start of a process and its first firing
START = 0.05


@dataclass(frozen=True)
class Node:
    """An actor. ``time``: seconds that a firing takes; for a source, its period. ``frames``: after them it ends."""

    name: str
    platform: str
    time: float
    quorum: int = 1
    frames: Optional[int] = None
    clock: Optional[float] = None
    patience: float = 60.0


@dataclass(frozen=True)
class Edge:
    """A FIFO of rate 1. ``timeout``: that of its tokens; that for room is a fifth of it. ``floor``: it adapts, down to
    that. ``group``: its verdict is that of all such FIFOs of the same peer.
    """

    source: str
    target: str
    policy: str = "drop"
    capacity: int = 4
    latency: float = 0.005
    timeout: Optional[float] = 0.5
    required: bool = False
    hold: bool = False
    max_age: Optional[float] = None
    floor: Optional[float] = None
    group: bool = False

    @property
    def name(self) -> str:
        return f"{self.source}-{self.target}"


@dataclass(frozen=True)
class Net:
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    @cached_property
    def ends(self) -> dict[str, tuple[list[Edge], list[Edge]]]:
        """Actor -> its inputs and outputs."""
        return {
            node.name: (
                [edge for edge in self.edges if edge.target == node.name],
                [edge for edge in self.edges if edge.source == node.name],
            )
            for node in self.nodes
        }

    def inputs(self, name: str) -> list[Edge]:
        return self.ends[name][0]

    def outputs(self, name: str) -> list[Edge]:
        return self.ends[name][1]

    def lines(self) -> dict[str, int]:
        """FIFO -> its line: the inputs of an actor that have an origin in common are of one line. In order of nodes."""
        origins: dict[str, set[str]] = {}
        lines: dict[str, int] = {}
        for node in self.nodes:
            groups: list[tuple[set[str], list[str]]] = []
            for edge in self.inputs(node.name):
                if edge.hold:
                    lines[edge.name] = -1
                    continue
                joined, names = set(origins[edge.source]), [edge.name]
                rest = []
                for group in groups:
                    if group[0] & joined:
                        joined |= group[0]
                        names += group[1]
                    else:
                        rest.append(group)
                groups = [*rest, (joined, names)]
            lines.update({name: number for number, (_, names) in enumerate(groups) for name in names})
            clocked = {f"clock {node.clock}"} if node.clock else {node.name}
            origins[node.name] = groups[0][0] if len(groups) == 1 else clocked
        return lines


@dataclass(frozen=True)
class Fault:
    """``kind``: freeze or restart of a platform, hang or slow (five times) of an actor, cut of 'platform platform'."""

    kind: str
    where: str
    begin: float
    end: float


@dataclass(frozen=True)
class Token:
    """``serial`` is unique. ``frames``: source -> when the frame was taken that the token was made from."""

    serial: int
    index: int
    frames: dict[str, float]
    level: int = 0


@dataclass(frozen=True)
class Firing:
    """``used``: FIFO -> token; ``held``: FIFOs whose token was given before."""

    begin: float
    end: float
    index: int
    used: dict[str, Token]
    held: frozenset[str]
    zeros: frozenset[str]
    waited: float


class Link:
    """A FIFO: the slots at the consumer, the credit at the producer, and what is under way."""

    def __init__(self, edge: Edge, local: bool) -> None:
        self.edge = edge
        self.local = local
        self.latency = 0.0 if local else edge.latency
        self.epoch = 0
        self.credit = edge.capacity
        self.pending: Optional[Token] = None  # the newest, for which there is no credit
        self.kernel: deque[tuple[str, object]] = deque()  # arrived, but not looked at
        self.slots: dict[int, Token] = {}  # what the consumer has not released, by serial number
        self.told = -1  # the last index or watermark that was sent
        self.ended = False
        self.last_arrival = 0.0
        self.made = 0


@dataclass
class Actor:
    """An actor at run time."""

    node: Node
    matcher: Matcher
    inlets: list[Inlet]
    outlets: list[Outlet]
    numbering: Numbering
    frame: int = 0
    firing: bool = False
    ended: bool = False
    starved: bool = False
    wake: Optional[float] = None
    asked: float = 0.0
    life: int = 0
    trace: list[Firing] = field(default_factory=list)


class Simulator:
    """Runs a net until ``horizon``. ``trace``: actor -> its firings, over all its incarnations."""

    def __init__(self, net: Net, faults: tuple[Fault, ...] = (), horizon: float = 30.0, start: float = 1000.0) -> None:
        self.net = net
        self.faults = faults
        self.horizon = horizon
        self.start = start  # seconds since 1970 at time 0
        self.now = 0.0
        self.serial = 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self.lines = net.lines()
        homes = {node.name: node.platform for node in net.nodes}
        self.homes = homes
        self.links = {e.name: Link(e, homes[e.source] == homes[e.target]) for e in net.edges}
        self.frozen: set[str] = set()
        self.dead: set[str] = set()
        self.cut: set[frozenset[str]] = set()
        self.parked: dict[str, list[Callable[[], None]]] = {}
        self.trace: dict[str, list[Firing]] = {node.name: [] for node in net.nodes}
        self.adaptive = {platform: AdaptiveTimeout() for platform in homes.values()}
        self._standings: dict[tuple[str, str], Standing] = {}
        self.actors = {node.name: self._make(node, 0.0) for node in net.nodes}
        #: tokens in slots: (FIFO, serial) -> times released
        self.released: dict[tuple[str, int], int] = {}
        self.used: dict[tuple[str, int], int] = {}
        self.complaints: list[str] = []

    def run(self) -> None:
        for fault in self.faults:
            self._at(fault.begin, getattr(self, f"_{fault.kind}"), fault)
        for actor in self.actors.values():
            self._at(START, self._step, actor)
        while self._events and self._events[0][0] <= self.horizon:
            self.now, _, event = heapq.heappop(self._events)
            event()

    # Faults

    def _freeze(self, fault: Fault) -> None:
        self.frozen.add(fault.where)
        if fault.end - fault.begin > DEAD_AFTER:
            self._at(fault.begin + DEAD_AFTER, self._part, fault.where, fault.where)
            self._at(fault.end + 0.01, self._meet, fault.where)
        self._at(fault.end, self._thaw, fault.where)

    def _thaw(self, platform: str) -> None:
        self.frozen.discard(platform)
        for action in self.parked.pop(platform, []):
            action()
        for actor in self._on(platform):
            self._step(actor)

    def _restart(self, fault: Fault) -> None:
        self.dead.add(fault.where)
        for actor in self._on(fault.where):
            actor.life += 1
        self._part(fault.where, fault.where)
        self._at(fault.end, self._begin_again, fault.where)

    def _begin_again(self, platform: str) -> None:
        self.dead.discard(platform)
        self.adaptive[platform] = AdaptiveTimeout()
        self._standings = {key: each for key, each in self._standings.items() if key[1] != platform}
        for name, actor in list(self.actors.items()):
            if actor.node.platform == platform:
                self.actors[name] = self._make(actor.node, self.now)
                self.actors[name].life = actor.life
                for edge in self.net.inputs(name):
                    link = self.links[edge.name]
                    link.slots.clear()
                    link.epoch += 1
                    link.kernel.clear()
                for edge in self.net.outputs(name):
                    self.links[edge.name].told = -1
                    self.links[edge.name].pending = None
                    self.links[edge.name].epoch += 1
                    if self.links[edge.name].local:
                        self.links[edge.name].credit = edge.capacity
        self._meet(platform)
        for actor in self._on(platform):
            self._at(self.now + START, self._step, actor)

    def _hang(self, fault: Fault) -> None:
        """Its next firing lasts until the fault's end; see _duration."""

    _slow = _hang

    def _cut(self, fault: Fault) -> None:
        pair = frozenset(fault.where.split())
        self.cut.add(pair)
        if fault.end - fault.begin > DEAD_AFTER:
            self._at(fault.begin + DEAD_AFTER, self._part, *fault.where.split())
            self._at(fault.end + 0.01, self._meet, *fault.where.split())
        self._at(fault.end, self._mend, pair)

    def _mend(self, pair: frozenset[str]) -> None:
        self.cut.discard(pair)
        for action in self.parked.pop(" ".join(sorted(pair)), []):
            action()

    def _between(self, *platforms: str) -> Iterator[Link]:
        for link in self.links.values():
            ends = {self.homes[link.edge.source], self.homes[link.edge.target]}
            if len(ends) == 2 and set(platforms) <= ends:
                yield link

    def _part(self, *platforms: str) -> None:
        """The connections of a platform, or between two, are gone, with what was under way."""
        for link in self._between(*set(platforms)):
            link.epoch += 1
            producer, consumer = self.actors[link.edge.source], self.actors[link.edge.target]
            if producer.node.platform not in self.dead | self.frozen:
                self._outlet(link).reachable = False
                self._soon(producer)
            if consumer.node.platform not in self.dead | self.frozen:
                link.kernel.append(("gone", None))
                self._soon(consumer)

    def _meet(self, *platforms: str) -> None:
        """They are connected again."""
        for link in self._between(*set(platforms)):
            if {self.homes[link.edge.source], self.homes[link.edge.target]} & (self.dead | self.frozen):
                continue
            link.epoch += 1
            producer = self.actors[link.edge.source]
            waiting = sum(kind == "token" for kind, _ in link.kernel)
            link.credit = link.edge.capacity - len(link.slots) - waiting
            self._outlet(link).reachable = True
            if link.ended:
                self._send(link, "end", None)
            self._keep_newest(link)
            self._soon(producer)

    # The owner's work

    def _step(self, actor: Actor) -> None:
        """Ask the matcher until it says to wait."""
        if actor is not self.actors[actor.node.name]:
            return
        platform = actor.node.platform
        if platform in self.frozen or platform in self.dead or actor.firing or actor.ended:
            return
        found = self._look(actor)
        decision = self._decide(actor, False)
        while not isinstance(decision, (Fire, Ended)) and decision.until is not None and decision.until <= self.now:
            found = self._look(actor)
            decision = self._decide(actor, not found)
            if not isinstance(decision, (Fire, Ended)) and not found and (decision.until or self.now + 1) <= self.now:
                raise AssertionError(f"{actor.node.name} neither waits nor fires at {self.now}")
        starved = isinstance(decision, Starved)
        if starved and not actor.starved:
            self._to_all(actor, "starved")
        actor.starved = starved
        if isinstance(decision, Ended):
            self._end(actor)
        elif isinstance(decision, Fire):
            self._fire(actor, decision)
        elif decision.until is not None and decision.until != actor.wake:
            actor.wake = decision.until
            self._at(decision.until, self._wake, actor, decision.until)

    def _wake(self, actor: Actor, time: float) -> None:
        if actor.wake == time:
            actor.wake = None
            self._step(actor)

    def _decide(self, actor: Actor, looked: bool):
        for edge, outlet in zip(self.net.outputs(actor.node.name), actor.outlets):
            outlet.free = max(self.links[edge.name].credit, 0)
        decision = actor.matcher.decide(self.now, looked)
        for inlet, slot in actor.matcher.unused:
            self._release(self.links[inlet.name], slot)
        actor.matcher.unused.clear()
        if not isinstance(decision, Fire):
            self._give_up(actor, actor.matcher.given_up)
        return decision

    def _give_up(self, actor: Actor, index: int) -> None:
        for edge in self.net.outputs(actor.node.name):
            link = self.links[edge.name]
            # It must not come before a token that it stands behind.
            if index > link.told and link.pending is None and self._outlet(link).reachable:
                self._send(link, "watermark", index)
                link.told = index

    def _look(self, actor: Actor) -> bool:
        """Give the matcher what has come; whether something had."""
        found = False
        for inlet in actor.inlets:
            link = self.links[inlet.name]
            while link.kernel:
                found = True
                kind, value = link.kernel.popleft()
                if kind == "token":
                    assert isinstance(value, Token)
                    link.slots[value.serial] = value
                    if value.level and link.edge.floor is not None:
                        self.adaptive[actor.node.platform].heard(self.homes[link.edge.source], value.level)
                    inlet.arrived(value.index, value.serial, self.now, self.now - max(value.frames.values()))
                elif kind == "watermark":
                    assert isinstance(value, int)
                    inlet.watermark(value)
                elif kind == "end":
                    inlet.end()
                else:
                    if kind == "gone":
                        self.adaptive[actor.node.platform].forget(self.homes[link.edge.source])
                    inlet.lost(self.now, gone=kind == "gone")
        for edge, outlet in zip(self.net.outputs(actor.node.name), actor.outlets):
            free = max(self.links[edge.name].credit, 0)
            found |= free != outlet.free
            outlet.free = free
        return found

    def _fire(self, actor: Actor, fire: Fire) -> None:
        used: dict[str, Token] = {}
        for inlet, slots, held in zip(actor.inlets, fire.tokens, fire.held):
            if slots is not None:
                assert len(slots) == 1
                used[inlet.name] = self.links[inlet.name].slots[slots[0]]
                if not held:
                    key = (inlet.name, slots[0])
                    self.used[key] = self.used.get(key, 0) + 1
        held = frozenset(inlet.name for inlet, flag in zip(actor.inlets, fire.held) if flag)
        zeros = frozenset(inlet.name for inlet, flag in zip(actor.inlets, fire.zeros) if flag)
        actor.firing = True
        begin, end = self.now, self._until(actor)
        release = [(i.name, s[0]) for i, s in zip(actor.inlets, fire.tokens) if s is not None and not i.hold]
        use, index, life = list(fire.use), fire.index, actor.life

        def finish() -> None:
            if actor.life != life:
                return
            if actor.node.platform in self.frozen:
                self.parked.setdefault(actor.node.platform, []).append(finish)
                return
            actor.firing = False
            number = actor.numbering.next(self.start + self.now) if index is None else index
            if number is not None:
                firing = Firing(begin, self.now, number, used, held, zeros, begin - actor.asked)
                self.trace[actor.node.name].append(firing)
                self._commit(actor, firing, use)
            for name, slot in release:
                self._release(self.links[name], slot)
            actor.frame += 1
            actor.asked = self.now
            if index is None:
                self._give_up(actor, actor.numbering.given_up)
            if actor.frame == actor.node.frames:
                self._end(actor)
            else:
                self._step(actor)

        self._at(end, finish)

    def _until(self, actor: Actor) -> float:
        """When the firing that begins now ends. A source's camera goes on meanwhile: its frames come by the period."""
        node = actor.node
        time = node.time
        hang = 0.0
        for fault in self.faults:
            if fault.where == node.name and fault.begin <= self.now < fault.end:
                if fault.kind == "slow":
                    time *= 5
                elif fault.kind == "hang":
                    hang = fault.end
        if not self.net.inputs(node.name):
            return max(hang, (int(self.now / time + 1e-6) + 1) * time)
        return max(hang, self.now + time)

    def _commit(self, actor: Actor, firing: Firing, use: list[bool]) -> None:
        frames: dict[str, float] = {}
        for token in firing.used.values():
            for source, taken in token.frames.items():
                frames[source] = max(taken, frames.get(source, taken))
        if not frames:
            frames[actor.node.name] = self.now
        for edge, used in zip(self.net.outputs(actor.node.name), use):
            link = self.links[edge.name]
            if not used:
                continue
            self.serial += 1
            link.made += 1
            link.told = firing.index
            level = self.adaptive[actor.node.platform].level if edge.floor is not None else 0
            link.pending, old = Token(self.serial, firing.index, frames, level), link.pending
            if old is not None and edge.policy != "newest":
                raise AssertionError("a token was sent without room")
            self._keep_newest(link)

    def _keep_newest(self, link: Link) -> None:
        if link.pending is not None and link.credit > 0:
            link.credit -= 1
            self._send(link, "token", link.pending)
            link.pending = None
        elif link.pending is not None and link.edge.policy != "newest" and self._outlet(link).reachable:
            raise AssertionError(f"{link.edge.name}: a token was sent without room")
        elif link.pending is not None and link.edge.policy != "newest":
            link.pending = None

    def _release(self, link: Link, slot: int) -> None:
        key = (link.edge.name, slot)
        self.released[key] = self.released.get(key, 0) + 1
        del link.slots[slot]
        self._travel(link, self.homes[link.edge.source], lambda: self._credited(link))

    def _credited(self, link: Link) -> None:
        link.credit += 1
        self._keep_newest(link)
        self._soon(self.actors[link.edge.source])

    def _end(self, actor: Actor) -> None:
        actor.ended = True
        for edge in self.net.outputs(actor.node.name):
            link = self.links[edge.name]
            link.ended = True
            if self._outlet(link).reachable:
                self._send(link, "end", None)
        for edge in self.net.inputs(actor.node.name):
            outlet = self._outlet(self.links[edge.name])
            outlet.end()
            self._soon(self.actors[edge.source])

    # What is under way

    def _to_all(self, actor: Actor, kind: str) -> None:
        for edge in self.net.outputs(actor.node.name):
            if self._outlet(self.links[edge.name]).reachable:
                self._send(self.links[edge.name], kind, None)

    def _send(self, link: Link, kind: str, value: object) -> None:
        def arrive() -> None:
            link.kernel.append((kind, value))
            self._step(self.actors[link.edge.target])

        self._travel(link, self.homes[link.edge.target], arrive)

    def _travel(self, link: Link, to: str, arrive: Callable[[], None]) -> None:
        """Do ``arrive`` at that platform after the latency, unless the connection has broken meanwhile."""
        epoch = link.epoch
        pair = frozenset((self.homes[link.edge.source], self.homes[link.edge.target]))

        def try_to() -> None:
            if link.epoch != epoch:
                return
            if pair in self.cut and not link.local:
                self.parked.setdefault(" ".join(sorted(pair)), []).append(try_to)
            elif to in self.frozen:
                self.parked.setdefault(to, []).append(try_to)
            else:
                arrive()

        if link.latency == 0 and not self.frozen:
            self._at(self.now, try_to)
        else:
            self._at(self.now + link.latency, try_to)

    # Small things

    def _make(self, node: Node, now: float) -> Actor:
        def line(edge: Edge) -> int:
            return self.lines[edge.name]

        def standing(edge: Edge, peer: str) -> Optional[Standing]:
            if not edge.group:
                return None
            return self._standings.setdefault((self.homes[peer], node.platform), Standing())

        inlets = []
        adapting = [e.timeout for e in self.net.inputs(node.name) if e.floor is not None and e.timeout is not None]
        waits = self.adaptive[node.platform].waits(max(adapting)) if adapting else None
        for e in self.net.inputs(node.name):
            inlet = Inlet(
                e.name,
                e.policy,
                1,
                e.required,
                e.timeout,
                line=line(e),
                hold=e.hold,
                max_age=e.max_age,
                standing=standing(e, e.source),
            )
            if e.floor is not None and e.timeout is not None:
                inlet.waits = waits
                self.adaptive[node.platform].add(inlet, e.floor, e.timeout)
            inlets.append(inlet)
        outlets = [
            Outlet(
                e.name,
                e.policy,
                1,
                None if e.timeout is None else e.timeout * ROOM_SHARE,
                standing=standing(e, e.target),
            )
            for e in self.net.outputs(node.name)
        ]
        for e, outlet in zip(self.net.outputs(node.name), outlets):
            if e.floor is not None and e.timeout is not None:
                self.adaptive[node.platform].add(outlet, e.floor * ROOM_SHARE, e.timeout * ROOM_SHARE)
        stall = min((edge.timeout for edge in self.net.outputs(node.name) if edge.timeout is not None), default=None)
        numbering = Numbering(self.start + now, node.clock, stall=stall, offset=self.start)
        matcher = Matcher(inlets, outlets, node.quorum, patience=node.patience, numbering=numbering)
        return Actor(node, matcher, inlets, outlets, numbering, asked=now)

    def _outlet(self, link: Link) -> Outlet:
        edge = link.edge
        return self.actors[edge.source].outlets[self.net.outputs(edge.source).index(edge)]

    def _on(self, platform: str) -> list[Actor]:
        return [actor for actor in self.actors.values() if actor.node.platform == platform]

    def _soon(self, actor: Actor) -> None:
        self._at(self.now, self._step, actor)

    def _at(self, time: float, function: Callable[..., None], *arguments: object) -> None:
        self._order += 1
        heapq.heappush(self._events, (time, self._order, lambda: function(*arguments)))
