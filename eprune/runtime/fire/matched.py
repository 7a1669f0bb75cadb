"""Firing where tokens may be lost, late or old: an actor's ends of FIFOs, and the matcher that decides on its firings.

``matching`` decides; this module has the FIFOs, the bell and the clock. Rule F2 lets nothing be lost inside of a
dynamic processing graph, and where something can be lost before, the entry is the control source: what it does not fire
on exists for none of the others. So the inputs of the control source are matched, and all others follow its control
tokens, index and all. They starve only where none comes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Callable, Optional, Protocol, Union

import numpy as np

from eprune.runtime.fire.decision import Ended, Fire, Starved
from eprune.runtime.fire.matched_ports import Inlet, Outlet
from eprune.runtime.fire.matching import Matcher
from eprune.runtime.fire.numbering import Numbering
from eprune.runtime.kernel.actor import Actor
from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.bell import Bell
from eprune.runtime.kernel.fifo import Fifo, Input, Output, Tokens
from eprune.runtime.kernel.held import Copy, Held
from eprune.runtime.kernel.newest import NewestFifo
from eprune.runtime.kernel.outputs import Rooms

#: Seconds after which a token is late, unless its FIFO states them: of one that gets zeros, and of all others.
ZERO_TIMEOUT, TIMEOUT = 1.0, 2.0
#: The share of that which a producer waits for room.
ROOM_SHARE = 0.2


class MatchedInput(Input):
    """An input whose tokens may be missing; ``inlet`` is what the matcher knows of it."""

    birth = UNBORN

    def __init__(self, name: str, fifo: Fifo, rate: int, inlet: Inlet) -> None:
        super().__init__(name, fifo, rate)
        self.inlet = inlet
        #: firings without a token or zeros, with zeros in its place, with the token that was given before
        self.missing = self.zeros = self.held = 0
        self._seen = 0  # the number of the next token that the matcher is told of
        self._lost = False
        self._back: set[int] = set()  # tokens that are finished with before older ones
        self._zero: Optional[np.ndarray] = None

    @property
    def alive(self) -> bool:
        """Whether tokens can be expected: after an outage, from its first token on."""
        return self.inlet.alive and not self.inlet.ended

    def state(self) -> tuple[object, ...]:
        """What changes when something happens at the producer's end."""
        fifo = self.fifo
        return fifo.written, fifo.ended, fifo.lost, fifo.passed

    def poll(self, now: float) -> None:
        """Tell the matcher what has happened."""
        fifo, inlet = self.fifo, self.inlet
        passed = fifo.passed  # what it covers has been written before
        written = fifo.written
        while self._seen < written:
            slot = self._seen % fifo.capacity
            inlet.arrived(fifo.firings[slot], self._seen, now, self._age(slot))
            self._seen += 1
            self._lost = False
        self._follow(now, passed)

    def _age(self, slot: int) -> float:
        """How many seconds old a token is; asked only where that matters."""
        if self.inlet.max_age is None:
            return 0.0
        return max((time.perf_counter_ns() - self.born(slot)) / 1e9, 0.0)

    def _follow(self, now: float, passed: int) -> None:
        fifo, inlet = self.fifo, self.inlet
        if passed > inlet.reached:
            inlet.watermark(passed)
        if fifo.lost != self._lost:
            self._lost = fifo.lost
            if fifo.lost:
                inlet.lost(now, fifo.gone)
        if not inlet.ended and self._ends():
            inlet.end()

    def _ends(self) -> bool:
        """Whether no tokens come any more, and all that have come were seen."""
        return self.fifo.ended and self._seen == self.fifo.written

    def give_back(self, number: int, used: bool) -> None:
        """A token is finished with."""
        fifo = self.fifo
        fifo.discarded += not used
        if number != fifo.released:
            self._back.add(number)
            return
        count = 1
        while number + count in self._back:
            self._back.remove(number + count)
            count += 1
        fifo.release(count)

    def views(self, numbers: Sequence[int]) -> Tokens:
        """The tokens of these numbers: an array, or a list of them."""
        fifo = self.fifo
        found = [fifo.token(number) for number in numbers]
        return found if self._limit > 1 else found[0]

    def born(self, number: int) -> int:
        """When the oldest firing of a source began that the token of this number comes from."""
        return self.fifo.births[number % self.fifo.capacity]

    def zero(self, value: Any) -> Tokens:
        """What stands for a token that is missing: ``value`` everywhere."""
        if self._zero is None:
            whole = self.fifo.readable[0]
            self._zero = np.full_like(whole[:0] if self.fifo.variable else whole, value)
            self._zero.flags.writeable = False
        return [self._zero] * self.rate if self._limit > 1 else self._zero


class NewestInput(MatchedInput):
    """An input of a FIFO within the platform that keeps the newest: takes them when the matcher is to decide."""

    fifo: NewestFifo

    def poll(self, now: float) -> None:
        """Take the newest tokens; those that it had taken before give way."""
        passed = self.fifo.passed
        taken = self.fifo.take()
        if taken is not None:
            while slots := self.inlet.evict():
                for slot in slots:
                    self.fifo.give_back(slot, False)
            index, slots = taken
            for slot in slots:
                self.inlet.arrived(index, slot, now, self._age(slot))
            self._lost = False
        self._seen = self.fifo.written if not self.fifo.waits else -1
        self._follow(now, passed)

    def give_back(self, number: int, used: bool) -> None:
        """A token is finished with."""
        self.fifo.give_back(number, used)


class HeldInput(MatchedInput):
    """An input on hold: it has copies of the newest tokens, which it takes when the matcher is to decide."""

    fifo: Held

    def __init__(self, name: str, fifo: Held, rate: int, inlet: Inlet) -> None:
        super().__init__(name, fifo, rate, inlet)
        self._copy = Copy(fifo, rate)

    def state(self) -> tuple[object, ...]:
        """What changes when something happens at the producer's end."""
        return self.fifo.known, *super().state()[1:]

    def poll(self, now: float) -> None:
        """Take the newest tokens; those that it had taken before give way."""
        fifo, passed, known = self.fifo, self.fifo.passed, self.fifo.known
        index = fifo.take(self._copy)
        if index is not None:
            for place in range(self.rate):
                self.inlet.arrived(index, place, now, self._age(place))
            self._lost = False
        self._seen = known
        self._follow(now, passed)

    def give_back(self, number: int, used: bool) -> None:
        """A token is finished with: it was a copy."""

    def views(self, numbers: Sequence[int]) -> Tokens:
        """The tokens of these numbers: an array, or a list of them."""
        found = [self._copy.tokens[number] for number in numbers]
        return found if self._limit > 1 else found[0]

    def born(self, number: int) -> int:
        """When the oldest firing of a source began that the token of this number comes from."""
        return self._copy.births[number]


class FollowingInput(Input):
    """A control input of an actor that follows: none of its tokens is lost, but none may come for a while."""

    #: called when no tokens come to an actor that waits, and when they come again
    starve: Callable[[bool], None]

    def acquire(self) -> Optional[Tokens]:
        """Wait for the next token through all outages; None at the end."""
        fifo = self.fifo
        while fifo.written == fifo.released:
            fifo.reader.wait(lambda: fifo.written > fifo.released or fifo.ended or fifo.lost)
            if fifo.written > fifo.released:
                break
            if fifo.ended:
                return None
            self.starve(True)
            fifo.reader.wait(lambda: fifo.written > fifo.released or fifo.ended or not fifo.lost)
        self.starve(False)
        return super().acquire()


class MatchedOutput(Output):
    """An output whose consumer may be gone, or late with room: what is written then is dropped."""

    def __init__(self, name: str, fifo: Fifo, rate: int, outlet: Outlet) -> None:
        super().__init__(name, fifo, rate)
        self.outlet = outlet
        #: the outlet's time-out counts once the consumer has begun to fire: until then it starts, and is not late
        self._begun = fifo.begun
        self.timeout = outlet.timeout
        #: whether the firing's tokens go into the FIFO
        self.used = True
        self._scratch = Rooms(np.zeros_like(fifo.writable[0]) for _ in range(rate))

    def at(self, rate: int) -> Output:
        """The same end at another rate, where its tokens are never lost; see Output.at."""
        return self if rate == self.rate else super().at(rate)

    @property
    def timeout(self) -> Optional[float]:
        """Seconds for which room is waited for."""
        return self._timeout

    @timeout.setter
    def timeout(self, seconds: Optional[float]) -> None:
        self._timeout = seconds
        self.outlet.timeout = seconds if self._begun else None

    @property
    def alive(self) -> bool:
        """Whether the tokens reach a consumer, as far as is known."""
        return not self.outlet.over and self.fifo.connected

    def state(self) -> tuple[object, ...]:
        """What changes when something happens at the consumer's end."""
        return self.fifo.released, self.fifo.left, self.fifo.connected, self.fifo.begun

    def poll(self) -> None:
        """Tell the matcher what has happened."""
        fifo, outlet = self.fifo, self.outlet
        outlet.free = fifo.capacity - fifo.written + fifo.released
        outlet.reachable = fifo.connected
        if not self._begun and (fifo.begun or not fifo.connected):
            self._begun = True
            outlet.timeout = self._timeout
            outlet.since = time.monotonic()
        if fifo.left and not outlet.over and (outlet.free < self.rate or outlet.lossy):
            outlet.end()

    def use(self, used: bool) -> None:
        """Whether the next firing's tokens are to go into the FIFO; where they reach nobody, it counts them."""
        self.used = used or not (self.outlet.over or self.fifo.connected)

    def acquire(self) -> Optional[Tokens]:
        """Room for one firing's tokens, or for what is dropped; None if there is none, nor ever will be."""
        keeper = self.fifo.keeper
        if keeper is not None:
            rooms = [keeper.writable[slot] for slot in keeper.reserve()]
            return Rooms(rooms) if self._limit > 1 else rooms[0]
        if self.used:
            return super().acquire()
        return self._scratch if self._limit > 1 else self._scratch[0]

    def commit(self, firing: int, birth: int = UNBORN) -> None:
        """Hand the firing's tokens over."""
        if self.used or self.fifo.keeper is not None:
            super().commit(firing, birth)
        else:
            self.fifo.skip(self.rate)

    def give_up(self) -> None:
        """The firing's tokens are not sent."""
        if self.fifo.keeper is not None:
            self.fifo.keeper.give_up()


class Starvation:
    """Whether an actor cannot fire for now; its consumers, at ``outputs``, are told when that changes."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.starved = False
        self._outputs = outputs

    def tell(self, starved: bool) -> None:
        """This actor cannot fire, or can again."""
        if starved != self.starved:
            self.starved = starved
            for output in self._outputs:
                output.fifo.starve(starved)


class Route(Protocol):
    """What chooses the output that gets the firing's token, and keeps it until it is answered (``routed``)."""

    @property
    def awaits(self) -> bool:
        """Whether some token is not answered yet, and may be."""

    def poll(self, now: float) -> None:
        """See what has been answered or lost, send again what must be, and choose. After all outputs."""

    def due(self) -> Optional[float]:
        """When to poll although nothing has changed (time.monotonic); None: not before something does."""

    def state(self) -> tuple[object, ...]:
        """What changes when there is an answer."""


class Matched:
    """The strategy of an actor whose ends may lack tokens or room.

    ``told`` are the outputs whose consumers learn when this actor cannot fire. A source's ``numbering`` gives the index
    when its firing is over; with ``early`` before.
    """

    def __init__(
        self,
        behaviour: Actor,
        inputs: Sequence[MatchedInput],
        outputs: Sequence[MatchedOutput],
        told: Sequence[Output],
        matcher: Matcher,
        numbering: Numbering,
        limit: Optional[int] = None,
        early: bool = False,
        route: Optional[Route] = None,
    ) -> None:
        self.matcher = matcher
        #: what chooses the output that gets the firing's token, where it is sent over one of them
        self.route = route
        self.numbering = numbering
        self.limit = limit
        self.stopped = False
        self.bell = Bell()
        self._behaviour = behaviour
        self._inputs = inputs
        self._outputs = outputs
        self._ends: list[Union[MatchedInput, MatchedOutput]] = [*inputs, *outputs]
        self._owners = {id(port.inlet): port for port in inputs}
        self._starvation = Starvation(told)
        self._told = told
        self._early = early
        self._index: Optional[int] = None
        self._birth = UNBORN
        self._alive: tuple[bool, ...] = ()
        self._fire: Fire
        self._told_up_to = -1
        #: when it is to be asked again although nothing has changed (time.monotonic), if it was not ready
        self.until: Optional[float] = None
        self._before: Optional[list[tuple[object, ...]]] = None  # the ends' state when it was not ready
        self._decision: Optional[Union[Fire, Ended]] = None

    @property
    def starved(self) -> bool:
        """Whether the actor cannot fire for now."""
        return self._starvation.starved

    def take(self, tokens: dict[str, Any]) -> bool:
        """Wait for the next firing and take its tokens, by port; False at the end."""
        while not self.stopped:
            if self.ready:
                decision, self._decision = self._decision, None
                if isinstance(decision, Fire):
                    self._use(decision, tokens)
                    return True
                return False
            self.bell.wait(lambda: self.stopped or self._before != self._state(), self.until)
        return False

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait. If not, it need not be asked before something changes, or `until`."""
        if self._decision is None and not self._settled():
            self._decision = self._decide()
            if self._decision is not None:
                self._before = None
        return self._decision is not None

    def _settled(self) -> bool:
        """Whether nothing has changed since it was not ready."""
        if self._before != self._state():
            return False
        return self.until is None or time.monotonic() < self.until

    def _decide(self) -> Optional[Union[Fire, Ended]]:
        """Look at all ends once. None if there is nothing to do yet; others have been told what they must know."""
        if not self._inputs and self.numbering.firings == self.limit:
            return Ended(())
        decide = self.matcher.decide
        while True:
            self._before = self._state()
            now = time.monotonic()
            self._poll(now)
            decision = decide(now)
            thrown = self._release_unused()
            if not isinstance(decision, (Fire, Ended)) and decision.until is not None and decision.until <= now:
                self.bell.look()
                self._before = self._state()
                now = time.monotonic()
                self._poll(now)
                decision = decide(now, looked=True)
                self._release_unused()
            if isinstance(decision, Fire):
                self._starvation.tell(False)
                return decision
            if isinstance(decision, Ended):
                if self.route is None or not self.route.awaits:
                    return decision
                self.until = self.route.due()  # what was sent is not answered yet
                return None
            self._starvation.tell(isinstance(decision, Starved))
            self._pass_on()
            if not (thrown and isinstance(decision, Starved)):  # without these tokens it may be over
                self.until = decision.until
                due = None if self.route is None else self.route.due()
                if due is not None:
                    self.until = due if self.until is None else min(due, self.until)
                return None

    def linger(self) -> None:
        """The behaviour has ended: wait until what was sent is answered."""
        while self.route is not None and not self.stopped:
            self._before = self._state()
            self._poll(time.monotonic())
            if not self.route.awaits:
                return
            self.bell.wait(lambda: self.stopped or self._before != self._state(), self.route.due())

    def birth(self, begin: int) -> int:
        """When the oldest firing of a source began that the tokens come from."""
        return self._birth if self._inputs else begin

    def index(self) -> Optional[int]:
        """The index of the firing; None if what a source has made is one too many for its clock."""
        if self._inputs or self._early:
            return self._index
        return self.numbering.next(time.time())

    def fired(self, sent: bool) -> None:
        """The firing is over: give its tokens back. ``sent``: its outputs were handed over."""
        fire = self._fire
        for port, numbers in zip(self._inputs, fire.tokens):
            if numbers is not None and not port.inlet.hold:
                for number in numbers:
                    port.give_back(number, True)
            line = port.inlet.matched
            if line is not None:
                port.fifo.will_fire(line.floor)
        if not sent:
            for output in self._outputs:
                output.give_up()
            self._pass_on()

    def _state(self) -> list[tuple[object, ...]]:
        states = [end.state() for end in self._ends]
        if self.route is not None:
            states.append(self.route.state())
        return states

    def _poll(self, now: float) -> None:
        for port in self._inputs:
            port.poll(now)
        for output in self._outputs:
            output.poll()
        if self.route is not None:
            self.route.poll(now)

    def _release_unused(self) -> bool:
        """Release what is thrown away; whether there was anything."""
        unused = self.matcher.unused
        if not unused:
            return False
        for inlet, number in unused:
            self._owners[id(inlet)].give_back(number, False)
        unused.clear()
        return True

    def _pass_on(self) -> None:
        """Say up to which index no tokens will come from here any more."""
        given_up = self.matcher.given_up if self._inputs else self.numbering.given_up
        if given_up > self._told_up_to:
            self._told_up_to = given_up
            for output in self._told:
                output.fifo.pass_over(given_up)

    def _use(self, fire: Fire, tokens: dict[str, Any]) -> None:
        self._fire = fire
        tokens.clear()
        birth = UNBORN
        for position, port in enumerate(self._inputs):
            numbers = fire.tokens[position]
            if numbers is not None:
                tokens[port.name] = port.views(numbers)
                port.held += fire.held[position]
                port.birth = born = port.born(numbers[0])
                if born < birth and (port.inlet.matched is not None or self.matcher.relays):
                    birth = born
            else:
                port.birth = UNBORN
                if fire.zeros[position]:
                    port.zeros += 1
                    tokens[port.name] = port.zero(self._behaviour.zeros.get(port.name, 0))
                else:
                    port.missing += 1
        self._birth = birth
        for position, output in enumerate(self._outputs):
            output.use(fire.use[position])
        self._index = fire.index if self._inputs else self.numbering.next(time.time()) if self._early else None
        if self._index is not None:
            self._told_up_to = max(self._told_up_to, self._index)
        alive = tuple([end.alive for end in self._ends])
        if alive != self._alive:
            self._alive = alive
            self._behaviour.alive = frozenset([end.name for end in self._ends if end.alive])
