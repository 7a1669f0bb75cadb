"""The top-level program of a platform: what a generated file declares, and the command line that runs it."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Optional, Union

from eprune.runtime.fire.engine import Event, Signals
from eprune.runtime.fire.engines import ModelEngine
from eprune.runtime.fire.opencl import Device
from eprune.runtime.fire.opencl_actor import Argument
from eprune.runtime.fire.schedules import unrolled
from eprune.runtime.fire.traced import LateRow
from eprune.runtime.kernel import descriptors
from eprune.runtime.kernel.errors import ActorError, InternalError, RunError, unexpected
from eprune.runtime.kernel.variable import Shape
from eprune.runtime.main.declared import (
    Declared,
    DeclaredActor,
    DeclaredFifo,
    DeclaredSegment,
    DeclaredUnit,
    Functions,
    Kernel,
    Live,
    Phases,
    Rate,
)
from eprune.runtime.main.files import Files
from eprune.runtime.main.options import check_writable, parse
from eprune.runtime.main.run import Run, helpers_guarded, leave, log_failure
from eprune.runtime.net.shaping import Figures
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.judge import Required


class Program:
    """One platform's part of an application. Generated code calls the methods below, then ``main``."""

    def __init__(self, application: str, platform: str, digest: str, file: str, aligned: bool = False) -> None:
        """``aligned``: some FIFO of the application may lose tokens: inputs are matched by firing index."""
        self.declared = Declared(application, platform, digest, Files(file), aligned)

    def unit(
        self,
        name: str,
        core: Optional[int] = None,
        slowdown: float = 1,
        cores: Sequence[int] = (),
        engine: str = "",
        threads: int = 1,
        delegate: Optional[str] = None,
        opencl: Optional[str] = None,
        options: Optional[Mapping[str, str]] = None,
    ) -> None:
        """Declare a processing unit: the CPU core, or cores, that its actors' threads are pinned to, and for emulation,
        how many times slower than these it is.

        Its slices of models run by ``engine``, "": each by that of its format, in so many ``threads``; ``delegate`` is
        the shared library of an accelerator, which is told the ``options``; without a delegate the engine is. Or its
        actors in OpenCL run on the device ``opencl``, PLATFORM:DEVICE, which is told them.
        """
        pinned = frozenset(cores if core is None else (core,))
        told = dict(options or {})
        runs: Union[ModelEngine, Device] = ModelEngine(engine, threads=threads, delegate=delegate or "", options=told)
        if opencl is not None:
            runs = Device(opencl, told)
        self.declared.units[name] = DeclaredUnit(pinned, slowdown, runs)

    def link(self, to: str, bandwidth: Optional[float] = None, latency: float = 0) -> None:
        """Declare the figures of the link to platform ``to``, in bytes per second and seconds, for its emulation."""
        self.declared.figures[to] = Figures(bandwidth, latency)

    def actor(
        self,
        name: str,
        behaviour: str,
        unit: str,
        parameters: Optional[Mapping[str, str]] = None,
        model: Optional[str] = None,
        optional: Sequence[str] = (),
        quorum: Optional[int] = None,
        hold: Sequence[str] = (),
        max_age: Optional[Mapping[str, float]] = None,
        groups: Sequence[Sequence[str]] = (),
        clock: Optional[float] = None,
        rate: Optional[float] = None,
        stall_after: Optional[float] = None,
        nested: bool = False,
        relays: bool = False,
        answers: Sequence[str] = (),
        paths: Optional[Mapping[str, str]] = None,
        parts: Optional[Mapping[str, str]] = None,
        code: Union[Functions, Kernel, None] = None,
    ) -> None:
        """Declare an actor whose behaviour is the class ``file.py:Class``, which may call a ``model``.

        ``paths`` are parameters that name files, relative to this program's folder; in a .pyz, to the current one.
        ``parts`` are those that name files which a .pyz brings along.
        It can do without the inputs ``optional`` while ``quorum`` of its data inputs are alive (None: 1).

        The inputs ``hold`` give their last token again where they have no other for a firing; ``max_age`` has the
        seconds after which an input's token counts as missing. ``groups`` are the inputs that are matched by index,
        where they are not all one group. Of a source, ``clock`` is the frequency by which it numbers its firings, and
        ``rate`` that of its tokens. ``stall_after`` is how many seconds one call of its behaviour may take. ``nested``:
        it does not fire in each iteration, and its firings have the indices of their tokens. ``relays``: it is in a
        branch of a route, and takes tokens in the order in which they come. ``answers``: it reads those of a route; the
        actor that sends by it, and the inputs in the order of its FIFOs. ``code`` is what c_actor or opencl_actor has
        been told.
        """
        located = {parameter: self.declared.files.beside(path) for parameter, path in (paths or {}).items()}
        unpacked = {parameter: self.declared.files.part(path) for parameter, path in (parts or {}).items()}
        given = {**(parameters or {}), **located, **unpacked}
        live = Live(tuple(hold), dict(max_age or {}), tuple(map(tuple, groups)), clock, rate, stall_after, nested)
        live = live._replace(relays=relays, answers=tuple(answers))
        self.declared.actors.append(
            DeclaredActor(name, unit, behaviour, given, model, tuple(optional), quorum, live, code)
        )

    def c_actor(
        self,
        name: str,
        behaviour: str,
        unit: str,
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = (),
        rates: Optional[Mapping[str, tuple[int, int]]] = None,
        headers: Sequence[str] = (),
        waits: bool = False,
        **said: Any,
    ) -> None:
        """Declare an actor whose behaviour is in C: ``file.c:name``, or a library, ``file.so:name``.

        ``inputs`` and ``outputs`` are its ports for data in the order of the graph, ``rates`` the limits of those whose
        rate is not 1. ``headers`` are the files beside the C file that it includes. ``waits``: it waits for the world.
        The rest as in actor.
        """
        functions = Functions(tuple(inputs), tuple(outputs), dict(rates or {}), tuple(headers), waits)
        self.actor(name, behaviour, unit, code=functions, **said)

    def opencl_actor(
        self,
        name: str,
        behaviour: str,
        unit: str,
        arguments: Sequence[tuple[str, str, Union[int, str]]],
        size: Sequence[Union[int, str]],
        local: Sequence[Union[int, str]] = (),
        headers: Sequence[str] = (),
        **said: Any,
    ) -> None:
        """Declare an actor whose behaviour is a kernel in OpenCL C: ``file.cl:name``.

        ``arguments`` are what the kernel's arguments are, in their order, as fire.opencl_actor.Argument has it: tokens
        of ports, and parameters. ``size`` is the global work size, ``local`` that of a work-group: numbers, and names
        of parameters. ``headers`` are the files beside the OpenCL file that it includes. The rest as in actor.
        """
        kernel = Kernel(tuple(Argument(*each) for each in arguments), tuple(size), tuple(local), tuple(headers))
        self.actor(name, behaviour, unit, code=kernel, **said)

    def segment(
        self,
        name: str,
        model: str,
        unit: str,
        actors: Sequence[str],
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
        hold: Sequence[str] = (),
        max_age: Optional[Mapping[str, float]] = None,
        groups: Sequence[Sequence[str]] = (),
        stall_after: Optional[float] = None,
        nested: bool = False,
        relays: bool = False,
        answers: Sequence[str] = (),
        shares: bool = False,
    ) -> None:
        """Declare a segment: the slices of ``actors`` as one model, run by one interpreter.

        ``inputs`` and ``outputs`` map ports, named ``actor.port``, to positions among the model's inputs and outputs.
        ``shares``: it runs on one interpreter with others of its unit that have the same model, in turn. The rest as in
        actor.
        """
        live = Live(tuple(hold), dict(max_age or {}), tuple(map(tuple, groups)), stall_after=stall_after, nested=nested)
        live = live._replace(relays=relays, answers=tuple(answers), shares=shares)
        self.declared.actors.append(
            DeclaredSegment(name, unit, model, tuple(actors), dict(inputs), dict(outputs), live)
        )

    def cluster(self, *actors: str) -> None:
        """Declare actors of one unit that one thread fires, one after the other in this order, in each iteration.

        Of these only the first ones take tokens from elsewhere, and if one does, it is the only first one. So the
        thread waits for tokens before the first actor only: what is not there for a later one does not come.
        """
        self.declared.clusters.append(actors)

    def schedule(self, firings: str) -> None:
        """Declare what one thread fires in an iteration of a multi-rate graph, as a looped list: ``A*3 (B C)*2``.

        Every actor is in one, which says how often it fires in an iteration.
        """
        self.declared.schedules.append(unrolled(firings))

    def row(self, dpg: str, value: int, rates: Mapping[str, int]) -> None:
        """Declare a row of a dynamic processing graph's control table: the meaning of control value ``value``.

        ``rates`` maps the graph's dynamic FIFOs with an end on this platform to tokens per firing.
        """
        self.declared.tables.setdefault(dpg, {})[value] = rates

    def require(
        self,
        source: str,
        target: str,
        seconds: Optional[float] = None,
        per_second: Optional[float] = None,
        share: float = 1,
        fifos: Sequence[str] = (),
    ) -> None:
        """Declare a requirement of tokens from an output of a source to an input of a sink; ends are ``actor.port``.

        A ``share`` of them may be so many ``seconds`` old at most, and the sink is to begin so many firings
        ``per_second``. ``fifos`` are those with an end on this platform that are on the way.
        """
        self.declared.required.append(Required(source, target, seconds, per_second, share, tuple(fifos)))

    def late(self, dpg: str, value: int, after: Mapping[str, float]) -> None:
        """Declare the row of a dynamic processing graph that its control source takes for a frame that is late there.

        ``after``: output of a source -> seconds after which its tokens are late; of "", those of the oldest source.
        """
        self.declared.late.append(LateRow(dpg, value, dict(after)))

    def fifo(
        self,
        name: str,
        source: str,
        target: str,
        dtype: str,
        shape: Shape,
        capacity: int,
        delay: int = 0,
        initial: Optional[str] = None,
        rate: Rate = 1,
        control: Optional[str] = None,
        policy: str = "stop",
        produced: Optional[Phases] = None,
        consumed: Optional[Phases] = None,
    ) -> None:
        """Declare a FIFO between two actors of this platform; ends are ``actor.port``.

        ``rate`` is the number of tokens per firing, or its lower and upper limit. In a multi-rate graph, where the ends
        have different rates or these go through phases, ``produced`` and ``consumed`` are the rates: a number, or those
        of one firing after the other. ``control`` names the dynamic
        processing graph whose control tokens the FIFO carries. With the ``policy`` "newest" the producer never waits;
        no other acts within a platform.
        """
        fifo = DeclaredFifo(name, source, target, dtype, shape, rate, control, capacity, delay, initial, policy=policy)
        self.declared.fifos.append(fifo._replace(produced=produced, consumed=consumed))

    def tx(
        self,
        name: str,
        source: str,
        dtype: str,
        shape: Shape,
        capacity: int,
        to: str,
        address: str,
        port: int,
        rate: Rate = 1,
        control: Optional[str] = None,
        policy: str = "stop",
        timeout: Optional[float] = None,
        ack: str = "fired",
        shared: bool = False,
        number: int = 0,
        security: str = "none",
        window: int = 0,
        room_timeout: Optional[float] = None,
        timeout_floor: Optional[float] = None,
        group: Optional[str] = None,
        route: Optional[str] = None,
        via: str = "",
        produced: Optional[Phases] = None,
        consumed: Optional[Phases] = None,
        iteration: int = 0,
    ) -> None:
        """Declare a FIFO whose consumer is on platform ``to``, which listens on ``address`` and ``port``.

        ``policy`` is what happens while that platform is lost, ``timeout`` the seconds of silence after which it
        counts as lost and the longest wait for its tokens, which follows what they take down to ``timeout_floor``;
        ``ack`` is when a token under ``wait`` is delivered. ``window`` tokens may be under way beyond
        the capacity; a producer that may lose tokens waits ``room_timeout`` seconds for room; FIFOs of one ``group``
        are late together; those of one actor that state a ``route``, "one" or "sticky", share its tokens.
        ``shared``: all FIFOs with that platform use one connection, on which this is FIFO ``number``; ``via`` is what
        carries the connection, "zenoh", or "". ``produced`` and ``consumed`` are as in fifo; ``iteration`` is how many
        tokens pass in an iteration of a multi-rate graph: under "wait" so many more are kept, for a consumer that is
        restarted begins with an iteration.
        """
        self.declared.fifos.append(
            DeclaredFifo(name, source, None, dtype, shape, rate, control, capacity, 0, None, to, address, port)
            ._replace(policy=policy, timeout=timeout, ack=ack, shared=shared, number=number, security=security)
            ._replace(window=window, room_timeout=room_timeout, timeout_floor=timeout_floor, group=group)
            ._replace(**_routed(route, policy), via=via)
            ._replace(produced=produced, consumed=consumed, iteration=iteration)
        )

    def rx(
        self,
        name: str,
        target: str,
        dtype: str,
        shape: Shape,
        capacity: int,
        frm: str,
        port: int,
        delay: int = 0,
        initial: Optional[str] = None,
        rate: Rate = 1,
        control: Optional[str] = None,
        policy: str = "stop",
        timeout: Optional[float] = None,
        ack: str = "fired",
        shared: bool = False,
        number: int = 0,
        security: str = "none",
        window: int = 0,
        room_timeout: Optional[float] = None,
        timeout_floor: Optional[float] = None,
        group: Optional[str] = None,
        route: Optional[str] = None,
        via: str = "",
        produced: Optional[Phases] = None,
        consumed: Optional[Phases] = None,
        iteration: int = 0,
    ) -> None:
        """Declare a FIFO whose producer is on platform ``frm``; this program listens on ``port``. The rest as in tx."""
        self.declared.fifos.append(
            DeclaredFifo(name, None, target, dtype, shape, rate, control, capacity, delay, initial, frm, "", port)
            ._replace(policy=policy, timeout=timeout, ack=ack, shared=shared, number=number, security=security)
            ._replace(window=window, room_timeout=room_timeout, timeout_floor=timeout_floor, group=group)
            ._replace(**_routed(route, policy), via=via)
            ._replace(produced=produced, consumed=consumed, iteration=iteration)
        )

    def main(self, arguments: Optional[Sequence[str]] = None) -> int:
        """Run with command-line arguments.

        Returns the exit code: 0 fine, 1 failed, 2 wrong usage, 70 internal error, 130 interrupted.
        """
        options = self._options(arguments)
        journal = Journal(self.declared.platform, options.log_format)
        journal.write_behind(None if descriptors.ERROR in descriptors.closed else sys.stderr)
        events: SimpleQueue[Event] = SimpleQueue()
        run = Run(self.declared, options, events, journal)
        try:
            with Signals(events), helpers_guarded(events):
                check_writable(options.record, options.trace, options.status)
                run.to_the_end()
            code = 0
        except RunError as error:
            code = _fail(journal, error, options.traceback)
        except Exception as error:
            code = _fail(journal, unexpected(error), options.traceback)
        return leave(journal, code, bool(run.left_behind))

    def _options(self, arguments: Optional[Sequence[str]]) -> argparse.Namespace:
        declared = self.declared
        names = ", ".join(actor.name for actor in declared.actors)
        description = f"Application {declared.application}, platform {declared.platform}: {names}"
        faults = any(fifo.peer and not fifo.plain for fifo in declared.fifos)
        carried = any(fifo.via for fifo in declared.fifos)
        return parse(description, bool(declared.peers), faults, carried, arguments)


def _routed(route: Optional[str], policy: str) -> dict[str, Any]:
    """What a route makes of a FIFO: whoever sends by it keeps the tokens, so that the FIFO need not."""
    return {"route": route, "policy": "drop", "keeps": policy == "wait"} if route else {}


def _fail(journal: Journal, error: RunError, show: bool) -> int:
    """Report a failure, unless that has been done, with its traceback if wanted; the exit code."""
    if not error.told:
        log_failure(journal, error)
    if show or (isinstance(error, InternalError) and os.environ.get("EPRUNE_DEBUG")):
        cause = error.cause if isinstance(error, (ActorError, InternalError)) else error
        journal.write("".join(traceback.format_exception(type(cause), cause, cause.__traceback__)).rstrip("\n"))
    return error.exit_code
