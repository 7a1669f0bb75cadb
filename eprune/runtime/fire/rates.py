"""Actors whose token rates change: those that follow a control token, and the one that sends it.

A firing index counts control tokens. It is therefore the same at all actors of a dynamic processing graph, also at
those that the control token leaves idle: these take it, count a firing and touch nothing else.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional

from eprune.runtime.fire.firing import Mode
from eprune.runtime.kernel.actor import Actor, EndOfStream
from eprune.runtime.kernel.errors import ActorError, RunError
from eprune.runtime.kernel.fifo import Input, Output


class Table(NamedTuple):
    """A control table, seen from one actor of the dynamic processing graph ``dpg``.

    ``rows`` maps values of the control token to FIFO names to tokens per firing.
    """

    dpg: str
    rows: Mapping[int, Mapping[str, int]]

    def mode(self, actor: str, modes: Mapping[int, Mode], value: int) -> Mode:
        """The mode that a control value stands for. Raises RunError for a value outside the table."""
        mode = modes.get(value)
        if mode is None:
            known = ", ".join(map(str, modes))
            message = f"control value {value} is not in the control table of {self.dpg!r} ({known})"
            raise RunError(f"actor {actor!r}: {message}")
        return mode


class Follow:
    """The row is that of the control token, which comes first."""

    leads = False

    def __init__(
        self,
        behaviour: Actor,
        control: Sequence[Input],
        inputs: Sequence[Input],
        outputs: Sequence[Output],
        table: Table,
    ) -> None:
        """``control``: all bring the same token, several where slices are fused. The other ends are for data."""
        self._behaviour = behaviour
        self._table = table
        self._control = control[0]
        self.index = 0
        self.modes = {value: Mode(inputs, outputs, row) for value, row in table.rows.items()}

    def choose(self, tokens: dict[str, Any], firing: int) -> Mode:
        """The mode of the control token among the tokens."""
        value = int(tokens[self._control.name])
        self.index = self._control.index
        mode = self._table.mode(self._behaviour.name, self.modes, value)
        self._behaviour.mode = value
        return mode


class Lead:
    """The control source: its behaviour chooses the row, and the other actors are told."""

    leads = True

    def __init__(
        self,
        behaviour: Actor,
        control: Sequence[Output],
        outputs: Sequence[Output],
        table: Table,
        choose: Callable[..., int],
    ) -> None:
        """``outputs``: those for data. ``choose``: the behaviour's ``control``, unless its unit is emulated."""
        self._behaviour = behaviour
        self._table = table
        self._control = control
        #: what says the value of the row, from the tokens
        self.decide = choose
        self.index = 0
        self.modes = {value: Mode((), outputs, row) for value, row in table.rows.items()}

    def choose(self, tokens: dict[str, Any], firing: int) -> Optional[Mode]:
        """Ask the behaviour for the row and send it to the other actors; None at the end."""
        behaviour = self._behaviour
        try:
            value = operator.index(self.decide(tokens))
        except EndOfStream:
            return None
        except Exception as error:
            raise ActorError(behaviour.name, "control", error) from error
        mode = self._table.mode(behaviour.name, self.modes, value)
        mode.tokens = tokens
        self.index = firing
        for output in self._control:
            view = output.acquire()
            if view is None:
                return None
            view[...] = value  # type: ignore[call-overload]
            output.commit(firing)
        behaviour.mode = value
        return mode
