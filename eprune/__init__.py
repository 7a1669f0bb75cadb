"""eprune: take deep-learning inference apart and spread it over devices, on a formal dataflow model.

For notebooks and scripts:

    app = eprune.load("graphs/vehicle.xml", platforms="graphs", mappings="mappings/vehicle_split")
    app.check()                                  # findings as a table; empty is good
    cuts = eprune.cuts(app, endpoint="endpoint", server="server").predict()
    run = eprune.run(cuts.best("latency", private_until="L2"), frames=100)
"""

from __future__ import annotations

# Nothing is imported here at run time: the folder of a program comes first on its path until `eprune.runtime` has moved
# it, and a platform may be called `typing`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from eprune.face import Cuts, Findings, Run, System, cuts, load, run

__version__ = "0.1.0"
__all__ = ["Cuts", "Findings", "Run", "System", "cuts", "load", "run"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: a device's program imports this package, too.
    if name in __all__:
        import importlib

        return getattr(importlib.import_module("eprune.face"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
