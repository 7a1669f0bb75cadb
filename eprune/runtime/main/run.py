"""One run of a program: started, reported on while it lasts, recorded at its end, and left."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from queue import SimpleQueue
from typing import Any, Optional

from eprune.runtime.fire.engine import Engine, Event, finalize
from eprune.runtime.kernel import descriptors
from eprune.runtime.kernel.errors import Interrupted, RunError, UsageError, unexpected
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.control import Control
from eprune.runtime.main.declared import Declared, no_service
from eprune.runtime.main.predecessor import Predecessor
from eprune.runtime.main.report import Reporter
from eprune.runtime.main.scheduled import left_over
from eprune.runtime.main.succession import Succession
from eprune.runtime.net.handshake import Listeners
from eprune.runtime.tell import record
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.outlets import FileOutlet, is_stream
from eprune.runtime.tell.status import Status, StatusReport
from eprune.runtime.tell.tap import Taps
from eprune.runtime.tell.watch import Watch

#: Seconds that a program with threads that do not stop waits for standard output, before it leaves without.
_FLUSH = 1.0


class Stream:
    """One run of the actors. A service has one after the other; the ``number`` of such a stream, or None."""

    def __init__(self, run: Run, assembly: Assembly, number: Optional[int]) -> None:
        options, events, journal = run.options, run.events, run.journal
        self.assembly = assembly
        self.number = number
        self.activities = {actor.name: actor.activity for actor in assembly.actors}
        for fifo in assembly.declared.fifos:
            if fifo.peer:
                self.activities[f"{'TX' if fifo.source else 'RX'} {fifo.name}"] = assembly.crossing[fifo.name]
        if options.trace:
            for activity in self.activities.values():
                activity.spans = []
        self.network = network = assembly.make_network(events.put, run.listeners)
        assembly.use(network)
        self.engine = Engine(assembly.crews, network, assembly.links, events, journal, self._begin, self._ready)
        measures = bool(options.record or options.status or options.metrics)
        self.reporter = Reporter(assembly, journal, run.watch, measures, number)
        self.reporter.unreported = run.unreported
        self.taps = self.reporter.taps = _taps(assembly, options)
        self.reporter.successor = lambda: run.succession.successor if run.succession else None
        self._before = run.before
        self._journal = journal

    def _ready(self) -> None:
        if self.number is not None:
            self._journal.log("waiting", stream=self.number)

    def _begin(self) -> None:
        self.assembly.begin()
        self.reporter.begin()
        self._journal.log("running")
        if self._before is not None:
            self._before.ready()

    def end_taps(self) -> None:
        """Write what taps have copied, and say how much it is."""
        self.taps.close()
        for fifo, tap in self.taps.status.items():
            lost = f"; {tap.lost} were lost, as the disk was slow" * bool(tap.lost)
            said = f"; then: {tap.problem}" * bool(tap.problem)
            event = "warning" if tap.lost or tap.problem else "note"
            self._journal.log(event, f"FIFO {fifo!r}: {tap.tokens} tokens in {tap.file}{lost}{said}", fifo=fifo)

    def results(self, options: argparse.Namespace) -> dict[str, str]:
        """File -> its content, of the record and the trace that are wanted."""
        results = {}
        cut = [name for name, each in self.activities.items() if len(each.spans or ()) >= record.MAX_SPANS]
        if options.trace and cut:
            self._journal.log("note", f"the trace has the first {record.MAX_SPANS} firings only of {', '.join(cut)}")
        if options.record:
            self._journal.drain()  # the record says what could not be written
            results[options.record] = json.dumps(self.reporter.record().as_json(), indent=1)
        if options.trace:
            name = self.assembly.declared.platform + " (emulated)" * bool(self.assembly.emulation)
            results[options.trace] = record.trace(name, self.activities)
        return results


class Run:
    """One run of what a program declares; what threads say to the main thread are ``events``."""

    def __init__(
        self, declared: Declared, options: argparse.Namespace, events: SimpleQueue[Event], journal: Journal
    ) -> None:
        self._declared = declared
        self.options = options
        self.events = events
        self.journal = journal
        #: what stays open between the streams of a service; None: this is none
        self.listeners = Listeners() if options.serve else None
        self.watch = Watch([], {}, journal)
        #: the threads that did not stop: in foreign code, which cannot be stopped
        self.left_behind: list[str] = []
        #: the change to the next generation of this program, and the generation before, where there may be some
        self.succession = Succession(journal, options.status, options.control) if options.control else None
        self.before = None if options.succeed is None else Predecessor(options.succeed, journal, events.put)
        self._control = Control(options.control, self.succession) if self.succession else None
        self._stream: Stream
        self._status: Optional[Status] = None

    def unreported(self) -> int:
        """The number of status reports that were left out so far."""
        return self._status.missed if self._status else 0

    def to_the_end(self) -> None:
        """Assemble it, run it, and write its record and trace. Raises RunError."""
        reason = no_service(self._declared) if self.options.serve else ""
        if reason:
            raise UsageError(f"--serve: {reason}")
        assembly = _kind(self.options)(self._declared, self.options, self.events, self.journal)
        with contextlib.closing(assembly):
            self._conduct(assembly)

    def _conduct(self, assembly: Assembly) -> None:
        self._prepare(assembly, 1 if self.options.serve else None)
        _confine(assembly.cores.values())
        self._status = Status(self.options.status, self.journal, self._snapshot, self.events.put, self.watch)
        self._status.main = self.before is None
        failure: Optional[RunError] = None
        try:
            with self._status, self._metrics():
                try:
                    self._take_part()
                    self._serve() if self.options.serve else self._run()
                    self._hand_over()
                    self.journal.log("ended")
                except RunError as error:
                    self._stream.reporter.tally(last=True)
                    log_failure(self.journal, error)
                    raise
        except RunError as error:
            failure = error
        # A service that ends between two streams leaves the record of the last one.
        missing = [] if self.options.serve and not failure else _write(self._stream.results(self.options))
        for problem in missing:
            log_failure(self.journal, problem)
        if missing and (failure is None or isinstance(failure, Interrupted)):
            failure = missing[0]
        if failure:
            raise failure

    def _metrics(self) -> contextlib.AbstractContextManager[Any]:
        if not self.options.metrics:
            return contextlib.nullcontext()
        from eprune.runtime.tell.scrape import MetricsServer

        status = self._status

        def tell() -> Optional[dict[str, Any]]:
            return status.last.as_json() if status is not None and status.last is not None else None

        return MetricsServer(self.options.metrics, tell, waits=self.before is not None)

    def _take_part(self) -> None:
        """Be there for the generations before and after this one."""
        if self.before is not None:
            self.before.on_main = self._become_main
            self.before.follow(self._stream.assembly)
        elif self._control is not None:
            self._control.listen()
        if self.succession is not None and self.options.serve:
            self.succession.on_leave = self._stop_waiting

    def _become_main(self) -> None:
        """The generation before has ended."""
        assert self._status is not None
        self._status.main = True
        if self._control is not None:
            self._control.listen()
        self.journal.log("note", "this generation has taken over")

    def _hand_over(self) -> None:
        """Everything has ended here: if there is a next generation, it goes on."""
        if self.succession is not None:
            self.succession.conclude()
            if self.succession.successor is not None and self._status is not None:
                self._status.name_main(self.succession.successor)
            self.succession.name_main()

    def _stop_waiting(self) -> None:
        """No stream comes any more."""
        if self._stream.network.idle:
            self.events.put(Interrupted("the next generation takes over"))

    @property
    def _leaving(self) -> bool:
        """Whether there is no next stream, since another generation takes over."""
        return self.succession is not None and self.succession.leaving

    def _snapshot(self) -> StatusReport:
        self._stream.taps.look()
        return self._stream.reporter.snapshot()

    def _prepare(self, assembly: Assembly, number: Optional[int]) -> None:
        self._stream = Stream(self, assembly, number)
        if self.succession is not None:
            self.succession.follow(assembly)
        self.watch.follow(assembly.actors, _limits(assembly, self.options.stall_after))
        self.journal.log("starting")

    def _run(self) -> None:
        """Run what is prepared. Raises RunError."""
        engine = self._stream.engine
        try:
            engine.run(self.options.timeout)
        finally:
            self.left_behind = engine.left_behind
            self._stream.end_taps()
        assembly = self._stream.assembly
        for line in left_over(assembly.declared, assembly.fifos):
            self.journal.log("note", line)
        self._stream.reporter.tally(last=True)

    def _serve(self) -> None:
        """Serve stream after stream. Raises RunError, but for a signal between two streams: that is the end."""
        assert self.listeners is not None
        failures: list[RunError] = []
        try:
            for number in itertools.count(2):
                self._run()
                self._conclude()
                if not self._leaving:
                    self._prepare(self._anew(), number)
                if self._leaving:
                    break
        except RunError as error:
            if not (isinstance(error, Interrupted) and self._stream.network.idle):
                failures.append(error)
        self.listeners.close()
        more, stuck = finalize(self._stream.assembly.actors)
        self.left_behind = [*self.left_behind, *stuck]
        for failure in [*failures, *more]:
            raise failure

    def _anew(self) -> Assembly:
        try:
            return self._stream.assembly.anew()
        except UsageError as error:  # it has worked before: a restart may mend it
            raise RunError(str(error)) from error

    def _conclude(self) -> None:
        """A stream of a service has ended well."""
        stream = self._stream
        seconds = round(stream.reporter.seconds, 3)
        self.journal.log("served", stream=stream.number, frames=stream.reporter.frames, seconds=seconds)
        for problem in _write(stream.results(self.options)):
            self.journal.log("warning", str(problem))
        self.journal.begin_anew()


def _kind(options: argparse.Namespace) -> type[Assembly]:
    """What a run is assembled by."""
    if not getattr(options, "dora", False):
        return Assembly
    from eprune.runtime.main.node import NodeAssembly  # only nodes need it

    return NodeAssembly


def _taps(assembly: Assembly, options: argparse.Namespace) -> Taps:
    """The taps of FIFOs whose producers are here. Raises UsageError for others."""
    fifos = {each.name: assembly.fifos[each.name] for each in assembly.declared.fifos if each.source is not None}
    begun = dict(text.partition("=")[::2] for text in options.tap)
    for name, path in begun.items():
        if name not in fifos or not path:
            raise UsageError(f"--tap {name}={path}: expected FIFO=FILE; FIFOs with a producer here: {', '.join(fifos)}")
    polled = options.status and not is_stream(options.status)
    try:
        return Taps(fifos, begun, f"{options.status}.tap" if polled else None)
    except OSError as error:
        raise UsageError(f"--tap {error.filename}: {error.strerror}") from None


def _limits(assembly: Assembly, usual: float) -> dict[str, float]:
    """Actor -> seconds in one stage after which it is stalled, of those that are watched."""
    own = {declared.name: declared.live.stall_after for declared in assembly.declared.actors}
    limits = {}
    for actor in assembly.actors:
        limit = own.get(actor.name)
        if limit is None and not actor.behaviour.waits:
            limit = usual
        if limit:
            limits[actor.name] = limit
    return limits


def _write(results: Mapping[str, str]) -> list[RunError]:
    """Write texts to their files, all at once; an error for each file that is not there afterwards."""
    outlets = [FileOutlet(path) for path in results]
    for outlet, text in zip(outlets, results.values()):
        outlet.put(f"{text}\n")
    problems = [(outlet.path, outlet.close()) for outlet in outlets]
    return [RunError(f"{path}: {problem}") for path, problem in problems if problem]


def _confine(units: Collection[frozenset[int]]) -> None:
    """Keep the program's other threads (links, main) on its units' cores, if all of them are pinned."""
    if units and all(units):
        os.sched_setaffinity(0, frozenset().union(*units))


def log_failure(journal: Journal, error: RunError) -> None:
    """The event of a failure."""
    error.told = True
    journal.log("interrupted" if isinstance(error, Interrupted) else "failed", str(error))


@contextlib.contextmanager
def helpers_guarded(events: SimpleQueue[Event]) -> Iterator[None]:
    """What is raised in a thread that nobody else guards ends the run, instead of being printed as a traceback."""

    def report(failed: Any) -> None:
        if failed.exc_value is not None and failed.exc_type is not SystemExit:
            events.put(unexpected(failed.exc_value, failed.thread.name if failed.thread else ""))

    before, threading.excepthook = threading.excepthook, report
    try:
        yield
    finally:
        threading.excepthook = before


def leave(journal: Journal, code: int, at_once: bool) -> int:
    """Print what is left to be printed; the exit code. ``at_once``: end the process around threads that do not stop.

    Results that could not be printed make exit code 0 a 1. Nobody complains where the reader has seen enough.
    """
    problem: list[OSError] = []
    if at_once:
        flushing = threading.Thread(target=_flush, args=(problem,), daemon=True)
        flushing.start()
        flushing.join(_FLUSH)  # such a thread may wait in there for a reader
    else:
        _flush(problem)
    if problem:
        code = code or 1
        if not isinstance(problem[0], BrokenPipeError):
            journal.log("failed", f"standard output: {problem[0].strerror or problem[0]}")
    journal.close()
    if at_once:
        os._exit(code)
    return code


def _flush(problem: list[OSError]) -> None:
    try:
        sys.stdout.flush()
    except ValueError:  # an actor has closed it
        pass
    except OSError as error:
        problem.append(error)
        # What is left in the buffer would fail once more when Python ends, with a message and an exit code of its own.
        with contextlib.suppress(OSError, ValueError):
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, descriptors.OUTPUT)
            os.close(nothing)
