"""``eprune deploy doctor``: what the devices are, and what they lack."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from eprune.cli import options
from eprune.cli.deploying import read_deployed, system_arguments
from eprune.cli.errors import FINDINGS, say
from eprune.cli.printing import show


@click.command("doctor", cls=options.Command, short_help="Look at the devices: what they are, and what they lack.")
@system_arguments
@options.format_option
def doctor(application: str, platforms: Sequence[str], mappings: Sequence[str], fmt: str) -> int:
    """Look at each device: Python, interpreter, libraries, service manager, disk, clock. Nothing is changed.

    Exit code: 0 if every device can be deployed to as it is, 1 if something is missing.

    Example: eprune deploy doctor build/system
    """
    from eprune.deploy.build import programs_of
    from eprune.deploy.fleet import Question, fleet
    from eprune.deploy.needs import needs_of
    from eprune.deploy.neighbours import limit_of, memory_of
    from eprune.deploy.prepare import Wanted, device_problems
    from eprune.deploy.sites import sites_of
    from eprune.views.tables import table

    system = read_deployed(application, platforms, mappings)
    sites = sites_of(system)
    wanted = {
        each.platform: Wanted(
            each,
            b"",
            needs_of(each),
            {},
            memory=memory_of(system, each.platform),
            limit=limit_of(system, each.platform),
        )
        for each in programs_of(system)
    }
    questions = {name: Question(each.needs.all) for name, each in wanted.items()}
    rows, problems, data = [], [], {}
    with fleet(system.graph.name, sites, questions) as devices:
        for site in sites:
            name = site.platform
            if name in devices.silent:
                problems.append(str(devices.silent[name]))
                data[name] = {"host": str(site), "problems": [str(devices.silent[name])]}
                continue
            facts = devices.facts[name]
            wrong, notes = device_problems(wanted[name], site, facts)
            wrong += [f"lacks {each}" for each in wanted[name].needs.missing(facts["modules"])]
            has = [f"{module} {version}" for module, version in facts["modules"].items() if version not in (None, "?")]
            free = f"{facts['free'] >> 20} MiB"
            rows.append((name, str(site), facts["machine"], facts["python"], facts["service"], free, ", ".join(has)))
            problems += [f"{name} ({site}): {each}" for each in wrong]
            for note in notes:
                say(f"note: {name} ({site}): {note}")
            data[name] = {
                "host": str(site),
                **{key: facts[key] for key in ("machine", "python", "executable", "service", "free", "modules")},
                "problems": wrong,
            }
    if fmt == "json":
        show(json.dumps({"ready": not problems, "platforms": data}, indent=2), fmt)
    else:
        show(table(("platform", "host", "machine", "Python", "service", "free", "has"), rows))
        for problem in problems:
            show(problem)
        if any("lacks" in problem for problem in problems):
            show("hint: eprune deploy --bootstrap makes an environment that has what is missing")
    return FINDINGS if problems else 0
