"""What survives which failures, as text, for ``eprune analyze --faults``."""

from __future__ import annotations

from collections import Counter

from eprune.analysis.degraded import layer_names
from eprune.analysis.survey import Survey
from eprune.views.tables import counted, table

#: So many sets of failures are listed as text.
_SHOWN = 60


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
    return f"Faults: {things} can fail. {verdict}{minimal}\n{_results(survey)}"


def _results(survey: Survey) -> str:
    """What is left of results that are put together from parts, for each set of things that fail."""
    if not survey.results:
        return ""
    layers = layer_names(survey.model)
    rows = []
    for result in survey.results[:_SHOWN]:
        lost: dict[str, str] = {}
        for name, (channels, count) in result.lost.items():
            lost.setdefault(layers[name], f"{len(channels)} of {count}")
        what = ", ".join(f"{layer} {text}" for layer, text in lost.items())
        sinks = (", ".join(each) or "-" for each in (result.exact, result.degraded, result.gone))
        rows.append((" and ".join(map(str, result.failed)), *sinks, what or "-"))
    more = len(survey.results) - _SHOWN
    rest = f"... and {more} more sets (--format json)\n" if more > 0 else ""
    return "\n" + table(("fails", "exact", "degraded", "gone", "channels lost"), rows) + rest
