"""Programs for tests, written as the code generator would, and run as real processes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: processes that a test started; the fixture in conftest.py kills what is left of them
STARTED: list[subprocess.Popen[str]] = []
ACTORS = ROOT / "tests" / "kit" / "actors.py"


def write_program(
    folder: Path, platform: str, *declarations: str, application: str = "app", digest: str = "d", aligned: bool = False
) -> Path:
    """A program of tests/kit/actors.py; ``declarations`` are method calls without ``program.``."""
    behaviour = os.path.relpath(ACTORS, folder)
    lines = [
        "from eprune.runtime import Program",
        f"program = Program({application!r}, {platform!r}, {digest!r}, __file__{', aligned=True' * aligned})",
        "program.unit('cpu')",
        *(f"program.{declaration}" for declaration in declarations),
        "if __name__ == '__main__':",
        "    raise SystemExit(program.main())",
    ]
    path = folder / f"{platform}.py"
    path.write_text("\n".join(lines).replace("ACTORS:", f"{behaviour}:") + "\n")
    return path


def environment(**more: str) -> dict[str, str]:
    """An environment in which programs find this checkout's runtime."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def start(program: Path, *arguments: str, **more: str) -> subprocess.Popen[str]:
    """Start a program; its output is text."""
    return start_command(sys.executable, str(program), *arguments, **more)


def start_command(*command: str, **more: str) -> subprocess.Popen[str]:
    """Start any command as a program; its output is text."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    )
    STARTED.append(process)
    return process


def reap() -> None:
    """Kill what a test left running."""
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str], timeout: float = 120) -> tuple[int, str, str]:
    """Wait for a program: exit code, stdout, stderr. A program that hangs is killed, and the test fails."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"hangs; stdout {out!r}, stderr {err!r}") from None
    return process.returncode, out, err


def lines(process: subprocess.Popen[str], count: int) -> str:
    """The next lines that a program prints."""
    with _watched(process):
        assert process.stdout is not None
        return "".join(process.stdout.readline() for _ in range(count))


def rest(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a program of which lines were read: exit code, what is left of stdout, stderr."""
    with _watched(process):
        assert process.stdout is not None and process.stderr is not None
        out, err = process.stdout.read(), process.stderr.read()
        return process.wait(), out, err


@contextlib.contextmanager
def _watched(process: subprocess.Popen[str], timeout: float = 120) -> Iterator[None]:
    """Kill a program that hangs, and fail."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(timeout, kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    assert not late.is_set(), "hangs"


def run(program: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    """Start a program and wait for it."""
    return finish(start(program, *arguments, **more))
