"""Which failures a service survives: all sets of up to k things tried, and the minimal ones that break it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from eprune.analysis.degraded import PartResult, layer_names, part_results
from eprune.analysis.failures import MAX_SETS, FaultModel, Outcome, Service, minimal_failures, sets_to_try, survived
from eprune.analysis.faults import not_survived
from eprune.analysis.lookup import Guesser, some
from eprune.model.finding import Finding, WrongUsage
from eprune.model.system import System


@dataclass(frozen=True)
class Survey:
    """The minimal sets of at most ``most`` things whose failure the service does not survive.

    ``results``, of all sets, are what is left of results that are put together from parts.
    """

    model: FaultModel
    service: Service
    most: int
    failures: tuple[Outcome, ...]
    results: tuple[PartResult, ...] = ()

    @property
    def findings(self) -> list[Finding]:
        """F1, one for each set."""
        return [not_survived(self.model, outcome, self.service) for outcome in self.failures]

    @property
    def survives(self) -> Optional[int]:
        """How many things may fail at once; None where the service is not even there with no failure."""
        return survived(self.most, self.failures)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        layers = layer_names(self.model) if self.results else {}
        results = {"results": [result.as_data(layers) for result in self.results]} if self.results else {}
        return {
            **results,
            "most": self.most,
            "service": {"sources": self.service.sources, "essential": list(self.service.essential)},
            "things": [{"kind": thing.kind, "name": thing.name} for thing in self.model.things],
            "survives": self.survives,
            "failures": [
                {
                    "failed": [{"kind": thing.kind, "name": thing.name} for thing in outcome.failed],
                    "verdict": outcome.verdict.value,
                    "gone": list(outcome.gone),
                    "ended": list(outcome.ended),
                    "starved": list(outcome.starved),
                    "broken": list(outcome.broken),
                    "culprits": list(outcome.culprits),
                    "iterations": dict(outcome.iterations),
                    "zeros": list(outcome.zeros),
                    "missing": outcome.missing,
                }
                for outcome in self.failures
            ],
        }


def survey(system: System, most: int, essential: Sequence[str], sources: Union[str, int]) -> Survey:
    """Try all failures of at most ``most`` things. Raises WrongUsage where the question makes no sense."""
    homes = set(system.homes.values())
    given = {mapping.platform for mapping in system.mappings}
    if not homes:
        raise WrongUsage("--faults asks what happens when platforms fail: give them (-p), and mappings (-m)")
    if homes - given:
        raise WrongUsage(f"--faults needs the files of all platforms: those of {some(sorted(homes - given))} too")
    model = FaultModel(system)
    for name in essential:
        if name not in model.inputs:
            hint = Guesser().hint(name, model.sinks)
            raise WrongUsage(f"--essential {name}: there is no such actor; {hint}")
    chosen = tuple(essential or model.sinks)
    if not chosen:
        raise WrongUsage("no actor is without outputs: say which are essential with --essential")
    count = sets_to_try(len(model.things), most)
    if count > MAX_SETS:
        reason = f"{len(model.things)} things can fail, in {count} sets of at most {most}; the limit is {MAX_SETS}"
        raise WrongUsage(f"--faults {most}: {reason}")
    service = Service(chosen, sources)
    failures = minimal_failures(model, most, service)
    return Survey(model, service, most, failures, part_results(model, most, service))
