"""The sequential executor: a program's actors fired one after the other, in precedence order, in this process.

Timing, comparison with a model, tests and notebooks share it; it has no threads, rings or links, so what it computes is
what the application means. (The simulator of ``analysis`` fires the same graph without behaviours, and shares nothing
with it.) Tokens are numpy arrays of the FIFO's shape and dtype.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Optional

import numpy as np

from eprune.codegen.program import LocalFifo, Node, PlatformProgram
from eprune.deploy.build import cut
from eprune.model.behaviour import Cut, File, Place
from eprune.runtime.kernel.actor import Actor, EndOfStream, PortType, VariablePortType
from eprune.runtime.kernel.memory import slots
from eprune.runtime.kernel.outputs import Outputs, Rooms
from eprune.runtime.kernel.variable import VariableRoom
from eprune.runtime.main.files import Files
from eprune.runtime.main.program import Program


@dataclass(frozen=True)
class Firing:
    """What a firing did: seconds of its behaviour, the control value that it chose or was given, its outputs.

    ``outputs`` maps output ports to the token, or to the list of tokens where the upper rate limit is above 1.
    """

    node: str
    seconds: float
    mode: Optional[int] = None
    chose: bool = False
    outputs: Mapping[str, Any] = field(default_factory=dict)


def clock(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


class Executor:
    """Fires the nodes of a program. FIFOs from other platforms are fed by ``feed``, those to others can be read.

    ``only`` names the nodes that are there at all (default: all). ``clocked`` measures a call of a behaviour; ``begun``
    is told whose behaviour is called next, for the case that the process dies of it. Raises UsageError of the runtime
    for files and interpreters that cannot be used.
    """

    def __init__(
        self,
        program: PlatformProgram,
        interpreter: str = "auto",
        only: Optional[Iterable[str]] = None,
        clocked: Callable[[Callable[[], object]], float] = clock,
        begun: Callable[[str], None] = lambda node: None,
    ) -> None:
        self.program = program
        self.clocked = clocked
        self.begun = begun
        chosen = None if only is None else set(only)
        self.nodes = [node for node in program.nodes if chosen is None or node.name in chosen]
        self.interpreter = interpreter
        self.fifos = [*program.fifos, *(end.fifo for end in program.tx), *(end.fifo for end in program.rx)]
        self.tokens: dict[str, deque[Any]] = {fifo.name: deque(_initial(fifo)) for fifo in self.fifos}
        self.rows = {(row.dpg, row.value): dict(row.rates) for row in program.rows}
        self._sources: dict[str, list[LocalFifo]] = {node.name: [] for node in self.nodes}
        self._targets: dict[str, list[LocalFifo]] = {node.name: [] for node in self.nodes}
        for fifos, end, ends in (
            ([*program.fifos, *(end.fifo for end in program.rx)], "target", self._sources),
            ([*program.fifos, *(end.fifo for end in program.tx)], "source", self._targets),
        ):
            for fifo in fifos:
                ends.get(getattr(fifo, end).partition(".")[0], []).append(fifo)
        self.behaviours = {node.name: self._behaviour(node) for node in self.nodes}

    def __enter__(self) -> Executor:
        for name, behaviour in self.behaviours.items():
            self.begun(name)
            behaviour.initialize()
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        for behaviour in self.behaviours.values():
            behaviour.finalize()

    def feed(self, fifo: str, token: Any) -> None:
        """A token that comes from elsewhere."""
        self.tokens[fifo].append(token)

    def frame(self) -> list[Firing]:
        """One firing of each node, in precedence order; where a node is to be idle and has no control token to say so,
        none. Raises EndOfStream where a node ends.
        """
        return [self.fire(node.name) for node in self.nodes if not self._lacks_tokens(node.name)]

    def _lacks_tokens(self, name: str) -> bool:
        """Whether it waits for tokens that do not come in this frame, for nothing else tells that it is idle.

        That is so in a graph inside of another that is dormant, and of a DPA without a control input.
        """
        sources = self._sources[name]
        told = [fifo for fifo in sources if fifo.control]
        awaited = told or [fifo for fifo in sources if fifo.lrl < fifo.rate] or sources
        return any(not self.tokens[fifo.name] for fifo in awaited)

    def run(self, frames: int) -> Iterable[list[Firing]]:
        """So many frames, or fewer if an actor ends before."""
        for _ in range(frames):
            try:
                yield self.frame()
            except EndOfStream:
                return

    def fire(self, name: str) -> Firing:
        """One firing, at the rates of its control token where it is dynamic.

        Raises EndOfStream where the behaviour does, RuntimeError for any other failure of it.
        """
        behaviour = self.behaviours[name]
        self.begun(name)
        sources, targets = self._sources[name], self._targets[name]
        rates = {fifo.name: fifo.rate for fifo in (*sources, *targets)}
        mode: Optional[int] = None
        for fifo in sources:
            if fifo.control:
                mode = self._follow(self.tokens[fifo.name].popleft(), fifo.control, rates, behaviour)
        inputs = _views(sources, "target", rates, lambda fifo: self.tokens[fifo.name].popleft())
        control = [fifo for fifo in targets if fifo.control]
        seconds = 0.0
        try:
            if control:
                chosen: list[int] = []
                seconds = self.clocked(lambda: chosen.append(behaviour.control(inputs)))
                mode = self._follow(chosen[0], control[0].control, rates, behaviour)
                for fifo in control:
                    self.tokens[fifo.name].append(chosen[0])
            outputs = _views(targets, "source", rates, _room)
            rooms = Outputs({port: Rooms(room) if isinstance(room, list) else room for port, room in outputs.items()})
            if outputs or (inputs and not control):
                seconds += self.clocked(lambda: behaviour.fire(inputs, rooms))
        except EndOfStream:
            raise
        except Exception as error:
            raise RuntimeError(f"actor {name!r} failed: {type(error).__name__}: {error}") from error
        for fifo in targets:
            port = fifo.source.partition(".")[2]
            if port in outputs:
                made = outputs[port] if fifo.rate > 1 else [outputs[port]]
                self.tokens[fifo.name].extend(each[: each.used] if fifo.token.variable else each for each in made)
        return Firing(name, seconds, mode, bool(control), outputs)

    def _follow(self, value: int, dpg: Optional[str], rates: dict[str, int], behaviour: Actor) -> int:
        if (dpg, value) not in self.rows:
            raise ValueError(f"control value {value} is not in the control table of {dpg!r}")
        rates.update((fifo, rate) for fifo, rate in self.rows[str(dpg), value].items() if fifo in rates)
        behaviour.mode = value
        return value

    def _behaviour(self, node: Node) -> Actor:
        """As the generated program would have it: declared to the runtime, which makes it."""
        program, declaration = Program(self.program.application, self.program.platform, "", __file__), node.declaration
        options = {name: _spelled(value) for name, value in declaration.options}
        program.unit(node.unit, **self.program.unit(node.unit).options)
        getattr(program, declaration.call)(node.name, _spelled(declaration.source), unit=node.unit, **options)
        (declared,) = program.declared.actors
        engine = program.declared.engine(declared, self.interpreter)
        given = {**declaration.option("parameters", {}), **options.get("paths", {})}
        behaviour = declared.make(_Files(declaration.cuts), engine, given)
        behaviour.name = node.name
        behaviour.inputs = _port_types(self._sources[node.name], "target")
        behaviour.outputs = _port_types(self._targets[node.name], "source")
        return behaviour


class _Files(Files):
    """The files where they are, and parts of models, which nobody has written to a file."""

    def __init__(self, cuts: Iterable[Cut]) -> None:
        super().__init__(__file__)
        self._cuts = {each.file_name: each for each in cuts}

    def read(self, path: str) -> bytes:
        return cut(self._cuts[path]) if path in self._cuts else super().read(path)


def _spelled(value: Any) -> Any:
    if isinstance(value, Cut):
        return value.file_name
    if isinstance(value, Mapping):
        return {name: _spelled(item) for name, item in value.items()}
    if isinstance(value, Place):
        return os.path.abspath(value.path)  # noqa: PTH100
    return os.path.abspath(value.path) + value.suffix if isinstance(value, File) else value  # noqa: PTH100


def choices(firings: Iterable[Firing], program: PlatformProgram) -> dict[str, Counter[int]]:
    """DPG -> control value -> how often its control source chose it."""
    of_node = {
        fifo.source.partition(".")[0]: fifo.control
        for fifo in (*program.fifos, *(end.fifo for end in program.tx))
        if fifo.control
    }
    counts: dict[str, Counter[int]] = {}
    for firing in firings:
        if firing.chose and firing.mode is not None:
            counts.setdefault(of_node[firing.node] or "", Counter())[firing.mode] += 1
    return counts


def _views(
    fifos: Sequence[LocalFifo], end: str, rates: Mapping[str, int], take: Callable[[LocalFifo], Any]
) -> dict[str, Any]:
    """Port -> token, or list of tokens where the upper rate limit is above 1, at the active rates."""
    listed = [(fifo, [take(fifo) for _ in range(rates[fifo.name])]) for fifo in fifos if not fifo.control]
    return {
        getattr(fifo, end).partition(".")[2]: found if fifo.rate > 1 else found[0] for fifo, found in listed if found
    }


def _room(fifo: LocalFifo) -> np.ndarray:
    """Room for a token, in memory as a FIFO's."""
    token = fifo.token
    room = slots(1, token.nbytes)[0, : token.nbytes].view(token.dtype).reshape(token.shape)
    return room.view(VariableRoom) if token.variable else room


def _port_types(fifos: Sequence[LocalFifo], end: str) -> dict[str, PortType]:
    return {
        getattr(fifo, end).partition(".")[2]: (VariablePortType if fifo.token.variable else PortType)(
            fifo.token.dtype, fifo.token.shape, fifo.rate
        )
        for fifo in fifos
        if not fifo.control
    }


def _initial(fifo: LocalFifo) -> list[Any]:
    if fifo.initial is not None:
        return list(np.load(fifo.initial, allow_pickle=False))
    shape = (0,) if fifo.token.variable else fifo.token.shape
    return [np.zeros(shape, fifo.token.dtype) for _ in range(fifo.delay)]
