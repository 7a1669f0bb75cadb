"""A process of its own for what may die: an interpreter that a model, or a slice of one, can crash or hang.

A module is run as a program: it reads a question from stdin, and writes its answers to stdout, a line of JSON each.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional, TextIO, TypeVar

import eprune

T = TypeVar("T")
U = TypeVar("U")


class Died(Exception):
    """The process ended without a last word, or said nothing for too long: how, for people."""


def environment() -> dict[str, str]:
    """The environment of a Python that finds this eprune."""
    places = [str(Path(eprune.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def answers(
    module: str, arguments: Sequence[str], question: Mapping[str, Any], patience: float
) -> Generator[Any, None, None]:
    """What ``python -m module`` answers. Raises Died if it crashes, fails, or is silent for ``patience`` seconds.

    The process ends with the iterator.
    """
    command = [sys.executable, "-m", module, *arguments]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, text=True, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdin is not None and process.stdout is not None
        lines: queue.SimpleQueue[Optional[str]] = queue.SimpleQueue()
        # A thread reads, for waiting at a pipe has no time limit of its own.
        reader = threading.Thread(target=_read, args=(process.stdout, lines), name="answers", daemon=True)
        reader.start()
        try:
            with contextlib.suppress(OSError), process.stdin:  # OSError: it has died already
                process.stdin.write(json.dumps(question))
            yield from _objects(lines, patience)
            code = process.wait()
        finally:
            process.kill()
            process.wait()
            reader.join()
            process.stdout.close()
        if code < 0:
            raise Died(f"it crashes ({signal.Signals(-code).name})")
        if code:
            errors.seek(0)
            raise Died((errors.read().strip().splitlines() or ["it ends without an answer"])[-1])


def bound_memory(nbytes: Optional[int] = None) -> None:
    """In the process: at most so many bytes of memory, if stated, and no core dump."""
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return
    with contextlib.suppress(ValueError, OSError):  # a lower limit is in force
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if nbytes is not None:
            resource.setrlimit(resource.RLIMIT_AS, (nbytes, nbytes))


def _read(stream: TextIO, lines: queue.SimpleQueue[Optional[str]]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _objects(lines: queue.SimpleQueue[Optional[str]], patience: float) -> Iterator[Any]:
    while True:
        try:
            line = lines.get(timeout=patience)
        except queue.Empty:
            raise Died(f"it does not come to an end within {patience:g} s") from None
        if line is None:
            return
        if line.startswith("{"):  # the rest is what an interpreter prints
            with contextlib.suppress(ValueError):  # or half a line
                yield json.loads(line)


def plain_words(text: str) -> str:
    """An interpreter's message on one line, each sentence once, without addresses of web pages."""
    line = " ".join(re.sub(r"See instructions: \S+", "", text).split()).rstrip(".")
    sentences = (sentence.strip() for sentence in re.split(r"\.\s*(?=[A-Z])", line))
    return ". ".join(dict.fromkeys(filter(None, sentences)))[:400]


def same_in_all(runs: Sequence[Mapping[T, U]]) -> dict[T, U]:
    """What all runs agree on."""
    return {
        index: value
        for index, value in (dict(runs[0]) if runs else {}).items()
        if all(run.get(index) == value for run in runs)
    }
