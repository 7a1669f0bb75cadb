"""The device's end of ``eprune profile --endpoint``: runs one program there, and leaves nothing behind. Part of eprune.

The text of this file goes over an SSH connection to the device's Python, which needs nothing else of eprune. Then come
on standard input a line of JSON (``look``, or ``arguments``, ``size`` and perhaps ``keys``, the files that links with
TLS need), the bundle, and an empty line now and then.
On standard output go lines of JSON: ``host`` at once; ``status`` and ``message`` as the program says them; last
``code``, ``record`` and ``trace``, or what ``look`` found. When standard input ends, or is silent for too long, the
program is stopped. All files are in a temporary folder under names of our own; it is removed whatever happens.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import select
import signal
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

#: Seconds of silence after which the other side is taken for gone.
PATIENCE = 30.0
#: Seconds that the program has to end by itself once it was asked to.
GRACE = 3.0
#: Bytes of a request at most.
REQUEST_BYTES = 65536
#: Module and distribution of what a program may need.
MODULES = (("numpy", "numpy"), ("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))


class Gone(Exception):
    """The other side has closed the connection, or is silent."""


def send(**line: Any) -> None:
    """Say something, if anybody still listens."""
    with contextlib.suppress(OSError):
        data = json.dumps(line).encode() + b"\n"
        while data:
            data = data[os.write(1, data) :]


def look() -> dict[str, Any]:
    """``python``, ``machine``, and ``versions`` of what a program may need (None: it is not there)."""
    versions: dict[str, Optional[str]] = {}
    for module, distribution in MODULES:
        if importlib.util.find_spec(module) is None:
            versions[distribution] = None
            continue
        try:
            versions[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            versions[distribution] = "?"
    return {"python": platform.python_version(), "machine": platform.machine(), "versions": versions}


def read(count: int) -> bytes:
    """The next bytes of standard input, at least one. Raises Gone."""
    if not select.select([0], [], [], PATIENCE)[0]:
        raise Gone
    data = os.read(0, count)
    if not data:
        raise Gone
    return data


def receive_request() -> dict[str, Any]:
    """The first line. Raises Gone, or ValueError for nonsense."""
    line = b""
    while not line.endswith(b"\n"):
        if len(line) > REQUEST_BYTES:
            raise ValueError("no request")
        line += read(1)
    request: dict[str, Any] = json.loads(line)
    return request


def receive_file(path: Path, size: int) -> None:
    """Write the next ``size`` bytes to a file. Raises Gone, or OSError when the disk is full."""
    with path.open("wb") as file:
        while size:
            data = read(min(size, 1 << 20))
            file.write(data)
            size -= len(data)


def write_keys(folder: Path, files: dict[str, str]) -> Path:
    """Write these files where only we can read them; the folder. Raises ValueError for a name that leads elsewhere."""
    folder.mkdir(mode=0o700)
    for name, text in files.items():
        if name != Path(name).name:
            raise ValueError(f"{name!r} is not a file name")
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    return folder


def run(program: Path, arguments: list[str], folder: Path) -> int:
    """Run the program until it ends or the other side is gone; its exit code, negative if a signal ended it."""
    status, write = os.pipe()
    command = [sys.executable, str(program), *arguments, f"--record={folder / 'record'}", f"--status=/dev/fd/{write}"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=[write],
        start_new_session=True,
    )
    os.close(write)
    assert process.stderr is not None
    try:
        _follow(process, {status: "status", process.stderr.fileno(): "message"})
        return process.wait()
    finally:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(status)
        process.stderr.close()


def _follow(process: subprocess.Popen[bytes], pipes: dict[int, str]) -> None:
    """Pass on what the program says, until it has ended and nothing is left."""
    rests = dict.fromkeys(pipes, b"")
    heard, stop = time.monotonic(), 0.0
    while rests:
        ready = select.select([*rests, *([] if stop else [0])], [], [], 0.5)[0]
        now = time.monotonic()
        if 0 in ready:
            heard = now
            gone = not os.read(0, 4096)
        else:
            gone = now > heard + PATIENCE
        if not stop and (gone or process.poll() is not None):
            process.send_signal(signal.SIGINT)
            stop = now + GRACE
        if stop and now > stop:
            return
        for pipe in rests.keys() & set(ready):
            data = os.read(pipe, 65536)
            *lines, rests[pipe] = (rests[pipe] + data).split(b"\n")
            if not data:
                lines += [rests.pop(pipe)]
            for text in filter(None, lines):
                line = text.decode("utf-8", "replace")
                send(**{pipes[pipe]: json.loads(line) if pipes[pipe] == "status" else line})


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):  # a program that was killed leaves none
        return None


def main() -> int:
    """Answer one request."""
    send(host=platform.node())
    request = receive_request()
    if request.get("look"):
        send(look=look())
        return 0
    with tempfile.TemporaryDirectory(prefix="eprune-") as name:
        folder = Path(name)
        program, arguments = folder / "program.pyz", list(request["arguments"])
        if request.get("trace"):
            arguments.append(f"--trace={folder / 'trace'}")
        if request.get("keys"):
            arguments.append(f"--keys={write_keys(folder / 'keys', request['keys'])}")
        receive_file(program, request["size"])
        code = run(program, arguments, folder)
        outcome = {"code": code, "record": _read_json(folder / "record"), "trace": _read_json(folder / "trace")}
    send(**outcome)
    return 0


def _stop(number: int, _: Any) -> None:
    raise Gone


if __name__ == "__main__":
    for wanted in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(wanted, _stop)
    try:
        sys.exit(main())
    except Gone:
        sys.exit(1)
    except (OSError, ValueError, KeyError) as error:
        send(problem=str(error))
        sys.exit(1)
