"""What survives which failures, as text, for ``eprune analyze --faults``."""

from __future__ import annotations

from collections import Counter

from eprune.analysis.survey import Survey
from eprune.views.tables import counted


def as_text(survey: Survey) -> str:
    """A paragraph for people."""
    kinds = Counter(thing.kind for thing in survey.model.things)
    things = ", ".join(counted(count, kind) for kind, count in kinds.items())
    sizes = Counter(len(outcome.failed) for outcome in survey.failures)
    found = [f"{count} of {size}" for size, count in sizes.items()]
    best = survey.survives
    if best is None:
        verdict = "The service is not there even if nothing fails."
    elif best == 0:
        verdict = "Not every single failure is survived."
    else:
        verdict = f"Any {best} of them may fail{' at once' * (best > 1)}."
    minimal = f" Minimal sets that break it: {', '.join(found)}." if found else ""
    return f"Faults: {things} can fail. {verdict}{minimal}\n"
