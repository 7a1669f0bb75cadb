"""A file of lines, for sinks."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union

import numpy as np
from checks import only_port

from eprune.runtime import EndOfStream, PortType

MAX_LABELS = 2**20  # bytes; more is some other file


class LineFile:
    """Lines of JSON, written at once, and never in part.

    ``path`` is a file, or ``-`` for standard output. ``append``: behind those that are in the file.
    """

    def __init__(self, path: str, append: bool = False) -> None:
        self.path = path
        sys.stdout.flush()
        standard = path == "-"
        self.file = open(1 if standard else path, "ab" if append else "wb", buffering=0, closefd=not standard)  # noqa: SIM115

    def write(self, value: Any, _: Any = None) -> None:
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


class LinePort:
    """The same lines as tokens ``uint8[<=n]`` of an actor's only output, without the line feed."""

    def __init__(self, ports: Mapping[str, PortType]) -> None:
        self.name, port = only_port(ports, "output")
        if not port.variable or port.dtype != "uint8":
            raise ValueError(f"port {self.name!r}: expected tokens of variable size, uint8[<=n], for lines")

    def write(self, value: Any, outputs: Mapping[str, Any]) -> None:
        """Write one token. Raises ValueError for a line that is longer than it may be."""
        line, out = json.dumps(value, ensure_ascii=False).encode(), outputs[self.name]
        if len(line) > len(out):
            raise ValueError(f"port {self.name!r}: a line of {len(line)} bytes is no token uint8[<={len(out)}]")
        out[: len(line)], out.used = np.frombuffer(line, np.uint8), len(line)

    def close(self) -> None:
        """There is nothing to close."""


def lines_of(path: str, outputs: Mapping[str, PortType], append: bool) -> Union[LineFile, LinePort]:
    """Where an actor's lines go: to its output, if it has one, else into the file ``path``."""
    if not outputs:
        return LineFile(path, append)
    if path != "-":
        raise ValueError(f"path={path!r}: lines go to the output port {next(iter(outputs))!r}")
    return LinePort(outputs)


def read_labels(text: str) -> list[str]:
    """The names of classes in the parameter ``labels``: ``car,bus``, or a file with one per line. Raises ValueError.

    A line's number is the class's: a blank line is a class without a name. Blank lines at the end are none.
    """
    if not text or "," in text:
        return [label.strip() for label in text.split(",")] if text else []
    try:
        with Path(text).open("rb") as file:
            data = file.read(MAX_LABELS + 1)
        if len(data) > MAX_LABELS:
            raise ValueError(f"labels={text!r}: more than {MAX_LABELS} bytes")
        return [line.strip() for line in data.decode("utf-8-sig").rstrip().splitlines()]  # editors may write a mark
    except OSError as error:
        raise ValueError(
            f"labels={text!r}: expected names separated by commas, or a file with one per line: {error.strerror}"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"labels={text!r}: is not text in UTF-8: {error.reason} at byte {error.start}") from None


def label(labels: list[str], number: int) -> str:
    """The name of a class, or its number where it has none."""
    return labels[number] if 0 <= number < len(labels) and labels[number] else str(number)
