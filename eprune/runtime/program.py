"""The top-level program of a platform: what a generated file declares, and the command line that runs it."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform as host
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np

from eprune.runtime import command_line, record, tflite
from eprune.runtime.actor import Actor, PortType
from eprune.runtime.aligned import AlignedActor, AlignedInput, AlignedOutput
from eprune.runtime.channel import RxChannel, TxChannel
from eprune.runtime.connection import Connection
from eprune.runtime.dynamic import DynamicThread, Table
from eprune.runtime.emulated import Emulation
from eprune.runtime.engine import ActorThread, Engine, Event, Signals
from eprune.runtime.errors import ActorError, RunError, UsageError
from eprune.runtime.fifo import Fifo, Input, Output
from eprune.runtime.files import Files
from eprune.runtime.link import RxLink, TxLink
from eprune.runtime.shaping import Figures
from eprune.runtime.status import Status


class _Actor(NamedTuple):
    name: str
    unit: str
    behaviour: str
    parameters: Mapping[str, str]
    model: Optional[str] = None
    optional: Sequence[str] = ()
    quorum: Optional[int] = None


class _Segment(NamedTuple):
    name: str
    unit: str
    model: str
    actors: Sequence[str]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


#: tokens a firing, or their lower and upper limit
Rate = Union[int, tuple[int, int]]


class _Fifo(NamedTuple):
    name: str
    source: Optional[str]  # actor.port, None where the FIFO comes from another platform
    target: Optional[str]  # actor.port, None where it goes to another platform
    dtype: str
    shape: tuple[int, ...]
    rates: Rate
    control: Optional[str]
    capacity: int
    delay: int
    initial: Optional[str]
    peer: str = ""
    address: str = ""
    port: int = 0
    policy: str = "stop"
    timeout: Optional[float] = None
    ack: str = "received"
    shared: bool = False
    number: int = 0
    security: str = "none"

    @property
    def plain(self) -> bool:
        """Whether the FIFO is within the platform, or has a connection of its own that may not break."""
        return not self.shared and self.policy == "stop"

    @property
    def rate(self) -> int:
        """The upper rate limit."""
        return self.rates if isinstance(self.rates, int) else self.rates[1]

    @property
    def token(self) -> str:
        """What both ends of a link must agree on."""
        rates = self.rates if isinstance(self.rates, int) else f"{self.rates[0]}..{self.rates[1]}"
        return f"{self.dtype}{list(self.shape)} at rate {rates}"


class Program:
    """One platform's part of an application. Generated code calls the methods below, then ``main``."""

    def __init__(self, application: str, platform: str, digest: str, file: str, aligned: bool = False) -> None:
        """``aligned``: some FIFO of the application may lose tokens, so that firings go by index."""
        self._aligned = aligned
        self.application = application
        self.platform = platform
        self.digest = digest
        self._files = Files(file)
        self._cores: dict[str, Optional[int]] = {}
        self._slowdowns: dict[str, float] = {}
        self._figures: dict[str, Figures] = {}
        self._actors: list[_Actor | _Segment] = []
        self._fifos: list[_Fifo] = []
        self._tables: dict[str, dict[int, Mapping[str, int]]] = {}

    def unit(self, name: str, core: Optional[int] = None, slowdown: float = 1) -> None:
        """Declare a processing unit: the CPU core that its actors' threads are pinned to, and how much slower than
        this core it is where it is emulated.
        """
        self._cores[name] = core
        self._slowdowns[name] = slowdown

    def link(self, to: str, bandwidth: Optional[float] = None, latency: float = 0) -> None:
        """Declare the figures of the link to platform ``to``, bytes a second and seconds, for where it is emulated."""
        self._figures[to] = Figures(bandwidth, latency)

    def actor(
        self,
        name: str,
        behaviour: str,
        unit: str,
        parameters: Optional[Mapping[str, str]] = None,
        model: Optional[str] = None,
        optional: Sequence[str] = (),
        quorum: Optional[int] = None,
    ) -> None:
        """Declare an actor whose behaviour is the class ``file.py:Class``, which may call a ``model``.

        It can do without the inputs ``optional`` while ``quorum`` of its data inputs live (None: 1).
        """
        self._actors.append(_Actor(name, unit, behaviour, dict(parameters or {}), model, tuple(optional), quorum))

    def segment(
        self,
        name: str,
        model: str,
        unit: str,
        actors: Sequence[str],
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
    ) -> None:
        """Declare a segment: the slices of ``actors`` as one model, run by one interpreter.

        ``inputs`` and ``outputs`` map ports, named ``actor.port``, to positions among the model's inputs and outputs.
        """
        self._actors.append(_Segment(name, unit, model, tuple(actors), dict(inputs), dict(outputs)))

    def row(self, dpg: str, value: int, rates: Mapping[str, int]) -> None:
        """Declare a row of a dynamic processing graph's control table: what control token ``value`` means here.

        ``rates`` maps the graph's dynamic FIFOs, as far as they have an end here, to tokens a firing.
        """
        self._tables.setdefault(dpg, {})[value] = rates

    def fifo(
        self,
        name: str,
        source: str,
        target: str,
        dtype: str,
        shape: tuple[int, ...],
        capacity: int,
        delay: int = 0,
        initial: Optional[str] = None,
        rate: Rate = 1,
        control: Optional[str] = None,
    ) -> None:
        """Declare a FIFO between two actors of this platform; ends are ``actor.port``.

        ``rate`` is a number of tokens a firing, or its lower and upper limit. ``control`` names the dynamic processing
        graph whose control tokens the FIFO carries.
        """
        self._fifos.append(_Fifo(name, source, target, dtype, shape, rate, control, capacity, delay, initial))

    def tx(
        self,
        name: str,
        source: str,
        dtype: str,
        shape: tuple[int, ...],
        capacity: int,
        to: str,
        address: str,
        port: int,
        rate: Rate = 1,
        control: Optional[str] = None,
        policy: str = "stop",
        timeout: Optional[float] = None,
        ack: str = "received",
        shared: bool = False,
        number: int = 0,
        security: str = "none",
    ) -> None:
        """Declare a FIFO whose consumer is on platform ``to``, which listens on ``address`` and ``port``.

        ``policy`` is what happens while that platform is lost, ``timeout`` the seconds of silence after which it is,
        ``ack`` when a ``wait`` FIFO's token may be forgotten. ``shared``: all FIFOs with that platform have one
        connection, on which this is FIFO ``number``.
        """
        self._fifos.append(
            _Fifo(name, source, None, dtype, shape, rate, control, capacity, 0, None, to, address, port)._replace(
                policy=policy, timeout=timeout, ack=ack, shared=shared, number=number, security=security
            )
        )

    def rx(
        self,
        name: str,
        target: str,
        dtype: str,
        shape: tuple[int, ...],
        capacity: int,
        frm: str,
        port: int,
        delay: int = 0,
        initial: Optional[str] = None,
        rate: Rate = 1,
        control: Optional[str] = None,
        policy: str = "stop",
        timeout: Optional[float] = None,
        ack: str = "received",
        shared: bool = False,
        number: int = 0,
        security: str = "none",
    ) -> None:
        """Declare a FIFO whose producer is on platform ``frm``; this program listens on ``port``. The rest as in tx."""
        self._fifos.append(
            _Fifo(name, None, target, dtype, shape, rate, control, capacity, delay, initial, frm, "", port)._replace(
                policy=policy, timeout=timeout, ack=ack, shared=shared, number=number, security=security
            )
        )

    def main(self, arguments: Optional[Sequence[str]] = None) -> int:
        """Run with command-line arguments; the exit code: 0 fine, 1 failed, 2 usage, 130 interrupted."""
        options = self._options(arguments)
        events: SimpleQueue[Event] = SimpleQueue()
        try:
            with Signals(events):
                self._run(options, events)
        except RunError as error:
            self._say(f"error: {error}")
            if options.traceback:
                cause = error.cause if isinstance(error, ActorError) else error
                traceback.print_exception(type(cause), cause, cause.__traceback__)
            return error.exit_code
        except BrokenPipeError:
            return 1
        return 0

    def _say(self, text: str) -> None:
        print(f"{self.platform}: {text}", file=sys.stderr, flush=True)

    def _options(self, arguments: Optional[Sequence[str]]) -> argparse.Namespace:
        names = ", ".join(actor.name for actor in self._actors)
        description = f"Application {self.application}, platform {self.platform}: {names}"
        faults = any(fifo.peer and not fifo.plain for fifo in self._fifos)
        return command_line.parse(description, faults, arguments)

    def _check_supported(self) -> None:
        if self._aligned and self._tables:
            raise UsageError("dynamic processing graphs and FIFOs that may lose tokens do not go together yet")
        for fifo in self._fifos:
            if fifo.security != "none":
                raise UsageError(f"FIFO {fifo.name!r}: security={fifo.security!r} is not supported yet")

    def _run(self, options: argparse.Namespace, events: SimpleQueue[Event]) -> None:
        self._check_supported()
        command_line.check_writable(options.record, options.trace)
        addresses = command_line.addresses(options.link, self._peers())
        declared = {actor.name: actor.parameters for actor in self._actors if isinstance(actor, _Actor)}
        parameters = command_line.parameters(options.set, declared)
        interpreter = ""
        if any(actor.model for actor in self._actors):
            interpreter = tflite.choose(options.interpreter)

        emulation = self._emulation() if options.emulate else None
        facts = {"application": self.application, "platform": self.platform, "digest": self.digest}
        if interpreter:
            facts["interpreter"] = tflite.describe(interpreter)
        queues = {fifo.name: self._make_fifo(fifo) for fifo in self._fifos}
        links = {
            fifo.name: self._make_link(fifo, queues[fifo.name], facts, addresses, options.bind, events, emulation)
            for fifo in self._fifos
            if fifo.peer and fifo.plain
        }
        tx = {name: link for name, link in links.items() if isinstance(link, TxLink)}
        happenings: list[dict[str, Any]] = []
        connections = self._make_connections(queues, facts, addresses, options, events, happenings)
        for connection in connections:
            if emulation is not None:
                connection.emulated = emulation.links[connection.peer]
                connection.facts.update(connection.emulated.figures.told())
        cores = {unit: None if options.no_pin else self._usable(unit, core) for unit, core in self._cores.items()}
        actors = [
            self._make_actor(actor, queues, tx, cores[actor.unit], parameters, interpreter, options.frames, emulation)
            for actor in self._actors
        ]
        activities = {actor.name: actor.activity for actor in actors}
        ends = {**links, **{name: queue for name, queue in queues.items() if isinstance(queue, (TxChannel, RxChannel))}}
        activities.update(
            {
                f"{'TX' if fifo.source else 'RX'} {fifo.name}": ends[fifo.name].activity
                for fifo in self._fifos
                if fifo.peer
            }
        )
        if options.trace:
            for activity in activities.values():
                activity.spans = []

        status = Status(options.status_fd, self.platform, actors)

        def on_start() -> None:
            facts["running"] = "1"
            for connection in connections:
                connection.facts["running"] = "1"
            for actor in actors:
                if isinstance(actor, AlignedActor) and not actor.inputs:
                    actor.firing = max(connection.firing for connection in connections)

        engine = Engine(actors, [*links.values(), *connections], events, self._say, on_start)
        begin = time.time()
        failure = ""
        _confine(set(cores.values()))
        status.report("starting")
        try:
            engine.run(options.timeout, lambda: status.report("running"))
        except RunError as error:
            failure = str(error)
            raise
        finally:
            status.report("failed" if failure else "done")
            if options.record:
                run = {
                    **facts,
                    "host": host.node(),
                    "python": host.python_version(),
                    "machine": host.machine(),
                    "begin": begin,
                    "wall_s": time.time() - begin,
                    "failure": failure,
                    "emulated": emulation.record() if emulation else None,
                    "actors": {actor.name: self._actor_record(actor) for actor in actors},
                    "fifos": {fifo.name: _fifo_record(fifo, queues[fifo.name]) for fifo in self._fifos},
                    "links": {
                        fifo.name: {"peer": fifo.peer, **ends[fifo.name].activity.summary()}
                        for fifo in self._fifos
                        if fifo.peer
                    },
                    "events": happenings,
                    **record.usage(),
                }
                _write(options.record, json.dumps(run, indent=1) + "\n")
            if options.trace:
                _write(options.trace, record.trace(self.platform + " (emulated)" * bool(emulation), activities) + "\n")

    def _emulation(self) -> Emulation:
        emulation = Emulation(
            {peer: self._figures.get(peer, Figures()) for peer in self._peers()},
            {actor.unit: self._slowdowns[actor.unit] for actor in self._actors},
        )
        self._say(f"note: emulated: {emulation}")
        return emulation

    def _peers(self) -> list[str]:
        return sorted({fifo.peer for fifo in self._fifos if fifo.peer})

    def _usable(self, unit: str, core: Optional[int]) -> Optional[int]:
        if core is None or not hasattr(os, "sched_setaffinity"):
            return None
        if core not in os.sched_getaffinity(0):
            self._say(f"note: unit {unit}: core {core} is not available here; its threads are not pinned")
            return None
        return core

    def _make_fifo(self, fifo: _Fifo) -> Fifo:
        initial = None
        if fifo.initial is not None:
            where = self._files.locate(fifo.initial)
            try:
                initial = np.load(io.BytesIO(self._files.read(fifo.initial)), allow_pickle=False)
            except (ValueError, EOFError) as error:
                raise UsageError(f"{where}: no .npy file of plain numbers: {error}") from None
            if initial.shape != (fifo.delay, *fifo.shape) or initial.dtype != fifo.dtype:
                raise UsageError(
                    f"{where}: {initial.dtype}{list(initial.shape)}, but FIFO {fifo.name!r} starts with "
                    f"{fifo.dtype}{[fifo.delay, *fifo.shape]}"
                )
        kind = (fifo.name, fifo.dtype, fifo.shape, fifo.capacity)
        fired = fifo.ack == "fired"
        try:
            if fifo.plain:
                return Fifo(*kind, fifo.delay, initial)
            if fifo.target is None:
                return TxChannel(*kind, fifo.policy, fired)
            return RxChannel(*kind, fifo.policy, fired, fifo.delay, initial)
        except MemoryError as error:
            raise UsageError(f"FIFO {fifo.name!r}: {error}") from None

    def _make_link(
        self,
        fifo: _Fifo,
        queue: Fifo,
        facts: Mapping[str, str],
        addresses: Mapping[str, tuple[str, int]],
        bind: str,
        events: SimpleQueue[Event],
        emulation: Optional[Emulation],
    ) -> RxLink | TxLink:
        number = fifo.port - min(other.port for other in self._fifos if other.peer == fifo.peer)
        mine = {**facts, "fifo": fifo.name, "token": fifo.token}
        address, base = addresses.get(fifo.peer, ("", 0))
        port = base + number if base else fifo.port
        if port > 65535:
            raise UsageError(f"FIFO {fifo.name!r} with {fifo.peer}: there is no TCP port {port}; choose lower ones")
        link: RxLink | TxLink
        if fifo.source is None:
            link = RxLink(queue, number, fifo.peer, mine, events.put, (bind, port))
        else:
            link = TxLink(queue, number, fifo.peer, mine, events.put, (address or fifo.address, port))
        if emulation is not None:
            link.emulated = emulation.links[fifo.peer]
            link.facts.update(link.emulated.figures.told())
        return link

    def _make_connections(
        self,
        queues: Mapping[str, Fifo],
        facts: dict[str, str],
        addresses: Mapping[str, tuple[str, int]],
        options: argparse.Namespace,
        events: SimpleQueue[Event],
        happenings: list[dict[str, Any]],
    ) -> list[Connection]:
        """The connections of FIFOs that share one, or that have a fault policy."""
        groups: dict[str, list[_Fifo]] = {}
        for fifo in self._fifos:
            if fifo.peer and not fifo.plain:
                groups.setdefault(f"platform {fifo.peer}" if fifo.shared else f"FIFO {fifo.name}", []).append(fifo)

        def tell(what: str, connection: str, peer: str, **more: Any) -> None:
            happenings.append({"time": time.time(), "event": what, "connection": connection, "peer": peer, **more})
            self._say(f"{what}: {connection}" + "".join(f"; {key} {value}" for key, value in more.items()))

        facts["incarnation"] = os.urandom(8).hex()
        connections = []
        for fifos in groups.values():
            fifos.sort(key=lambda fifo: fifo.number)  # both ends declare their TX FIFOs first
            first = fifos[0]
            peer = first.peer
            types = [f"{fifo.name} {fifo.token}" for fifo in fifos]
            mine = {**facts, "fifo": first.name, "token": first.token}
            name = f"FIFO {first.name!r} with {peer}"
            if first.shared:
                mine["fifo"] = f"{len(fifos)} FIFOs"
                mine["token"] = hashlib.sha256("\n".join(types).encode()).hexdigest()
                name = f"the link with {peer}"
            dials = first.target is None
            host, base = addresses.get(peer, ("", 0))
            lowest = min(fifo.port for fifo in self._fifos if fifo.peer == peer)
            port = base + first.port - lowest if base else first.port
            if port > 65535:
                raise UsageError(f"{name}: there is no TCP port {port}; choose lower ones")
            channels: dict[int, Any] = {fifo.number: queues[fifo.name] for fifo in fifos}
            timeouts = [fifo.timeout for fifo in fifos if fifo.timeout is not None]
            connections.append(
                Connection(
                    name,
                    peer,
                    mine,
                    channels,
                    (host or first.address, port) if dials else (options.bind, port),
                    dials,
                    min(timeouts, default=options.dead_after),
                    options.patience,
                    events.put,
                    tell,
                )
            )
        return connections

    def _make_actor(
        self,
        actor: _Actor | _Segment,
        queues: Mapping[str, Fifo],
        tx: Mapping[str, TxLink],
        core: Optional[int],
        parameters: Mapping[str, Mapping[str, str]],
        interpreter: str,
        frames: Optional[int],
        emulation: Optional[Emulation],
    ) -> ActorThread:
        consumed = {_port(fifo.target): fifo for fifo in self._fifos if _owner(fifo.target) == actor.name}
        produced = {_port(fifo.source): fifo for fifo in self._fifos if _owner(fifo.source) == actor.name}
        behaviour: Actor

        def read() -> bytes:
            return self._files.read(actor.model or "")

        if isinstance(actor, _Segment):
            behaviour = tflite.Segment(read, interpreter, actor.inputs, actor.outputs)
        else:
            factory = self._files.load_class(actor.behaviour)
            try:
                behaviour = factory(**parameters[actor.name])
            except (TypeError, ValueError, OSError) as error:
                raise UsageError(f"actor {actor.name!r}: {error}") from error
            if actor.model:
                behaviour.model = tflite.Model(read, interpreter)
        behaviour.name = actor.name
        behaviour.inputs = _port_types(consumed)
        behaviour.outputs = _port_types(produced)
        limit = None if consumed else frames
        sends = {fifo.name: tx[fifo.name].send if fifo.name in tx else None for fifo in produced.values()}
        fire: Callable[..., Any] = behaviour.fire
        choose: Callable[..., Any] = behaviour.control
        if emulation:
            fire, choose = emulation.fire(actor.unit, fire), emulation.fire(actor.unit, choose)
        control = {fifo.name: fifo.control for fifo in (*consumed.values(), *produced.values()) if fifo.control}
        if self._aligned:
            optional, quorum = (actor.optional, actor.quorum or 1) if isinstance(actor, _Actor) else ((), 1)
            return AlignedActor(
                actor.name,
                behaviour,
                core,
                [
                    AlignedInput(port, queues[fifo.name], fifo.rate, fifo.policy, port not in optional, fifo.timeout)
                    for port, fifo in consumed.items()
                ],
                [
                    AlignedOutput(port, queues[fifo.name], fifo.rate, sends[fifo.name])
                    for port, fifo in produced.items()
                ],
                limit,
                fire,
                quorum,
            )
        inputs = [Input(port, queues[fifo.name], fifo.rate) for port, fifo in consumed.items()]
        outputs = [Output(port, queues[fifo.name], fifo.rate, sends[fifo.name]) for port, fifo in produced.items()]
        if not control:
            return ActorThread(actor.name, behaviour, core, inputs, outputs, limit, fire)
        dpg = next(iter(control.values()))
        table = Table(dpg, self._tables[dpg], control.keys())
        return DynamicThread(actor.name, behaviour, core, inputs, outputs, limit, fire, choose, table)

    def _actor_record(self, actor: ActorThread) -> dict[str, Any]:
        declared = next(declared for declared in self._actors if declared.name == actor.name)
        role = "source" if not actor.inputs else "sink" if not actor.outputs else "inner"
        members = list(declared.actors) if isinstance(declared, _Segment) else [declared.name]
        told = {"unit": declared.unit, "role": role, "members": members, **actor.activity.summary()}
        if isinstance(actor, DynamicThread):
            told["modes"] = {str(value): mode.firings for value, mode in actor.modes.items()}
        return told


def _port_types(fifos: Mapping[str, _Fifo]) -> dict[str, PortType]:
    """What a behaviour is told of its ports, which are those for data."""
    return {port: PortType(fifo.dtype, fifo.shape, fifo.rate) for port, fifo in fifos.items() if not fifo.control}


def _fifo_record(declared: _Fifo, fifo: Fifo) -> dict[str, Any]:
    kind = "tx" if declared.target is None else "rx" if declared.source is None else "local"
    return {"kind": kind, "peer": declared.peer, **fifo.summary()}


def _confine(cores: set[Optional[int]]) -> None:
    """Keep the program's other threads (links, main) on its units' cores, if all of them are pinned."""
    wanted = {core for core in cores if core is not None}
    if wanted and None not in cores:
        os.sched_setaffinity(0, wanted)


def _write(path: str, text: str) -> None:
    try:
        record.write_whole(path, text)
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}") from None


def _owner(end: Optional[str]) -> str:
    return (end or "").partition(".")[0]


def _port(end: Optional[str]) -> str:
    return (end or "").partition(".")[2]
