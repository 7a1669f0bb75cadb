"""Programs for tests, written as the code generator would, and run as real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: processes that a test started; the fixture in conftest.py kills what is left of them
STARTED: list[subprocess.Popen[str]] = []
ACTORS = ROOT / "tests" / "kit" / "actors.py"


def write_program(folder: Path, platform: str, *declarations: str, application: str = "app", digest: str = "d") -> Path:
    """A program of tests/kit/actors.py; ``declarations`` are method calls without ``program.``."""
    behaviour = os.path.relpath(ACTORS, folder)
    lines = [
        "from eprune.runtime import Program",
        f"program = Program({application!r}, {platform!r}, {digest!r}, __file__)",
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
    process = subprocess.Popen(
        [sys.executable, str(program), *arguments],
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


def finish(process: subprocess.Popen[str], timeout: float = 30) -> tuple[int, str, str]:
    """Wait for a program: exit code, stdout, stderr. A program that hangs is killed, and the test fails."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"hangs; stdout {out!r}, stderr {err!r}") from None
    return process.returncode, out, err


def run(program: Path, *arguments: str, **more: str) -> tuple[int, str, str]:
    """Start a program and wait for it."""
    return finish(start(program, *arguments, **more))
