"""All platforms of an application on this machine: one process each, joined over loopback, watched until the end."""

from __future__ import annotations

import json
import math
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional, Union

from eprune.model.exit_codes import INTERRUPTED

#: Seconds that the other programs have to end by themselves once one has failed, then once asked to.
GRACE = (3.0, 6.0)
#: Seconds that programs have to end after Ctrl-C, before they are asked once more and then killed.
INTERRUPTED_GRACE = 15.0
#: Seconds without a firing after which programs that tolerate failures are taken to wait for one that is gone.
STILL = 5.0
#: Seconds without a report after which a program is taken to be frozen, if others have ended.
SILENT = 60.0

#: platform name -> a line of progress (``firings``: actor -> count; ``state``)
OnStatus = Callable[[Mapping[str, Any]], None]
OnMessage = Callable[[str], None]


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended: 0 fine, 130 interrupted, else the first failure's exit code; each platform's run record."""

    exit_code: int
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class _Process(NamedTuple):
    platform: str
    popen: subprocess.Popen[bytes]
    record: Path


def launch(
    programs: Mapping[str, Union[str, Sequence[str]]],
    arguments: Optional[Mapping[str, Sequence[str]]] = None,
    on_status: Optional[OnStatus] = None,
    on_message: Optional[OnMessage] = None,
    python: str = sys.executable,
    stdout: Optional[int] = None,
    tolerant: bool = False,
    limit: float = math.inf,
    stdin: Optional[str] = None,
    folder: Optional[str] = None,
) -> RunOutcome:
    """Run generated programs (platform -> file), each with its arguments, until all have ended.

    Instead of a file there may be a list of arguments to Python, which run something that behaves like a program.
    When one fails the others are given time to end by themselves, then asked, then killed; if they are ``tolerant`` of
    failures, only once nothing fires any more. The same becomes of those that are frozen when others have ended. Ctrl-C
    is passed on. What programs write to stderr goes line by line to ``on_message``; their stdout is this process's, or
    ``stdout``; the platform ``stdin`` gets this process's standard input, the others none. Files
    are started in ``folder`` (None: the current one). Raises TimeoutError after ``limit`` seconds, whatever the
    programs do by then; they are killed.
    """
    say = on_message or (lambda line: print(line, file=sys.stderr, flush=True))
    processes: list[_Process] = []
    with tempfile.TemporaryDirectory(prefix="eprune-") as records, selectors.DefaultSelector() as selector:
        try:
            for platform, program in programs.items():
                record = Path(records) / f"{platform}.json"
                own = list((arguments or {}).get(platform, ()))
                source = None if platform == stdin else subprocess.DEVNULL
                processes.append(_start(platform, program, own, record, python, source, stdout, selector, folder))
            exit_code = _watch(processes, selector, on_status or (lambda _: None), say, tolerant, limit)
        finally:
            for process in processes:
                process.popen.kill()
                process.popen.wait()
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]
        return RunOutcome(exit_code, dict(_records(processes)))


def _start(
    platform: str,
    program: Union[str, Sequence[str]],
    arguments: list[str],
    record: Path,
    python: str,
    stdin: Optional[int],
    stdout: Optional[int],
    selector: selectors.BaseSelector,
    folder: Optional[str],
) -> _Process:
    if not any(argument.startswith("--record") for argument in arguments):
        arguments = [*arguments, f"--record={record}"]
    else:
        record = Path(next(a.partition("=")[2] for a in arguments if a.startswith("--record")))
    command = [os.path.abspath(program)] if isinstance(program, str) else program  # noqa: PTH100 - links stay
    read, write = os.pipe()
    try:
        popen = subprocess.Popen(
            [python, *command, *arguments, f"--status=/dev/fd/{write}"],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            pass_fds=[write],
            cwd=folder if isinstance(program, str) else None,
            start_new_session=True,
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    selector.register(os.fdopen(read, "rb", buffering=0), selectors.EVENT_READ, _Lines("status", platform))
    selector.register(popen.stderr, selectors.EVENT_READ, _Lines("message", platform))  # type: ignore[arg-type]
    return _Process(platform, popen, record)


class _Lines:
    """Cuts what arrives on a pipe into lines."""

    def __init__(self, kind: str, platform: str) -> None:
        self.kind = kind
        self.platform = platform
        self._rest = b""

    def feed(self, data: bytes) -> Iterable[str]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def last(self) -> Iterable[str]:
        return [self._rest.decode("utf-8", "replace")] if self._rest else []


def _watch(
    processes: list[_Process],
    selector: selectors.BaseSelector,
    on_status: OnStatus,
    say: OnMessage,
    tolerant: bool,
    limit: float,
) -> int:
    """Pass on what the programs say until all have ended; 130 if the user interrupted them, else the first failure."""
    exit_code = 0
    patience = list(GRACE)
    deadline: Optional[float] = None
    running = list(processes)
    firings: dict[str, object] = {}
    fired = 0.0
    heard: dict[str, float] = {}
    end = time.monotonic() + limit
    while selector.get_map() or running:
        if time.monotonic() > end:
            raise TimeoutError
        try:
            for key, _ in selector.select(0.1):
                data = os.read(key.fd, 65536)
                lines = key.data.feed(data) if data else key.data.last()
                for line in lines:
                    if key.data.kind == "message":
                        say(line)
                    else:
                        status = json.loads(line)
                        heard[status["platform"]] = time.monotonic()
                        if firings.get(status["platform"]) != status["firings"]:
                            firings[status["platform"]] = status["firings"]
                            fired = time.monotonic()
                        on_status(status)
                if not data:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()  # type: ignore[union-attr]
            for process in [process for process in running if process.popen.poll() is not None]:
                running.remove(process)
                code = process.popen.returncode
                if code < 0 and not (exit_code == INTERRUPTED and code == -signal.SIGTERM):
                    say(f"{process.platform}: error: killed by {signal.Signals(-code).name}")
                exit_code = exit_code or (code if code >= 0 else 1)
            if len(running) < len(processes) and not exit_code and _all_frozen(running, heard):
                exit_code = 1
                for process in running:
                    say(f"{process.platform}: error: no sign of life for {SILENT:g} s; other platforms have ended")
            going_on = tolerant and time.monotonic() - fired < STILL
            if running and exit_code and deadline is None and patience and not going_on:
                deadline = time.monotonic() + patience.pop(0)
            if running and deadline is not None and time.monotonic() > deadline:
                for process in running:
                    process.popen.send_signal(signal.SIGTERM if patience else signal.SIGKILL)
                deadline = time.monotonic() + patience.pop(0) if patience else None
        except KeyboardInterrupt:
            exit_code = INTERRUPTED
            if deadline is None:
                deadline, patience = time.monotonic() + INTERRUPTED_GRACE, [GRACE[1]]
            for process in processes:
                if process.popen.poll() is None:
                    # Not SIGINT: of one for which it is not ready yet, Python prints a traceback.
                    process.popen.send_signal(signal.SIGTERM)
    return exit_code


def _all_frozen(running: Sequence[_Process], heard: Mapping[str, float]) -> bool:
    """Whether there are programs that report nothing any more, and no others; ``heard``: when they did last."""
    silent = time.monotonic() - SILENT
    return bool(running) and all(heard.get(process.platform, math.inf) < silent for process in running)


def _records(processes: list[_Process]) -> Iterable[tuple[str, Any]]:
    for process in processes:
        try:
            yield process.platform, json.loads(process.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a program that was killed leaves none
            continue
