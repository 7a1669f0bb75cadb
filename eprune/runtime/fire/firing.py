"""The firing loop: one step of an actor, whatever its token rates and however its inputs are matched.

A step takes the tokens of one firing, chooses the row that holds in it where token rates change, waits for room, fires,
hands over what was written and gives back what was read. Two strategies vary it: ``rates`` for actors of dynamic
processing graphs, and ``matching`` for actors whose inputs may lack tokens.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Protocol

from eprune.runtime.fire.skipping import MISSING
from eprune.runtime.kernel.actor import Actor, EndOfStream
from eprune.runtime.kernel.ages import UNBORN, Ages
from eprune.runtime.kernel.bell import Bell
from eprune.runtime.kernel.errors import ActorError, RunError
from eprune.runtime.kernel.fifo import Fifo, Input, Output
from eprune.runtime.kernel.outputs import Outputs
from eprune.runtime.tell.record import Activity

#: So many firings may pass until an actor has the same slots again, for its step to be prepared.
PHASES = 256

now, put = time.perf_counter_ns, dict.__setitem__


class Mode:
    """What one row of a control table makes of an actor: its active ends of FIFOs, each at the row's rate.

    ``tokens`` and ``buffers`` are what the behaviour gets. An actor whose rates are static has one mode.
    """

    def __init__(
        self,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        row: Optional[Mapping[str, int]] = None,
        tokens: Optional[dict[str, Any]] = None,
    ) -> None:
        row = row or {}
        self.inputs = [port.at(rate) for port in inputs if (rate := row.get(port.fifo.name, port.rate))]
        self.outputs = [port.at(rate) for port in outputs if (rate := row.get(port.fifo.name, port.rate))]
        self.tokens: dict[str, Any] = {} if tokens is None else tokens
        self.buffers = Outputs()
        #: the FIFOs that say how old its tokens are
        self.ways = _ways(self.inputs)
        #: whether the behaviour fires: in a row in which all data rates are 0 it does not
        self.active = bool(self.inputs or self.outputs)
        self.firings = 0


class Matching(Protocol):
    """How inputs that may lack tokens are matched, and what becomes of outputs whose consumer may be dead."""

    bell: Bell
    stopped: bool
    #: when `ready` is to be asked again although nothing has changed (time.monotonic)
    until: Optional[float]

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait."""

    def index(self) -> Optional[int]:
        """The index of the firing, asked for when the behaviour has fired; None if its tokens are not to be sent."""

    def take(self, tokens: dict[str, Any]) -> bool:
        """Wait for the tokens of the next firing; False at the end."""

    def birth(self, begin: int) -> int:
        """When the oldest firing of a source began that the tokens come from; this one, if this is a source."""

    def fired(self, sent: bool) -> None:
        """The firing is over: give its tokens back. ``sent``: its outputs were handed over."""

    def linger(self) -> None:
        """The behaviour has ended: wait until nothing of what was sent may have to be sent again."""


class Settling(Protocol):
    """The end of a FIFO from another platform whose reports go with the tokens of a firing, if there are any."""

    def settle(self) -> None:
        """Report now if the producer needs it."""


class Rates(Protocol):
    """How the row is chosen that holds in a firing."""

    modes: dict[int, Mode]
    #: whether this actor chooses for the others
    leads: bool
    #: the index of the firing whose row was chosen
    index: int

    def choose(self, tokens: dict[str, Any], firing: int) -> Optional[Mode]:
        """The mode of the firing that has these tokens; None at the end."""


class RunningActor:
    """An actor at run time: its behaviour, its ends of FIFOs, its counters.

    ``inputs`` are taken in every firing and before there is a mode; further ones are in the modes.
    """

    def __init__(
        self,
        name: str,
        behaviour: Actor,
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        limit: Optional[int] = None,
        fire: Optional[Callable[..., None]] = None,
        rates: Optional[Rates] = None,
        matching: Optional[Matching] = None,
        taken: Optional[Sequence[Input]] = None,
        nested: bool = False,
        repeats: int = 0,
    ) -> None:
        """``taken``: the inputs that are taken before there is a mode (default: all). ``repeats``: in a multi-rate
        graph, how often it fires in an iteration.
        """
        self.name = name
        self.behaviour = behaviour
        self.inputs = inputs
        self.outputs = outputs
        #: an actor without inputs ends after that many firings; None: it does not
        self.limit = limit
        #: what firing calls; the behaviour's own, unless its unit is emulated
        self.fire = fire or behaviour.fire
        self.rates = rates
        self.matching = matching
        self.activity = Activity()
        #: whether the run has failed
        self.stopped = False
        #: what the behaviour is doing and since when (perf_counter_ns), for the watch; '' while it does nothing
        self.stage, self.since_ns = "", 0
        #: whether initialize was called, perhaps in an earlier stream of a service; whether the service finalizes it
        self.initialized = self.stays = False
        #: what gets its state when it has ended in an orderly way, if there is somebody who goes on from it
        self.heir: Optional[Callable[[Mapping[str, Any]], None]] = None
        #: whether the actor does not fire in each iteration: its firings have the indices of their tokens
        self.nested = nested
        #: firings per iteration of a multi-rate graph, else 0; and the iteration that the last firing was in
        self.repeats, self.iteration = repeats, -1
        #: the index of the next firing, where nothing else says it
        self.firing = 0
        #: the ends of FIFOs from other platforms whose reports go with tokens, if they can
        self.reporting: Sequence[Settling] = ()
        #: one firing: waits until the actor can fire, and says whether it may go on
        self.step: Callable[[], bool] = self._step
        self._bell = Bell()
        self._tokens: dict[str, Any] = {}
        self._taken = list(inputs if taken is None else taken)
        self._data = list(inputs) if taken is None else []
        #: of an actor without outputs, data input -> how old its tokens were
        self.ages = {} if outputs else {port.name: Ages() for port in inputs if port not in (taken or ())}
        self._mode = Mode((), outputs, tokens=self._tokens)
        self._mode.active = True
        modes = [self._mode] if rates is None else list(rates.modes.values())
        for each in modes:
            each.ways += _ways(self._data)
        self._is_source = not any(each.ways for each in modes)

    def begin(self, stage: str) -> None:
        """The behaviour begins a stage."""
        self.since_ns = time.perf_counter_ns()
        self.stage = stage

    def run(self, stage: str, act: Callable[[], None]) -> None:
        """Run a method of the behaviour. Raises ActorError for whatever it raises."""
        self.begin(stage)
        try:
            act()
        except RunError:
            raise
        except BaseException as error:
            raise ActorError(self.name, stage, error) from error
        finally:
            self.stage = ""

    def finish(self) -> None:
        """Finalize the behaviour, and give its state to whoever goes on from it. Raises ActorError."""
        state: dict[str, Any] = {}
        if self.heir is not None:
            self.run("state", lambda: state.update(self.behaviour.state()))
        self.run("finalize", self.behaviour.finalize)
        if self.heir is not None:
            self.heir(state)

    def use(self, bell: Bell) -> None:
        """Have the FIFOs ring this bell, that of the thread that fires the actor."""
        self._bell = bell
        for port in self.inputs:
            port.fifo.reader = bell
        for output in self.outputs:
            output.fifo.writer = bell
        if self.matching is not None:
            self.matching.bell = bell
        if self.matching is None and self.rates is None and not self.nested and not self.repeats:
            self.step = self._prepare() or self._step

    @property
    def ready(self) -> bool:
        """Whether `step` would not wait. It is not asked of actors whose rates change."""
        if self.matching is not None:
            return self.matching.ready
        for port in self.inputs:
            fifo = port.fifo
            if fifo.written - fifo.released < port.rate and not fifo.ended:
                return False
        for output in self.outputs:
            fifo = output.fifo
            if fifo.capacity - fifo.written + fifo.released < output.rate and not fifo.left:
                return False
        return True

    def _step(self) -> bool:
        """Wait until the actor can fire, and fire it once; whether it may go on."""
        bell = self._bell
        waits = bell.waits
        asked = now()
        tokens, matching, rates = self._tokens, self.matching, self.rates
        if matching is not None:
            if not matching.take(tokens):
                return False
            firing = (matching.index() or 0) if rates is not None else 0
        else:
            firing = self.firing
            if firing == self.limit:
                return False
            for port in self._taken:
                view = port.acquire()
                if view is None:
                    return False
                tokens[port.name] = view
            if self.nested:
                firing = max([port.index for port in self._taken if not port.fifo.delay], default=firing)
        absent: tuple[Fifo, ...] = ()
        if rates is None:
            mode = self._mode
        else:
            self.since_ns = began = now()
            self.stage = "control" if rates.leads else ""
            chosen = rates.choose(tokens, firing)
            self.stage = ""
            if chosen is None:
                return False
            mode, firing = chosen, rates.index
            for port in mode.inputs:
                view = port.acquire()
                if view is None:
                    return False
                if view is MISSING:
                    mode.tokens.pop(port.name, None)
                    absent = (*absent, port.fifo)
                else:
                    mode.tokens[port.name] = view
            if absent and any(port.required and port.fifo in absent for port in mode.inputs):
                self._pass_by(mode, firing)
                return True
            if rates.leads:  # the choice takes time
                end = now()
                self.activity.add(began, end, 0, began - asked)
                asked = end
        for output in mode.outputs:
            view = output.acquire()
            if view is None:
                return False
            put(mode.buffers, output.name, view)
        if self.stopped:
            return False
        begin = asked if waits == bell.waits and rates is None else now()
        self.since_ns = begin
        if matching is not None:
            birth = matching.birth(begin)
        else:
            birth = begin if self._is_source else UNBORN
            for fifo in mode.ways:
                born = fifo.births[fifo.released % fifo.capacity]
                if born < birth and fifo not in absent:
                    birth = born
        index = self._iteration_of(firing, mode) if self.repeats else firing
        if self.ages:
            for port in mode.inputs or self._data:
                self.ages[port.name].add(begin - port.birth)
        if mode.active:
            self.stage = "fire"
            try:
                self.fire(mode.tokens, mode.buffers)
            except EndOfStream:
                self.stage = ""
                if matching is not None:
                    matching.linger()
                return False
            self.stage = ""
            if self._is_source and self.behaviour.came_ns > begin:
                begin = birth = self.behaviour.came_ns
        end = now()
        if matching is not None:
            number = firing if rates is not None else matching.index()
            if number is not None:
                firing = number
                for output in mode.outputs:
                    output.commit(firing, birth)
            for port in mode.inputs:
                port.release()
            matching.fired(number is not None)
        else:
            # Room is given back first: what is sent to the same platform takes the report along.
            for port in mode.inputs:
                port.release()
            for port in self._taken:
                port.release()
            for output in mode.outputs:
                output.commit(index, birth)
            for receiver in self.reporting:
                receiver.settle()
        self.firing = firing + 1
        mode.firings += 1
        self.activity.add(begin, end, 1, begin - asked)
        return True

    def _iteration_of(self, firing: int, mode: Mode) -> int:
        """The index of a firing's tokens. An actor whose process was restarted begins with that of what it takes."""
        if firing % self.repeats == 0:
            ports = self._taken if self.rates is None else mode.inputs
            there = [port.index for port in ports if not port.fifo.delay]
            self.iteration = max([self.iteration + 1, *there])
        return self.iteration

    def _pass_by(self, mode: Mode, firing: int) -> None:
        """What the firing cannot do without is not there: take the control token, and give nothing."""
        for port in (*mode.inputs, *self._taken):
            port.release()
        self.firing = firing + 1

    def _prepare(self) -> Optional[Callable[[], bool]]:
        """A shorter step for an actor all of whose rates are 1: which slots a firing has follows from its number.

        None if there are too many ways in which they come together.
        """
        sources, sinks = [port.fifo for port in self.inputs], [port.fifo for port in self.outputs]
        phases = 1
        for fifo in (*sources, *sinks):
            phases = phases * fifo.capacity // math.gcd(phases, fifo.capacity)
        if phases > PHASES or not all([port.single for port in self.inputs] + [port.single for port in self.outputs]):
            return None
        tokens = [{port.name: port.view(port.fifo.released + n) for port in self.inputs} for n in range(phases)]
        rooms = [Outputs({port.name: port.view(port.fifo.written + n) for port in self.outputs}) for n in range(phases)]
        early = [fifo for fifo in sources if self.behaviour.copies_inputs and not fifo.kept]
        late = [fifo for fifo in sources if fifo not in early]
        aged = [(port.fifo, self.ages[port.name]) for port in self.inputs if port.name in self.ages]
        bell, activity, limit, fire, ways = self._bell, self.activity, self.limit, self.fire, self._mode.ways
        behaviour, is_source = self.behaviour, self._is_source
        phase = 0

        def give_back() -> None:
            for fifo in early:
                fifo.release(1)

        self.behaviour.taken = give_back if early else None

        def step() -> bool:
            nonlocal phase
            waits = bell.waits
            asked = now()
            firing = self.firing
            if firing == limit:
                return False
            for fifo in sources:
                if fifo.written == fifo.released and not fifo.await_tokens(1):
                    return False
            for fifo in sinks:
                if fifo.written - fifo.released == fifo.capacity and not fifo.await_room(1):
                    return False
            if self.stopped:
                return False
            self.since_ns = begin = asked if waits == bell.waits else now()
            birth = UNBORN if ways else begin
            for fifo in ways:
                born = fifo.births[fifo.released % fifo.capacity]
                if born < birth:
                    birth = born
            for fifo, ages in aged:
                ages.add(begin - fifo.births[fifo.released % fifo.capacity])
            self.stage = "fire"
            try:
                fire(tokens[phase].copy(), rooms[phase])
            except EndOfStream:
                return False
            self.stage = ""
            if is_source and behaviour.came_ns > begin:
                begin = birth = behaviour.came_ns
            end = now()
            for fifo in late:
                fifo.release(1)
            for fifo in sinks:
                fifo.commit(1, firing, birth)
            for receiver in self.reporting:
                receiver.settle()
            self.firing = firing + 1
            phase = (phase + 1) % phases
            activity.add(begin, end, 1, begin - asked)
            return True

        return step

    def end(self) -> None:
        """The actor has ended in an orderly way: its neighbours learn it."""
        for port in self.inputs:
            port.fifo.leave()
        for output in self.outputs:
            output.fifo.end()

    def wake(self) -> None:
        """The run has failed: nobody waits any more."""
        self.stopped = True
        if self.behaviour.waits:
            self.behaviour.interrupt()
        if self.matching is not None:
            self.matching.stopped = True
        for port in self.inputs:
            port.fifo.ended = True
            port.fifo.reader.ring()
        for output in self.outputs:
            output.fifo.left = True
            output.fifo.writer.ring()


def _ways(ports: Sequence[Input]) -> list[Fifo]:
    """The FIFOs over which tokens hand on their age: what comes back from earlier firings would only get older."""
    return [port.fifo for port in ports if not port.fifo.delay]
