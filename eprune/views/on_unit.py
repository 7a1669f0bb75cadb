"""How slices on a unit differ from a plain interpreter, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from eprune.measure.on_unit import Deviation
from eprune.measure.verify import Slices
from eprune.views.tables import counted, table


@dataclass(frozen=True)
class OnUnit:
    """What ``eprune verify --unit`` found: for each model its slices, and how these differ."""

    unit: str
    engine: str
    reference: str
    tolerance: float
    frames: int
    models: Sequence[Slices]
    found: Sequence[Sequence[Deviation]]

    @property
    def equal(self) -> bool:
        """Whether no slice differs by more than the tolerance."""
        return all(each.within(self.tolerance) for own in self.found for each in own)

    def json(self) -> str:
        """For programs."""
        data = {
            "equal": self.equal,
            "frames": self.frames,
            "actors": sum(map(len, self.found)),
            "interpreter": self.reference,
            "unit": self.unit,
            "engine": self.engine,
            "tolerance": self.tolerance,
            "slices": [self._as_data(slices, each) for slices, each in self._all()],
        }
        return json.dumps(data, indent=2)

    def text(self) -> str:
        """For people: a table, and a line for each slice that differs."""
        ran = f"{counted(self.frames, 'frame')} on {self.unit} by {self.engine}, against {self.reference}"
        rows = [
            (each.actor, "does not run" if each.problem else f"{each.largest:.2g}", self._operator(slices, each) or "-")
            for slices, each in self._all()
        ]
        text = table(("slice", "largest difference", "first operator that differs"), rows)
        wrong = [(slices, each) for slices, each in self._all() if not each.within(self.tolerance)]
        within = "bit for bit" if not self.tolerance else f"within {self.tolerance:g} of the largest value"
        if not wrong:
            return f"{text}\nequal {within}: {ran}"
        lines = []
        for slices, each in wrong:
            where = next(actor.where for actor in slices.actors if actor.name == each.actor)
            if each.problem:
                lines.append(f"{where}: {each.actor!r} does not run there: {each.problem}")
            else:
                first = self._operator(slices, each)
                more = f"; operator {first}, is the first that does" if first else ""
                lines.append(
                    f"{where}: different: {each.actor!r} differs by {each.largest:.2g} of the largest value{more}"
                )
        return "\n".join([text, *lines, f"not equal {within}: {ran}"])

    def _all(self) -> Iterator[tuple[Slices, Deviation]]:
        for slices, own in zip(self.models, self.found):
            for each in own:
                yield slices, each

    def _operator(self, slices: Slices, each: Deviation) -> str:
        if each.operator is None:
            return ""
        return f"{each.operator} ({slices.model.operators[each.operator].name}), by {each.step:.2g}"

    def _as_data(self, slices: Slices, each: Deviation) -> dict[str, Any]:
        name: Optional[str] = None if each.operator is None else slices.model.operators[each.operator].name
        finite = each.largest if each.largest != float("inf") else None
        return {
            "actor": each.actor,
            "equal": each.within(self.tolerance),
            "largest_difference": finite,
            "operator": each.operator,
            "operator_name": name,
            "operator_difference": None if each.operator is None or each.step == float("inf") else each.step,
            "problem": each.problem,
        }
