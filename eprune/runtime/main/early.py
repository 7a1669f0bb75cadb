"""What a program needs before anything else is imported, which takes a while on a small device."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys

from eprune.runtime.kernel import descriptors
from eprune.runtime.tell import health

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import FrameType
    from typing import Optional

#: What Python and the system do with a signal that nobody has asked for.
_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
#: Where the libraries below numpy and SciPy look how many threads they may start.
_POOLS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
#: mallopt(3): bytes of free memory that a heap keeps (M_TRIM_THRESHOLD), and from how many on memory is mapped by
#: itself (M_MMAP_THRESHOLD): the most that glibc allows.
_KEPT = {-1: 256 * 2**20, -3: 32 * 2**20}


def prepare() -> None:
    """Fill standard descriptors that are closed; if a program is being started, have signals end it quietly.

    Until ``main`` handles signals there is nothing to be cleaned up: the exit code is 130, and there is no traceback.
    A program's actors compute in their own threads, and keep the memory that they use. Who only asks about the status
    of another process has the answer here. Raises SystemExit then.
    """
    descriptors.fill()
    if not _asked_by_a_program():
        return
    question = health.asked(sys.argv[1:])
    if question:
        raise SystemExit(health.check(*question))
    compute_in_one_thread(os.environ)
    keep_freed_memory()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) in _DEFAULTS:
            with contextlib.suppress(ValueError):  # not in the main thread
                signal.signal(number, _end)


def compute_in_one_thread(environment: MutableMapping[str, str]) -> None:
    """Unless the user says otherwise, have numpy's libraries start no threads: an actor has the core of its unit.

    Threads of theirs would share the cores of other units and of other programs, and each small product of matrices
    would wait for them. It must be said before numpy is imported.
    """
    for name in _POOLS:
        environment.setdefault(name, "1")


def keep_freed_memory() -> None:
    """Have what a firing frees stay for the next one, unless the user has said how memory is allocated.

    A firing allocates what the last one has freed. To give it back to the system in between, and to have each page
    mapped anew, costs numpy and Pillow up to a quarter of their time. It needs glibc.
    """
    if any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ):
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        for option, size in _KEPT.items():
            ctypes.CDLL(None).mallopt(option, size)


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
