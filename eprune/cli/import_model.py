"""A model becomes a system: what ``eprune import`` makes of its options."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

if TYPE_CHECKING:
    from eprune.formats.ends.base import Ends
    from eprune.formats.models.flow import OperatorFlow
    from eprune.formats.models.parts import Model
    from eprune.measure.progress import Progress
    from eprune.measure.stated import Stated
    from eprune.model.system import System
    from eprune.passes.base import Result
    from eprune.passes.ends import Given

#: What a value of --split begins with, but for "best" and numbers of devices.
AFTER = "after_"
BEST = "best"


@dataclass(frozen=True)
class Wanted:
    """What the user asks for, as typed."""

    per: Any = "layer"
    cuts: tuple[str, ...] = ()
    feedback: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    labels: Optional[str] = None
    mean: str = ""
    std: str = ""
    rate: int = 0
    split: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    memory: Optional[int] = None

    @property
    def devices(self) -> int:
        """The number of equal devices of a pipeline, ``--split 4``; 0 where it is not for that."""
        return int(self.split[0]) if len(self.split) == 1 and re.fullmatch("[1-9][0-9]{0,2}", self.split[0]) else 0

    @property
    def shows(self) -> bool:
        """Whether the ends of the model get sources and sinks of their kinds."""
        return bool(self.inputs) or self.labels is not None

    @property
    def names(self) -> tuple[str, ...]:
        """The platforms: ``pi,server`` is two; of a pipeline ``device1`` and so on, if nothing else is said."""
        given = tuple(name for text in self.platforms for name in text.split(",") if name)
        return given or tuple(f"device{number}" for number in range(1, self.devices + 1))

    def check(self) -> None:
        """Raise a usage error for what does not go together."""
        if (self.mean or self.std or self.rate) and not self.inputs:
            raise click.UsageError("--mean, --std and --rate are for the files of --input")
        if self.platforms and not self.names:
            raise click.UsageError("--platform names no platform")
        for name in self.names:
            if name.endswith(".xml"):
                raise click.UsageError(f"--platform takes names of platforms, whose files it makes: {Path(name).stem}?")
        if self.memory is not None and not self.devices:
            raise click.UsageError("--memory is that of each device of a pipeline: --split 4")
        if self.devices:
            if self.devices < 2:
                raise click.UsageError("--split N is a pipeline over two devices or more")
            if len(self.names) != self.devices:
                raise click.UsageError(
                    f"--split {self.devices} is over as many platforms: --platform names {len(self.names)}"
                )
            return
        if self.split and len(self.names) < 2:
            raise click.UsageError("--split takes two platforms or more: -p pi,server")
        cuts = max(1, len(self.names)) - 1
        if len(self.split) != cuts:
            need = f"{AFTER}OPERATOR or {BEST}" if cuts == 1 else f"{cuts} times {AFTER}OPERATOR"
            raise click.UsageError(f"{len(self.names)} platforms take --split {need}")
        for text in self.split:
            if text != BEST and not text.startswith(AFTER):
                raise click.UsageError(f"--split {text}: expected {AFTER}OPERATOR, or {BEST}")
        if BEST in self.split and cuts > 1:
            raise click.UsageError(
                f"--split {BEST} is for two platforms; --split {cuts + 1} balances a pipeline over equal devices, "
                f"{AFTER}OPERATOR says where to cut"
            )


def make(found: Stated, wanted: Wanted, progress: Progress) -> Result:
    """The system, and a report with figures and notes. Raises EpruneError for what does not fit the model."""
    from eprune.formats.ends.base import Choices
    from eprune.formats.models import cuts as model_cuts
    from eprune.formats.models.flow import flow as find_flow
    from eprune.model.graph import Graph
    from eprune.model.system import System
    from eprune.passes import ends as ends_pass
    from eprune.passes import import_
    from eprune.passes.base import Report, Result

    model = found.model
    flow = find_flow(model, dict(found.types))
    ends = ends_pass.ends_of(model, flow, found.metadata)
    labels = read_labels(wanted.labels) if wanted.labels is not None else ()
    fed = import_.parse_feedback(model, flow, wanted.feedback)
    given, left = _given(model, ends, wanted, fed)
    borders, notes = _borders(model, flow, model_cuts.pieces(model, flow), wanted)
    options = import_.Options(model, found.types, wanted.per, wanted.cuts, wanted.feedback, found.file, borders)
    result = import_.apply(System(Graph(Path(model.path).stem)), options)
    lines = [*result.report.lines, *left, *notes]
    figures = dict(result.report.figures)
    if wanted.shows:
        choices = Choices(wanted.mean, wanted.std, wanted.rate, labels)
        result = ends_pass.apply(result.system, ends_pass.Options(model, ends, given, choices))
        if found.metadata.problem:
            lines.append(found.metadata.problem)
        lines.extend(result.report.lines)
    system = result.system
    if wanted.devices:
        system, more, told = _pipelined(system, wanted, progress)
        lines += more
        figures.update(told)
    elif wanted.names:
        system = _on_platforms(system, model, borders, wanted)
    figures.update(actors=len(system.graph.actors), fifos=len(system.graph.fifos))
    return Result(system, Report(tuple(lines), figures))


def read_labels(path: str) -> tuple[str, ...]:
    """The names in a user's file of labels. Raises EpruneError (FILE) if it is none."""
    from eprune.formats.models.errors import model_error
    from eprune.formats.models.metadata import MAX_LABELS, labels_of

    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_LABELS + 1)
        labels = labels_of(data.decode())
    except OSError as error:
        raise model_error(path, f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise model_error(path, "is not a list of labels: it is not text in UTF-8") from None
    if len(data) > MAX_LABELS or not labels:
        problem = f"more than {MAX_LABELS} bytes" if labels else "it is empty"
        raise model_error(path, f"is not a list of labels, one a line: {problem}")
    return labels


def _given(model: Model, ends: Ends, wanted: Wanted, fed: Collection[int]) -> tuple[dict[int, Given], list[str]]:
    """The files for each input that --input gives some, by tensor, and notes on what was left out.

    Inputs in ``fed`` take none.
    """
    from eprune.formats.ends.gather import LIMIT, gather
    from eprune.formats.models.errors import model_error
    from eprune.passes.ends import Given

    found: dict[int, Given] = {}
    notes = []
    for text in wanted.inputs:
        tensor, path = _named(model, text)
        files = gather(path)
        free = [end for end in ends.inputs if end.tensor not in fed and end.tensor not in found]
        able = [end for end in free if files.kind.fits(end) and tensor in (None, end.tensor)]
        if not able:
            who = f"input {model.name(tensor)!r} cannot" if tensor is not None else "no input of the model can"
            inputs = "; ".join(f"input {end}" for end in free) or "no input is left"
            raise model_error(model.path, f"--input {text}: {who} take {files.kind.what}", inputs)
        if files.kind.single and len(files.files) > 1:
            own = {end.tensor: f"{end.name}{files.kind.suffixes[0]}" for end in able}
            there = {
                each: Given(files.kind, {name: files.files[name]}) for each, name in own.items() if name in files.files
            }
            if not there:
                names = " or ".join(own.values())
                raise model_error(
                    path, f"has several files, but none that is called {names}", "give one file, or name it so"
                )
            found.update(there)
        else:
            found[able[0].tensor] = Given(files.kind, files.files)
        if files.others:
            some = ", ".join(files.others[:3]) + ", ..." * (len(files.others) > 3)
            notes.append(f"{text}: left out: {some}: not {', '.join(files.kind.suffixes)}")
        if files.left:
            notes.append(
                f"{text}: the first {len(files.files)} of {len(files.files) + files.left} files are copied "
                f"({LIMIT // 2**20} MiB at most); a run reads all with --set {able[0].name}.path=..."
            )
    return found, notes


def _named(model: Model, text: str) -> tuple[Optional[int], str]:
    """The input that ``NAME=PATH`` names, if it names one, and the path."""
    from eprune.formats.models.errors import model_error
    from eprune.passes.import_ import end_names, find_end

    name, sign, path = text.partition("=")
    if not sign or Path(text).exists():
        return None, text
    tensor = find_end(model, model.inputs, name)
    if tensor is None:
        known = ", ".join(f"{place}: {each}" for place, each in enumerate(end_names(model, model.inputs)))
        raise model_error(model.path, f"--input {text}: the model has no input {name!r}", f"its inputs are {known}")
    return tensor, path


def _borders(
    model: Model, flow: OperatorFlow, pieces: Sequence[Any], wanted: Wanted
) -> tuple[tuple[str, ...], list[str]]:
    """The operators behind which --split cuts, and what is to be said about the choice."""
    from eprune.formats.models.cuts import label
    from eprune.formats.models.ranking import ASSUMED, ranked

    if wanted.devices:
        return (), []
    if wanted.split != (BEST,):
        return tuple(text[len(AFTER) :] for text in wanted.split), []
    cuts = ranked(model, flow, pieces)
    if not cuts:
        from eprune.formats.models.errors import model_error

        raise model_error(model.path, "cannot be cut in two: it can only be one actor")
    best = label(model.operators[cuts[0].operator])
    return (str(cuts[0].operator),), [
        f"the best cut is predicted to be after {best}, with {cuts[0].nbytes} bytes/frame; assumed: {ASSUMED}; "
        "--list --best 10 shows others"
    ]


def _on_platforms(system: System, model: Model, borders: tuple[str, ...], wanted: Wanted) -> System:
    from eprune.formats.models.cuts import find_operator
    from eprune.passes import split

    last = []
    for border in borders:
        operator = find_operator(model, border)
        last.append(
            next(a.name for a in system.graph.actors if a.behaviour and operator in (a.behaviour.operators or ()))
        )
    try:
        return split.apply(system, split.Options(wanted.names, tuple(last))).system
    except ValueError as error:
        raise click.UsageError(f"--platform, --split: {error}") from None


def _pipelined(system: System, wanted: Wanted, progress: Progress) -> tuple[System, list[str], dict[str, Any]]:
    """The system as a pipeline over equal devices; notes and figures of how they share it."""
    from eprune.analysis.links import widened
    from eprune.explore.integer import Unsolved
    from eprune.measure.pipeline import pipeline
    from eprune.model.platform import Unit
    from eprune.model.quantity import format_size
    from eprune.passes import split

    try:
        names = list(split.addresses_of(wanted.names))
        found = pipeline(system, names, Unit("cpu"), wanted.memory, progress)
    except ValueError as error:
        raise click.UsageError(f"--platform, --split: {error}") from None
    except RuntimeError as error:
        raise click.ClickException(f"the actors cannot be timed: {error}") from None
    except Unsolved as unsolved:
        raise click.ClickException(f"no pipeline was found {unsolved}") from None
    except ImportError:
        raise click.UsageError("--split over equal devices needs scipy: pip install scipy") from None
    if found is None:
        room = f" with {format_size(wanted.memory)} each" if wanted.memory is not None else ""
        raise click.UsageError(
            f"--split {wanted.devices}: there is no pipeline over {wanted.devices} devices{room}: fewer devices, more "
            "memory, or finer actors, --per operator"
        )
    slowest = max(found.seconds.values())
    total = sum(found.seconds.values())
    share = ", ".join(f"{name} {1e3 * seconds:.3g} ms" for name, seconds in found.seconds.items())
    proof = "the best" if found.exact else f"and it cannot be less than {1e3 * found.bound:.3g} ms"
    notes = [
        f"timed on this machine, per frame: {share}; of {1e3 * total:.3g} ms in all the slowest has "
        f"{slowest / total:.0%}, {proof}; {found.nbytes:.0f} bytes/frame over links, whose times do not count"
    ]
    figures = {
        "pipeline": {
            "seconds": dict(found.seconds),
            "memory": dict(found.memory),
            "bytes": found.nbytes,
            "bound": found.bound,
            "exact": found.exact,
        }
    }
    return widened(split.onto(system, wanted.names, found.homes, wanted.memory).system), notes, figures
