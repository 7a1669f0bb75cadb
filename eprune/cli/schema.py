"""``eprune schema``: print the schema of a kind of file."""

from __future__ import annotations

import click


@click.command("schema", short_help="Print the schema of a kind of file.")
@click.argument("kind", type=click.Choice(["application", "platform", "mapping"]))
def command(kind: str) -> None:
    """Print the RELAX NG schema of application, platform or mapping files.

    Editors that know RELAX NG check files with it while they are typed.

    Example: eprune schema application > application.rng
    """
    from eprune.formats.xml.schema import schema_text

    click.echo(schema_text(kind), nl=False)
