"""What was verified on which unit: ``PLATFORM.verified.json`` beside a platform's file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from eprune.formats.atomic import write_file
from eprune.formats.model_files import format_of
from eprune.measure.engines import model_engine
from eprune.model.platform import Engine, Platform, Unit
from eprune.model.system import System
from eprune.runtime.fire import tflite
from eprune.runtime.kernel.errors import UsageError


def remembered_at(platform: Platform) -> Optional[Path]:
    """The file; None for a platform that came from stdin."""
    path = Path(platform.where.file)
    return path.with_suffix(".verified.json") if path.is_file() else None


def remember(platform: Platform, unit: Unit, interpreter: str, tolerance: float, models: Mapping[str, bool]) -> str:
    """Write down of which models the slices were equal on a unit, within so much; the file, or "" if there is none.

    What was known of the models before is forgotten. Raises OSError.
    """
    path = remembered_at(platform)
    if path is None:
        return ""
    record = model_engine(unit, interpreter).record()
    made = [
        {
            **_statement(unit),
            "version": record["version"],
            "sha256": record.get("sha256", ""),
            "model": _hash(model),
            "tolerance": tolerance,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        for model, equal in models.items()
        if equal
    ]
    asked = set(map(_hash, models))
    known = _read(path)
    kept = [each for each in known if each.get("unit") != unit.name or each.get("model") not in asked]
    if [*kept, *made] == known:
        return ""
    write_file(str(path), json.dumps({"verified": [*kept, *made]}, indent=1) + "\n")
    return str(path)


def unverified(system: System) -> Iterator[tuple[Platform, Unit, str, str]]:
    """Platform, unit, model's path and why: units with an engine or a delegate of their own, and what runs there.

    A delegate that is not on this machine is known by what the platform's file says of it.
    """
    behaviours = {actor.name: actor.behaviour for actor in system.graph.actors}
    models: dict[tuple[str, str], dict[str, None]] = {}
    for actor, place in system.units.items():
        behaviour = behaviours.get(actor)
        if behaviour is not None and behaviour.operators:
            models.setdefault(place, {})[behaviour.path] = None
    for (name, unit_name), paths in models.items():
        platform = system.platform(name)
        unit = None if platform is None else platform.unit(unit_name)
        if platform is None or unit is None:
            continue
        file = remembered_at(platform)
        known = [] if file is None else _read(file)
        for path in paths:
            if _is_plain(unit, path):
                continue
            why = _why(unit, path, known)
            if why:
                yield platform, unit, path, why


def _is_plain(unit: Unit, model: str) -> bool:
    """Whether it runs a model by what the reference is run by."""
    own = unit.engine is None or unit.engine.value == format_of(model).engines[0]
    return own and unit.delegate is None and not unit.options


def _why(unit: Unit, model: str, known: list[Mapping[str, Any]]) -> str:
    digest = _hash(model)
    found = [each for each in known if each.get("unit") == unit.name and each.get("model") == digest]
    if not found:
        return "was never verified"
    if any(found[-1].get(key) != value for key, value in _statement(unit).items()):
        return "was verified with another engine, delegate or options"
    try:
        here = tflite.library(unit.delegate)[1] if unit.delegate else ""
    except UsageError:
        return ""
    return "" if here in ("", found[-1].get("sha256")) else "was verified with another build of the delegate"


def _statement(unit: Unit) -> dict[str, Any]:
    options = dict(unit.options)
    return {
        "unit": unit.name,
        "engine": (unit.engine or Engine.TFLITE).value,
        "delegate": unit.delegate,
        "options": options,
    }


def _read(path: Path) -> list[Mapping[str, Any]]:
    """What was written down; nothing where the file is damaged: then nothing is known."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))["verified"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [each for each in known if isinstance(each, dict)] if isinstance(known, list) else []


def _hash(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
