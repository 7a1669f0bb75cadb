"""The top-level program of a platform: what a generated file declares, and the command line that runs it."""

from __future__ import annotations

import argparse
import difflib
import io
import json
import os
import platform as host
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Callable, NamedTuple, Optional, Union

import numpy as np

from eprune.runtime import record, tflite
from eprune.runtime.actor import Actor, PortType
from eprune.runtime.dynamic import DynamicThread, Table
from eprune.runtime.emulated import Emulation
from eprune.runtime.engine import ActorThread, Engine, Event, Signals
from eprune.runtime.errors import ActorError, Interrupted, RunError, UsageError
from eprune.runtime.fifo import Fifo, Input, Output
from eprune.runtime.files import Files
from eprune.runtime.link import RxLink, TxLink
from eprune.runtime.shaping import Figures


class _Actor(NamedTuple):
    name: str
    unit: str
    behaviour: str
    parameters: Mapping[str, str]
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

    def __init__(self, application: str, platform: str, digest: str, file: str) -> None:
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
        optional: Sequence[str] = (),
        quorum: Optional[int] = None,
    ) -> None:
        """Declare an actor whose behaviour is the class ``file.py:Class``.

        It can do without the inputs ``optional`` while ``quorum`` of its data inputs live (None: 1).
        """
        self._actors.append(_Actor(name, unit, behaviour, dict(parameters or {}), tuple(optional), quorum))

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
        environment = os.environ.get
        parser = argparse.ArgumentParser(
            description=f"Application {self.application}, platform {self.platform}: "
            + ", ".join(actor.name for actor in self._actors),
        )
        add = parser.add_argument
        add("--frames", type=_positive, metavar="N", help="sources stop after N firings")
        add("--set", action="append", default=[], metavar="ACTOR.PARAM=VALUE", help="set an actor's parameter")
        add(
            "--link",
            action="append",
            default=[],
            metavar="PLATFORM=HOST[:PORT]",
            help="where PLATFORM is reached, and the first port of the link (also EPRUNE_LINK_<PLATFORM>)",
        )
        add(
            "--bind",
            default=environment("EPRUNE_BIND", "127.0.0.1"),
            metavar="ADDRESS",
            help="address to listen on (also EPRUNE_BIND; default: %(default)s)",
        )
        add("--timeout", type=float, default=30.0, metavar="S", help="seconds to wait for peers (default: %(default)g)")
        add(
            "--interpreter",
            default=environment("EPRUNE_INTERPRETER", "auto"),
            choices=["auto", *tflite.INTERPRETERS],
            help="TFLite interpreter (also EPRUNE_INTERPRETER; default: %(default)s)",
        )
        add("--record", metavar="FILE", help="write the run record (JSON)")
        add("--trace", metavar="FILE", help="write a timeline (Chrome trace format)")
        add("--emulate", action="store_true", help="be as slow as the platform file's units and links")
        add("--no-pin", action="store_true", help="do not pin threads to cores")
        add("--traceback", action="store_true", help="show where in the code a failure was raised")
        add("--status-fd", type=int, metavar="FD", help="write progress there, a JSON line at a time")
        return parser.parse_args(arguments)

    def _check_supported(self) -> None:
        for fifo in self._fifos:
            for what, value, known in (
                ("policy", fifo.policy, "stop"),
                ("shared", fifo.shared, False),
                ("security", fifo.security, "none"),
            ):
                if value != known:
                    raise UsageError(f"FIFO {fifo.name!r}: {what}={value!r} is not supported yet")

    def _run(self, options: argparse.Namespace, events: SimpleQueue[Event]) -> None:
        self._check_supported()
        self._check_writable(options.record, options.trace)
        addresses = self._addresses(options.link)
        parameters = self._parameters(options.set)
        interpreter = ""
        if any(isinstance(actor, _Segment) for actor in self._actors):
            interpreter = tflite.choose(options.interpreter)

        emulation = self._emulation() if options.emulate else None
        facts = {"application": self.application, "platform": self.platform, "digest": self.digest}
        if interpreter:
            facts["interpreter"] = tflite.describe(interpreter)
        queues = {fifo.name: self._make_fifo(fifo) for fifo in self._fifos}
        links = {
            fifo.name: self._make_link(fifo, queues[fifo.name], facts, addresses, options.bind, events, emulation)
            for fifo in self._fifos
            if fifo.peer
        }
        rx = {name: link for name, link in links.items() if isinstance(link, RxLink)}
        tx = {name: link for name, link in links.items() if isinstance(link, TxLink)}
        cores = {unit: None if options.no_pin else self._usable(unit, core) for unit, core in self._cores.items()}
        actors = [
            self._make_actor(actor, queues, tx, cores[actor.unit], parameters, interpreter, options.frames, emulation)
            for actor in self._actors
        ]
        activities = {actor.name: actor.activity for actor in actors}
        activities.update({f"RX {name}": link.activity for name, link in rx.items()})
        activities.update({f"TX {name}": link.activity for name, link in tx.items()})
        if options.trace:
            for activity in activities.values():
                activity.spans = []

        status = _Status(options.status_fd, self.platform, actors)
        engine = Engine(actors, list(rx.values()), list(tx.values()), events, self._say)
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
                    "links": {name: {"peer": link.peer, **link.activity.summary()} for name, link in links.items()},
                    **record.usage(),
                }
                _write(options.record, json.dumps(run, indent=1) + "\n")
            if options.trace:
                _write(options.trace, record.trace(self.platform, activities) + "\n")

    def _emulation(self) -> Emulation:
        emulation = Emulation(
            {peer: self._figures.get(peer, Figures()) for peer in self._peers()},
            {actor.unit: self._slowdowns[actor.unit] for actor in self._actors},
        )
        self._say(f"note: emulated: {emulation}")
        return emulation

    def _peers(self) -> list[str]:
        return sorted({fifo.peer for fifo in self._fifos if fifo.peer})

    def _check_writable(self, *paths: Optional[str]) -> None:
        """Say at the start, not after hours, that a result cannot be written."""
        for path in paths:
            if path and not os.access(Path(path).parent, os.W_OK):
                raise UsageError(f"{path}: the folder is missing or not writable")

    def _addresses(self, given: list[str]) -> dict[str, tuple[str, int]]:
        """Peer -> address and first port, from the environment and the options."""
        peers = self._peers()
        texts = {peer: os.environ.get(f"EPRUNE_LINK_{_variable(peer)}", "") for peer in peers}
        for text in given:
            peer, _, where = text.partition("=")
            if peer not in texts or not where:
                known = _nearest(peer, peers) if peers else "this program has no links"
                raise UsageError(f"--link {text}: expected PLATFORM=HOST[:PORT]; {known}")
            texts[peer] = where
        return {peer: _address(where) for peer, where in texts.items() if where}

    def _parameters(self, given: list[str]) -> dict[str, dict[str, str]]:
        """Actor -> parameters, those of the graph overridden by the options."""
        parameters = {actor.name: dict(actor.parameters) for actor in self._actors if isinstance(actor, _Actor)}
        for text in given:
            target, equals, value = text.partition("=")
            actor, dot, name = target.partition(".")
            if not (equals and dot and name):
                raise UsageError(f"--set {text}: expected ACTOR.PARAM=VALUE")
            if actor not in parameters:
                raise UsageError(
                    f"--set {text}: no actor {actor!r} with parameters here; {_nearest(actor, parameters)}"
                )
            parameters[actor][name] = value
        return parameters

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
        try:
            return Fifo(fifo.name, fifo.dtype, fifo.shape, fifo.capacity, fifo.delay, initial)
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
        if isinstance(actor, _Segment):
            model = actor.model
            behaviour = tflite.Segment(lambda: self._files.read(model), interpreter, actor.inputs, actor.outputs)
        else:
            factory = self._files.load_class(actor.behaviour)
            try:
                behaviour = factory(**parameters[actor.name])
            except (TypeError, ValueError, OSError) as error:
                raise UsageError(f"actor {actor.name!r}: {error}") from error
        behaviour.name = actor.name
        behaviour.inputs = _port_types(consumed)
        behaviour.outputs = _port_types(produced)
        inputs = [Input(port, queues[fifo.name], fifo.rate) for port, fifo in consumed.items()]
        outputs = [
            Output(port, queues[fifo.name], fifo.rate, tx[fifo.name].send if fifo.name in tx else None)
            for port, fifo in produced.items()
        ]
        limit = None if consumed else frames
        fire: Callable[..., Any] = behaviour.fire
        choose: Callable[..., Any] = behaviour.control
        if emulation:
            fire, choose = emulation.fire(actor.unit, fire), emulation.fire(actor.unit, choose)
        control = {fifo.name: fifo.control for fifo in (*consumed.values(), *produced.values()) if fifo.control}
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


class _Status:
    """Progress for whoever started this program: JSON lines to a file descriptor."""

    def __init__(self, descriptor: Optional[int], platform: str, actors: Sequence[ActorThread]) -> None:
        self._descriptor = descriptor
        self._platform = platform
        self._actors = actors

    def report(self, state: str) -> None:
        """Write one line. Raises Interrupted if the reader has gone: nobody is left to stop this program."""
        if self._descriptor is None:
            return
        firings = {actor.name: actor.activity.count for actor in self._actors}
        line = json.dumps({"platform": self._platform, "state": state, "firings": firings})
        try:
            os.write(self._descriptor, line.encode() + b"\n")
        except OSError:
            self._descriptor = None
            raise Interrupted("interrupted: whoever started this program has gone") from None


def _port_types(fifos: Mapping[str, _Fifo]) -> dict[str, PortType]:
    """What a behaviour is told of its ports, which are those for data."""
    return {port: PortType(fifo.dtype, fifo.shape, fifo.rate) for port, fifo in fifos.items() if not fifo.control}


def _fifo_record(declared: _Fifo, fifo: Fifo) -> dict[str, Any]:
    kind = "tx" if declared.target is None else "rx" if declared.source is None else "local"
    return {
        "kind": kind,
        "peer": declared.peer,
        "capacity": fifo.capacity,
        "token_bytes": fifo.token_bytes,
        "tokens": fifo.tokens,
        "consumed": fifo.consumed,
        "bytes": fifo.tokens * fifo.token_bytes,
        "peak_fill": fifo.peak,
    }


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


def _variable(platform: str) -> str:
    return platform.upper().replace("-", "_")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _address(text: str) -> tuple[str, int]:
    """Host and port (0: not given) of ``HOST[:PORT]``; an IPv6 host with a port is written ``[HOST]:PORT``."""
    host_text, colon, port_text = text.rpartition(":")
    if not colon or text.endswith("]") or (":" in host_text and not host_text.startswith("[")):
        host_text, port_text = text, "0"
    if not port_text.isdigit() or not 0 <= int(port_text) <= 65535:
        raise UsageError(f"{text!r}: the port is no number from 1 to 65535")
    return host_text.strip("[]"), int(port_text)


def _nearest(name: str, known: Any) -> str:
    folded = {each.lower(): each for each in known}
    close = difflib.get_close_matches(name.lower(), folded, 1)
    return f"did you mean {folded[close[0]]!r}?" if close else f"known: {', '.join(known)}"
