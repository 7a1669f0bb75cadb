"""``eprune rules``: print the design rules, or explain one."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING, Optional

import click

from eprune.cli.printing import show

if TYPE_CHECKING:
    from eprune.analysis.explain import Explanation
    from eprune.analysis.rules import Rule


@click.command("rules", short_help="Print the design rules, or explain one.")
@click.argument("rule", metavar="[RULE]", required=False)
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(rule: Optional[str], fmt: str) -> None:
    """Print the design rules that `eprune analyze` checks: identifier, severity, meaning.

    With RULE, explain that rule: why it is there, a minimal example that breaks it, what the analyzer prints, and what
    to do.

    \b
    Examples:
      eprune rules
      eprune rules C2
      eprune rules --format json
    """
    from eprune.analysis.explain import explanation
    from eprune.analysis.rules import RULES
    from eprune.views.tables import table

    if rule is None:
        rows = [(name, each.severity.value, each.meaning) for name, each in RULES.items()]
        keys = ("rule", "severity", "meaning")
        if fmt == "json":
            click.echo(json.dumps([dict(zip(keys, row)) for row in rows], indent=2))
        else:
            show(table(keys, rows))
        return
    name = rule.upper()
    if name not in RULES:
        near = difflib.get_close_matches(name, RULES, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "`eprune rules` lists all"
        raise click.BadParameter(f"there is no rule {rule!r}; {hint}", param_hint="RULE")
    found = explanation(name)
    if fmt == "json":
        click.echo(json.dumps(_as_data(name, RULES[name], found), indent=2))
    else:
        show(_as_text(name, RULES[name], found))


def _as_data(name: str, rule: Rule, found: Explanation) -> dict[str, object]:
    return {
        "rule": name,
        "severity": rule.severity.value,
        "meaning": rule.meaning,
        "why": found.why,
        "example": {"files": found.files, "command": found.command, "output": found.output},
        "advice": found.advice,
    }


def _as_text(name: str, rule: Rule, found: Explanation) -> str:
    parts = [f"{name} ({rule.severity.value}): {rule.meaning}", f"Why\n{_indented(found.why)}"]
    parts += [f"Example: {file}\n{_indented(text)}" for file, text in found.files.items()]
    parts += [_indented(f"$ {found.command}\n{found.output}"), f"What to do\n{_indented(found.advice)}"]
    return "\n\n".join(parts) + "\n"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.rstrip("\n").splitlines())
