"""What a generated program imports: the standard library, numpy and a TFLite interpreter, nothing else of eprune.

Inside are rooms, each of which imports only those before it: ``kernel`` and ``tell``; ``fire`` and ``net``, which know
nothing of one another; ``main``. What the face offers is loaded when it is first asked for.
"""

from __future__ import annotations

import os
import sys

from eprune.runtime import moved

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eprune.runtime.kernel.actor import Actor, EndOfStream, PortType
    from eprune.runtime.main.program import Program

__all__ = ["Actor", "EndOfStream", "PortType", "Program"]

#: name -> the module that has it
_PLACES = dict.fromkeys(("Actor", "EndOfStream", "PortType"), "kernel.actor")
_PLACES["Program"] = "main.program"

moved.install()


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "Program":
        _search_own_folder_last()
        from eprune.runtime.main import early  # what it imports must not come from the program's own folder

        early.prepare()
    value: object = getattr(__import__(f"{__name__}.{_PLACES[name]}", fromlist=[name]), name)
    globals()[name] = value
    return value


def _search_own_folder_last() -> None:
    """Move the program's own folder from the front of sys.path to its end.

    Python puts the folder of a script first. A file of it called ``queue.py`` or ``numpy.py``, the program itself
    included, would take the place of the module that the runtime needs.
    """
    script = getattr(sys.modules["__main__"], "__file__", None)
    folder = os.path.dirname(os.path.realpath(script or ""))  # noqa: PTH120
    if script and sys.path and os.path.realpath(sys.path[0]) == folder:
        sys.path.append(sys.path.pop(0))
