"""``eprune doctor``: what is installed, what works, and what is missing for which command."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from eprune.cli.errors import FINDINGS, say
from eprune.cli.printing import show


@click.command("doctor", short_help="Check what is installed, and what is missing.")
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(fmt: str) -> int:
    """Check this machine: interpreters, libraries, programs, cores, memory, ports; and what is missing for what.

    Each interpreter runs a model, in a process of its own. Exit code: 0 if `eprune run` has what it needs, else 1;
    anything else that is missing does not count.

    Example: eprune doctor
    """
    from eprune.cli.progress import progress
    from eprune.measure.machine import CHECKS, Check, State, checks, ready
    from eprune.views.tables import table

    found: list[Check] = []
    shown = progress(CHECKS, unit="check")
    for check in checks():
        found.append(check)
        shown.begin(check.name)
    shown.clear()
    good = ready(found)
    if fmt == "json":
        data = {"ready": good, "checks": [{**asdict(check), "state": check.state.value} for check in found]}
        click.echo(json.dumps(data, indent=2))
        return 0 if good else FINDINGS
    rows = [(check.name, check.state.value, check.found or "-", check.uses) for check in found]
    show(table(("what", "state", "found", "needed for"), rows))
    for check in found:
        if check.state in (State.MISSING, State.BROKEN):
            needed = "eprune run needs it" if check.run else f"only for: {check.uses}"
            remedy = f"\n    hint: {check.remedy}" if check.remedy else ""
            show(f"{check.name} is {check.state.value}; {needed}{remedy}")
    say("eprune run has what it needs" if good else "eprune run lacks something that it needs")
    return 0 if good else FINDINGS
