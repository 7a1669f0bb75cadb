"""``eprune deploy replan``: where a device has failed for good, the best placement on those that are left."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from eprune.cli import cut, options
from eprune.cli.deploy_up import up
from eprune.cli.deploying import TIMEOUT, quiet_option, read_deployed, system_arguments, timeout_option
from eprune.cli.errors import FINDINGS, say
from eprune.cli.explore import Objective
from eprune.cli.printing import show

if TYPE_CHECKING:
    from eprune.model.system import System


@click.command("replan", cls=options.Command, short_help="Place all anew on the devices that are left.")
@system_arguments
@click.option("--cuts", required=True, metavar="DIR", help="The exploration, with times, from `eprune explore`.")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder for the new system.")
@click.option("--gone", multiple=True, metavar="PLATFORM", help="Do without this one, too, however it is.")
@click.option("--best", type=Objective(), metavar="OBJECTIVE", help="Best by what (default: that of the exploration).")
@click.option("--make", is_flag=True, help="Also deploy it, as eprune deploy does.")
@click.option(
    "--keep-on",
    multiple=True,
    nargs=2,
    metavar="PLATFORM ACTOR",
    help="ACTOR runs on PLATFORM: a source whose device has failed, and which can be elsewhere.",
)
@click.option("--no-require", is_flag=True, help="Leave aside what the application, and the exploration, require.")
@timeout_option
@quiet_option
@options.format_option
@click.pass_context
def replan(
    context: click.Context,
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    cuts: str,
    output: str,
    gone: Sequence[str],
    best: Optional[str],
    make: bool,
    keep_on: Sequence[tuple[str, str]],
    no_require: bool,
    timeout: float,
    quiet: bool,
    fmt: str,
) -> int:
    """Propose the best system for the devices that are left where others have failed, and with --make deploy it.

    A device has failed that cannot be reached, or whose program has ended, was stopped or fails again and again. The
    placement is that of `eprune cut DIR` without such devices, from the same measurements and constraints; it is
    written into the folder of -o in any case. What was under way to a failed device is lost. A device that comes back
    has the program from before, which the others refuse: deploy the former system again.

    Exit code: 0 if there is a new system, or none is needed; 1 if nothing can do without what has failed.

    \b
    Examples:
      eprune deploy replan build/system --cuts build/cuts -o build/without
      eprune deploy replan build/system --cuts build/cuts -o build/without --make
    """
    from eprune.formats.system import reaches_outside

    system = read_deployed(application, platforms, mappings)
    known = [mapping.platform for mapping in system.mappings]
    unknown = [name for name in gone if name not in known]
    if unknown:
        reason = f"there is no platform {unknown[0]!r}; there are {', '.join(known)}"
        raise click.BadParameter(reason, param_hint="--gone")
    if not make and timeout != TIMEOUT:
        raise click.UsageError("--timeout is for --make: give it too")
    why = dict.fromkeys(gone, "it is to be done without") | _failed(system)
    for name, reason in why.items():
        say(f"{name} has failed: {reason}" if name not in gone else f"{name}: {reason}")
    if not why:
        say("all devices are there: nothing is to be placed anew")
        if fmt == "json":
            show(json.dumps({"failed": {}, "system": None, "deployed": False}, indent=2), fmt)
        return 0
    if len(why) == len(known):
        say("no device is left")
        return FINDINGS
    moved = {actor for _, actor in keep_on}
    lost = [source for source in _sources(system) if system.homes[source] in why and source not in moved]
    if lost:
        hint = f"if it can be elsewhere: --keep-on PLATFORM {lost[0]}"
        say("\n".join(f"source {source!r} was on {system.homes[source]}" for source in lost) + f"; {hint}")
        return FINDINGS
    context.invoke(
        cut.command,
        folder=cuts,
        best=best,
        output=output,
        fmt="text",
        keep_on=keep_on,
        must_not_use=tuple(why),
        no_require=no_require,
    )
    outside = reaches_outside(str(Path(output, "application.xml")))
    if make:
        options.allow_outside()
        code = context.invoke(up, application=output, timeout=timeout, quiet=quiet, fmt="text")
        if code:
            return int(code)
    if fmt == "json":
        show(json.dumps({"failed": why, "system": output, "deployed": make}, indent=2), fmt)
    elif not make:
        show(f"eprune deploy {output}{' --allow-outside' if outside else ''}\n")
    return 0


def _sources(system: System) -> list[str]:
    """The actors that nothing is sent to: they are where their sensor is."""
    fed = {fifo.target.actor for fifo in system.graph.fifos}
    return [actor.name for actor in system.graph.actors if actor.name not in fed]


def _failed(system: System) -> dict[str, str]:
    """Platform -> why it is taken for failed."""
    from eprune.deploy.fleet import fleet
    from eprune.deploy.health import Health, judge
    from eprune.deploy.sites import sites_of

    found: dict[str, str] = {}
    with fleet(system.graph.name, sites_of(system)) as devices:
        found.update((name, str(failure)) for name, failure in devices.silent.items())
        for name, facts in devices.facts.items():
            verdict = judge(facts["state"])
            if verdict.health is Health.ILL:
                found[name] = verdict.why
    return found
