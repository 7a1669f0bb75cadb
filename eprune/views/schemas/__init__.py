"""The JSON Schemas of what commands print with ``--format json``: NAME.json is that of ``eprune NAME``.

Two are of files: run.json of what ``eprune run --summary`` writes, record.json of a program's run record.

A test validates real outputs of every command with them. They are strict: a property that a schema does not name is a
fault of one of the two.
"""

from __future__ import annotations

import json
from pathlib import Path

_FOLDER = Path(__file__).parent

#: The names of the schemas.
NAMES = tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def schema_text(name: str) -> str:
    """The schema of that name, JSON Schema 2020-12 as text."""
    if name not in NAMES:
        raise ValueError(f"there is no schema {name!r}; there are {', '.join(NAMES)}")
    return (_FOLDER / f"{name}.json").read_text(encoding="utf-8")


def title(name: str) -> str:
    """What the schema describes, in one line."""
    return str(json.loads(schema_text(name))["title"])
