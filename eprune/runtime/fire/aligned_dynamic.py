"""Dynamic processing graphs in an application that may lose tokens.

Rule F2 lets nothing be lost inside of them, and where something can be lost before, the entry is the control source:
what it does not fire on exists for none of the others. So the inputs of the control source are aligned, and all others
follow its control tokens, index and all. They starve only where none comes.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Union

from eprune.runtime.fire.aligned import AlignedActor, AlignedInput, AlignedOutput
from eprune.runtime.fire.dynamic import DynamicThread, Mode, Table, mode_of
from eprune.runtime.kernel.actor import Actor, EndOfStream
from eprune.runtime.kernel.errors import ActorError
from eprune.runtime.kernel.fifo import Output


class AlignedLeader(AlignedActor):
    """A control source whose inputs may lack tokens; ``choose`` is what its choice of a row calls."""

    def __init__(
        self,
        name: str,
        behaviour: Actor,
        core: Optional[int],
        inputs: Sequence[AlignedInput],
        outputs: Sequence[AlignedOutput],
        limit: Optional[int],
        fire: Callable[..., Any],
        quorum: int,
        choose: Callable[..., int],
        table: Table,
    ) -> None:
        super().__init__(name, behaviour, core, inputs, outputs, limit, self._fire_if_active, quorum)
        self.dpg, rows, control = table
        self._choose = choose
        self._fire = fire
        self._control_outputs = [port for port in outputs if port.fifo.name in control]
        # Those that follow by their control tokens alone pass it on; their data never lacks a token.
        self._notified = self._control_outputs
        made = [port for port in outputs if port.fifo.name not in control]
        self.modes = {value: Mode((), made, row) for value, row in rows.items()}

    def _active(self, tokens: Mapping[str, Any]) -> Optional[Sequence[Output]]:
        """Choose the row and send it to the other actors; the outputs that are active in it."""
        self.begin("control")
        try:
            value = operator.index(self._choose(tokens))
        except EndOfStream:
            return None
        except Exception as error:
            raise ActorError(self.name, "control", error) from error
        self.stage = ""
        mode = mode_of(self.name, self.dpg, self.modes, value)
        for output in self._control_outputs:
            view = output.acquire()
            if view is None:
                return None
            view[...] = value  # type: ignore[call-overload]
            output.commit(self.firing)
        self.behaviour.mode = value
        mode.firings += 1
        return mode.outputs

    def _fire_if_active(self, tokens: dict[str, Any], buffers: dict[str, Any]) -> None:
        if buffers:
            self._fire(tokens, buffers)


class AlignedFollower(DynamicThread):
    """An actor that follows control tokens, of which none may come for a while."""

    def __init__(
        self,
        name: str,
        behaviour: Actor,
        core: Optional[int],
        inputs: Sequence[AlignedInput],
        outputs: Sequence[AlignedOutput],
        fire: Callable[..., Any],
        choose: Callable[..., int],
        table: Table,
    ) -> None:
        super().__init__(name, behaviour, core, inputs, outputs, None, self._fire_alive, choose, table)
        self.starved = False
        self._ends: list[Union[AlignedInput, AlignedOutput]] = [*inputs, *outputs]
        self._fire = fire
        dynamic = {fifo for row in table.rows.values() for fifo in row}
        self._static = [port for port in outputs if port.fifo.name not in dynamic]
        next(port for port in inputs if port.fifo.name in table.control).starve = self._starve

    def _fire_alive(self, tokens: dict[str, Any], buffers: dict[str, Any]) -> None:
        self.behaviour.alive = frozenset(end.name for end in self._ends if end.alive)
        self._fire(tokens, buffers)

    def _starve(self, starved: bool) -> None:
        if starved != self.starved:
            self.starved = starved
            for output in self._static:
                output.starve(starved)
