"""The three standard descriptors, any of which may be closed when a program starts. Imports nothing but os and sys."""

from __future__ import annotations

import os
import sys

INPUT, OUTPUT, ERROR = 0, 1, 2
#: those that were closed
closed: set[int] = set()


def fill() -> None:
    """Put the null device in the place of those that are closed.

    The next file or socket that is opened would get their number otherwise, and what is printed would go there. Nothing
    can be written to a standard output that was closed: results that nobody gets are an error.
    """
    modes = {INPUT: os.O_WRONLY, OUTPUT: os.O_RDONLY, ERROR: os.O_WRONLY}
    for descriptor, mode in modes.items():
        try:
            os.fstat(descriptor)
        except OSError:
            closed.add(descriptor)
            os.open(os.devnull, mode)  # the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(OUTPUT, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(ERROR, "w", closefd=False)  # noqa: SIM115
