"""``eprune play``: an application on this machine, fed with recorded tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import click

from eprune.cli import options
from eprune.cli.errors import say
from eprune.cli.run import run_system


@click.command("play", cls=options.Command, short_help="Run an application with recorded tokens.")
@options.application_argument
@options.deployment_options(required=True)
@options.outside_option
@click.option(
    "--tokens",
    multiple=True,
    required=True,
    metavar="FIFO=FILE",
    help="Play FILE, as `eprune record` makes it, into FIFO.",
)
@click.option(
    "--pace",
    type=click.Choice(["fast", "recorded"]),
    default="fast",
    show_default=True,
    help="As fast as tokens are taken, or at the times at which they were made.",
)
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Sources stop after N frames.")
@click.option("--set", "settings", multiple=True, metavar="ACTOR.PARAM=VALUE", help="Set an actor's parameter.")
@click.option("--record", metavar="DIR", help="Write each platform's run record to DIR/PLATFORM.json.")
@click.option("--summary", metavar="FILE", help='Write the summary as JSON to FILE; "-" is stdout.')
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary on stderr.")
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    tokens: Sequence[str],
    pace: str,
    frames: Optional[int],
    settings: Sequence[str],
    record: Optional[str],
    summary: Optional[str],
    quiet: bool,
) -> int:
    """Run an application on this machine, with recorded tokens in the place of what made them.

    Each FIFO gets the tokens of its file. What is only there to make these tokens is left out; all else runs as by
    `eprune run`. `eprune apply play` writes that application instead, to be deployed or explored.

    \b
    Examples:
      eprune record build/system --fifo f3 -o tokens
      eprune play app.xml -p platforms/ -m mappings/split/ --tokens f3=tokens/f3.npy
    """
    from eprune.cli.reading import read_sound, sound
    from eprune.passes import play
    from eprune.passes.base import settled

    system = read_sound(application, platforms, mappings)
    try:
        result = play.apply(system, play.Options(tuple(tokens), play.Pace(pace)))
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    for path in result.report.figures["played"].values():
        if not Path(path).is_file():
            raise click.UsageError(f"{path}: no such file")
    played = settled(result.system)
    sound(played)
    if not quiet:
        for line in result.report.lines:
            say(line)
    return run_system(played, frames, settings, record=record, summary=summary, quiet=quiet)
