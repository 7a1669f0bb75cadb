"""A partition by channels beside the vertical cuts of the same application."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eprune.views.tables import Table

if TYPE_CHECKING:
    from eprune.explore.answer import PointRow
    from eprune.measure.beside import Beside


@dataclass(frozen=True)
class CutBeside:
    """A partition point, predicted, with the bytes of ``weights`` on its endpoint."""

    row: PointRow
    weights: int


@dataclass(frozen=True)
class BesideReport:
    """What ``eprune report --beside`` adds: some ``cuts``, and what is ``dealt`` to devices."""

    cuts: Sequence[CutBeside]
    dealt: Beside

    def table(self) -> Table:
        """For people."""
        dealt = self.dealt
        rows = [
            (
                f"cut {each.row.alternative.after}",
                *_figures(predicted.latency, predicted.period, predicted.nbytes),
                str(each.weights),
            )
            for each in self.cuts
            if (predicted := each.row.predicted)
        ]
        most = max(dealt.weights.values())
        rows.append((dealt.application, *_figures(dealt.latency, dealt.period, dealt.nbytes), str(most)))
        title = (
            f"beside them, {dealt.application}: layers dealt to {dealt.devices} devices like {dealt.endpoint}, "
            f"with links like {' -> '.join(dealt.link)}"
        )
        header = ("application", "latency ms", "frames/s", "bytes", f"weights on {dealt.endpoint}, a device")
        return Table(title, header, rows)

    def data(self) -> Mapping[str, Any]:
        """For programs."""
        dealt = self.dealt
        return {
            "application": dealt.application,
            "devices": dealt.devices,
            "like": {"platform": dealt.endpoint, "link": list(dealt.link)},
            "latency": dealt.latency,
            "period": dealt.period,
            "nbytes": dealt.nbytes,
            "weight_bytes": dealt.weights,
            "cuts": [{"point": each.row.alternative.name, "endpoint_weight_bytes": each.weights} for each in self.cuts],
        }


def _figures(latency: float, period: float, nbytes: float) -> tuple[str, ...]:
    return f"{1e3 * latency:.3f}", f"{1 / period:.1f}" if period else "", f"{nbytes:.0f}"
