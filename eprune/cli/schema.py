"""``eprune schema``: print the schema of a kind of file, or of what a command prints as JSON."""

from __future__ import annotations

import json
from typing import Optional

import click

from eprune.cli.printing import show
from eprune.views import schemas

#: The XML files that have a schema in RELAX NG.
FILES = {
    "application": "Application files: actors, FIFOs, dynamic processing graphs",
    "platform": "Platform files: units, memory, links",
    "mapping": "Mapping files: where each actor runs",
}


@click.command("schema", short_help="Print the schema of a kind of file, or of JSON output.")
@click.argument("name", type=click.Choice([*FILES, *schemas.NAMES]), metavar="[NAME]", required=False)
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["text", "json"]),
    help="Format of the list of schemas: text (default) or json.",
)
def command(name: Optional[str], fmt: Optional[str]) -> None:
    """Print a schema: RELAX NG for XML files, JSON Schema for what a command prints with --format json.

    Without NAME, list all schemas. Editors that know RELAX NG check files while they are typed.

    \b
    Examples:
      eprune schema
      eprune schema application > application.rng
      eprune schema analyze > analyze.schema.json
    """
    from eprune.formats.xml.schema import schema_text
    from eprune.views.tables import table

    if name is not None and fmt is not None:
        raise click.UsageError("--format is for the list of schemas; a schema is printed as it is")
    if name is not None:
        click.echo(schema_text(name) if name in FILES else schemas.schema_text(name), nl=False)
        return
    rows = [(kind, "RELAX NG", describes) for kind, describes in FILES.items()]
    rows += [(each, "JSON Schema", schemas.title(each)) for each in schemas.NAMES]
    keys = ("name", "language", "describes")
    if fmt == "json":
        click.echo(json.dumps([dict(zip(keys, row)) for row in rows], indent=2))
    else:
        show(table(keys, rows))
