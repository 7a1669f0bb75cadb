"""``eprune import``: a model, or a graph in SDF3's XML, becomes an application."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import say, say_next
from eprune.views.tables import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eprune.formats.models.parts import Model
    from eprune.model.system import System
    from eprune.passes.base import Result


class Granularity(click.ParamType):
    """``operator``, ``layer``, or a number of actors."""

    name = "granularity"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> Any:
        """The word, or the number as an int."""
        if value in ("operator", "layer") or isinstance(value, int):
            return value
        if value.isascii() and value.isdigit() and 0 < len(value) < 10 and int(value) > 0:
            return int(value)
        return self.fail(f"{value!r} is neither 'operator' nor 'layer' nor a number of actors", param, ctx)


class Time(click.ParamType):
    """A time with its unit, in seconds as a Fraction."""

    name = "time"

    def convert(self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]) -> Any:
        """The exact number of seconds."""
        from eprune.model.quantity import exact_seconds

        try:
            return exact_seconds(value) if isinstance(value, str) else value
        except ValueError as error:
            return self.fail(str(error), param, ctx)


@click.command("import", cls=options.Command, short_help="Turn a model or an SDF3 graph into an application.")
@click.argument("model", metavar="MODEL|SDF3.xml")
@click.option("-o", "--output", metavar="DIR", help="The folder to write; it is made if necessary.")
@click.option(
    "--per",
    type=Granularity(),
    metavar="operator|layer|N",
    help="One actor per operator, per layer (default), or N actors of about equal work.",
)
@click.option(
    "--cut",
    "cuts",
    multiple=True,
    metavar="OPERATOR ...",
    help="Cut after these operators: their number, name, or the name of a tensor that they write (see --list).",
)
@click.option(
    "--feedback",
    multiple=True,
    metavar="OUT:IN ...",
    help="Feed an output back to an input of the next frame: names of tensors, or positions.",
)
@click.option(
    "--into",
    metavar="APP.xml",
    help="An application to put the model into: its FIFOs to and from Model.NAME are joined to inputs and outputs.",
)
@options.outside_option
@options.model_option
@click.option("--signature", metavar="SIGNATURE", help="The signature to import, of a model that has several.")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="INPUT=1,1280 ...",
    help="The shapes of inputs that the model leaves open (default: as the file has them, mostly 1).",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]PATH ...",
    help="Files for an input: pictures, .wav or .npy, as a folder, a pattern or one file; they are copied.",
)
@click.option("--labels", metavar="FILE", help="The names of classes, one a line (default: those in the model).")
@click.option("--mean", metavar="NUMBERS", help="Pictures: what is subtracted from values of 0 to 1.")
@click.option("--std", metavar="NUMBERS", help="Pictures: what the difference is divided by.")
@click.option(
    "--rate", type=click.IntRange(1), metavar="HZ", help="Sounds: the samples per second that the model wants."
)
@click.option(
    "-p",
    "--platform",
    "platforms",
    multiple=True,
    metavar="NAME[=ADDRESS] ...",
    help="Names for the platforms, the endpoint first (default: local); an address is where the others reach it.",
)
@click.option(
    "--split",
    multiple=True,
    metavar="after_OPERATOR|best|N ...",
    help="Where the next platform's part begins: after an operator; at the best cut by prediction; or N: a pipeline "
    "over N equal devices, whose parts take about as long, timed on this machine.",
)
@click.option("--memory", metavar="SIZE", help="With --split N: the memory of each device, such as 64MiB.")
@click.option("--force", is_flag=True, help="Replace files that were edited since the last import.")
@click.option("--list", "listing", is_flag=True, help="Write nothing, list the operators and what each cut would send.")
@click.option("--best", type=click.IntRange(1), metavar="N", help="With --list: the N best cuts in two, by prediction.")
@click.option(
    "--expand",
    is_flag=True,
    help="SDF3, PREESM: one actor for each firing of an iteration, which makes all rates equal.",
)
@click.option("--unit", type=Time(), metavar="TIME", help="SDF3: the unit of its times (default: 1us).")
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(
    model: str,
    output: Optional[str],
    per: Any,
    cuts: Sequence[str],
    feedback: Sequence[str],
    into: Optional[str],
    signature: Optional[str],
    shapes: Sequence[str],
    inputs: Sequence[str],
    labels: Optional[str],
    mean: Optional[str],
    std: Optional[str],
    rate: Optional[int],
    platforms: Sequence[str],
    split: Sequence[str],
    memory: Optional[str],
    force: bool,
    listing: bool,
    best: Optional[int],
    expand: bool,
    unit: Optional[Fraction],
    fmt: str,
) -> None:
    """Turn a .tflite or .onnx model into an application: actors that are its slices, sources for its inputs, a sink.

    Writes application.xml, the model, and platform.xml and mapping.xml for one machine into DIR. What the application
    computes is what the model computes, bit for bit; `eprune verify` checks it. With --input, sources read your
    pictures, sounds or tensors, scaled as the model has it, and sinks show classes, objects or segments by their names.
    With --platform and --split, it is on several machines. Or put the model into an application of your own actors
    with --into. What you edit in DIR is not overwritten by a second import.

    A graph in SDF3's XML, or in a .pi file of PREESM, becomes an application without behaviours, for `eprune analyze
    --buffers`: only application.xml is written. Its execution times and buffer sizes are kept.

    \b
    Examples:
      eprune import model.tflite --list
      eprune import model.tflite -o app --per layer
      eprune import model.onnx -o app --shape x=1,3,224,224
      eprune run app/application.xml -p app -m app
      eprune import model.tflite -o app --input photos/ --split best -p pi,server
      eprune import model.tflite -o app --split 4 --memory 64MiB
      eprune import tracker.tflite -o app --cut conv2d_12 --feedback state_out:state_in
      eprune import detector.tflite -o app --into camera.xml
      eprune import speech.tflite -o app --signature encode --shape audio=1,1280
      eprune import h263decoder.xml -o app --expand
    """
    from eprune.cli.import_list import print_list
    from eprune.cli.import_model import Wanted, make
    from eprune.cli.import_sdf3 import import_sdf3, is_xml
    from eprune.cli.progress import progress
    from eprune.measure.stated import stated

    own = ("per", "cuts", "feedback", "into", "inputs", "labels", "mean", "std", "rate", "platforms", "split", "memory")
    if per is not None and cuts:
        raise click.UsageError("--per and --cut are two ways to say the same: give one of them")
    if into and output and Path(into).resolve() == Path(output, "application.xml").resolve():
        raise click.UsageError(f"{into} would be overwritten: choose another folder with -o")
    if output is None and not listing:
        raise click.UsageError('give the folder to write with "-o DIR", or --list')
    if listing:
        options.refuse(("output", *own, "force"), "--list writes nothing")
    elif best is not None:
        raise click.UsageError("--best is for --list")
    if is_xml(model):
        options.refuse((*own, "listing", "signature", "shapes"), "for models, not for SDF3's XML")
        import_sdf3(model, str(output), expand, Fraction(1, 10**6) if unit is None else unit, fmt, force)
        return
    if expand or unit is not None or options.computation() is not None:
        raise click.UsageError("--expand, --model and --unit are for SDF3's XML, not for models")
    if into is not None:
        ends = ("inputs", "labels", "mean", "std", "rate", "platforms", "split", "memory")
        options.refuse(ends, "--into has ends of its own")
    granularity = "layer" if per is None else per
    wanted = Wanted(
        *(granularity, tuple(cuts), tuple(feedback), tuple(inputs), labels),
        *(mean or "", std or "", rate or 0, tuple(split), tuple(platforms)),
        memory=_bytes(memory),
    )
    wanted.check()
    shown = progress(1 if listing else 2 + bool(wanted.devices), unit="")
    result: Optional[Result] = None
    try:
        shown.begin(f"reading {model}, and finding the shapes that it leaves open")
        found = stated(model, signature, shapes)
        if not listing:
            shown.begin("finding the places for cuts")
            result = make(found, wanted, shown)
    finally:
        shown.clear()
    for note in found.notes:
        say(f"note: {note}")
    if result is None:
        print_list(found.model, found.types, feedback, fmt, best)
        return
    for line in result.report.lines:
        say(f"note: {line}")
    if into is not None:
        result = _put_into(into, found.model, result.system, str(output))
    _write(result, str(output), force, bool(into), fmt)


def _bytes(memory: Optional[str]) -> Optional[int]:
    from eprune.model.quantity import parse_size

    try:
        return None if memory is None else parse_size(memory)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--memory") from None


def _write(result: Result, folder: str, force: bool, joined: bool, fmt: str) -> None:
    """Write the system, and say what there is now. ``joined``: it has actors of an application of the user's."""
    from eprune.formats.imported import write_imported
    from eprune.formats.system import reaches_outside

    system, figures = result.system, result.report.figures
    written = write_imported(system, folder, force)
    if fmt == "json":
        places = {"model": written.files[0], "platform": written.platforms, "mapping": written.mappings}
        click.echo(json.dumps({**places, "application": written.application, **figures}, indent=2))
        return
    counts = counted(figures["actors"], "actor"), figures["slices"], counted(figures["fifos"], "FIFO")
    say(f"{written.application}: {counts[0]} ({counts[1]} of the model), {counts[2]}")
    for mapping in system.mappings if len(system.mappings) > 1 else ():
        say(f"{mapping.platform}: {', '.join(p.actor for p in mapping.placements if p.unit)}")
    place = str(Path(written.application).parent)
    files = (place, place) if len(system.platforms) == 1 else (written.platforms, written.mappings)
    say_next(written.application, *files, joined and reaches_outside(written.application))


def _put_into(application: str, model: Model, imported: System, folder: str) -> Result:
    """The model in that application. Raises EpruneError with what does not fit together, by where it stands there."""
    from eprune.analysis.check import check
    from eprune.cli.reading import read
    from eprune.formats.touching import RULE
    from eprune.model.finding import EpruneError, has_errors
    from eprune.model.system import System
    from eprune.passes import into, relocate

    read_in = read(application)
    outside = [finding for finding in read_in.problems if finding.rule == RULE]
    if outside:
        raise EpruneError(*outside, exit_code=1)
    own = relocate.apply(read_in, relocate.Options(folder)).system
    result = into.apply(own, into.Options(model, imported))
    findings = check(System(result.system.graph))
    if has_errors(findings):
        raise EpruneError(*findings, exit_code=1)
    return result
