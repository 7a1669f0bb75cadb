"""What ``eprune robustness`` says: a table, JSON, CSV, and a chart of accuracy against memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from eprune.measure.robustness import Robustness
from eprune.views.evaluate import share_data
from eprune.views.figures import figure_of, quiet
from eprune.views.tables import table

#: Devices up to which each set of dead ones is a line of the text.
_FEW_SETS = 20
_COLOURS = ("#4878a8", "#e8a33d", "#6aa84f", "#b00020", "#8c6d4f", "#a35fa8")
_DASHES = ("-", "--", "-.", ":")
#: Inches.
_SIZE = (7.5, 4.8)


@dataclass(frozen=True)
class RobustnessReport:
    """Some plans for one model.

    ``names`` are those of the devices, empty if they have none; ``calibration`` is how many pictures plans are made of.
    """

    application: str
    measure: str
    model: Optional[str]
    part: str
    found: Sequence[Robustness]
    interpreter: str
    notes: Sequence[str] = ()
    names: Sequence[str] = ()
    calibration: int = 0

    def text(self) -> str:
        """For people."""
        of = self.found[0].failed[0].share.of
        part = "" if self.part == "all" else f" of the {self.part} part"
        what = self.measure if self.model is None else f"{self.measure} with {self.model}"
        lines = [f"{self.application}: {what} in %, {of} pictures{part}; mean (smallest to largest)", ""]
        counts = sorted({count for each in self.found for count in each.counts})
        header = ["plan", "devices", "memory", *(f"{count} dead" for count in counts)]
        rows = [
            [_label(each), each.devices, f"{each.memory:.3f}", *(_cell(each, count) for count in counts)]
            for each in self.found
        ]
        lines.append(table(header, rows).rstrip("\n"))
        if len(self.found) == 1 and len(self.found[0].failed) <= _FEW_SETS:
            lines += ["", *self._sets(self.found[0])]
        lines += ["", f"memory: the part of the model's weights on the fullest device; with {self.interpreter}"]
        return "\n".join(lines) + "\n"

    def _sets(self, only: Robustness) -> list[str]:
        """Each set of dead devices."""
        rows = []
        for each in only.failed:
            state = "exact" if not each.lost else f"{each.lost} channels lost"
            share = each.share
            rows.append(
                [
                    self._dead(each.dead),
                    f"{100 * share.value:.2f}",
                    f"{100 * share.low:.1f} to {100 * share.high:.1f}",
                    state,
                ]
            )
        return table(["dead", self.measure, "95 % interval", ""], rows).rstrip("\n").split("\n")

    def _dead(self, dead: Sequence[int]) -> str:
        return ", ".join(self._name(device) for device in dead) or "none"

    def _name(self, device: int) -> str:
        return self.names[device] if self.names else f"device{device + 1}"

    def json(self) -> str:
        """For programs."""
        data = {
            "application": self.application,
            "measure": self.measure,
            "model": self.model,
            "part": self.part,
            "calibration": self.calibration,
            "plans": [self._plan(each) for each in self.found],
            "interpreter": self.interpreter,
            "notes": list(self.notes),
        }
        return json.dumps(data, indent=1) + "\n"

    def _plan(self, each: Robustness) -> dict[str, Any]:
        return {
            "plan": each.label,
            "method": each.method,
            "devices": each.devices,
            "memory": round(each.memory, 6),
            "recovery": each.recovery,
            "recovery_bytes": each.recovery_bytes,
            "counts": [
                {"dead": count, "mean": round(mean, 6), "min": round(low, 6), "max": round(high, 6)}
                for count, (mean, low, high) in each.counts.items()
            ],
            "sets": [
                {"dead": [self._name(d) for d in one.dead], "lost": one.lost, **share_data(one.share)}
                for one in each.failed
            ],
        }

    def csv(self) -> str:
        """For spreadsheets: a line for each plan and set of dead devices."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(
            ["plan", "devices", "memory", "recovery", "dead", "failures", "lost", self.measure, "low", "high"]
        )
        for each in self.found:
            for one in each.failed:
                share = [f"{value:.6g}" for value in (one.share.value, one.share.low, one.share.high)]
                dead = " ".join(self._name(device) for device in one.dead)
                fixed = [each.label, each.devices, f"{each.memory:.6g}", int(each.recovery)]
                writer.writerow([*fixed, dead, len(one.dead), one.lost, *share])
        return stream.getvalue()

    def picture(self, kind: str) -> bytes:
        """The mean against the memory as ``svg`` or ``png``: a colour for each method, a line for each number of dead.

        Same arguments, same bytes. Raises ImportError without matplotlib.
        """
        with figure_of(*_SIZE, kind) as (figure, stream):
            axes = figure.subplots()
            methods = list(dict.fromkeys((each.method, each.recovery) for each in self.found))
            for colour, key in enumerate(methods):
                own = sorted((e for e in self.found if (e.method, e.recovery) == key), key=lambda e: e.memory)
                for count in sorted({count for each in own for count in each.counts} - {0}):
                    points = [(each.memory, 100 * each.counts[count][0]) for each in own if count in each.counts]
                    name = key[0] + (" with recovery" if key[1] else "")
                    axes.plot(
                        *zip(*points),
                        _DASHES[(count - 1) % len(_DASHES)],
                        marker="o",
                        markersize=3.5,
                        color=_COLOURS[colour % len(_COLOURS)],
                        label=f"{name}, {count} dead",
                    )
            intact = self.found[0].counts[0][0]
            axes.axhline(100 * intact, color="#888888", linewidth=0.8, label="nobody dead")
            axes.set_xlabel("weights on a device, part of the model")
            axes.set_ylabel(f"{self.measure}, %")
            axes.set_title(f"{self.application}: mean over all sets of dead devices", loc="left", fontsize=11)
            quiet(axes)
            axes.legend(frameon=False, fontsize=7)
        return stream.getvalue()


def _label(each: Robustness) -> str:
    return each.label + (", recovery" if each.recovery else "")


def _cell(each: Robustness, count: int) -> str:
    """``91.2 (88.0 to 93.1)``."""
    if count not in each.counts:
        return ""
    mean, low, high = (100 * value for value in each.counts[count])
    return f"{mean:.1f}" if low == high else f"{mean:.1f} ({low:.1f} to {high:.1f})"
