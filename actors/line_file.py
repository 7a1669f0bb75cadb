"""A file of lines, for sinks."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from eprune.runtime import EndOfStream


class LineFile:
    """Lines of JSON, written at once, and never in part. ``path`` is a file, or ``-`` for standard output."""

    def __init__(self, path: str) -> None:
        self.path = path
        sys.stdout.flush()
        standard = path == "-"
        self.file = open(1 if standard else path, "wb", buffering=0, closefd=not standard)  # noqa: SIM115

    def write(self, value: Any) -> None:
        """Write one line. Raises EndOfStream if nobody reads any more, OSError on other failures."""
        line = json.dumps(value, ensure_ascii=False).encode() + b"\n"
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self.file.write(rest) :]
        except BrokenPipeError:
            raise EndOfStream from None  # the reader has seen enough
        except OSError as error:
            with contextlib.suppress(OSError):  # a full disk took a part of the line: take it back
                self.file.truncate(self.file.seek(0, os.SEEK_CUR) - (len(line) - len(rest)))
            raise OSError(error.errno, error.strerror, self.path) from None

    def close(self) -> None:
        """Close the file, unless it is standard output."""
        self.file.close()


def read_labels(text: str) -> list[str]:
    """The names of classes in the parameter ``labels``: ``car,bus``, or a file with one per line. Raises ValueError."""
    if not text or "," in text:
        return [label.strip() for label in text.split(",")] if text else []
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(
            f"labels={text!r}: expected names separated by commas, or a file with one per line: {error.strerror}"
        ) from None
    return [line.strip() for line in lines if line.strip()]
