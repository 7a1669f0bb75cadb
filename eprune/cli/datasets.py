"""What all commands with ``--data`` have in common: the options that say which pictures, and what they evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli.options import Decorated

if TYPE_CHECKING:
    from eprune.formats.models.parts import Model
    from eprune.measure.data import Data
    from eprune.measure.evaluate import Evaluation
    from eprune.model.system import System

_PARTS = ("calibration", "test", "all")


@dataclass(frozen=True)
class Chosen:
    """What the options say: see ``measure.data``."""

    data: Data
    part: str
    split: float
    seed: int
    frames: Optional[int]
    labels: str

    @property
    def count(self) -> int:
        """How many pictures will be seen."""
        part = len(self.data.part(self.part, self.split, self.seed))
        return min(part, self.frames or part)


def data_options(function: Decorated) -> Decorated:
    """--data, and which part of it."""
    for option in (
        click.option("--labels", metavar="NAMES", help="Names of the classes: car,bus or a file with one per line."),
        click.option("--seed", type=click.IntRange(min=0), default=1, help="Determines the parts (default: 1)."),
        click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Only N pictures, drawn at random."),
        click.option(
            "--split",
            type=click.FloatRange(0, 1),
            default=0.5,
            metavar="SHARE",
            help="Share of the pictures that are for calibration (default: 0.5).",
        ),
        click.option(
            "--part", type=click.Choice(_PARTS), default="test", help="Which part of the data to use (default: test)."
        ),
        click.option(
            "--data",
            required=True,
            metavar="DATA",
            help="Your pictures: a folder for each class, a folder with labels.csv, or an .npz file.",
        ),
    ):
        function = option(function)
    return function


def interpreter_option(function: Decorated) -> Decorated:
    """--interpreter."""
    return click.option(
        "--interpreter",
        type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime"]),
        default="auto",
        help="The TFLite interpreter to use (default: auto, the first that is installed).",
    )(function)


def chosen(given: Mapping[str, Any]) -> Chosen:
    """What the options of ``data_options`` say. Raises EpruneError for data that cannot be read."""
    from eprune.measure.data import read_data

    data = read_data(given["data"])
    return Chosen(data, given["part"], given["split"], given["seed"], given["frames"], given["labels"] or "")


def test_part(path: str, frames: Optional[int]) -> Chosen:
    """The test part of data, as the defaults of ``data_options`` divide them."""
    return chosen({"data": path, "part": "test", "split": 0.5, "seed": 1, "frames": frames, "labels": ""})


def evaluated(
    places: Sequence[tuple[str, Sequence[str], Sequence[str]]],
    chosen: Chosen,
    model: Optional[Model] = None,
    answer: Optional[str] = None,
    interpreter: str = "auto",
    running: bool = False,
    emulate: bool = False,
) -> list[Evaluation]:
    """Applications (application, platforms, mappings) on the same pictures, see ``measure.evaluate``.

    Of several, all are compared with the same labels or the same model: the one given, or the first application's.
    """
    from eprune.cli.progress import progress
    from eprune.measure.answers import whole_model
    from eprune.measure.evaluate import evaluate

    found = []
    for place in places:
        with system_at(*place) as system:
            if len(places) > 1 and model is None and not chosen.data.labelled:
                model = whole_model(system)
            shown = progress(1, chosen.count)
            shown.begin(f"running {system.graph.name}")
            try:
                found.append(
                    evaluate(
                        system,
                        chosen.data,
                        chosen.part,
                        chosen.split,
                        chosen.seed,
                        chosen.frames,
                        model,
                        chosen.labels,
                        answer,
                        interpreter,
                        running,
                        emulate,
                        shown,
                    )
                )
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            finally:
                shown.clear()
    return found


@contextmanager
def system_at(application: str, platforms: Sequence[str], mappings: Sequence[str]) -> Iterator[System]:
    """The application, or the model as one. Raises EpruneError for a broken rule, WrongUsage for half a mapping."""
    from eprune.cli.reading import read_sound
    from eprune.formats.model_files import is_model
    from eprune.measure.answers import system_of
    from eprune.model.finding import WrongUsage

    if is_model(application):
        if platforms or mappings:
            raise WrongUsage("a model has no mapping: -p and -m are for applications")
        with system_of(application) as system:
            yield system
        return
    if bool(platforms) != bool(mappings):
        raise WrongUsage("platform files (-p) and mapping files (-m) go together")
    yield read_sound(application, platforms, mappings)
