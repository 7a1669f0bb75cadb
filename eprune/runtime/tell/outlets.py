"""Where reports go: a file, which a slow or full disk may not take, and a pipe, which may have no reader."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import select
import stat
import threading
import time
from pathlib import Path
from typing import Callable, Optional

#: Bytes written at once: progress is seen by pieces of this size.
_PIECE = 1 << 20
#: Seconds without progress after which a disk is taken for hung, at the end of a run and before.
HUNG_AFTER = 10.0


def is_stream(path: str) -> bool:
    """Whether the path is a pipe or a device, which is written to and not replaced."""
    return Path(path).exists() and not Path(path).is_file()


def write_whole(path: str, text: str, progress: Callable[[], None] = lambda: None) -> None:
    """Write a file so that it is either whole or not there; a pipe or device is written to. Raises OSError.

    A new file has the permissions that the umask gives, one that is there keeps its own. ``progress`` is called now and
    then.
    """
    data = memoryview(text.encode())
    if is_stream(path):
        with Path(path).open("wb", buffering=0) as stream:
            _write(stream.fileno(), data, progress)
        return
    target = Path(os.path.realpath(path))  # a link stays one, be it /dev/stdout
    # Not the tempfile module: its files are private to the user. Nobody can foresee the name, and prepare a file there.
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb", buffering=0) as file:
            _write(file.fileno(), data, progress)
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _write(descriptor: int, data: memoryview, progress: Callable[[], None]) -> None:
    while data:
        data = data[os.write(descriptor, data[:_PIECE]) :]
        progress()


class FileOutlet:
    """Writes texts into a file, each in the place of the one before, from a thread of its own.

    A text that comes before the one before it is begun takes its place: ``missed`` counts those. ``problem`` is why the
    last attempt failed, or that the disk hangs; '' if all is well.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.missed = 0
        self._problem = ""
        self._condition = threading.Condition()
        self._text: Optional[str] = None
        self._busy = self._closed = False
        self._progress = time.monotonic()
        threading.Thread(target=self._run, name=f"write {path}", daemon=True).start()

    @property
    def problem(self) -> str:
        """Why the file is not there, or not up to date; '' if all is well."""
        if self._busy and self._silent > HUNG_AFTER:
            return f"nothing could be written for {self._silent:.0f} s"
        return self._problem

    @property
    def _silent(self) -> float:
        return time.monotonic() - self._progress

    def put(self, text: str) -> None:
        """Have it written."""
        with self._condition:
            if self._text is not None:
                self.missed += 1
            if not self._busy:
                self._progressed()
            self._text, self._busy = text, True
            self._condition.notify_all()

    def close(self, patience: float = HUNG_AFTER) -> str:
        """Wait until all is written, or nothing is for so many seconds; the problem, if there is one."""
        with self._condition:
            while self._busy and self._silent <= patience:
                self._condition.wait(0.1)
            self._closed = True
            self._condition.notify_all()
            return f"nothing could be written for {patience:g} s" if self._busy else self._problem

    def _progressed(self) -> None:
        self._progress = time.monotonic()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._busy = self._text is not None
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._text is not None or self._closed)
                if self._text is None:
                    return
                text, self._text = self._text, None
            self._progressed()
            try:
                write_whole(self.path, text or "", self._progressed)
                self._problem = ""
            except OSError as error:
                self._problem = error.strerror or str(error)
            except Exception as error:
                self._problem = f"{type(error).__name__}: {error}"


class PipeOutlet:
    """Writes lines to a pipe or device without ever waiting; raises OSError where it cannot be opened.

    Lines go out whole or not at all: ``missed`` counts those that the pipe had no room or no reader for. A named pipe
    may find its reader later, and another one after that.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.missed = 0
        self.problem = ""
        self._named = stat.S_ISFIFO(Path(path).stat().st_mode) and not _inherited(path)
        self._descriptor: Optional[int] = None
        #: what is left of a line that was begun, and a later one for which there was no room
        self._rest = self._last = b""
        self._open()

    def put(self, text: str) -> None:
        """Write it, unless that would mean to wait. Raises BrokenPipeError if the reader of a pipe is gone for good."""
        self.problem = ""
        try:
            if self._descriptor is None:
                self._open()
            self._flush()
            self._last = text.encode()
            if self._descriptor is None or self._rest:
                self.missed += 1
                return
            self._rest, self._last = self._last, b""
            self._flush()
        except BrokenPipeError:
            self.missed += 1
            self._rest = b""
            self._close()
            if not self._named:
                raise
        except OSError as error:
            self.missed += 1
            self._rest = b""
            self.problem = error.strerror or str(error)

    def close(self, patience: float) -> str:
        """Write the last line that was put, and wait no longer than so many seconds for its reader; the problem."""
        deadline = time.monotonic() + patience
        with contextlib.suppress(OSError):
            while self._descriptor is not None and (self._rest or self._last):
                if not self._rest:
                    self._rest, self._last = self._last, b""
                    self.missed -= 1
                self._flush()
                if self._rest and not self._writable(max(deadline - time.monotonic(), 0.0)):
                    break
        self._close()
        return self.problem

    def _writable(self, patience: float) -> bool:
        assert self._descriptor is not None
        poll = select.poll()  # which takes any descriptor, unlike select
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(1000 * patience))

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            self._descriptor = os.open(self.path, flags)
            os.set_blocking(self._descriptor, False)
        except OSError as error:
            if not (self._named and error.errno == errno.ENXIO):  # no reader yet
                raise

    def _flush(self) -> None:
        """Write what is left, as far as there is room."""
        while self._rest and self._descriptor is not None:
            try:
                self._rest = self._rest[os.write(self._descriptor, self._rest) :]
            except BlockingIOError:
                return

    def _close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _inherited(path: str) -> bool:
    """Whether the path is a descriptor of this process, opened by whoever started it."""
    return os.path.realpath(path).startswith(("/proc/", "/dev/fd/"))
