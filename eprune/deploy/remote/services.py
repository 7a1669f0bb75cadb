"""What keeps a deployed program running: systemd, or where there is none a plain supervisor. One face for both.

``state`` is in both cases: ``active`` (starting, running, restarting, stopped, ended, failed), ``pid``, ``restarts``,
``code`` (the last exit code, None: there was none), and ``status``, the program's own report, None where there is none
of this process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from eprune.deploy.remote.versions import Place, Problem, read_json, remove

#: Seconds that systemctl may take; a program has 15 to stop.
PATIENCE = 60
SYSTEM, USER, PLAIN = "system", "user", "plain"
#: Where a program reports: a generation and the next one take turns.
STATUS = ("status.json", "status.2.json")
#: What systemctl shows of a unit.
_SHOWN = ("ActiveState", "SubState", "MainPID", "NRestarts", "ExecMainStatus", "Result", "Job")


class Service:
    """What keeps one program running."""

    kind = ""

    def __init__(self, place: Place, folder: Path) -> None:
        """``folder`` is where the program reports, and can be asked."""
        self.place = place
        self._reports = folder

    @property
    def control(self) -> Path:
        """The socket on which the program is asked."""
        return self._reports / "control"

    def report(self, pid: int) -> Optional[dict[str, Any]]:
        """What the program reports; where it has been changed while it ran, the process ``pid`` of its."""
        return read_json(self.report_path(pid))

    def report_path(self, pid: int) -> Path:
        """The file in which it does."""
        found = {name: read_json(self._reports / name) for name in STATUS}
        reports = sorted(((each["time"], name) for name, each in found.items() if each), reverse=True)
        own = [name for name, each in found.items() if each and each["pid"] == pid]
        return self._reports / (own + [name for _, name in reports] + [STATUS[0]])[0]

    def install(self) -> None:
        """Take notice of the current version, and start it whenever the machine starts."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the program, and do not wait for it."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop the program, and wait until it has ended."""
        raise NotImplementedError

    def disable(self) -> None:
        """Do not start it when the machine starts."""

    def remove(self) -> None:
        """Leave nothing of it. It has been stopped."""

    def state(self) -> dict[str, Any]:
        """How it is."""
        raise NotImplementedError

    def log_command(self, lines: int, follow: bool) -> list[str]:
        """The command that prints the last lines of its log, and then those to come."""
        raise NotImplementedError

    @property
    def phase(self) -> str:
        """Roughly how it is: running (or on the way there), ended, failed, stopped."""
        active: str = self.state()["active"]
        return "running" if active in ("starting", "restarting") else active


class Systemd(Service):
    """A unit of the machine's systemd, or of the user's. The unit is a file of the version, and links lead to it."""

    def __init__(self, place: Place, user: bool) -> None:
        runtime = Path((runtime_folder() if user else None) or "/run")
        super().__init__(place, runtime / place.name)
        self.kind = USER if user else SYSTEM
        self._user = user
        self.unit = f"{place.name}.service"
        if user:
            configuration = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
            self._folder = Path(configuration, "systemd", "user")
        else:
            self._folder = Path("/etc/systemd/system")
        target = "default.target" if user else "multi-user.target"
        self._wanted = self._folder / f"{target}.wants" / self.unit

    def install(self) -> None:
        """Links to the unit, and systemd reads it."""
        (self.place.root / "data").mkdir(exist_ok=True)
        self._point(self._folder / self.unit, self.place.root / "current" / self.unit)
        self._point(self._wanted, Path("..", self.unit))
        self._call("daemon-reload")

    @staticmethod
    def _point(link: Path, target: Path) -> None:
        if link.is_symlink() and link.readlink() == target:
            return
        if link.exists() and not link.is_symlink():
            raise Problem(f"{link} was installed by somebody else: remove it first")
        link.parent.mkdir(parents=True, exist_ok=True)
        temporary = link.with_name(f".{link.name}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)

    def start(self) -> None:
        """``systemctl start``; that it is ready is seen later."""
        self._call("reset-failed", self.unit, check=False)
        self._call("start", "--no-block", self.unit)
        until = time.monotonic() + 5
        while self.state()["active"] == "stopped" and time.monotonic() < until:
            time.sleep(0.05)

    def stop(self) -> None:
        """``systemctl stop``."""
        if (self._folder / self.unit).is_symlink():
            self._call("stop", self.unit, check=False)

    def disable(self) -> None:
        """It is not wanted at the start of the machine."""
        if self._wanted.is_symlink():
            self._wanted.unlink()
            self._call("daemon-reload")

    def remove(self) -> None:
        """Remove the links."""
        links = [link for link in (self._wanted, self._folder / self.unit) if link.is_symlink()]
        for link in links:
            link.unlink()
        if links:
            self._call("daemon-reload")
            self._call("reset-failed", self.unit, check=False)

    def state(self) -> dict[str, Any]:
        """What systemctl shows."""
        shown = self._call("show", f"--property={','.join(_SHOWN)}", self.unit, check=False)
        found = dict(line.partition("=")[::2] for line in shown.splitlines())
        pid = int(found.get("MainPID") or 0)
        code = int(found.get("ExecMainStatus") or 0)
        restarts = int(found.get("NRestarts") or 0)
        active, sub = found.get("ActiveState", ""), found.get("SubState", "")
        if sub == "auto-restart":
            word = "restarting"
        elif active in ("activating", "reloading", "deactivating"):
            word = "starting"
        elif active == "active":
            word = "running"
        elif active == "failed":
            word = "failed"
        elif found.get("Job", "0") not in ("", "0"):  # its turn has not come, as while the machine starts
            word = "starting"
        else:
            word = "ended" if found.get("ExecMainStatus") == "0" and self._ended() else "stopped"
        return _state(word, pid, restarts, code, self.report(pid))

    def _ended(self) -> bool:
        """Whether it ran to its end by itself since it was started last."""
        stamps = self._call(
            "show", "--property=ExecMainExitTimestampMonotonic,ExecMainStartTimestampMonotonic", self.unit, check=False
        )
        found = dict(line.partition("=")[::2] for line in stamps.splitlines())
        return int(found.get("ExecMainExitTimestampMonotonic") or 0) > 0

    def log_command(self, lines: int, follow: bool) -> list[str]:
        """journalctl."""
        which = "--user-unit" if self._user else "--unit"
        return ["journalctl", which, self.unit, f"--lines={lines}", "--output=cat", "--no-pager", *["-f"] * follow]

    def _call(self, *arguments: str, check: bool = True) -> str:
        command = ["systemctl", *["--user"] * self._user, "--no-pager", *arguments]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if check and done.returncode:
            raise Problem(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
        return done.stdout


class Plain(Service):
    """A supervisor of ours, which is a process of this user. Nobody starts it when the machine starts."""

    kind = PLAIN

    def __init__(self, place: Place) -> None:
        self._run = place.root / "run"
        super().__init__(place, self._run)
        self._log = place.root / "log"

    def install(self) -> None:
        """It finds the current version by itself."""

    def start(self) -> None:
        """Start the supervisor."""
        for folder in (self._run, self._log, self.place.root / "data"):
            folder.mkdir(exist_ok=True)
        if self._supervisor() is not None:
            return
        supervisor = self.place.root / "current" / "supervisor.py"
        # Not subprocess, which would wait for it one day: it outlives this process.
        command = [sys.executable, str(supervisor), str(self.place.root)]
        streams = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
        pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=streams)
        until = time.monotonic() + PATIENCE
        while self._supervisor() != pid:
            if time.monotonic() > until or os.waitpid(pid, os.WNOHANG)[0]:
                raise Problem(f"the supervisor does not start: {sys.executable} {supervisor} {self.place.root}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the supervisor, which stops the program; one that was left alone is stopped, too."""
        until = time.monotonic() + PATIENCE
        while (pid := self._supervisor()) == 0:
            time.sleep(0.02)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        while self._supervisor() is not None:
            if time.monotonic() > until:
                raise Problem(f"the supervisor, process {pid}, does not end")
            time.sleep(0.02)
        report = read_json(self._run / "service.json") or {}
        if report.get("pid") and begun(report["pid"]) == report.get("begun"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(report.get("group", report["pid"]), signal.SIGKILL)

    def remove(self) -> None:
        """Remove what it has noted."""
        remove(self._run)

    def state(self) -> dict[str, Any]:
        """What the supervisor has noted, if it lives."""
        report = read_json(self._run / "service.json") or {}
        active = report.get("active", "stopped")
        supervisor = self._supervisor()
        if supervisor is None and active not in ("ended", "failed"):
            active = "stopped"
        elif supervisor is not None and supervisor != report.get("supervisor"):  # it has not noted anything yet
            return _state("starting", 0, 0, None, None)
        pid = report.get("pid") or 0
        return _state(active, pid, report.get("restarts", 0), report.get("code"), self.report(pid))

    def log_command(self, lines: int, follow: bool) -> list[str]:
        """``tail``, which goes on with the next file."""
        return ["tail", "-n", str(lines), *["-F"] * follow, str(self._log / "program.log")]

    def _supervisor(self) -> Optional[int]:
        """The process that holds the lock; 0 where it has not said yet which one it is; None: there is none."""
        try:
            descriptor = os.open(self._run / "lock", os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(descriptor, 32).strip()
            return int(text) if text.isdigit() else 0
        finally:
            os.close(descriptor)
        return None


def _state(
    active: str, pid: int, restarts: int, code: Optional[int], status: Optional[dict[str, Any]]
) -> dict[str, Any]:
    """The report counts as long as it is of the process that runs, or of the last one if none does."""
    if status is not None and active in ("starting", "running", "restarting") and status.get("pid") != pid:
        status = None
    return {"active": active, "pid": pid, "restarts": restarts, "code": code, "status": status}


def begun(pid: int) -> Optional[str]:
    """When a process began, so that another one of the same number is told apart; None: there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def runtime_folder() -> Optional[str]:
    """The user's folder for what lives as long as the machine runs; a session over SSH may not have named it."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return folder if os.access(folder, os.W_OK) else None


def available() -> list[str]:
    """The kinds that this machine offers to this user, the best first."""
    kinds = []
    if os.geteuid() == 0 and Path("/run/systemd/system").is_dir() and shutil.which("systemctl"):
        kinds.append(SYSTEM)
    folder = runtime_folder()
    if os.geteuid() != 0 and folder and Path(folder, "systemd").is_dir() and shutil.which("systemctl"):
        os.environ.setdefault("XDG_RUNTIME_DIR", folder)
        kinds.append(USER)
    return [*kinds, PLAIN]


def linger() -> str:
    """Let the user's units run without a session; what is to be said about it."""
    user = pwd.getpwuid(os.getuid()).pw_name
    if Path("/var/lib/systemd/linger", user).exists():
        return ""
    command: Sequence[str] = ("loginctl", "enable-linger", user)
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        if subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False).returncode == 0:
            return ""
    return f"it stops when {user} logs out: sudo loginctl enable-linger {user}"


def make(kind: str, place: Place) -> Service:
    """The service of such a kind."""
    if kind in (SYSTEM, USER):
        return Systemd(place, kind == USER)
    return Plain(place)
