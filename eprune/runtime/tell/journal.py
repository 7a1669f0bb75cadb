"""The journal of a run: events as they happen, and the one place where an event is made.

An event goes to stderr, as a line for people or as an object of JSON, and into the run record. Events that only say
that all is well have no line for people. In a run a thread of its own writes the lines: nobody waits for a log.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections import deque
from typing import Any, Optional, TextIO

from eprune.runtime.tell.log_writer import LogWriter

#: The formats of stderr.
TEXT, JSON = "text", "json"
#: Events that a record keeps at most: the last ones. The number of the others is kept.
MAX_EVENTS = 1000
#: Seconds between two events of something that happens repeatedly, such as dropped tokens: an event sums it up.
INTERVAL = 10.0

_WARNINGS = ("warning", "lost", "refused", "protocol_error", "dropped", "stalled", "late", "degraded", "unlogged")
_ERRORS = ("failed", "interrupted")
#: the states of a run
_STATES = ("starting", "waiting", "running", "ended", *_ERRORS)
#: event of a connection -> the state of the connection from then on
_LINKS = {"connected": "connected", "reconnected": "connected", "lost": "lost", "closed": "closed"}
#: events that only say that all is well
_QUIET = ("starting", "running", "ended", "connected", "closed")
#: event -> its sentence, of its details; ``subject`` is the connection or the FIFO
_SENTENCES = {
    "connected": "{subject}: connected to peer {peer!r}",
    "reconnected": "{subject}: reconnected to peer {peer!r} after {seconds} s",
    "lost": "{subject}: lost peer {peer!r}: {reason}",
    "closed": "{subject}: closed by both ends",
    "refused": "{subject}: refused a connection: {reason}",
    "protocol_error": "{subject}: peer {peer!r} violated the protocol: {reason}",
    "dropped": "{subject}: dropped {tokens} tokens for peer {peer!r}",
    "resent": "{subject}: resent {tokens} tokens to peer {peer!r}",
    "late": "{tokens} tokens {requirement} were late: up to {age_ms:.1f} ms old, the limit is {limit_ms:g} ms",
    "degraded": "{dpg!r} took row {row} {frames} times, for frames up to {age_ms:.1f} ms old",
    "stalled": "actor {actor!r} is stalled: {seconds} s in {stage}",
    "resumed": "actor {actor!r} goes on after {seconds} s in {stage}",
    "waiting": "waiting for stream {stream}",
    "served": "stream {stream} has ended: {frames} frames in {seconds} s",
    "unlogged": "{lines} lines of this log could not be written",
}


class Journal:
    """Events of one program, oldest first, and the states that follow from them. Any thread may add one."""

    def __init__(self, platform: str, form: str = TEXT) -> None:
        self.platform = platform
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        #: number of all events
        self.count = 0
        #: the run's state, and since when (time.monotonic)
        self.state = ("", time.monotonic())
        #: why the run failed, or ''
        self.failure = ""
        #: connection -> its state (connected, lost, closed), and since when (time.monotonic)
        self.links: dict[str, tuple[str, float]] = {}
        #: set by each event
        self.changed = threading.Event()
        self._writer: Optional[LogWriter] = None
        self._json = form == JSON
        self._lock = threading.RLock()
        self._repeated: dict[tuple[Any, ...], _Repeated] = {}

    def write_behind(self, stream: Optional[TextIO]) -> None:
        """Have lines written to ``stream`` by a thread of their own, until the process ends; None: it is closed."""
        self._writer = LogWriter(lambda lines: self._line("unlogged", time.time(), lines=lines), stream)

    @property
    def unlogged(self) -> int:
        """The number of lines that could not be written, or not yet."""
        return self._writer.unwritten if self._writer else 0

    def drain(self) -> None:
        """Wait until all lines are written; not for long, whatever stderr is."""
        if self._writer:
            self._writer.drain()

    def close(self) -> None:
        """Drain it; who logs later waits for stderr."""
        if self._writer:
            self._writer.close()
            self._writer = None

    def write(self, line: str) -> None:
        """Write a line that is no event."""
        (self._writer.add if self._writer else _print)(line)

    def begin_anew(self) -> None:
        """Forget the last stream of a service: its events and connections."""
        with self._lock:
            self.events.clear()
            self.count = 0
            self.links = {}

    def log(self, event: str, message: str = "", **details: Any) -> None:
        """Add an event: its name with a message or with details.

        An event of a connection has the details ``connection`` (its name) and ``peer``, one of a FIFO ``fifo`` and
        ``peer``.
        """
        now, at = time.time(), time.monotonic()
        with self._lock:
            self.events.append({"time": now, "event": event, **({"message": message} if message else {}), **details})
            self.count += 1
            if event in _STATES:
                self.state = (event, at)
                self.failure = message
            elif event in _LINKS:
                self.links[details["connection"]] = (_LINKS[event], at)
            if self._json or event not in _QUIET:
                self.write(self._line(event, now, message, **details))
        self.changed.set()

    def _line(self, event: str, now: float, message: str = "", **details: Any) -> str:
        text = message or _sentence(event, details)
        if self._json:
            fields = {"time": now, "level": level(event), "platform": self.platform, "event": event, **details}
            return json.dumps({**fields, "message": text})
        severity = level(event)
        return f"{self.platform}: {'note' if severity == 'info' else severity}: {text}"

    def log_repeated(self, event: str, counted: str, number: int, **details: Any) -> None:
        """Add an event that may be repeated at a connection or FIFO: the first one at once, then a sum now and then.

        ``number`` is added to the detail ``counted``; the other details are those of the last call.
        """
        with self._lock:
            key = (event, *(details.get(name) for name in ("connection", "fifo", "requirement", "dpg")))
            repeated = self._repeated.setdefault(key, _Repeated())
            repeated.number += number
            repeated.details = {**details, counted: repeated.number}
        self.flush()

    def flush(self, last: bool = False) -> None:
        """Add the sums of repeated events that are due; ``last``: all of them."""
        now = time.monotonic()
        with self._lock:
            for (event, *_), repeated in self._repeated.items():
                if repeated.number and (last or now >= repeated.due):
                    repeated.number, repeated.due = 0, now + INTERVAL
                    self.log(event, **repeated.details)


def level(event: str) -> str:
    """How much an event matters: info, warning or error."""
    return "warning" if event in _WARNINGS else "error" if event in _ERRORS else "info"


class _Repeated:
    """How often something has happened since its last event, the details of the next one, and when that is due."""

    def __init__(self) -> None:
        self.number = 0
        self.details: dict[str, Any] = {}
        self.due = 0.0


def _print(line: str) -> None:
    """Print one line at once. A run does not end because nobody reads its log any more."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _sentence(event: str, details: dict[str, Any]) -> str:
    if event not in _SENTENCES:
        return event
    subject = details.get("connection") or f"FIFO {details.get('fifo')!r}"
    repeated = f" ({details['times']} times)" if details.get("times", 1) != 1 else ""
    return _SENTENCES[event].format(subject=subject, **details) + repeated + _blame(details)


def _blame(details: dict[str, Any]) -> str:
    """What took the time of late tokens, if that is known."""
    if "by" not in details:
        return ""
    usual = f", usually {details['usual_ms']:.1f} ms" if "usual_ms" in details else ""
    return f"; {details['by']} took {details['by_ms']:.1f} ms of one{usual}"
