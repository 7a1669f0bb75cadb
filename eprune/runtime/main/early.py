"""What a program needs before anything else is imported, which takes a while on a small device."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

from eprune.runtime.kernel import descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Optional

#: What Python and the system do with a signal that nobody has asked for.
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)


def prepare() -> None:
    """Fill standard descriptors that are closed; if a program is being started, have signals end it quietly.

    Until ``main`` handles signals there is nothing to be cleaned up: the exit code is 130, and there is no traceback.
    """
    descriptors.fill()
    if not _asked_by_a_program():
        return
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in _DEFAULTS:
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, _end)


def _asked_by_a_program() -> bool:
    """Whether it is a script's own code that asks for what is being imported."""
    frame: Optional[FrameType] = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(("importlib", "eprune.")):
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == "__main__" and "__file__" in frame.f_globals


def _end(number: int, _: Optional[FrameType]) -> None:
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [descriptors.ERROR], [], 0)[1]:
            name = os.path.basename(sys.argv[0]).partition(".")[0]  # noqa: PTH119
            os.write(descriptors.ERROR, f"{name}: error: interrupted by {signal.Signals(number).name}\n".encode())
    os._exit(130)
