"""``eprune rules``: print the design rules."""

from __future__ import annotations

import json

import click

from eprune.cli.printing import show


@click.command("rules", short_help="Print the design rules.")
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(fmt: str) -> None:
    """Print the design rules that `eprune analyze` checks: identifier, severity, meaning.

    Example: eprune rules --format json
    """
    from eprune.analysis.rules import RULES
    from eprune.views.tables import table

    rows = [(name, rule.severity.value, rule.meaning) for name, rule in RULES.items()]
    keys = ("rule", "severity", "meaning")
    if fmt == "json":
        click.echo(json.dumps([dict(zip(keys, row)) for row in rows], indent=2))
    else:
        show(table(keys, rows))
