"""Waiting for what other threads and processes do."""

import os
import signal
import time
from pathlib import Path


def until(there, seconds=30.0):
    """Wait until ``there()``; it is an error if that is not so within so many seconds."""
    deadline = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < deadline, "never"
        time.sleep(0.001)


def freeze(pid):
    """Stop a process, and wait until no thread of it runs: on a busy machine they go on after the signal is sent."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(_state(thread) == "T" for thread in Path(f"/proc/{pid}/task").iterdir()))


def _state(thread):
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "T"  # it has ended
