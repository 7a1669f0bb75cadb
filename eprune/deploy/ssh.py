"""A platform's program on a real device, over OpenSSH: the other end is ``explore/device.py``.

One connection a program: it carries the program device, what it says back, and a tunnel for each FIFO, so that neither
side listens beyond loopback. It is a process of its own that ``deploy.local`` starts in the program's place. Host
keys must be known; keys, jump hosts and all else are as in the user's ssh configuration.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Optional

import eprune
from eprune.deploy import device as other_end
from eprune.model.exit_codes import PORT_TAKEN, UNREACHED
from eprune.model.finding import Failure

#: Seconds between two signs of life.
HEARTBEAT = 5.0
#: Seconds that the device has to stop its program and clean up.
GRACE = 10.0
OPTIONS = (
    *("-T", "-a", "-x"),
    *("-o", "BatchMode=yes"),
    *("-o", "StrictHostKeyChecking=yes"),
    *("-o", "ExitOnForwardFailure=yes"),
    *("-o", "ConnectTimeout=15"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=6"),
    # A connection shared with others would keep its tunnels after us.
    *("-o", "ControlMaster=no"),
    *("-o", "ControlPath=none"),
)
#: Reads the text of device.py from standard input up to a zero byte, and runs it: fit for any shell.
BOOT = 'import os; exec(b"".join(iter(lambda: os.read(0, 1) or b"\\0", b"\\0")))'

_URL = re.compile(
    r"ssh://(?:(?P<user>[\w.][\w.-]*)@)?(?P<host>[\w.][\w.-]*|\[[0-9A-Fa-f:.%\w]+\])(?::(?P<port>\d+))?/?"
)

#: What stops a conversation; Windows has no SIGHUP.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]

OnLine = Callable[[str, Any], None]


@dataclass(frozen=True)
class Device:
    """Where ssh finds a device, and the Python to use there."""

    url: str
    python: str = "python3"

    def __str__(self) -> str:
        return self.url

    @property
    def host(self) -> str:
        """The name or address of the machine."""
        match = _URL.fullmatch(self.url)
        assert match is not None  # parse_device has seen it
        return match["host"].strip("[]")

    def command(self, tunnels: Sequence[str] = ()) -> list[str]:
        """The ssh command, with such tunnels."""
        match = _URL.fullmatch(self.url)
        assert match is not None  # parse_device has seen it
        where = [*(["-l", match["user"]] if match["user"] else []), *(["-p", match["port"]] if match["port"] else [])]
        command = " ".join(shlex.quote(word) for word in (self.python, "-c", BOOT))
        return ["ssh", *OPTIONS, *tunnels, *where, "--", match["host"].strip("[]"), command]


def tunnel(near: int, far: int, inwards: bool) -> str:
    """The ssh option that joins two loopback ports; ``inwards``: connections are made on the device, to here."""
    return f"-R127.0.0.1:{far}:127.0.0.1:{near}" if inwards else f"-L127.0.0.1:{near}:127.0.0.1:{far}"


def parse_device(text: str, python: str = "python3") -> Device:
    """The device of ``ssh://[USER@]HOST[:PORT]``. Raises ValueError for anything else."""
    match = _URL.fullmatch(text)
    if match is None or not 0 < int(match["port"] or 22) < 65536:
        raise ValueError(f"{text!r} is not of the form ssh://[USER@]HOST[:PORT]")
    return Device(text, python)


class Interrupted(Exception):
    """The user, or whoever started this process, wants it to end."""


@dataclass(frozen=True)
class DeviceReport:
    """What a device is: its name, its Python, its processor, and versions of packages (None: not installed)."""

    host: str
    python: str
    machine: str
    versions: Mapping[str, Optional[str]]


def look(device: Device) -> DeviceReport:
    """What the device is. Raises Failure."""
    found: dict[str, Any] = {}

    def on_line(kind: str, value: Any) -> None:
        found.update(value if kind == "look" else {kind: value})

    talk(device, {"look": True}, b"", (), on_line)
    return DeviceReport(found["host"], found["python"], found["machine"], found["versions"])


def talk(
    device: Device,
    request: dict[str, Any],
    bundle: bytes,
    tunnels: Sequence[str],
    on_line: OnLine,
) -> None:
    """Make a request of the device, and pass on each line that it answers, until it has ended. Raises Failure.

    SIGINT, SIGTERM and SIGHUP in this process stop what runs device, after which Interrupted is raised.
    """
    source = Path(other_end.__file__).read_bytes()
    hello = source + b"\0" + json.dumps(request).encode() + b"\n" + bundle
    try:
        process = subprocess.Popen(
            device.command(tunnels), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        raise Failure(f"ssh cannot be started: {error.strerror}; install OpenSSH's client here", UNREACHED) from None
    with process, _Conversation(process, hello) as conversation:
        conversation.run(on_line)
    if conversation.interrupted:
        raise Interrupted
    if not conversation.answered:
        output = bytes(conversation.output).decode("utf-8", "replace").strip()
        raise Failure(*explain(device, process.returncode, output, conversation.heard))


class _Conversation:
    """Both directions of a connection at once."""

    def __init__(self, process: subprocess.Popen[bytes], hello: bytes) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        self.process = process
        #: whether the device has answered at all, and whether that was its last line
        self.heard = self.answered = False
        self.interrupted = False
        #: what ssh, or the device's shell, wrote to stderr
        self.output = bytearray()
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._pending = memoryview(hello)
        self._rest = b""
        self._saved: dict[int, Any] = {}

    def __enter__(self) -> _Conversation:
        os.set_blocking(self._stdin.fileno(), False)
        for number in _SIGNALS:
            self._saved[number] = signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)
        if self.process.poll() is None:
            self.process.kill()

    def _interrupt(self, *_: object) -> None:
        self.interrupted = True

    def run(self, on_line: OnLine) -> None:
        """Send and receive until the device has sent all."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            selector.register(self._stderr, selectors.EVENT_READ)
            selector.register(self._stdin, selectors.EVENT_WRITE)
            reading, spoken, until = 2, time.monotonic(), math.inf
            while reading and time.monotonic() < until:
                for key, _ in selector.select(0.2):
                    if key.fileobj is self._stdin:
                        self._write(selector)
                        spoken = time.monotonic()
                        continue
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fileobj)
                        reading -= 1
                    elif key.fileobj is self._stderr:
                        self.output += data
                    else:
                        self._take(data, on_line)
                if self.interrupted and until == math.inf:
                    until = time.monotonic() + (GRACE if self.heard else 1.0)
                    self._hang_up(selector)
                elif not (self._pending or self._stdin.closed) and time.monotonic() > spoken + HEARTBEAT:
                    self._pending = memoryview(b"\n")
                    selector.register(self._stdin, selectors.EVENT_WRITE)

    def _write(self, selector: selectors.BaseSelector) -> None:
        try:
            self._pending = self._pending[os.write(self._stdin.fileno(), self._pending[:65536]) :]
        except BlockingIOError:
            return
        except OSError:  # ssh has ended, and says why on stderr
            self._hang_up(selector)
            return
        if not self._pending:
            selector.unregister(self._stdin)

    def _hang_up(self, selector: selectors.BaseSelector) -> None:
        if self._pending:
            selector.unregister(self._stdin)
            self._pending = memoryview(b"")
        self._stdin.close()

    def _take(self, data: bytes, on_line: OnLine) -> None:
        """Pass on whole lines; what a login script of the device prints before them is none."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for text in lines:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if not isinstance(line, dict):
                continue
            for kind, value in line.items():
                self.heard = True
                self.answered = self.answered or kind in ("code", "look")
                if kind == "problem":
                    self.output += str(value).encode()
                else:
                    on_line(kind, value)


def explain(
    device: Device, code: int, output: str, heard: bool, another: str = "--device-python names another"
) -> tuple[str, int]:
    """What went wrong and what to do, from ssh's output; and the exit code. ``another``: how to name a Python."""
    lines = output.splitlines() or [f"ssh ended with exit code {code}"]
    last = "".join(char if char.isprintable() else "?" for char in lines[-1])
    if heard:
        return f"the connection to {device} broke: {last}", 1
    if "REMOTE HOST IDENTIFICATION HAS CHANGED" in output:
        return f"{device} shows another host key than the known one: {last}; find out why before you go on", UNREACHED
    if "Host key verification failed" in output or "host key is known" in output:
        return f"the host key of {device} is not known: connect once by ssh, compare it, and accept it", UNREACHED
    if "Permission denied" in output:
        return f"{device} refused the key: {last}; ssh-copy-id gives it yours, ~/.ssh/config says which", UNREACHED
    if re.search("forward", output, re.IGNORECASE):
        return f"{device}: a FIFO's port is taken, or its sshd forwards none (AllowTcpForwarding): {last}", PORT_TAKEN
    if code == 127:
        return f"{device} has no {device.python}: {last}; {another}", UNREACHED
    if code == 255:
        return f"{device} cannot be reached: {last}", UNREACHED
    return f"{device}: {device.python} failed: {last}", UNREACHED


def in_its_place(device: Device, bundle: str, tunnels: Sequence[str]) -> list[str]:
    """What to give to Python instead of a program's file, so that the program runs on the device."""
    root = str(Path(eprune.__file__).parents[1])
    code = f"import sys; sys.path.insert(0, {root!r}); from eprune.deploy.ssh import main; sys.exit(main())"
    return [
        *("-c", code, f"--device={device.url}", f"--device-python={device.python}", f"--bundle={bundle}"),
        *(f"--tunnel={each}" for each in tunnels),
    ]


def main() -> int:
    """Run a program on a device as if it ran on this machine: options that are not for us are the program's."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--device", required=True)
    parser.add_argument("--device-python", required=True)
    parser.add_argument("--bundle", required=True)
    parser.add_argument("--tunnel", action="append", default=[])
    parser.add_argument("--status")
    parser.add_argument("--record")
    parser.add_argument("--trace")
    options, arguments = parser.parse_known_args()
    outcome: dict[str, Any] = {}

    def on_line(kind: str, value: Any) -> None:
        if kind == "message":
            print(value, file=sys.stderr, flush=True)
        elif kind == "status" and options.status:
            with Path(options.status).open("wb") as status:
                status.write(json.dumps(value).encode() + b"\n")
        else:
            outcome[kind] = value

    device = parse_device(options.device, options.device_python)
    try:
        bundle = Path(options.bundle).read_bytes()
        keys = _keys(os.environ.get("EPRUNE_KEYS", ""), Path(options.bundle).stem)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}", 2)
    request = {"arguments": arguments, "size": len(bundle), "trace": bool(options.trace), "keys": keys}
    try:
        talk(device, request, bundle, options.tunnel, on_line)
    except Failure as failure:
        return _fail(str(failure), failure.exit_code)
    except Interrupted:
        return 130
    for path, result in ((options.record, outcome.get("record")), (options.trace, outcome.get("trace"))):
        if path and result is not None:
            Path(path).write_text(json.dumps(result), encoding="utf-8")
    code = int(outcome["code"])
    return code if code >= 0 else _fail(f"killed by {signal.Signals(-code).name} on {device}", 1)


def _keys(folder: str, platform: str) -> dict[str, str]:
    """File name -> text of what a platform needs for links with TLS, as far as it is there."""
    paths = [Path(folder, name) for name in ("ca.crt", f"{platform}.crt", f"{platform}.key")]
    return {path.name: path.read_text(errors="replace") for path in paths if folder and path.is_file()}


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr, flush=True)
    return code
