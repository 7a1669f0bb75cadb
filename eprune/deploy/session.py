"""A conversation with one device: requests to the agent there (``remote/agent.py``), one after the other."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Callable, Optional

from eprune.deploy import remote
from eprune.deploy.sites import Site
from eprune.deploy.ssh import BOOT, HEARTBEAT, explain
from eprune.model.finding import Failure

#: The modules of the agent, each after those that it imports.
MODULES = ("versions", "environment", "services", "running", "agent")
#: Bytes in one piece of a file.
PIECE = 4 << 20
#: Seconds that a device has to go back to the version before, once it is let go.
GRACE = 90.0
#: Seconds for what is under way to be sent, before the connection is cut.
UNDER_WAY = 2.0

_LOAD = """\
import sys, types
def load(sources):
    parent = ""
    for part in ("eprune", "deploy", "remote"):
        name = f"{parent}.{part}" if parent else part
        module = sys.modules[name] = types.ModuleType(name)
        module.__path__ = []
        parent = name
    for part, source in sources.items():
        name = f"{parent}.{part}"
        module = sys.modules[name] = types.ModuleType(name)
        module.__file__ = name
        exec(compile(source, name, "exec"), module.__dict__)
        setattr(sys.modules[parent], part, module)
    return sys.modules[f"{parent}.agent"]
"""


@lru_cache(maxsize=1)
def agent_text() -> bytes:
    """The agent as one text for a Python that has nothing of eprune, and a zero byte."""
    folder = Path(remote.__file__).parent
    sources = {name: (folder / f"{name}.py").read_text(encoding="utf-8") for name in MODULES}
    return f"{_LOAD}\nsys.exit(load({sources!r}).main())\n".encode() + b"\0"


def supervisor_text() -> bytes:
    """The plain supervisor, a file of each version."""
    return (Path(remote.__file__).parent / "supervisor.py").read_bytes()


class Refused(Failure):
    """The device has said why it cannot do what it was asked to."""


class Session:
    """An agent on a device, over ssh or on this machine. Calls from one thread at a time; ``hang_up`` from any."""

    def __init__(self, site: Site) -> None:
        """Connect. Raises Failure where ssh cannot be started."""
        self.site = site
        command = site.device.command() if site.device else [site.python, "-c", BOOT]
        try:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is ours: the device is told, and cleans up
            )
        except OSError as error:
            what = "ssh cannot be started" if site.device else f"{site.python} cannot be started"
            hint = "; install OpenSSH's client here" if site.device else ""
            raise Failure(f"{what}: {error.strerror}{hint}") from None
        assert self._process.stdin is not None and self._process.stdout is not None
        self._in, self._out = self._process.stdin.fileno(), self._process.stdout.fileno()
        self._writing = threading.Lock()
        self._closed = threading.Event()
        self._rest = b""
        self._heard = False
        self._errors = bytearray()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        with contextlib.suppress(Failure):  # where ssh has ended, the first call tells why
            self._write(agent_text())
        threading.Thread(target=self._beat, daemon=True).start()

    def call(self, do: str, data: bytes = b"", on_say: Callable[[str], None] = lambda _: None, **arguments: Any) -> Any:
        """Make a request, with ``data`` behind it; its result. Raises Failure; Refused where the device says no."""
        with contextlib.suppress(BrokenPipeError):
            self._write(json.dumps({"do": do, **arguments}).encode() + b"\n" + data)
        while True:
            line = self._line()
            if line is None:
                raise self._lost()
            if "say" in line:
                on_say(str(line["say"]))
            elif "problem" in line:
                raise Refused(f"{self.site.platform} ({self.site}): {line['problem']}")
            elif "done" in line:
                return line["done"]

    def send_file(self, name: str, data: bytes, mode: int, digest: str, on_bytes: Callable[[int], None]) -> None:
        """Send a file of the version that is being staged. Raises Failure, Refused."""
        self.call("open", name=name, mode=mode)
        for begin in range(0, len(data), PIECE):
            piece = data[begin : begin + PIECE]
            self.call("piece", piece, size=len(piece))
            on_bytes(len(piece))
        self.call("close", sha256=digest)

    def hang_up(self) -> None:
        """Let the device go: it undoes what was not kept. Waits until it has done so, or cannot be waited for."""
        self.let_go()
        timer = threading.Timer(GRACE, self._process.kill)
        timer.start()
        try:
            while self._line() is not None:
                pass
        finally:
            timer.cancel()
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            self._listener.join(1)

    def let_go(self) -> None:
        """End what the device hears, and do not wait."""
        if self._closed.is_set():
            return
        self._closed.set()
        if self._writing.acquire(timeout=UNDER_WAY):
            try:
                assert self._process.stdin is not None
                self._process.stdin.close()
            finally:
                self._writing.release()
        else:
            self._process.terminate()

    @property
    def pid(self) -> int:
        """The process of the connection."""
        return self._process.pid

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        with self._writing:
            while view:
                if self._closed.is_set():
                    raise self._lost()
                try:
                    view = view[os.write(self._in, view) :]
                except OSError:
                    raise self._lost() from None

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT):
            with contextlib.suppress(Failure):
                self._write(b"\n")

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with contextlib.suppress(OSError, ValueError):
            while data := os.read(self._process.stderr.fileno(), 65536):
                self._errors += data
                del self._errors[:-65536]

    def _line(self) -> Optional[Mapping[str, Any]]:
        """The next line of the device; what a login script of it prints is none. None: it has ended."""
        while True:
            text, newline, rest = self._rest.partition(b"\n")
            if newline:
                self._rest = rest
                with contextlib.suppress(ValueError):
                    line = json.loads(text)
                    if isinstance(line, dict):
                        self._heard = True
                        return line
                continue
            try:
                data = os.read(self._out, 65536)
            except OSError:
                return None
            if not data:
                return None
            self._rest += data

    def _lost(self) -> Failure:
        if self._closed.is_set():
            return Failure(f"the connection to {self.site} was closed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._listener.join(1)
        output = bytes(self._errors).decode("utf-8", "replace").strip()
        if self.site.device is None:
            last = (output.splitlines() or [f"exit code {self._process.returncode}"])[-1]
            return Failure(f"{self.site.platform} ({self.site}): {self.site.python} ended: {last}")
        code = self._process.returncode or 0
        another = 'python="..." in the platform file names another'
        message, exit_code = explain(self.site.device, code, output, self._heard, another)
        return Failure(f"{self.site.platform}: {message}", exit_code)
