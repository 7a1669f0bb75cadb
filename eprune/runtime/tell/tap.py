"""Taps: copies of a FIFO's tokens in a file, while the run goes on. The producer never waits for one.

A tap sits where tokens are made. Its file is a .npy file that ``numpy.load`` reads: a row for each token, with the
``firing`` that made it, the ``time`` (seconds since the epoch), how many tokens were ``lost`` just before it because
the disk was slow, the number of elements ``used``, fewer than all of types that vary in size, and the ``token`` itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from eprune.runtime.kernel.ages import UNBORN
from eprune.runtime.kernel.fifo import Fifo

#: Bytes that wait to be written at most, and seconds between two looks at what there is to be written.
WAITING, PERIOD = 32 << 20, 0.02
#: Tokens and bytes of a file at most, unless somebody wishes for others.
TOKENS, BYTES = 1000, 1 << 30
#: Bytes of the head of a file, in which there is room for any number of tokens.
_HEAD = 4096


@dataclass(frozen=True)
class TapStatus:
    """What a tap has done: ``tokens`` written into ``file``, ``lost`` ones apart; whether it is ``done``, and why not.

    ``problem``: '' if all is well.
    """

    file: str
    tokens: int
    lost: int
    done: bool
    problem: str = ""


class Tap:
    """Copies the tokens of a FIFO into a file, until there are so many tokens or bytes, or it is closed."""

    def __init__(self, fifo: Fifo, path: str, tokens: int = TOKENS, most: int = BYTES) -> None:
        """Raises OSError where the file cannot be made."""
        source: Any = fifo.keeper or fifo
        self._source: Any = source
        self.path = os.path.realpath(path)
        token = source.readable[0]
        kinds = [("firing", "<i8"), ("time", "<f8"), ("lost", "<u4"), ("used", "<u4")]
        self._kind = np.dtype([*kinds, ("token", token.dtype, token.shape)])
        self._limit = min(tokens, max((most - _HEAD) // self._kind.itemsize, 1))
        waiting = max(min(WAITING // self._kind.itemsize, 1024, self._limit), 1)
        self._rows: np.ndarray = np.empty(waiting, self._kind)
        self._columns = {name: self._rows[name] for name in self._kind.names or ()}
        self._added = self._written = self._lost = self._before = 0
        self._problem, self._closed, self._done = "", False, False
        self._file = Path(path).open("wb", buffering=0)  # noqa: SIM115
        try:
            self._file.write(self._head(0))
        except OSError:
            self._file.close()
            raise
        source.commit = self._commit
        self._thread = threading.Thread(target=self._run, name=f"tap {fifo.name}", daemon=True)
        self._thread.start()

    @property
    def status(self) -> TapStatus:
        """How far it is."""
        return TapStatus(self.path, self._written, self._lost, self._done, self._problem)

    def close(self, patience: float = 5.0) -> None:
        """Take no more tokens, and write what there is, for so many seconds at most."""
        self._closed = True
        self._thread.join(patience)

    def _commit(self, count: int, firing: int, birth: int = UNBORN) -> None:
        """Instead of the FIFO's own: the consumer gets its tokens first."""
        source = self._source
        if source.keeper is source:
            slots = list(source._being_written)
        else:
            slots = [number % source.capacity for number in range(source.written, source.written + count)]
        type(source).commit(source, count, firing, birth)
        for slot in slots:
            self._copy(slot, firing)
        if self._closed or self._added >= self._limit:
            with contextlib.suppress(AttributeError):  # from now on tokens go as if nothing had been
                del source.commit
            self._closed = True

    def _copy(self, slot: int, firing: int) -> None:
        if self._closed or self._added >= self._limit:
            return
        if self._added - self._written >= len(self._rows):
            self._lost += 1
            self._before += 1
            return
        source, row, columns = self._source, self._added % len(self._rows), self._columns
        token = source.readable[slot]
        used = source.used[slot] if source.variable else token.size
        told = {"firing": firing, "time": time.time(), "lost": self._before, "used": used, "token": token}
        for name, value in told.items():
            columns[name][row] = value
        self._before = 0
        self._added += 1

    def _run(self) -> None:
        """Write what was copied."""
        try:
            while True:
                closed = self._closed
                while self._written < self._added:
                    begin = self._written % len(self._rows)
                    count = min(self._added - self._written, len(self._rows) - begin)
                    self._write(self._rows[begin : begin + count].view(np.uint8).data)
                    self._written += count
                if closed:
                    break
                time.sleep(PERIOD)
            self._file.seek(0)
            self._file.write(self._head(self._written))
        except OSError as error:
            self._problem = error.strerror or str(error)
            self._closed = True
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            self._done = True

    def _write(self, data: memoryview) -> None:
        data = data.cast("B")
        while data:
            data = data[self._file.write(data) or 0 :]

    def _head(self, count: int) -> bytes:
        """The head of a .npy file of so many tokens."""
        text = f"{{'descr': {self._kind.descr!r}, 'fortran_order': False, 'shape': ({count},), }}".encode()
        size = _HEAD - 12
        if len(text) >= size:
            raise OSError(0, "its token type has too long a description")
        return b"\x93NUMPY\x02\x00" + size.to_bytes(4, "little") + text.ljust(size - 1) + b"\n"


def read(path: str) -> np.ndarray:
    """The rows of a tap's file, which stay on the disk until they are used. Raises ValueError for another file.

    One whose tap was killed has the tokens that were written.
    """
    try:
        rows: Any = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # numpy reads a head as Python does, which may fail in many ways
        raise ValueError(f"{path}: not a .npy file: {error}") from None
    if rows.dtype.names != ("firing", "time", "lost", "used", "token") or rows.ndim != 1:
        raise ValueError(f"{path}: not a recording of a FIFO: eprune record makes one")
    whole = (os.path.getsize(path) - _HEAD) // rows.dtype.itemsize  # noqa: PTH202
    if len(rows) == 0 and whole > 0 and rows.offset == _HEAD:
        rows = np.memmap(path, rows.dtype, "r", _HEAD, (whole,))
    return rows


class Taps:
    """The taps of a run: those that it begins with, and those that somebody asks for by a file while it lasts.

    ``fifos`` are those that can be tapped here. ``wish`` is a file beside the status: FIFO -> how many ``tokens`` and
    ``bytes`` at most, as JSON; the copies go into the working folder, as far as the file is there.
    """

    def __init__(self, fifos: Mapping[str, Fifo], begun: Mapping[str, str], wish: Optional[str] = None) -> None:
        """Raises OSError where a file cannot be made."""
        self._fifos = fifos
        self._wish = wish
        self._seen: Optional[int] = None
        self._taps = {name: Tap(fifos[name], path) for name, path in begun.items()}
        self._wished: set[str] = set()

    @property
    def status(self) -> dict[str, TapStatus]:
        """FIFO -> how far its tap is."""
        return {name: tap.status for name, tap in self._taps.items()}

    def look(self) -> None:
        """Look whether somebody wishes for taps, or no longer does."""
        if self._wish is None:
            return
        try:
            changed = os.stat(self._wish).st_mtime_ns  # noqa: PTH116
        except OSError:
            changed = None
        if changed == self._seen:
            return
        self._seen = changed
        wished = {} if changed is None else _wished(self._wish)
        for name in self._wished - set(wished):
            self._taps.pop(name).close()
        self._wished &= set(wished)
        for name, (tokens, most) in wished.items():
            if name in self._fifos and name not in self._taps:
                with contextlib.suppress(OSError):
                    self._taps[name] = Tap(self._fifos[name], f"recorded-{_plain(name)}.npy", tokens, most)
                    self._wished.add(name)

    def close(self) -> None:
        """All that was copied is written."""
        for tap in self._taps.values():
            tap.close()


def _wished(path: str) -> dict[str, tuple[int, int]]:
    """FIFO -> tokens and bytes at most; nothing for what is no wish."""
    try:
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        return {name: (max(int(each["tokens"]), 1), max(int(each["bytes"]), 1)) for name, each in told.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _plain(name: str) -> str:
    """A name as a part of a file's name."""
    return "".join(each if each.isalnum() or each in "_-" else "_" for each in name)
