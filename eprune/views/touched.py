"""The files that an application touches, as data and as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eprune.model.touched import Access, Touched
from eprune.views.tables import table


def as_data(files: Sequence[Touched]) -> list[dict[str, Any]]:
    """Each file once for each access: who touches it, and whether it is in the application's folder or eprune's own."""
    places: dict[tuple[str, Access], str] = {}
    by: dict[tuple[str, Access], dict[str, None]] = {}
    for each in files:
        key = (each.path, each.access)
        places.setdefault(key, _place(each))
        by.setdefault(key, {})[each.by] = None
    return [
        {"file": path, "access": access.value, "by": list(by[path, access]), "place": place}
        for (path, access), place in places.items()
    ]


def as_text(files: Sequence[Touched]) -> str:
    """The same for people; those that ship with eprune by their names alone."""
    rows = [
        (
            Path(row["file"]).name if row["place"] == "eprune" else row["file"],
            row["access"],
            row["place"],
            ", ".join(row["by"][:3]) + (f" and {len(row['by']) - 3} more" if len(row["by"]) > 3 else ""),
        )
        for row in as_data(files)
    ]
    return f"\n{table(('file', 'access', 'place', 'by'), rows)}" if rows else ""


def _place(each: Touched) -> str:
    return "outside" if not each.inside else "eprune" if each.own else "inside"
