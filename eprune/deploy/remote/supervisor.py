"""Keeps a deployed program running where there is no systemd. A file of each version; needs nothing beside it.

``python3 supervisor.py ROOT`` runs the current version's program in ROOT/data, and starts it again when it fails: after
2 s, and from one failure to the next later, up to a minute, as the unit for systemd does. A program that has given no
sign of life for 30 s, or is stalled as long, is killed and started again. What it prints goes to ROOT/log/program.log,
of which five older parts stay. SIGTERM ends both. Nothing here waits for a disk that is full.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Optional

#: Seconds between two starts at least and at most, the factor from one to the next, and after how long all is well.
DELAYS = (2.0, 60.0, 2.0)
WELL = 120.0
#: Seconds without a sign of life.
SILENT = 30.0
#: Seconds that the program has to stop.
GRACE = 15.0
LOG_BYTES = 1 << 20
LOGS = 5
#: Exit codes after which it is not started again: wrong usage, which no restart mends.
LASTING = (2,)


class Log:
    """A file of limited size, and older ones."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, data: bytes) -> None:
        """Append, if the disk takes it."""
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size + len(data) > LOG_BYTES:
                for number in range(LOGS - 1, 0, -1):
                    with contextlib.suppress(FileNotFoundError):
                        self._numbered(number).replace(self._numbered(number + 1))
                self._path.replace(self._numbered(1))
            with self._path.open("ab", buffering=0) as file:
                file.write(data)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


class Supervisor:
    """Runs the program of ROOT until it has ended well or is told to stop."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._log = Log(root / "log" / "program.log")
        self._report: dict[str, Any] = {"supervisor": os.getpid(), "active": "starting", "restarts": 0, "code": None}
        self._status = root / "run" / "status.json"
        self._stopping = False
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    def run(self) -> None:
        """Supervise."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._end_leftover()
        delay = DELAYS[0]
        while not self._stopping:
            begun = time.monotonic()
            code = self._run_once()
            if self._stopping:
                break
            self._report["code"] = code
            if code == 0:
                return self._note(active="ended")
            if code in LASTING:
                return self._note(active="failed")
            if time.monotonic() - begun > WELL:
                delay = DELAYS[0]
            self._note(active="restarting", restarts=self._report["restarts"] + 1)
            self._wait(delay)
            delay = min(delay * DELAYS[2], DELAYS[1])
        return self._note(active="stopped")

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _run_once(self) -> int:
        """Run the program once; its exit code, negative if a signal ended it."""
        try:
            command = json.loads((self._root / "current" / "deployment.json").read_bytes())["command"]
            process = subprocess.Popen(
                [*command, f"--status={self._status}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._root / "data",
                start_new_session=True,
            )
        except (OSError, ValueError, KeyError) as error:
            self._log.write(f"error: it cannot be started: {error}\n".encode())
            return 127
        self._process = process
        self._note(active="running", pid=process.pid, begun=_begun(process.pid))
        try:
            self._follow(process)
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        return code

    def _follow(self, process: subprocess.Popen[bytes]) -> None:
        """Keep its output, until it has ended."""
        assert process.stdout is not None
        asked: Optional[float] = None
        alive = time.monotonic()
        with selectors.DefaultSelector() as selector, process.stdout:
            os.set_blocking(process.stdout.fileno(), False)
            selector.register(process.stdout, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                ended = process.poll() is not None
                for key, _ in selector.select(0 if ended else 1.0):
                    data = os.read(key.fd, 65536)
                    if key.fd == self._wake:
                        continue
                    if data:
                        self._log.write(data)
                    else:
                        selector.unregister(process.stdout)
                if ended:
                    with contextlib.suppress(OSError, ValueError):
                        while data := os.read(process.stdout.fileno(), 65536):
                            self._log.write(data)
                    return
                now = time.monotonic()
                if self._stopping and asked is None:
                    asked = now
                    process.terminate()
                if self._lives():
                    alive = now
                if (asked is not None and now > asked + GRACE) or (asked is None and now > alive + SILENT):
                    why = "does not end" if asked is not None else f"has given no sign of life for {SILENT:g} s"
                    self._log.write(f"error: the program {why}, and is killed\n".encode())
                    process.kill()
                    process.wait()

    def _lives(self) -> bool:
        """Whether the program has reported lately, and nothing in it is stalled. Its first report may take long."""
        try:
            report = json.loads(self._status.read_bytes())
        except (OSError, ValueError):
            return True
        if self._process is None or report.get("pid") != self._process.pid:
            return True
        fresh = abs(time.time() - self._status.stat().st_mtime) < SILENT
        return fresh and not report.get("stalled")

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            while not self._stopping and (left := until - time.monotonic()) > 0:
                if selector.select(left):
                    os.read(self._wake, 4096)

    def _note(self, **changed: Any) -> None:
        """What ``eprune deploy status`` reads."""
        self._report.update(changed)
        path = self._root / "run" / "service.json"
        temporary = path.with_name(".service.json.new")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(self._report))
            temporary.replace(path)

    def _end_leftover(self) -> None:
        """End the program of a supervisor that was killed."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            before = json.loads((self._root / "run" / "service.json").read_bytes())
            if before["begun"] is not None and _begun(before["pid"]) == before["begun"]:
                os.killpg(before["pid"], signal.SIGKILL)


def _begun(pid: int) -> Optional[str]:
    """When a process began, in ticks since the machine started; None: there is none of this number."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def main() -> int:
    """Supervise the program of a folder, unless somebody does so already."""
    with contextlib.suppress(OSError):
        os.setsid()
    os.chdir("/")
    root = Path(sys.argv[1])
    lock = os.open(root / "run" / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    until = time.monotonic() + 2  # whoever asks whether there is a supervisor holds it for a moment
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > until:
                return 1
            time.sleep(0.01)
    # In place, and always as long: this needs no space on a disk that has become full.
    with contextlib.suppress(OSError):
        os.pwrite(lock, f"{os.getpid():<16}".encode(), 0)
    Supervisor(root).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
