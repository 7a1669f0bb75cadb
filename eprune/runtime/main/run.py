"""One run of a program: started, reported on while it lasts, recorded at its end, and left."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from typing import Any, Optional

from eprune.runtime.fire.engine import Engine, Event
from eprune.runtime.kernel import descriptors
from eprune.runtime.kernel.errors import Interrupted, RunError, unexpected
from eprune.runtime.main.assembly import Assembly
from eprune.runtime.main.declared import Declared
from eprune.runtime.main.report import Reporter
from eprune.runtime.net.network import Network
from eprune.runtime.tell import record
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.outlets import FileOutlet
from eprune.runtime.tell.status import Status
from eprune.runtime.tell.watch import Watch

#: Seconds that a program with threads that do not stop waits for standard output, before it leaves without.
_FLUSH = 1.0


class Run:
    """One run of what a program declares; what threads say to the main thread are ``events``."""

    def __init__(
        self, declared: Declared, options: argparse.Namespace, events: SimpleQueue[Event], journal: Journal
    ) -> None:
        self._declared = declared
        self._options = options
        self._events = events
        self._journal = journal
        self._engine: Optional[Engine] = None

    @property
    def left_behind(self) -> list[str]:
        """The threads that did not stop: in foreign code, which cannot be stopped."""
        return self._engine.left_behind if self._engine else []

    def to_the_end(self) -> None:
        """Assemble it, run it, and write its record and trace. Raises RunError."""
        declared, options, events, journal = self._declared, self._options, self._events, self._journal
        assembly = Assembly(declared, options, events, journal)
        activities = {actor.name: actor.activity for actor in assembly.actors}
        for fifo in declared.fifos:
            if fifo.peer:
                activities[f"{'TX' if fifo.source else 'RX'} {fifo.name}"] = assembly.crossing[fifo.name]
        if options.trace:
            for activity in activities.values():
                activity.spans = []

        def begin() -> None:
            assembly.begin()
            journal.log("running")

        network = Network(assembly.connections, events.put)
        assembly.use(network)
        self._engine = engine = Engine(assembly.crews, network, len(assembly.connections), events, journal, begin)
        _confine(set(assembly.cores.values()))
        journal.log("starting")
        watch = Watch(assembly.actors, _limits(assembly, options.stall_after), journal)
        reporter = Reporter(assembly, journal, watch, bool(options.record or options.status))
        status = Status(options.status, journal, reporter.snapshot, events.put, watch)
        reporter.unreported = lambda: status.missed
        failure: Optional[RunError] = None
        try:
            with status:
                try:
                    engine.run(options.timeout)
                    reporter.tally(last=True)
                    journal.log("ended")
                except RunError as error:
                    reporter.tally(last=True)
                    log_failure(journal, error)
                    raise
        except RunError as error:
            failure = error
        results = {}
        if options.record:
            journal.drain()  # the record says what could not be written
            results[options.record] = json.dumps(reporter.record().as_json(), indent=1)
        if options.trace:
            name = declared.platform + " (emulated)" * bool(assembly.emulation)
            results[options.trace] = record.trace(name, activities)
        missing = _write(results)
        for problem in missing:
            log_failure(journal, problem)
        if missing and (failure is None or isinstance(failure, Interrupted)):
            failure = missing[0]
        if failure:
            raise failure


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


def _confine(cores: set[Optional[int]]) -> None:
    """Keep the program's other threads (links, main) on its units' cores, if all of them are pinned."""
    wanted = {core for core in cores if core is not None}
    if wanted and None not in cores:
        os.sched_setaffinity(0, wanted)


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
