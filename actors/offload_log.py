"""What a deciding actor writes down: what became of each frame, and a trace of what it learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from offload_costs import Costs, Figures

#: The columns of a log: when a frame began, the blocks that ran here, its seconds; the number of the exit at which it
#: left, 0 for none; the bytes that were sent; the seconds until it was sent, on the way, and on the other side.
COLUMNS = ("seconds", "blocks", "latency", "exit", "bytes", "here", "link", "there")
#: The columns of a trace (``eprune.runtime.net.conditions``).
TRACE = ("seconds", "platform", "peer", "bandwidth", "latency", "slowdown")
#: Seconds between rows of a trace, and by which part a figure must have changed for another row.
STEP, CHANGE = 0.25, 0.05
#: The slowest link that a trace may state, bytes per second.
LEAST = 1000.0


class OffloadLog:
    """Collects rows, and writes them at the end. Without a path, there is no such file."""

    def __init__(self, log: str, trace: str, between: str, stated: Figures) -> None:
        """``between``: the names of this platform and the other one. Raises ValueError if it is not two names."""
        self.path, self.trace = log, trace
        names = [each.strip() for each in between.split(",")]
        if len({*names} - {""}) != 2 or len(names) != 2:
            raise ValueError(f"between={between!r}: expected the names of two platforms, phone,server")
        self.here, self.there = names
        self.frames: list[tuple[Any, ...]] = []
        self.rows: list[tuple[Any, ...]] = []
        #: platform, or "link" -> what its last row says
        self.last: dict[str, tuple[float, ...]] = {"link": (stated.bandwidth, stated.latency)}
        self.last.update({self.here: (1.0,), self.there: (1.0,)})
        self.at = 0.0
        self.rows.append((0, self.here, self.there, _text(max(stated.bandwidth, LEAST)), _text(stated.latency), ""))

    def add(self, seconds: float, cut: int, left: int, begun: float, report: Any, costs: Costs) -> None:
        """A frame that began after so many ``seconds``, and what is known after it."""
        if self.path:
            away = report.answered - report.sent - report.there if report.sent else 0.0
            here = (report.sent or report.answered) - begun
            taken = report.answered - begun
            row = (f"{seconds:.6f}", cut, f"{taken:.6f}", left, int(report.nbytes))
            self.frames.append((*row, f"{here:.6f}", f"{away:.6f}", f"{report.there:.6f}"))
        # A row is about the time from when the frame was answered.
        now = seconds + report.answered - begun
        if self.trace and now >= self.at + STEP:
            self.at = now
            link = (max(1 / costs.pace, LEAST), costs.delay / 2)
            if self._changed("link", link):
                self.rows.append((f"{now:.3f}", self.here, self.there, *map(_text, link), ""))
            for platform, what in ((self.here, "here"), (self.there, "there")):
                slowdown = (max(costs.slower[what], 1.0),)
                if self._changed(platform, slowdown):
                    self.rows.append((f"{now:.3f}", platform, "", "", "", _text(slowdown[0])))

    def _changed(self, what: str, values: tuple[float, ...]) -> bool:
        changed = any(abs(new - old) > CHANGE * max(abs(old), 1e-6) for new, old in zip(values, self.last[what]))
        if changed:
            self.last[what] = values
        return changed

    def write(self) -> None:
        """Write the files."""
        for path, columns, rows in ((self.path, COLUMNS, self.frames), (self.trace, TRACE, self.rows)):
            if path:
                lines = [",".join(map(str, row)) for row in (columns, *rows)]
                Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _text(value: float) -> str:
    return f"{value:.6g}"
