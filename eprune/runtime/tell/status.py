"""The status of a running program, for whoever watches it: in a file, over a pipe, for systemd."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Callable, Optional, Union

from eprune.runtime.kernel.ages import Age
from eprune.runtime.kernel.errors import Interrupted, RunError, unexpected
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.judge import DegradedRecord, RequirementRecord
from eprune.runtime.tell.outlets import FileOutlet, PipeOutlet, is_stream
from eprune.runtime.tell.recent import Recent
from eprune.runtime.tell.record import known
from eprune.runtime.tell.tap import TapStatus
from eprune.runtime.tell.usage import Usage
from eprune.runtime.tell.watch import Stall, Watch

#: Seconds between two reports: in a file, which may be on a memory card, and to a pipe, whose reader shows them.
FILE_PERIOD = 1.0
PIPE_PERIOD = 0.2
#: Seconds between two reports where something changes, however often it does.
REST = 0.05
#: Seconds that the last report has to reach a slow disk or reader.
LAST = 1.0


@dataclass(frozen=True)
class FifoStatus:
    """A FIFO of this platform, or its end of one to or from another platform.

    ``fill`` tokens of at most ``capacity`` are in it, as far as this end knows. Where the peer confirms tokens:
    ``tokens`` = ``confirmed`` + ``waiting`` + ``dropped``. ``discarded``: tokens that were not used in any firing.
    """

    kind: str
    peer: str
    tokens: int
    capacity: int
    fill: int
    discarded: Optional[int] = None
    confirmed: Optional[int] = None
    waiting: Optional[int] = None
    dropped: Optional[int] = None
    resent: Optional[int] = None


@dataclass(frozen=True)
class PeerStatus:
    """The worst state of the connections with a peer (lost, waiting, connected, closed), and since when.

    By how much its clock is ahead of this one, in milliseconds, and how wrong that may be; None: unknown.
    """

    state: str
    since: float
    clock_offset_ms: Optional[float] = None
    clock_uncertainty_ms: Optional[float] = None


@dataclass(frozen=True)
class StatusReport:
    """How a run fares at ``time``. Times are in seconds since the epoch; ``usage`` is flat in JSON.

    ``time`` - ``since`` is a duration, whatever the clock has done meanwhile. ``stalled``: actor -> its stall.
    ``ages``: data input of an actor without outputs, ``actor.port`` -> how old its tokens have been. ``recent``: what
    has happened in the last seconds. ``missing``: the ports, ``actor.port``, whose other ends are missing now.
    ``requirements``: ``actor.port -> actor.port`` to how it was met so far; ``degraded``: dynamic processing graph ->
    how often its row for late frames was taken. ``taps``: FIFO -> how far the copying of its tokens is.
    ``figures``: actor -> what its behaviour counts or measures,
    of those that do.
    ``stream``: of a service, the number of the stream that it serves or waits for; None: it is none.
    ``successor``: the process of the next generation, which has taken over; None: there is none.
    ``unlogged`` lines of the log and ``unreported`` reports could not be written.
    """

    time: float
    application: str
    platform: str
    pid: int
    state: str
    since: float
    stream: Optional[int]
    failure: str
    successor: Optional[int]
    firings: Mapping[str, int]
    ages: Mapping[str, Age]
    fifos: Mapping[str, FifoStatus]
    peers: Mapping[str, PeerStatus]
    stalled: Mapping[str, Stall]
    missing: Sequence[str]
    taps: Mapping[str, TapStatus]
    requirements: Mapping[str, RequirementRecord]
    degraded: Mapping[str, DegradedRecord]
    recent: Recent
    figures: Mapping[str, Mapping[str, float]]
    unlogged: int
    unreported: int
    usage: Usage

    def as_json(self) -> dict[str, Any]:
        """The report as objects of JSON."""
        fields = asdict(self)
        usage = fields.pop("usage")
        for group in ("fifos", "peers"):
            fields[group] = {name: known(each) for name, each in fields[group].items()}
        for name in ("stream", "successor"):
            if fields[name] is None:
                del fields[name]
        for name in ("requirements", "degraded"):
            if not fields[name]:
                del fields[name]
        if not fields["recent"]["requirements"]:
            del fields["recent"]["requirements"]
        return {**fields, **usage}


class Status:
    """Reports each change, and every second or so, from entering to leaving; looks at the actors; feeds the watchdog.

    ``path`` is a file, which is replaced whole, or a pipe or device, which gets a line of JSON each time. ``snapshot``
    makes a report; it is called at least once per second. ``fail`` gets an error when whoever started this program and
    gave it a pipe has gone: nobody is left to stop this program.
    """

    def __init__(
        self,
        path: Optional[str],
        journal: Journal,
        snapshot: Callable[[], StatusReport],
        fail: Callable[[RunError], None],
        watch: Watch,
    ) -> None:
        self._path = path
        self._journal = journal
        self._snapshot = snapshot
        self._fail = fail
        self._watch = watch
        #: the last report
        self.last: Optional[StatusReport] = None
        #: whether this process is the one that systemd watches, and not a generation that is still to take over
        self.main = True
        self._closed = False
        self._problem = ""
        self._outlet: Union[FileOutlet, PipeOutlet, None] = None
        self._systemd = Systemd()
        self._last_state = ""
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    @property
    def missed(self) -> int:
        """The number of reports that were left out: a disk was slow, or nobody read the pipe."""
        return self._outlet.missed if self._outlet else 0

    def name_main(self, process: int) -> None:
        """Another process of this service is the one to be watched from now on."""
        self.main = False
        self._systemd.notify(f"MAINPID={process}")

    def __enter__(self) -> Status:
        """Begin. Raises RunError where a pipe or device cannot be opened."""
        if self._path:
            try:
                self._outlet = (PipeOutlet if is_stream(self._path) else FileOutlet)(self._path)
            except OSError as error:
                raise RunError(f"{self._path}: {error.strerror or error}") from None
        self._report()
        self._thread.start()
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: object, trace: Optional[TracebackType]) -> None:
        """The last report."""
        self._closed = True
        self._journal.changed.set()
        self._thread.join()
        self._report()
        if self._outlet is not None:
            self._explain(self._outlet.close(LAST))
        self._systemd.close()

    def _run(self) -> None:
        try:
            self._report_until_closed()
        except Exception as error:
            self._fail(unexpected(error, threading.current_thread().name))

    def _report_until_closed(self) -> None:
        period = PIPE_PERIOD if isinstance(self._outlet, PipeOutlet) else FILE_PERIOD
        changed, due = self._journal.changed, time.monotonic() + period
        while not self._closed:
            left = max(due - time.monotonic(), 0.0)
            woken = changed.wait(min(left, self._watch.period or left))
            if woken:
                changed.clear()
                time.sleep(REST)
            self._watch.look()
            if woken or time.monotonic() >= due:
                due = time.monotonic() + period
                self._report()

    def _report(self) -> None:
        self.last = report = self._snapshot()
        if self.main:
            self._notify_systemd(report)
        if self._outlet is None:
            return
        try:
            self._outlet.put(json.dumps(report.as_json()) + "\n")
            self._explain(self._outlet.problem)
        except BrokenPipeError:
            self._outlet = None
            self._fail(Interrupted("the process that started this program has gone"))

    def _explain(self, problem: str) -> None:
        """An event for a problem that has just begun."""
        if problem and not self._problem:
            self._journal.log("warning", f"--status {self._path}: {problem}")
        self._problem = problem

    def _notify_systemd(self, report: StatusReport) -> None:
        state = report.state
        # A service that is stalled gets no better by itself: systemd may restart it.
        lines = [] if report.stalled else ["WATCHDOG=1"]
        if state != self._last_state:
            ready = ["READY=1"]
            lines += {"starting": [], "waiting": ready, "running": ready}.get(state, ["STOPPING=1"])
            self._last_state = state
        lost = [name for name, peer in report.peers.items() if peer.state == "lost"]
        done = min(report.firings.values(), default=0)
        stream = "" if report.stream is None else f" of stream {report.stream}"
        frames = f"waiting for stream {report.stream}" if state == "waiting" else f"{state}: {done} frames{stream}"
        lines.append(
            f"STATUS={frames}"
            + f"; lost: {', '.join(lost)}" * bool(lost)
            + f"; stalled: {', '.join(report.stalled)}" * bool(report.stalled)
        )
        self._systemd.notify("\n".join(lines))


class Systemd:
    """Notifies systemd, if it started this program as a service of Type=notify (see sd_notify(3)).

    The socket stays open: a process that runs out of descriptors still gives its sign of life.
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = address.replace("@", "\0", 1) if address[:1] == "@" else address
        self._socket: Optional[socket.socket] = None
        if address[:1] in ("/", "@"):
            with contextlib.suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)

    def notify(self, message: str) -> None:
        """Send it, unless systemd is busy."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(message.encode(), self._address)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
