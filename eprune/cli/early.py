"""Signals while a command is being loaded, which takes a moment: they end it quietly, instead of with a traceback."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Optional

#: What Python and the system do with a signal that nobody has asked for.
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
#: Ctrl-C, and what is handled like it. Windows has no SIGHUP.
NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_INTERRUPTED = 130


def prepare() -> None:
    """If it is a command that is being loaded, have signals end it at once: there is nothing to be cleaned up."""
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(("importlib", "eprune.")):
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") != "__main__" or "__file__" not in frame.f_globals:
        return
    for number in NUMBERS:
        if signal.getsignal(number) in _DEFAULTS:
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, _end)


def take_over() -> None:
    """Have signals raise KeyboardInterrupt from now on: programs are stopped, and temporary folders removed.

    SIGHUP stays ignored where it was (nohup).
    """
    for number in NUMBERS:
        if signal.getsignal(number) in (*_DEFAULTS, _end):
            with contextlib.suppress(ValueError):
                signal.signal(number, signal.default_int_handler)


def _end(number: int, _: Optional[FrameType]) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.write(2, b"\ninterrupted\n" if os.isatty(2) else b"interrupted\n")  # a terminal has shown ^C in this line
    os._exit(_INTERRUPTED)
