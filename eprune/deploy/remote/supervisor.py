"""Keeps a deployed program running where there is no systemd. A file of each version; needs nothing beside it.

``python3 supervisor.py ROOT`` runs the current version's program in ROOT/data, and starts it again when it fails: after
2 s, and from one failure to the next later, up to a minute, as the unit for systemd does. A program that has given no
sign of life for 30 s, or is stalled as long, is killed and started again. What it prints goes to ROOT/log/program.log,
of which five older parts stay. SIGTERM ends both. Where a program's last report names a successor, that one is kept
running instead. Nothing here waits for a disk that is full.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Optional, Union

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
#: Of prctl(2): orphans among this process's descendants become its children.
_SET_CHILD_SUBREAPER = 36


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


class Successor:
    """A process that the program has started, and that has taken over from it; as far as it is asked, like Popen.

    It is this process's child once the program has ended, where the kernel knows subreapers; else its exit code is not
    known, and 1 stands for it.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._begun = _begun(pid)
        self._code: Optional[int] = None

    def poll(self) -> Optional[int]:
        """Its exit code, negative if a signal ended it; None: it runs."""
        if self._code is None:
            try:
                found, status = os.waitpid(self.pid, os.WNOHANG)
                self._code = os.waitstatus_to_exitcode(status) if found else None
            except ChildProcessError:
                self._code = None if _begun(self.pid) == self._begun is not None else 1
        return self._code

    def wait(self) -> int:
        """Its exit code, when it has ended."""
        while (code := self.poll()) is None:
            time.sleep(0.02)
        return code

    def terminate(self) -> None:
        """Ask it to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


Running = Union["subprocess.Popen[bytes]", Successor]


class Supervisor:
    """Runs the program of ROOT until it has ended well or is told to stop."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._log = Log(root / "log" / "program.log")
        self._report: dict[str, Any] = {"supervisor": os.getpid(), "active": "starting", "restarts": 0, "code": None}
        self._statuses = (root / "run" / "status.json", root / "run" / "status.2.json")
        self._stopping = False
        self._process: Optional[Running] = None
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._waker, False)

    def run(self) -> None:
        """Supervise."""
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
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
                [*command, f"--control={self._root / 'run' / 'control'}", f"--status={self._statuses[0]}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._root / "data",
                start_new_session=True,
            )
        except (OSError, ValueError, KeyError) as error:
            self._log.write(f"error: it cannot be started: {error}\n".encode())
            return 127
        running: Running = process
        assert process.stdout is not None
        try:
            with process.stdout as output:
                while True:
                    self._process = running
                    self._note(active="running", pid=running.pid, begun=_begun(running.pid), group=process.pid)
                    self._follow(running, output)
                    successor = self._report_of(running.pid).get("successor")
                    if self._stopping or running.wait() or successor is None:
                        break
                    running = Successor(successor)
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            code = running.wait()
        return code

    def _report_of(self, pid: int) -> dict[str, Any]:
        """What a process has reported last."""
        for path in self._statuses:
            with contextlib.suppress(OSError, ValueError):
                report: dict[str, Any] = json.loads(path.read_bytes())
                if report.get("pid") == pid:
                    return {**report, "written": path.stat().st_mtime}
        return {}

    def _follow(self, process: Running, output: IO[bytes]) -> None:
        """Keep its output, until it has ended."""
        asked: Optional[float] = None
        alive = time.monotonic()
        with selectors.DefaultSelector() as selector:
            os.set_blocking(output.fileno(), False)
            selector.register(output, selectors.EVENT_READ)
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
                        selector.unregister(output)
                if ended:
                    with contextlib.suppress(OSError, ValueError):
                        while data := os.read(output.fileno(), 65536):
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
        report = self._report_of(self._process.pid) if self._process else {}
        fresh = not report or abs(time.time() - report["written"]) < SILENT
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
                os.killpg(before["group"], signal.SIGKILL)


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
