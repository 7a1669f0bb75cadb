"""What a run says of itself: counters of every actor and link, the run record (JSON) and the Chrome trace."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Optional

#: Spans that one actor keeps for the trace at most; a longer run's trace is cut there, and says so.
MAX_SPANS = 200_000


class Activity:
    """Counters of one actor or link, written by its own thread alone. Times are in nanoseconds of perf_counter_ns."""

    def __init__(self) -> None:
        self.count = 0
        self.busy = 0
        self.waiting = 0
        self.first: Optional[int] = None
        self.last: Optional[int] = None
        #: (begin, end, index of the first firing), if a trace is wanted
        self.spans: Optional[list[tuple[int, int, int]]] = None

    def add(self, begin: int, end: int, count: int = 1, waiting: int = 0) -> None:
        """Count ``count`` firings that took from ``begin`` to ``end`` after ``waiting``."""
        if self.first is None:
            self.first = begin
        self.last = end
        self.busy += end - begin
        self.waiting += waiting
        if self.spans is not None and len(self.spans) < MAX_SPANS:
            self.spans.append((begin, end, self.count))
        self.count += count

    def summary(self) -> dict[str, Any]:
        """Firings, and seconds busy and waiting."""
        return {
            "firings": self.count,
            "busy_s": self.busy / 1e9,
            "waiting_s": self.waiting / 1e9,
            "first_s": None if self.first is None else self.first / 1e9,
            "last_s": None if self.last is None else self.last / 1e9,
        }


def usage() -> dict[str, Any]:
    """CPU seconds and peak resident memory (bytes) of this process, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows has none
        return {}
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"user_s": used.ru_utime, "system_s": used.ru_stime, "peak_memory_bytes": used.ru_maxrss * 1024}


def trace(platform: str, activities: dict[str, Activity]) -> str:
    """A timeline in Chrome's trace event format: one row an actor or link, one bar a firing."""
    pid = os.getpid()
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": platform}},
    ]
    for row, (name, activity) in enumerate(activities.items(), 1):
        spans = activity.spans or []
        label = name if len(spans) < MAX_SPANS else f"{name} (the first {MAX_SPANS} only)"
        events.append({"ph": "M", "name": "thread_name", "pid": pid, "tid": row, "args": {"name": label}})
        for begin, end, firing in spans:
            events.append(
                {
                    "ph": "X",
                    "name": name,
                    "pid": pid,
                    "tid": row,
                    "ts": begin / 1000,
                    "dur": (end - begin) / 1000,
                    "args": {"firing": firing},
                }
            )
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"})


def is_stream(path: str) -> bool:
    """Whether the path is a pipe or a device, which is written to and not replaced."""
    return Path(path).exists() and not Path(path).is_file()


def write_whole(path: str, text: str) -> None:
    """Write a file so that it is either whole or not there; a pipe or device is written to. Raises OSError."""
    if is_stream(path):
        Path(path).write_text(text, encoding="utf-8")
        return
    target = Path(os.path.realpath(path))  # a link stays one, be it /dev/stdout
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink()
        raise
