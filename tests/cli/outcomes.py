"""What calls of eprune leave behind, where they are made, and how to look at it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pty
import shlex
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

from eprune.cli.main import cli


@dataclass(frozen=True)
class Outcome:
    """What a call leaves: exit code, stdout, stderr, and path -> content of the files that it wrote."""

    code: int
    out: str
    err: str
    files: dict[str, bytes]


def everything(outcome):
    """All that a call prints and returns, and the names and contents of its files."""
    return (
        outcome.code,
        outcome.out,
        outcome.err,
        {name: hashlib.sha256(d).digest() for name, d in outcome.files.items()},
    )


def code(outcome):
    return outcome.code


def out(outcome):
    return outcome.out


def names(outcome):
    """The names of the files that were written."""
    return sorted(outcome.files)


def silent(outcome):
    return not outcome.err.strip()


def lines_of(name):
    """How many lines a file has."""
    return lambda outcome: outcome.files.get(name, b"").count(b"\n")


def json_of(path, name=None):
    """The part of a JSON result (a file, or stdout) at ``a.b.0.c``."""

    def look(outcome):
        text = (
            outcome.out if name is None else outcome.files[name].decode().splitlines()[-1 if "jsonl" in name else 0 :]
        )
        data = json.loads(text if name is None else "\n".join(text))
        for key in path.split("."):
            data = data[int(key)] if key.isdigit() else data[key]
        return data

    return look


def days(outcome):
    """The dates of certificates, without the time of day."""
    return [each["until"][:10] for each in json.loads(outcome.out)]


class Work:
    """A copy of the prepared folder, in which calls are made; what a call changed is mended before the next one."""

    def __init__(self, prepared, folder):
        self.prepared, self.folder = prepared, shutil.copytree(prepared, folder)
        self.folders = set(self.paths(Path.is_dir))
        self.stamps = {path: stamp(path) for path in self.paths(Path.is_file)}

    def paths(self, kind):
        return [path for path in self.folder.rglob("*") if kind(path)]

    def mend(self):
        """Undo what was done in the folder; path -> content of the files that were written."""
        written = {}
        for path in self.paths(Path.is_file):
            original = self.prepared / path.relative_to(self.folder)
            if stamp(path) == self.stamps.get(path):
                continue
            content = path.read_bytes()
            if path not in self.stamps or content != original.read_bytes():
                written[str(path.relative_to(self.folder))] = content
            path.unlink()
        for path in self.paths(Path.is_dir):
            if path not in self.folders:
                shutil.rmtree(path, ignore_errors=True)
        for path in self.stamps:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.prepared / path.relative_to(self.folder), path)
                self.stamps[path] = stamp(path)
        return {name: content for name, content in written.items() if "__pycache__" not in name}


def stamp(path):
    """What is not the same once a file was written."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def on_terminal(line):
    """What a command prints on a terminal that is its stderr."""
    end, terminal = pty.openpty()
    shown = []

    def read():
        with contextlib.suppress(OSError):  # the other end was closed
            while data := os.read(end, 65536):
                shown.append(data)

    reader = threading.Thread(target=read)
    reader.start()
    with (
        os.fdopen(terminal, "w", buffering=1) as stderr,
        contextlib.redirect_stderr(stderr),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.suppress(SystemExit),
    ):
        cli.main(shlex.split(line), prog_name="eprune")
    reader.join(timeout=60)
    os.close(end)
    return b"".join(shown).decode()
