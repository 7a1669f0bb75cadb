"""What a process has around it, and what goes wrong there: nobody reads, the disk is full, there are no descriptors."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

from scripts.netlab import NotPermitted

#: Bytes that the full disk has; a run record is larger.
DISK = 4096


class Surroundings(NamedTuple):
    """What some ``platforms`` of a run have around them. ``disk``: where they write their records and status.
    ``piped``: what they say goes into pipes, which somebody reads, and their actors print each firing.
    """

    platforms: frozenset[str] = frozenset()
    disk: Optional[Path] = None
    piped: bool = False


class Reader:
    """Reads what a process writes, into a file, until told to stop: then the pipe is full at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._source, self.end = os.pipe()
        self._reads = threading.Event()
        self._reads.set()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more."""
        self._reads.clear()
        # Opened anew: with O_NONBLOCK at the end that the process has, nothing would ever block there.
        full = os.open(f"/proc/self/fd/{self.end}", os.O_WRONLY | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(full, b"\n" * 4096)
        os.close(full)

    def go_on(self) -> None:
        """Read again."""
        self._reads.set()

    def close(self) -> None:
        """Read what is left."""
        os.close(self.end)
        self.go_on()
        self._thread.join()

    def _read(self) -> None:
        with os.fdopen(self._source, "rb", buffering=0) as source, self._path.open("wb") as file:
            while True:
                self._reads.wait()
                data = source.read(65536)
                if not data:
                    return
                file.write(data)
                file.flush()


@contextlib.contextmanager
def full_disk() -> Iterator[Path]:
    """A folder on a small disk that is full. Raises NotPermitted where no disk can be mounted."""
    with tempfile.TemporaryDirectory(prefix="chaos-disk-") as folder:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotPermitted(f"a small disk cannot be mounted: {done.stderr.strip()}")
        try:
            with contextlib.suppress(OSError):
                Path(folder, "rubbish").write_bytes(bytes(2 * DISK))
            yield Path(folder)
        finally:
            subprocess.run(["umount", folder], check=False)


def forbid_files(pid: int, forbidden: bool) -> None:
    """Let a process open no more files and sockets, or again."""
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3 if forbidden else most, most))


class Calm:
    """A thread with nothing to do: how long it is kept from it shows what this machine does to everybody."""

    #: seconds between two looks
    _LOOK = 0.005

    def __init__(self) -> None:
        self._gaps: list[tuple[float, float]] = []
        self._over = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def pause(self, begin: float, end: float) -> float:
        """The longest time between two looks of a span of time."""
        return max((gap for when, gap in self._gaps if begin <= when and when - gap <= end), default=0.0)

    def _look(self) -> None:
        last = time.monotonic()
        while not self._over.wait(self._LOOK):
            now = time.monotonic()
            if now - last > 2 * self._LOOK:
                self._gaps.append((now, now - last))
            last = now
