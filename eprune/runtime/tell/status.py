"""The status of a running program, for whoever watches it: in a file, over a pipe, for systemd."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Callable, Optional

from eprune.runtime.kernel.errors import InternalError, Interrupted, RunError
from eprune.runtime.tell.journal import Journal
from eprune.runtime.tell.record import is_stream, known, write_whole
from eprune.runtime.tell.usage import Usage

#: Seconds between two reports: in a file, which may be on a memory card, and to a pipe, whose reader shows them.
FILE_PERIOD = 1.0
PIPE_PERIOD = 0.2
#: Seconds between two reports where something changes, however often it does.
REST = 0.05


@dataclass(frozen=True)
class FifoStatus:
    """This platform's end of a FIFO to or from another one.

    Where the peer confirms tokens: ``tokens`` = ``confirmed`` + ``waiting`` + ``dropped``.
    """

    kind: str
    peer: str
    tokens: int
    confirmed: Optional[int] = None
    waiting: Optional[int] = None
    dropped: Optional[int] = None
    resent: Optional[int] = None


@dataclass(frozen=True)
class PeerStatus:
    """The worst state of the connections with a peer (lost, waiting, connected, closed), and since when."""

    state: str
    since: float


@dataclass(frozen=True)
class StatusReport:
    """How a run fares at ``time``. Times are in seconds since the epoch; ``usage`` is flat in JSON."""

    time: float
    application: str
    platform: str
    pid: int
    state: str
    since: float
    failure: str
    firings: Mapping[str, int]
    fifos: Mapping[str, FifoStatus]
    peers: Mapping[str, PeerStatus]
    usage: Usage

    def as_json(self) -> dict[str, Any]:
        """The report as objects of JSON."""
        fields = asdict(self)
        usage = fields.pop("usage")
        fields["fifos"] = {name: known(fifo) for name, fifo in fields["fifos"].items()}
        return {**fields, **usage}


class Status:
    """Reports each change, and every second or so, from entering to leaving.

    ``path`` is a file, which is replaced whole, or a pipe or device, which gets a line of JSON each time. ``snapshot``
    makes a report; it is called at least once per second. ``fail`` gets an error when the reader of a pipe has gone:
    nobody is left to stop this program.
    """

    def __init__(
        self,
        path: Optional[str],
        journal: Journal,
        snapshot: Callable[[], StatusReport],
        fail: Callable[[RunError], None],
    ) -> None:
        self._path = path
        self._journal = journal
        self._snapshot = snapshot
        self._fail = fail
        self._closed = self._failing = False
        self._pipe: Optional[IO[bytes]] = None
        self._last_state = ""
        self._thread = threading.Thread(target=self._run, name="status", daemon=True)

    def __enter__(self) -> None:
        """Begin. Raises RunError where a pipe or device cannot be opened."""
        if self._path and is_stream(self._path):
            try:
                self._pipe = Path(self._path).open("wb", buffering=0)
            except OSError as error:
                raise RunError(f"{self._path}: {error.strerror or error}") from None
        self._report()
        self._thread.start()

    def __exit__(self, kind: Optional[type[BaseException]], error: object, trace: Optional[TracebackType]) -> None:
        """The last report."""
        self._closed = True
        self._journal.changed.set()
        self._thread.join()
        self._report()
        if self._pipe is not None:
            self._pipe.close()

    def _run(self) -> None:
        try:
            self._report_until_closed()
        except Exception as error:
            self._fail(InternalError(error, threading.current_thread().name))

    def _report_until_closed(self) -> None:
        period = FILE_PERIOD if self._pipe is None else PIPE_PERIOD
        changed = self._journal.changed
        while not self._closed:
            if changed.wait(period):
                changed.clear()
                time.sleep(REST)
            self._report()

    def _report(self) -> None:
        report = self._snapshot()
        self._notify_systemd(report)
        if self._path is None:
            return
        text = json.dumps(report.as_json()) + "\n"
        try:
            if self._pipe is None:
                write_whole(self._path, text)
            else:
                self._pipe.write(text.encode())
            self._failing = False
        except OSError as error:
            if self._pipe is not None:
                self._path = None
                self._fail(Interrupted("the process that started this program has gone"))
            elif not self._failing:
                self._failing = True
                self._journal.log("warning", f"--status {self._path}: {error.strerror or error}")

    def _notify_systemd(self, report: StatusReport) -> None:
        state = report.state
        lines = ["WATCHDOG=1"]
        if state != self._last_state:
            lines += {"running": ["READY=1"], "starting": []}.get(state, ["STOPPING=1"])
            self._last_state = state
        lost = [name for name, peer in report.peers.items() if peer.state == "lost"]
        done = min(report.firings.values(), default=0)
        lines.append(f"STATUS={state}: {done} frames" + f"; lost: {', '.join(lost)}" * bool(lost))
        notify("\n".join(lines))


def notify(message: str) -> None:
    """Notify systemd, if it started this program as a service of Type=notify (see sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] in ("/", "@"):
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(message.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)
