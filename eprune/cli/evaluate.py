"""``eprune evaluate``: how good is an application on one's own pictures, and what does a frame cost?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Optional

import click

from eprune.cli import datasets, options
from eprune.cli.errors import say
from eprune.cli.printing import show


@click.command("evaluate", cls=options.Command, short_help="Measure accuracy on your own pictures.")
@click.argument("application", metavar="APP.xml|MODEL")
@options.deployment_options(required=False)
@options.outside_option
@datasets.data_options
@click.option("--model", metavar="MODEL", help="Compare with this model's answers, not with labels.")
@click.option("--answer", metavar="ACTOR.PORT", help="The sink's input that is the answer, if it is not clear.")
@click.option(
    "--run", "running", is_flag=True, help="Measure the latency: run all platforms' programs on this machine."
)
@click.option("--emulate", is_flag=True, help="With --run: links and units as slow as the platform files state.")
@click.option(
    "--against",
    multiple=True,
    metavar="DIR",
    help="A folder that eprune apply has written, for a table of all: cuts, exits, cascades; may be repeated.",
)
@datasets.interpreter_option
@options.format_option
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    model: Optional[str],
    answer: Optional[str],
    running: bool,
    emulate: bool,
    against: Sequence[str],
    interpreter: str,
    fmt: str,
    **data: Any,
) -> int:
    """Tell how often an application is right on your own pictures, what it sends, and how long a frame takes.

    The pictures take the place of the sources, and are scaled as the source's parameters say (mean, std). Without
    labels, or with --model, the figure is the agreement with the whole model: how often the best class is the same. The
    interval holds the true figure in 95 of 100 cases (Wilson).

    The actors run in this process, one after the other. Bytes are counted where FIFOs cross platforms. The latency is
    predicted from the times that the actors took here, times the slowdown of their units, and the bandwidth and latency
    of the links in the platform files. With --run it is measured: the programs of all platforms run on this machine,
    with one picture in them at a time, and the time is that until the news of the result is back at the source.

    With --against, other applications of the same pictures are set beside it: their answers are compared with the same
    labels, or with the same model.

    \b
    Examples:
      eprune evaluate model.tflite --data photos
      eprune evaluate app.xml -p platforms -m mappings/split --data photos --against exits --against cascade
      eprune evaluate app.xml -p platforms -m mappings/split --data mnist.npz --frames 1000
    """
    from eprune.formats.model_files import is_model
    from eprune.formats.system import written_in
    from eprune.views import evaluate as view

    if emulate and not running:
        raise click.UsageError("--emulate is for --run: the prediction is of slowed units and links anyway")
    if running and not mappings and not is_model(application):
        raise click.UsageError("--run needs platforms and mappings: give them with -p and -m")
    if against and answer:
        raise click.UsageError("--answer is a port of one application, and --against names others")
    chosen = datasets.chosen(data)
    places = [(application, platforms, mappings), *map(written_in, against)]
    found = datasets.evaluated(places, chosen, _model(model), answer, interpreter, running, emulate)
    for note in dict.fromkeys(note for each in found for note in each.notes):
        say(f"note: {note}")
    show(view.as_json(*found) if fmt == "json" else view.as_text(*found), fmt)
    return 0


def _model(path: Optional[str]) -> Any:
    from eprune.formats.model_files import read_model

    return None if path is None else read_model(path)
