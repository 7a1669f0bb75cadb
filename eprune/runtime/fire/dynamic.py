"""Actors whose token rates change: those that follow a control token, and the one that sends it.

A firing index counts control tokens. It is therefore the same at all actors of a dynamic processing graph, also at
those that the control token leaves idle: these take it, count a firing and touch nothing else.
"""

from __future__ import annotations

import operator
import time
from collections.abc import Mapping, Sequence, Set
from typing import Any, Callable, NamedTuple, Optional

from eprune.runtime.fire.engine import ActorThread
from eprune.runtime.kernel.actor import Actor, EndOfStream
from eprune.runtime.kernel.errors import ActorError, RunError
from eprune.runtime.kernel.fifo import Input, Output
from eprune.runtime.kernel.outputs import Outputs


class Table(NamedTuple):
    """A control table, seen from one actor of the dynamic processing graph ``dpg``.

    ``rows`` maps values of the control token to FIFO names to tokens per firing. ``control`` are the actor's FIFOs that
    carry control tokens: to inputs that all bring the same token (several where slices are fused), or from the outputs
    of the control source.
    """

    dpg: str
    rows: Mapping[int, Mapping[str, int]]
    control: Set[str]


class Mode:
    """What one row of a control table makes of an actor: its active ends of FIFOs, each at the row's rate."""

    def __init__(self, inputs: Sequence[Input], outputs: Sequence[Output], row: Mapping[str, int]) -> None:
        self.inputs = [port.at(rate) for port in inputs if (rate := row.get(port.fifo.name, port.rate))]
        self.outputs = [port.at(rate) for port in outputs if (rate := row.get(port.fifo.name, port.rate))]
        self.tokens: dict[str, Any] = {}
        self.buffers = Outputs()
        self.firings = 0

    def finish(self, firing: int) -> None:
        """Hand over what was written and give back what was read."""
        for output in self.outputs:
            output.commit(firing)
        for port in self.inputs:
            port.release()
        self.firings += 1


class DynamicThread(ActorThread):
    """An actor of a dynamic processing graph at run time.

    ``inputs`` and ``outputs`` are its ends of FIFOs at their upper rate limits; ``fire`` and ``choose`` are what its
    firing and, at the control source, its choice of a row call.
    """

    def __init__(
        self,
        name: str,
        behaviour: Actor,
        core: Optional[int],
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        limit: Optional[int],
        fire: Callable[..., None],
        choose: Callable[..., int],
        table: Table,
    ) -> None:
        super().__init__(name, behaviour, core, inputs, outputs, limit, fire)
        self.choose = choose
        self.dpg, rows, control = table
        self._control_inputs = [port for port in inputs if port.fifo.name in control]
        self._control_outputs = [port for port in outputs if port.fifo.name in control]
        data = [port for port in inputs if port.fifo.name not in control]
        made = [port for port in outputs if port.fifo.name not in control]
        #: the control source's inputs, which it takes before there is a mode
        self._leading_inputs = [] if self._control_inputs else data
        changing = data if self._control_inputs else []
        self.modes = {value: Mode(changing, made, row) for value, row in rows.items()}

    def fire_until_end(self, stopping: Callable[[], bool]) -> None:
        """Fire, each time at the rates of a control token, until a FIFO ends."""
        if self._control_inputs:
            self._follow(stopping)
        else:
            self._lead(stopping)

    def _follow(self, stopping: Callable[[], bool]) -> None:
        """Take the control token, then fire at the rates of its row."""
        behaviour, fire, control = self.behaviour, self.fire, self._control_inputs
        activity, now = self.activity, time.perf_counter_ns
        tokens: dict[str, Any] = {}
        while True:
            asked = now()
            if not _acquire(control, tokens):
                return
            value = int(tokens[control[0].name])
            mode = mode_of(self.name, self.dpg, self.modes, value)
            if not _acquire(mode.inputs, mode.tokens) or not _acquire(mode.outputs, mode.buffers) or stopping():
                return
            self.since_ns = begin = now()
            if mode.inputs or mode.outputs:
                behaviour.mode = value
                self.stage = "fire"
                try:
                    fire(mode.tokens, mode.buffers)
                except EndOfStream:
                    return
                self.stage = ""
            end = now()
            mode.finish(control[0].index)
            for port in control:
                port.release()
            activity.add(begin, end, 1, begin - asked)

    def _lead(self, stopping: Callable[[], bool]) -> None:
        """Ask the behaviour for the row, send it to the other actors, then fire at the row's rates."""
        behaviour, fire, limit = self.behaviour, self.fire, self.limit
        leading, control_outputs = self._leading_inputs, self._control_outputs
        activity, now = self.activity, time.perf_counter_ns
        tokens: dict[str, Any] = {}
        buffers: dict[str, Any] = {}
        firing = 0
        while firing != limit:
            asked = now()
            if not _acquire(leading, tokens) or stopping():
                return
            self.since_ns = begin = now()
            self.stage = "control"
            try:
                value = operator.index(self.choose(tokens))
            except EndOfStream:
                return
            except Exception as error:
                raise ActorError(self.name, "control", error) from error
            self.stage = ""
            mode = mode_of(self.name, self.dpg, self.modes, value)
            chosen = now()
            if not _acquire(control_outputs, buffers):
                return
            for output in control_outputs:
                buffers[output.name][...] = value
                output.commit(firing)
            if not _acquire(mode.outputs, mode.buffers) or stopping():
                return
            self.since_ns = resumed = now()
            if mode.outputs:
                behaviour.mode = value
                self.stage = "fire"
                try:
                    fire(tokens, mode.buffers)
                except EndOfStream:
                    return
                self.stage = ""
            end = now()
            mode.finish(firing)
            for port in leading:
                port.release()
            activity.add(begin, chosen, 0, begin - asked)
            activity.add(resumed, end, 1, resumed - chosen)
            firing += 1


def mode_of(actor: str, dpg: str, modes: Mapping[int, Mode], value: int) -> Mode:
    """The mode that a control value stands for. Raises RunError for a value outside the table."""
    mode = modes.get(value)
    if mode is None:
        known = ", ".join(map(str, modes))
        raise RunError(f"actor {actor!r}: control value {value} is not in the control table of {dpg!r} ({known})")
    return mode


def _acquire(ends: Sequence[Input] | Sequence[Output], views: dict[str, Any]) -> bool:
    """Wait for one firing's tokens or room at all ends, into ``views``; False if one of the FIFOs has ended."""
    for end in ends:
        view = end.acquire()
        if view is None:
            return False
        dict.__setitem__(views, end.name, view)
    return True
