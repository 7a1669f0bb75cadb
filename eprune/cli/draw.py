"""``eprune draw``: a picture of an application."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import click

from eprune.cli import options
from eprune.cli.errors import USAGE

FORMATS = ("svg", "png", "pdf", "dot")
#: Seconds that Graphviz may take.
TIMEOUT = 120


@click.command("draw", cls=options.Command)
@options.application_argument
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

    Pictures are laid out by Graphviz, which must be installed; DOT text needs nothing. The graph need not be sound.

    \b
    Examples:
      eprune draw app.xml -m mappings/split -o app.svg
      eprune draw app.xml | xdot -
    """
    from eprune.formats.atomic import write_file
    from eprune.formats.dot import write_dot
    from eprune.formats.xml.application import read_application
    from eprune.formats.xml.mapping import read_mapping

    kind = fmt or _kind(output)
    graph = read_application(application)
    homes = {actor: home for path in mappings for actor, home in read_mapping(path).homes().items()}
    text = write_dot(graph, homes)
    write_file(output, text if kind == "dot" else layout(text, kind))


def layout(text: str, kind: str) -> bytes:
    """The picture that Graphviz makes of DOT text. Raises Undrawable where it is not installed, or fails."""
    try:
        done = subprocess.run(
            ["dot", f"-T{kind}"], input=text.encode(), capture_output=True, timeout=TIMEOUT, check=False
        )
    except FileNotFoundError:
        raise Undrawable(
            "Graphviz is not installed: there is no program 'dot'\n"
            "    hint: install it (Debian, Ubuntu: apt-get install graphviz; macOS: brew install graphviz),\n"
            "    or ask for DOT text, which needs nothing: -o FILE.dot"
        ) from None
    except subprocess.TimeoutExpired:
        raise Undrawable(f"Graphviz has not come to an end within {TIMEOUT} s") from None
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise Undrawable(f"Graphviz cannot draw it: {reason[0]}")
    return done.stdout


class Undrawable(click.ClickException):
    """No picture comes out of it, with the reason."""

    exit_code = USAGE


def _kind(output: str) -> str:
    if output == "-":
        return "dot"
    ending = Path(output).suffix[1:].lower()
    if ending not in FORMATS:
        raise click.BadParameter(
            f"{output!r} ends in none of .{', .'.join(FORMATS)}; or say --format", param_hint="--output"
        )
    return ending
