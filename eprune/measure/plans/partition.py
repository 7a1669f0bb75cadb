"""The plan by which ``partition`` deals a model's layers: read from a file, or made from scores of their channels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from eprune.measure.progress import SILENT, Progress
from eprune.model.finding import EpruneError, Finding, Location
from eprune.model.partition import Plan
from eprune.model.system import System
from eprune.passes.partition import Method, Options


def planned(system: System, options: Options, progress: Progress = SILENT) -> Options:
    """The options with the plan that has to be known before; of methods that measure nothing as they are.

    Raises EpruneError (FILE) for a file that is no plan, ValueError for what does not go together.
    """
    if options.plan:
        if options.memory or options.recover or options.calibration or options.scores or options.rotate:
            raise ValueError("--plan says it all: it goes neither with --memory nor with what scores are made of")
        return replace(options, made=read_plan(options.plan))
    if options.method is not Method.ROBUST:
        return options
    from eprune.measure import robust

    return robust.planned(system, options, progress)


def read_plan(path: str) -> Plan:
    """The plan in a JSON file; what ``eprune apply partition --format json`` printed will do as well."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        return Plan.from_json(data["plan"] if isinstance(data, dict) and "plan" in data else data)
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        problem = f"is no plan: {error}"
    hint = "write one with: eprune apply partition ... --format json > plan.json"
    raise EpruneError(Finding("FILE", Location(path), problem, hint))
