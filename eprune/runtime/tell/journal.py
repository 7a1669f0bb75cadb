"""What becomes of a run, told as it happens: the one place where an event is made.

An event goes to stderr, as a line for people or as an object of JSON, and into the run record. What people need not
know, because all is well, has no line for people.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections import deque
from typing import Any

#: What a line of JSON has first; the facts of its event follow.
TEXT, JSON = "text", "json"
#: Events that a record keeps at most: the last ones. Their number is told.
MAX_EVENTS = 1000
#: Seconds between two tellings of what happens over and over, such as a dropped token: a line sums up.
INTERVAL = 10.0

_WARNINGS = ("warning", "lost", "refused", "nonsense", "dropped")
_ERRORS = ("failed", "interrupted")
#: what becomes of the run
_STATES = ("starting", "running", "ended", *_ERRORS)
#: what becomes of a connection -> the state that it is in from then on
_LINKS = {"connected": "alive", "back": "alive", "lost": "lost", "parted": "parted"}
_ABOUT = ("connection", "fifo", "peer")
#: when all is well
_QUIET = ("starting", "running", "ended", "connected", "parted")


class Journal:
    """Events of one program, oldest first, and the states that follow from them. Any thread may tell one."""

    def __init__(self, platform: str, form: str = TEXT) -> None:
        self.platform = platform
        self.events: deque[dict[str, Any]] = deque(maxlen=MAX_EVENTS)
        #: events told in all
        self.count = 0
        #: what the run does, and since when (seconds since the epoch)
        self.state = ("", time.time())
        #: why it failed
        self.failure = ""
        #: connection -> its state (alive, lost, parted), and since when
        self.links: dict[str, tuple[str, float]] = {}
        #: set by each event
        self.changed = threading.Event()
        self._json = form == JSON
        self._lock = threading.RLock()
        self._often: dict[tuple[Any, ...], _Often] = {}

    def tell(self, event: str, message: str = "", **facts: Any) -> None:
        """An event: its name, a message or facts; of a connection the facts ``connection`` (its name) and ``peer``."""
        now = time.time()
        with self._lock:
            self.events.append({"time": now, "event": event, **({"message": message} if message else {}), **facts})
            self.count += 1
            if event in _STATES:
                self.state = (event, now)
                self.failure = message
            elif event in _LINKS:
                self.links[facts["connection"]] = (_LINKS[event], now)
            text = f"{'error' if event in _ERRORS else event}: {message or _sentence(facts)}"
            if self._json:
                told = {"time": now, "level": level(event), "platform": self.platform, "event": event, **facts}
                _print(json.dumps({**told, "message": text}))
            elif event not in _QUIET:
                _print(f"{self.platform}: {text}")
        self.changed.set()

    def often(self, event: str, counted: str, number: int, **facts: Any) -> None:
        """An event that may come over and over at a connection or FIFO: the first is told, then a sum now and then.

        ``number`` is added to the fact called ``counted``; the other facts are told as they were at last.
        """
        with self._lock:
            often = self._often.setdefault((event, facts.get("connection"), facts.get("fifo")), _Often())
            often.number += number
            often.told = {**facts, counted: often.number}
        self.flush()

    def flush(self, last: bool = False) -> None:
        """Tell what happened over and over, if it is time; ``last``: in any case."""
        now = time.monotonic()
        with self._lock:
            for (event, *_), often in self._often.items():
                if often.number and (last or now >= often.due):
                    often.number, often.due = 0, now + INTERVAL
                    self.tell(event, **often.told)


def level(event: str) -> str:
    """How much an event matters: info, warning or error."""
    return "warning" if event in _WARNINGS else "error" if event in _ERRORS else "info"


class _Often:
    """How much of something has happened since it was told, what to tell, and when."""

    def __init__(self) -> None:
        self.number = 0
        self.told: dict[str, Any] = {}
        self.due = 0.0


def _print(line: str) -> None:
    """One line, at once. A run does not end because nobody reads its log any more."""
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _sentence(facts: dict[str, Any]) -> str:
    about = facts.get("connection") or (f"FIFO {facts['fifo']!r} with {facts['peer']}" if "fifo" in facts else "")
    more = (f"; {key} {value}" for key, value in facts.items() if key not in _ABOUT and (key, value) != ("times", 1))
    return about + "".join(more)
