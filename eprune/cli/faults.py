"""``eprune analyze --faults``: what is asked, and how the answer is printed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Union

import click

from eprune.analysis.failures import MAX_SETS, Outcome, Service, System, minimal_failures, sets_to_try, survived
from eprune.analysis.faults import not_survived
from eprune.analysis.lookup import Guesser, some
from eprune.cli.inputs import Inputs
from eprune.model.finding import Finding
from eprune.views.tables import counted


@dataclass(frozen=True)
class Survey:
    """The minimal sets of at most ``most`` things whose failure the service does not survive."""

    system: System
    service: Service
    most: int
    failures: tuple[Outcome, ...]

    @property
    def findings(self) -> list[Finding]:
        """F1, one for each set."""
        return [not_survived(self.system, outcome, self.service) for outcome in self.failures]

    def as_data(self) -> dict[str, Any]:
        """For --format json; ``survives`` is null where the service is not even there with no failure."""
        return {
            "most": self.most,
            "service": {"sources": self.service.sources, "essential": list(self.service.essential)},
            "things": [{"kind": thing.kind, "name": thing.name} for thing in self.system.things],
            "survives": survived(self.most, self.failures),
            "failures": [
                {
                    "failed": [{"kind": thing.kind, "name": thing.name} for thing in outcome.failed],
                    "verdict": outcome.verdict.value,
                    "gone": list(outcome.gone),
                    "starved": list(outcome.starved),
                    "broken": list(outcome.broken),
                    "culprits": list(outcome.culprits),
                    "iterations": dict(outcome.iterations),
                    "missing": outcome.missing,
                }
                for outcome in self.failures
            ],
        }

    def as_text(self) -> str:
        """A paragraph for people."""
        kinds = Counter(thing.kind for thing in self.system.things)
        things = ", ".join(counted(count, kind) for kind, count in kinds.items())
        sizes = Counter(len(outcome.failed) for outcome in self.failures)
        found = [f"{count} of {size}" for size, count in sizes.items()]
        best = survived(self.most, self.failures)
        if best is None:
            verdict = "The service is not there even if nothing fails."
        elif best == 0:
            verdict = "Not every single failure is survived."
        else:
            verdict = f"Any {best} of them may fail{' at once' * (best > 1)}."
        minimal = f" Minimal sets that break it: {', '.join(found)}." if found else ""
        return f"Faults: {things} can fail. {verdict}{minimal}\n"


def survey(inputs: Inputs, most: int, essential: Sequence[str], sources: Union[str, int]) -> Survey:
    """Try all failures of at most ``most`` things. Raises UsageError where the question makes no sense."""
    homes = {home for mapping in inputs.mappings for home in mapping.homes().values()}
    given = {mapping.platform for mapping in inputs.mappings}
    if not homes:
        raise click.UsageError("--faults asks what happens when platforms fail: give them (-p), and mappings (-m)")
    if homes - given:
        raise click.UsageError(f"--faults needs the files of all platforms: those of {some(sorted(homes - given))} too")
    system = System(inputs.graph, inputs.platforms, inputs.mappings)
    for name in essential:
        if name not in system.inputs:
            hint = Guesser().hint(name, system.sinks)
            raise click.UsageError(f"--essential {name}: there is no such actor; {hint}")
    chosen = tuple(essential or system.sinks)
    if not chosen:
        raise click.UsageError("no actor is without outputs: say which are essential with --essential")
    count = sets_to_try(len(system.things), most)
    if count > MAX_SETS:
        reason = f"{len(system.things)} things can fail, in {count} sets of at most {most}; the limit is {MAX_SETS}"
        raise click.UsageError(f"--faults {most}: {reason}")
    service = Service(chosen, sources)
    return Survey(system, service, most, minimal_failures(system, most, service))
