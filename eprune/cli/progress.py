"""Progress of long work: one line on stderr, drawn by rich, only on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional

from eprune.cli.errors import say
from eprune.measure.progress import SILENT, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

#: Seconds between two updates of the line.
INTERVAL = 0.2


def progress(total: int, part: int = 0, quiet: bool = False, unit: str = "frame") -> Progress:
    """What shows how far ``total`` parts of ``part`` units each (0: not known) have come; silent off a terminal.

    Parts whose ``unit`` is "" have none, and a title only.
    """
    return Line(total, part, unit) if sys.stderr.isatty() and not quiet else _Messages(quiet)


class _Messages(Progress):
    """No line, but messages, unless ``quiet``."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def say(self, text: str) -> None:
        """Print the message."""
        if not self._quiet:
            say(text)


class Line(Progress):
    """The line: which part of how many, its units, the time left."""

    def __init__(self, total: int, part: int, unit: str) -> None:
        self._total, self._part, self._unit = total, part, unit
        self._number = 0
        self._title = ""
        self._shown = float("-inf")
        self._begun = time.monotonic()
        self._rich: Optional[RichProgress] = None
        self._task: Optional[TaskID] = None

    def begin(self, title: str) -> None:
        """The next part begins."""
        self._number += 1
        self._title = title
        self._shown = float("-inf")
        self.update(0)

    def update(self, done: int) -> None:
        """The part has come to so many units."""
        now = time.monotonic()
        if now < self._shown + INTERVAL:
            return
        self._shown = now
        if not self._number:  # parts without titles: units are all there is
            self._draw(f"{self._unit} {done} of {self._total}")
            return
        units = f", {self._unit} {done}" + (f" of {self._part}" if self._part else "") if self._unit else ""
        finished = self._number - 1 + (done / self._part if self._part else 0)
        left = time_left(now - self._begun, finished, self._total)
        self._draw(f"{self._number} of {self._total}: {self._title}{units}{left}")

    def say(self, text: str) -> None:
        """Print a message above the line."""
        self.clear()
        say(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._rich is not None:
            self._rich.stop()
            self._rich = None

    def _draw(self, text: str) -> None:
        if self._rich is None:
            from rich.console import Console
            from rich.progress import Progress as RichProgress
            from rich.progress import SpinnerColumn, TextColumn

            self._rich = RichProgress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._rich.add_task(text, total=None)
            self._rich.start()
        assert self._task is not None
        self._rich.update(self._task, description=text)


class RunProgress:
    """One line for a run: how many frames each platform is done with, and which platforms are lost."""

    def __init__(self, quiet: bool) -> None:
        self._line = Line(0, 0, "") if sys.stderr.isatty() and not quiet else None
        self._frames: dict[str, int] = {}
        self._lost: dict[str, set[str]] = {}
        self._shown = 0.0

    def update(self, status: Mapping[str, Any]) -> None:
        """Take a platform's status."""
        self._frames[status["platform"]] = min(status["firings"].values(), default=0)
        self._lost[status["platform"]] = {name for name, peer in status["peers"].items() if peer["state"] == "lost"}
        if self._line is not None and time.monotonic() > self._shown + INTERVAL:
            self._shown = time.monotonic()
            text = "frames: " + ", ".join(f"{platform} {frames}" for platform, frames in self._frames.items())
            lost = sorted(set().union(*self._lost.values()))
            self._line._draw(f"lost: {', '.join(lost)}; {text}" if lost else text)

    def say(self, message: str) -> None:
        """Print a program's message."""
        self.clear()
        say(message)

    def clear(self) -> None:
        """Remove the line."""
        if self._line is not None:
            self._line.clear()


def time_left(elapsed: float, done: float, total: int) -> str:
    """``, 12 s left``; "" as long as too little is done to tell."""
    if done < 0.5:
        return ""
    seconds = elapsed / done * (total - done)
    return f", {seconds:.0f} s left" if seconds < 100 else f", {seconds / 60:.0f} min left"


__all__ = ["SILENT", "Progress", "RunProgress", "progress", "time_left"]
