"""Lines of the log on their way to standard error, which may be slow, full or closed."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from typing import Callable, Optional, TextIO, Union

#: Lines that wait for a slow reader at most. A run that goes well has fewer lines than this.
MOST_WAITING = 1000
#: Seconds that lines have to be written at the end of a run, all waits together.
PATIENCE = 1.0


class LogWriter:
    """Writes lines from a thread of its own: whoever adds one never waits for whoever reads them.

    Where a line could not be written, because too many wait or because writing failed, ``gap(lines)`` is written
    instead, as soon as something can be written again. Without a ``stream`` no line can.
    """

    def __init__(self, gap: Callable[[int], str], stream: Optional[TextIO]) -> None:
        self._gap = gap
        self._stream = stream
        self._condition = threading.Condition()
        #: lines, and numbers of lines that are missing between them
        self._waiting: deque[Union[str, int]] = deque()
        #: lines that are missing behind the last one that waits
        self._missing = 0
        self._lost = 0
        self._writing = False
        self._patience = PATIENCE
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    @property
    def unwritten(self) -> int:
        """The number of lines that could not be written, or not yet."""
        with self._condition:
            return self._lost + sum(isinstance(item, str) for item in self._waiting) + self._writing

    def add(self, line: str) -> None:
        """Add a line, which may have line breaks in it."""
        with self._condition:
            if len(self._waiting) >= MOST_WAITING:
                self._missing += 1
                self._lost += 1
                return
            if self._missing:
                self._waiting.append(self._missing)
                self._missing = 0
            self._waiting.append(line)
            self._condition.notify_all()

    def drain(self) -> None:
        """Wait until all is written, for PATIENCE seconds at most in all calls together."""
        begin = time.monotonic()
        with self._condition:
            self._condition.wait_for(lambda: not (self._waiting or self._writing), self._patience)
        self._patience = max(self._patience - (time.monotonic() - begin), 0.0)

    def close(self) -> None:
        """Drain it; nothing can be added any more."""
        self.drain()
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def _run(self) -> None:
        missing = 0
        while True:
            with self._condition:
                self._writing = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._waiting or self._missing or self._closed)
                if not (self._waiting or self._missing):
                    return
                if not self._waiting:
                    self._waiting.append(self._missing)
                    self._missing = 0
                item = self._waiting.popleft()
                self._writing = isinstance(item, str)
                last = not self._waiting
            if isinstance(item, int):
                missing += item
                if not last:
                    continue
            text = f"{self._gap(missing)}\n" if missing else ""
            if isinstance(item, str):
                text += f"{item}\n"
            try:
                self._write(text)
                missing = 0
            except (OSError, ValueError):
                if isinstance(item, str):
                    missing += 1
                    with self._condition:
                        self._lost += 1

    def _write(self, text: str) -> None:
        """Raises OSError or ValueError if that fails."""
        if self._stream is None:
            raise ValueError("there is no stream")
        try:
            descriptor = self._stream.fileno()
        except (OSError, ValueError, AttributeError):  # a notebook's
            print(text, end="", file=self._stream, flush=True)
            return
        # Not through the stream: a thread that waits in there would hold a lock that Python needs to end.
        data = memoryview(text.encode(errors="backslashreplace"))
        while data:
            try:
                data = data[os.write(descriptor, data) :]
            except BlockingIOError:  # whoever shares it does not want to wait
                select.select([], [descriptor], [])
