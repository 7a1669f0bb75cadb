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

#: whether this process is a command's own: its signals are ours
own = False
#: whether a signal has come; from then on nothing waits for who reads the messages
interrupted = False


def prepare() -> None:
    """If it is a command that is being loaded, have signals end it at once: there is nothing to be cleaned up.

    Standard descriptors that are closed are replaced, or the next file would get their number.
    """
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(("importlib", "eprune.")):
        frame = frame.f_back
    if frame is None or frame.f_globals.get("__name__") != "__main__" or "__file__" not in frame.f_globals:
        return
    _fill()
    for number in NUMBERS:
        if signal.getsignal(number) in _DEFAULTS:
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, _end)


def take_over() -> None:
    """Have signals raise KeyboardInterrupt from now on: programs are stopped, and temporary folders removed.

    SIGHUP stays ignored where it was (nohup). A process that is not a command's own keeps its signals.
    """
    for number in NUMBERS if own else ():
        if signal.getsignal(number) in (*_DEFAULTS, _end):
            with contextlib.suppress(ValueError):
                signal.signal(number, _interrupt)


def _fill() -> None:
    """Results that nobody gets are an error, which writing to this standard output is; messages are not."""
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _interrupt(number: int, frame: Optional[FrameType]) -> None:
    global interrupted
    interrupted = True
    signal.default_int_handler(number, frame)


def _end(number: int, _: Optional[FrameType]) -> None:
    with contextlib.suppress(OSError, ValueError):
        os.write(2, b"\ninterrupted\n" if os.isatty(2) else b"interrupted\n")  # a terminal has shown ^C in this line
    os._exit(_INTERRUPTED)
