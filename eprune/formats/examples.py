"""Where the examples are that ship with eprune: its graphs, models and mappings."""

from __future__ import annotations

import os
from pathlib import Path

import eprune


def example(path: str) -> str:
    """The place of ``graphs/vehicle.xml``: beside the package in a checkout, within it when installed.

    Relative to the current folder where it lies below that, so that it reads well.
    """
    package = Path(eprune.__file__).resolve().parent
    installed = package / path
    found = installed if installed.exists() else package.parent / path
    relative = os.path.relpath(found)
    return str(found) if relative.startswith(os.pardir) else relative
