"""``eprune draw``: a picture of an application."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import click

from eprune.cli import options

FORMATS = ("svg", "png", "pdf", "dot")


@click.command("draw", cls=options.Command, short_help="Draw an application graph.")
@options.application_argument
@options.model_option
@options.deployment_options(required=False)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    default="-",
    help=f'The picture: FILE.{", FILE.".join(FORMATS)}; "-" is stdout (default).',
)
@click.option(
    "--format", "fmt", type=click.Choice(FORMATS), help="The kind of picture (default: by FILE's ending, else dot)."
)
def command(
    application: str, platforms: Sequence[str], mappings: Sequence[str], output: str, fmt: Optional[str]
) -> None:
    """Draw an application graph: actors coloured by platform, FIFOs with their token sizes, cuts in red.

    With -p cuts also show the bandwidth of their link, with --model sdf FIFOs the rates at both ends.

    Pictures are laid out by Graphviz, which must be installed; DOT text needs nothing. The graph need not be sound.

    \b
    Examples:
      eprune draw app.xml -m mappings/split -o app.svg
      eprune draw app.xml | xdot -
    """
    from eprune.formats.atomic import write_file
    from eprune.formats.dot import layout, write_dot
    from eprune.formats.xml.application import read_application
    from eprune.formats.xml.mapping import read_mapping

    kind = _kind(output, fmt)
    if platforms and not mappings:
        raise click.UsageError("-p says what links between platforms can do: say with -m where the actors are")
    graph = options.read_as_asked(read_application(application))
    homes = {actor: home for path in mappings for actor, home in read_mapping(path).homes().items()}
    text = write_dot(graph, homes, _links(platforms))
    write_file(output, text if kind == "dot" else layout(text, kind))


def _links(platforms: Sequence[str]) -> dict[frozenset[str], str]:
    """Pair of platforms -> what the link between them can do, where their files state it."""
    from eprune.formats.xml.platform import read_platform
    from eprune.model.quantity import exact_bandwidth

    return {
        frozenset((platform.name, link.to)): f"at {exact_bandwidth(link.bandwidth)}"
        for platform in map(read_platform, platforms)
        for link in platform.links
        if link.bandwidth is not None
    }


def _kind(output: str, fmt: Optional[str]) -> str:
    """The kind of picture: as stated, or by the file's ending, which must agree."""
    ending = "" if output == "-" else Path(output).suffix[1:].lower()
    if fmt is None and output != "-" and ending not in FORMATS:
        raise click.BadParameter(
            f"{output!r} ends in none of .{', .'.join(FORMATS)}; or say --format", param_hint="--output"
        )
    if fmt is not None and ending in FORMATS and ending != fmt:
        raise click.BadParameter(
            f"{fmt} does not fit {output!r}: leave it out, or name FILE.{fmt}", param_hint="--format"
        )
    return fmt or ending or "dot"
