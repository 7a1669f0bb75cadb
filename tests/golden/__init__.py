"""Expected outputs that are committed, so that a change of them is seen in review. `make golden` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def expected(name: str, text: str) -> str:
    """The committed text of that name; with EPRUNE_GOLDEN=update it is first replaced by ``text``."""
    path = FOLDER / name
    if os.environ.get("EPRUNE_GOLDEN") == "update":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"tests/golden/{name} is missing: run `make golden`, look at it and commit it"
    return path.read_text(encoding="utf-8")
