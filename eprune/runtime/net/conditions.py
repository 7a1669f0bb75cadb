"""How emulated links and units change while a program runs: a trace, as CSV.

    seconds,platform,peer,bandwidth,latency,slowdown
    0,phone,server,2e6,0.005,
    10,phone,server,2e5,0.05,
    20,server,,,,4

``seconds`` count from the first firing, and rise. A row with a ``peer`` is about the link between the two platforms, in
both directions: bytes per second, and seconds. One without is about the platform's units, which are ``slowdown`` times
slower than their file says. An empty field changes nothing.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from eprune.runtime.kernel.errors import UsageError

FIELDS = ("seconds", "platform", "peer", "bandwidth", "latency", "slowdown")
#: The slowest link, bytes per second: what it was given at that pace still has to leave when it is faster again.
LEAST = 1000.0


class Change(NamedTuple):
    """What is so from a moment on: of the link between ``platform`` and ``peer``, or of the platform's units."""

    seconds: float
    platform: str
    peer: str = ""
    bandwidth: Optional[float] = None
    latency: Optional[float] = None
    slowdown: Optional[float] = None


def changes_of(path: str, platform: str) -> tuple[Change, ...]:
    """The changes in a file that concern one platform; the other end of a link is the ``peer``. Raises UsageError."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as lines:
            changes = read_changes(lines, path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return tuple(
        change._replace(peer=change.platform if change.peer == platform else change.peer)
        for change in changes
        if platform in (change.platform, change.peer)
    )


def read_changes(lines: Iterable[str], name: str) -> tuple[Change, ...]:
    """The changes of a trace, in order. Raises UsageError, with the file's ``name`` and the line, for what is none."""
    rows = csv.reader(lines)
    try:
        header = next(rows, [])
        if tuple(header) != FIELDS:
            raise UsageError(f"{name}:1: the columns are {','.join(header)}; expected {','.join(FIELDS)}")
        changes = tuple(_changes(rows, name))
    except csv.Error as error:
        raise UsageError(f"{name}:{rows.line_num}: not CSV: {error}") from None
    if not changes:
        raise UsageError(f"{name}: the trace has no rows")
    return changes


def _changes(rows: Iterator[list[str]], name: str) -> Iterator[Change]:
    before = 0.0
    for number, row in enumerate(rows, 2):
        if not row:
            continue
        where = f"{name}:{number}"
        if len(row) != len(FIELDS):
            raise UsageError(f"{where}: {len(row)} fields; expected {len(FIELDS)}")
        seconds, bandwidth, latency, slowdown = (_number(row[place], where) for place in (0, 3, 4, 5))
        platform, peer = row[1].strip(), row[2].strip()
        if seconds is None or seconds < before:
            raise UsageError(f"{where}: seconds={row[0]!r}: expected a number, at least that of the row before")
        if not platform or platform == peer:
            raise UsageError(f"{where}: name a platform, and perhaps another one as its peer")
        if bandwidth is not None and bandwidth < LEAST:
            raise UsageError(f"{where}: bandwidth={row[3]!r}: expected at least {LEAST:g} bytes per second")
        if latency is not None and latency < 0:
            raise UsageError(f"{where}: latency={row[4]!r}: expected seconds, 0 or more")
        if slowdown is not None and slowdown < 1:
            raise UsageError(f"{where}: slowdown={row[5]!r}: expected 1 or more")
        before = seconds
        link = bandwidth is not None or latency is not None
        if link is not bool(peer) or (slowdown is not None) is bool(peer):
            raise UsageError(f"{where}: a row with a peer has a bandwidth or a latency, one without has a slowdown")
        yield Change(seconds, platform, peer, bandwidth, latency, slowdown)


def _number(text: str, where: str) -> Optional[float]:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{where}: {text!r} is not a number")
    return value
