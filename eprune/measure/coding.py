"""How the FIFOs of an exploration could be coded, and what the picture takes as a JPEG: measured once, for all cuts.

Each FIFO between two platforms of some cut is coded in the way that ``measure.plans.compress`` would choose for it, by
itself. What comes out is in a file of the exploration's folder, from which ``eprune report`` weighs all cuts.
"""

from __future__ import annotations

import json
import platform as host
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from eprune.explore.cost import Coded
from eprune.explore.flow import Stream
from eprune.explore.plan import Plan
from eprune.formats.atomic import write_file
from eprune.measure.compression import Measured, entropy_note, prepare
from eprune.measure.evaluate import ACCURACY, figures_of
from eprune.measure.plans.compress import check_labels, choose
from eprune.measure.progress import SILENT, Progress
from eprune.model.finding import WrongUsage
from eprune.model.system import System
from eprune.passes.compress import Options, checked

#: The file in an exploration's folder.
CODING = "coding.json"
#: What must hold where nothing is wished.
WISH = "agreement=0.99"


@dataclass(frozen=True)
class Row:
    """One way to send a token: mean and most bytes, seconds at both ends on the machine that measured, answers.

    ``agreement`` and ``accuracy`` (None without labels) are of the test part: value, low, high, of.
    """

    way: str
    nbytes: float
    most: int
    encode: float
    decode: float
    agreement: Mapping[str, float]
    accuracy: Optional[Mapping[str, float]] = None

    @property
    def coded(self) -> Coded:
        """For the cost model."""
        return Coded(self.way, self.nbytes, self.most, self.encode, self.decode)


@dataclass(frozen=True)
class CodedFifos:
    """What was measured for a plan: FIFO -> its ``rows``; ``left``: FIFO -> why it stays as it is.

    ``inputs`` are the picture itself as a JPEG, by quality; ``answers`` those of the application as it is. ``wish`` is
    what each FIFO keeps by itself on the calibration part of the ``data`` ("": random inputs), ``pictures`` how many
    the test part has, ``where`` the machine.
    """

    plan: str
    data: str
    wish: str
    pictures: int
    where: str
    rows: Mapping[str, Row]
    left: Mapping[str, str]
    inputs: tuple[Row, ...]
    answers: Row
    notes: tuple[str, ...] = ()

    def missed(self) -> dict[str, float]:
        """FIFO -> what is left of the wish on the test part, where that is less than was wished."""
        metric, _, least = self.wish.partition("=")
        kept = {
            name: row.accuracy["value"] if metric == ACCURACY and row.accuracy else row.agreement["value"]
            for name, row in self.rows.items()
        }
        return {name: value for name, value in kept.items() if value < float(least)}

    @property
    def coded(self) -> dict[str, Coded]:
        """For the cost model."""
        return {name: row.coded for name, row in self.rows.items()}


def candidates(plan: Plan) -> list[Stream]:
    """The FIFOs that some partition point sends, but for those from sources."""
    crossing = {stream.name for each in plan.alternatives for stream in plan.flow.crossing(each.homes)}
    return [each for each in plan.flow.streams if each.name in crossing and each.source not in plan.flow.sources]


def measured(system: System, plan: Plan, data: str, wish: str, frames: int, progress: Progress = SILENT) -> CodedFifos:
    """Code each FIFO in every way, and take what the wish asks for.

    Raises WrongUsage for options that do not fit, EpruneError for data that cannot be read.
    """
    left: dict[str, str] = {}
    names = []
    for stream in candidates(plan):
        try:
            checked(system, stream.name)
        except ValueError as error:
            left[stream.name] = str(error).partition(": it ")[2]
            continue
        if stream.same:
            left[stream.name] = "another FIFO carries the same tokens, and they are sent once"
        else:
            names.append(stream.name)
    if not names:
        reasons = "".join(f"; {name}: {reason}" for name, reason in left.items())
        raise WrongUsage(f"no FIFO between two platforms can be coded{reasons}")
    options = Options(tuple(names), wish=wish, data=data, frames=frames)
    rows: dict[str, Row] = {}
    try:
        trial = prepare(system, options, progress, fused=False)
        check_labels(trial, options)
        for fifo in trial.fifos:
            try:
                _, chosen = choose(trial, fifo, options, {}, progress)
            except ValueError as error:
                left[fifo.name] = str(error)
                continue
            assert chosen.coding is not None
            rows[fifo.name] = _row(trial.measure(chosen.name, {fifo.name: chosen.coding}, fifo, trial.test))
        inputs = tuple(_row(each) for each in trial.coded_inputs())
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    finally:
        progress.clear()
    answers = _row(trial.unchanged(trial.fifos[0]))
    notes = (*trial.notes, *entropy_note(options))
    return CodedFifos(plan.id, data, wish, len(trial.test.tokens), host.node(), rows, left, inputs, answers, notes)


def _row(found: Measured) -> Row:
    agreement = figures_of(found.agreement)
    assert agreement is not None
    most = found.most or round(found.nbytes)
    return Row(found.name, found.nbytes, most, found.encode, found.decode, agreement, figures_of(found.accuracy))


def write_coding(found: CodedFifos, folder: Path) -> str:
    """Write it into an exploration's folder; the file's path."""
    path = str(folder / CODING)
    write_file(path, json.dumps(asdict(found), indent=1) + "\n")
    return path


def read_coding(plan: Plan, folder: Path) -> Optional[CodedFifos]:
    """What was measured for this plan; None if nothing was. Raises WrongUsage for a file that is damaged."""
    try:
        data = json.loads((folder / CODING).read_text(encoding="utf-8"))
        found = CodedFifos(
            **{
                **data,
                "rows": {name: _read(each) for name, each in data["rows"].items()},
                "inputs": tuple(map(_read, data["inputs"])),
                "answers": _read(data["answers"]),
                "notes": tuple(data["notes"]),
            }
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        message = f"{folder / CODING} cannot be used: run eprune profile {folder} --compress again"
        raise WrongUsage(message) from None
    return found if found.plan == plan.id else None


def _read(data: Mapping[str, Any]) -> Row:
    row = Row(**data)
    return replace(row, nbytes=float(row.nbytes), encode=float(row.encode), decode=float(row.decode))


def stale(plan: Plan, folder: Path) -> bool:
    """Whether there is such a file, but of an earlier exploration."""
    return (folder / CODING).exists() and read_coding(plan, folder) is None
