"""``eprune robustness``: how accurate a model over several devices stays when some of them fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import datasets, options
from eprune.cli.charts import drawn, kind_of
from eprune.cli.errors import say
from eprune.cli.printing import show

if TYPE_CHECKING:
    from eprune.cli.datasets import Chosen
    from eprune.formats.models.parts import Model
    from eprune.measure.robustness import Robustness, Trial
    from eprune.model.partition import Plan

_METHODS = ("lop", "chained", "robust", "full")
#: What only a model is asked, of whose partition nothing is known.
_PLANNING = ("devices", "methods", "memory", "scores", "rotate", "linkage", "one_threshold")


@click.command("robustness", cls=options.Command, short_help="Accuracy with devices dead.")
@click.argument("application", metavar="APP.xml|MODEL")
@options.deployment_options(required=False)
@options.outside_option
@click.option(
    "--failures", type=click.IntRange(min=0), default=1, metavar="K", help="Up to K dead devices (default: 1)."
)
@datasets.data_options
@click.option("--calibrate", type=click.IntRange(min=1), default=100, metavar="N", help="Calibration pictures (100).")
@click.option("--recovery", is_flag=True, help="Predict missing channels from living ones, and compare with zeros.")
@click.option("--devices", type=click.IntRange(2, 16), metavar="N", help="Of a model: how many devices (default: 4).")
@click.option("--method", "methods", multiple=True, type=click.Choice(_METHODS), help="Of a model: plans to compare.")
@click.option(
    "--memory",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True),
    metavar="SHARE",
    help="Of a model: weights on a device, predictions included, for robust plans (0.4 0.6 0.8).",
)
@click.option("--scores", metavar="SCORES", help="robust: scores of channels, of s1,s2,s3 (default: all).")
@click.option("--rotate", is_flag=True, help="robust: begin each group's deal at the next device.")
@click.option("--linkage", type=click.Choice(["hierarchy", "pass"]), help="robust: how channels are grouped.")
@click.option("--one-threshold", is_flag=True, help="robust: one threshold for all layers, as in the paper.")
@datasets.interpreter_option
@click.option("--format", "fmt", type=click.Choice(["text", "json", "csv"]), default="text", help="Output.")
@click.option("-o", "--output", metavar="FILE", help="Also draw accuracy against memory: FILE.svg or FILE.png.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    failures: int,
    calibrate: int,
    recovery: bool,
    interpreter: str,
    fmt: str,
    output: Optional[str],
    quiet: bool,
    **given: Any,
) -> int:
    """Tell how often a model that several devices share is right, for all sets of up to K dead devices.

    Of an application that `eprune apply partition` has made, its own plan is tried; of a model, the plans of several
    methods: lop (contiguous blocks of channels), chained (each block on the next devices, too), robust (by importance,
    scored on the calibration part of the data) and full. Without labels, the figure is the agreement with the intact
    model. All runs are in this process: channels that no living device has are masked, which is bit for bit what the
    devices' slices would compute.

    \b
    Examples:
      eprune robustness app.xml -p platforms -m mappings --failures 2 --data photos
      eprune robustness model.tflite --devices 4 --failures 3 --data mnist.npz -o robust.svg
      eprune robustness model.tflite --method robust --memory 0.4 --recovery --data photos
    """
    from eprune.cli.progress import progress
    from eprune.formats.atomic import write_file
    from eprune.formats.model_files import is_model
    from eprune.measure.engines import versions_of
    from eprune.views.robustness import RobustnessReport

    kind = kind_of(output, "-o")
    chosen = datasets.chosen(given)
    of_model = is_model(application)
    if not of_model:
        options.refuse(_PLANNING, "the application has a plan already; this is for models")
    with datasets.system_at(application, platforms, mappings) as system:
        names: Sequence[str] = ()
        notes: list[str] = []
        model, plan, names = (_model_of(system), None, ()) if of_model else _planned(system)
        known = _known(system, names) if names else None
        if known and recovery:
            raise click.UsageError("--recovery: the application recovers already, as it is")
        needed = calibrate if of_model or recovery else 0
        trial, classes, measure = _trial(system, model, chosen, needed, interpreter, notes)
        shown = progress(1, 0, quiet)
        try:
            shown.begin("making plans")
            tried = [
                (label, each, recovered)
                for recovered in _ways(recovery, bool(known))
                for label, each in (
                    [("as it is", plan)] if plan else _plans(trial, given, failures, classes, notes, recovered)
                )
                if not (recovered and label == "full")
            ]
            shown.clear()
            shown = progress(len(tried), len(trial.tokens), quiet)
            found: list[Robustness] = []
            for label, each, recovered in tried:
                shown.begin(label)
                found.append(trial.run(each, failures, recovered, label, shown, known or None))
        except ValueError as error:
            raise click.UsageError(f"{application}: {error}") from None
        finally:
            shown.clear()
    reference = None if measure == "accuracy" else "the intact model"
    report = RobustnessReport(
        system.graph.name,
        measure,
        reference,
        chosen.part,
        found,
        versions_of(system, interpreter),
        notes,
        names,
        len(trial.calibration),
    )
    for note in notes:
        say(f"note: {note}")
    show({"text": report.text, "json": report.json, "csv": report.csv}[fmt](), fmt)
    if output and kind:
        write_file(output, drawn(lambda: report.picture(kind)))
    return 0


def _model_of(system: Any) -> Model:
    from eprune.measure.answers import whole_model

    return whole_model(system)


def _known(system: Any, names: Sequence[str]) -> Any:
    from eprune.measure.recovery import stored

    return stored(system, names)


def _ways(wanted: bool, known: bool) -> Sequence[bool]:
    """Without and with recovery, as far as there is something to compare."""
    return (True,) if known else (False, True) if wanted else (False,)


def _planned(system: Any) -> tuple[Model, Plan, Sequence[str]]:
    from eprune.measure.robustness import plan_of

    return plan_of(system)


def _trial(
    system: Any, model: Model, chosen: Chosen, calibrate: int, interpreter: str, notes: list[str]
) -> tuple[Trial, Optional[list[int]], str]:
    """The pictures and what is wanted of them; the classes of the calibration pictures; what is counted."""
    from eprune.measure.data import CALIBRATION
    from eprune.measure.evaluate import by_alphabet, class_names, tokens_of
    from eprune.measure.masks import Stages
    from eprune.measure.pictures import Pictures
    from eprune.measure.robustness import Trial, source_of

    parameters, labels = source_of(system)
    pictures = Pictures(Stages(model, [], interpreter).token, parameters)
    try:
        names = class_names(chosen.labels or labels)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    tested = chosen.data.part(chosen.part, chosen.split, chosen.seed).first(chosen.frames, chosen.seed)
    wanted = tested.classes(names) if tested.labelled else None
    if wanted is not None:
        notes += by_alphabet(tested, names)
    own, classes = [], None
    if calibrate:
        part = chosen.data.part(CALIBRATION, chosen.split, chosen.seed).first(calibrate, chosen.seed)
        own = tokens_of(part, pictures)
        classes = part.classes(names) if part.labelled else None
    tokens = tokens_of(tested, pictures)
    return Trial(model, tokens, wanted, interpreter, own), classes, "agreement" if wanted is None else "accuracy"


def _plans(
    trial: Trial, given: Any, failures: int, classes: Optional[list[int]], notes: list[str], recovered: bool
) -> list[tuple[str, Plan]]:
    """The plans; of robust ones that are ``recovered``, the predictions count in their memory."""
    from eprune.measure.robustness import Wanted, plans_of

    scores = given["scores"]
    wanted = Wanted(
        given["devices"] or 4,
        tuple(dict.fromkeys(given["methods"])) or _METHODS,
        tuple(sorted(set(given["memory"]))) or (0.4, 0.6, 0.8),
        tuple(scores.split(",")) if scores else None,
        given["rotate"],
        given["linkage"] or "hierarchy",
        not given["one_threshold"],
        failures if recovered else 0,
    )
    try:
        return plans_of(trial, wanted, failures, classes, on_note=notes.append)
    except ImportError:
        raise click.UsageError(
            "robust plans need SciPy, which is not installed: pip install 'eprune[robust]'"
        ) from None
