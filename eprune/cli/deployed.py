"""The subcommands of ``eprune deploy`` for what is deployed already: status, logs, start, stop, rollback, undeploy."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from eprune.cli import options
from eprune.cli.deploying import (
    carry_out,
    log_line,
    order_of,
    quiet_option,
    read_deployed,
    system_arguments,
    timeout_option,
    told_how_it_ended,
)
from eprune.cli.errors import FINDINGS, say
from eprune.cli.printing import show

if TYPE_CHECKING:
    from eprune.deploy.fleet import Fleet
    from eprune.deploy.sites import Site
    from eprune.model.system import System


@contextmanager
def _devices(
    application: str, platforms: Sequence[str], mappings: Sequence[str]
) -> Iterator[tuple[System, Sequence[Site], Fleet]]:
    from eprune.deploy.fleet import fleet
    from eprune.deploy.sites import sites_of

    system = read_deployed(application, platforms, mappings)
    sites = sites_of(system)
    with fleet(system.graph.name, sites) as devices:
        yield system, sites, devices


def _deployed(devices: Fleet) -> None:
    """Raises Failure where a device has not answered, or nothing is deployed there."""
    from eprune.model.finding import Failure

    devices.complete()
    missing = [name for name, facts in devices.facts.items() if facts["version"] is None]
    if missing:
        raise Failure(f"nothing is deployed on {' and '.join(missing)}: eprune deploy brings it there")


@click.command("status", cls=options.Command, short_help="Show how the programs on the devices are.")
@system_arguments
@options.format_option
def status(application: str, platforms: Sequence[str], mappings: Sequence[str], fmt: str) -> int:
    """Show each platform's version, since when it runs, its frames, lost peers, and when its certificate ends.

    Exit code: 0 if all are healthy, 1 if one is not, or cannot be asked.

    \b
    Examples:
      eprune deploy status build/system
      eprune deploy status build/system --format json | jq '.[] | select(.health != "healthy")'
    """
    from eprune.views.tables import table

    with _devices(application, platforms, mappings) as (_, sites, devices):
        found = [_status(site, devices) for site in sites]
    if fmt == "json":
        show(json.dumps(found, indent=2), fmt)
    else:
        heads = ("platform", "host", "version", "before", "service", "health", "frames", "certificate until")
        keys = ("platform", "host", "version", "previous", "service", "health", "frames", "certificate")
        rows = [tuple("-" if row[key] is None else _short(row[key]) for key in keys) for row in found]
        show(table(heads, rows))
        for row in found:
            if row["health"] != "healthy" or (row["certificate_days"] is not None and row["certificate_days"] < 30):
                show(f"{row['platform']}: {row['why']}{_certificate_words(row)}")
    return 0 if all(row["health"] == "healthy" for row in found) else FINDINGS


def _short(value: Any) -> str:
    return str(value).partition("T")[0] if isinstance(value, str) and value[4:5] == "-" else str(value)


def _certificate_words(row: Mapping[str, Any]) -> str:
    days = row["certificate_days"]
    if days is None or days >= 30:
        return ""
    ends = "has ended" if days < 0 else f"ends in {days} days"
    return f"; its certificate {ends}: eprune deploy renews it"


def _status(site: Site, devices: Fleet) -> dict[str, Any]:
    """A platform's row."""
    from eprune.deploy.health import judge
    from eprune.deploy.prepare import certificate_end
    from eprune.formats.certificates import now

    row: dict[str, Any] = {"platform": site.platform, "host": str(site)}
    empty = dict.fromkeys(("version", "previous", "service", "since", "frames", "restarts", "state"))
    empty |= dict.fromkeys(("certificate", "certificate_days"))
    if site.platform in devices.silent:
        return {**row, **empty, "health": "unreachable", "why": str(devices.silent[site.platform])}
    facts = devices.facts[site.platform]
    if facts["version"] is None:
        return {**row, **empty, "health": "not deployed", "why": "nothing is deployed there"}
    state, report = facts["state"], facts["state"]["status"] or {}
    verdict = judge(state, state["restarts"])
    end = certificate_end(facts["certificate"])
    return {
        **row,
        "version": facts["version"],
        "previous": facts["previous"],
        "service": facts["service"],
        "since": report.get("since"),
        "frames": min(report.get("firings", {}).values(), default=None),
        "restarts": state["restarts"],
        "state": report.get("state"),
        "certificate": end.isoformat() if end else None,
        "certificate_days": (end - now()).days if end else None,
        "health": "cut" if facts["cut"] else "stopped" if state["active"] == "stopped" else verdict.health.value,
        "why": "a deployment was cut here: the next one undoes it" if facts["cut"] else verdict.why,
    }


@click.command("logs", cls=options.Command, short_help="Show what the programs have said.")
@system_arguments
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=20, metavar="N", help="The last N lines of each (default: 20)."
)
@click.option("--on", "only", multiple=True, metavar="PLATFORM", help="Only this platform.")
@options.format_option
def logs(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    follow: bool,
    lines: int,
    only: Sequence[str],
    fmt: str,
) -> int:
    """Show the last events of each program, and what it has printed, as PLATFORM: LINE.

    With --format json each line is {"platform": ..., "line": ...}, the line as the program wrote it.

    \b
    Examples:
      eprune deploy logs build/system
      eprune deploy logs build/system -f --on endpoint
    """
    printing = threading.Lock()

    def said(platform: str, line: str) -> None:
        with printing:
            if fmt == "json":
                show(json.dumps({"platform": platform, "line": line}), fmt)
            else:
                show(f"{platform}: {log_line(line)}")

    with _devices(application, platforms, mappings) as (_, sites, devices):
        _refuse_unknown(only, [site.platform for site in sites])
        _deployed(devices)
        devices.each(
            lambda session: session.call(
                "logs", on_say=lambda line: said(session.site.platform, line), lines=lines, follow=follow
            ),
            list(only) or None,
        )
    return 0


def _refuse_unknown(only: Sequence[str], known: Sequence[str]) -> None:
    for name in only:
        if name not in known:
            raise click.BadParameter(f"there is no platform {name!r}; there is {', '.join(known)}", param_hint="--on")


@click.command("start", cls=options.Command, short_help="Start the programs.")
@system_arguments
@timeout_option
@quiet_option
def start(application: str, platforms: Sequence[str], mappings: Sequence[str], timeout: float, quiet: bool) -> int:
    """Start the programs of all devices, receivers first, and wait until they are healthy.

    Example: eprune deploy start build/system
    """
    from eprune.deploy.rollout import Do, Rollout, Step, Target

    with _devices(application, platforms, mappings) as (system, _, devices):
        _deployed(devices)
        order = order_of(system)
        targets = {name: Target(devices.facts[name]["version"]) for name in order}
        steps = [
            *(Step(Do.CLAIM, name) for name in order),
            *(Step(Do.START, name) for name in order),
            Step(Do.WELL),
        ]
        carry_out(Rollout(devices.sessions, targets, timeout), steps, quiet)
    return 0


@click.command("stop", cls=options.Command, short_help="Stop the programs.")
@system_arguments
@quiet_option
def stop(application: str, platforms: Sequence[str], mappings: Sequence[str], quiet: bool) -> int:
    """Stop the programs of all devices, senders first. They stay stopped, also when a device is started again.

    Example: eprune deploy stop build/system
    """
    from eprune.deploy.rollout import Do, Rollout, Step, Target

    with _devices(application, platforms, mappings) as (system, _, devices):
        _deployed(devices)
        order = order_of(system)[::-1]
        targets = {name: Target(devices.facts[name]["version"]) for name in order}
        steps = [*(Step(Do.CLAIM, name) for name in order), *(Step(Do.STOP, name) for name in order)]
        carry_out(Rollout(devices.sessions, targets, 0), steps, quiet)
        devices.each(lambda session: session.call("disable"))
    return 0


@click.command("rollback", cls=options.Command, short_help="Return to the version before.")
@system_arguments
@timeout_option
@quiet_option
def rollback(application: str, platforms: Sequence[str], mappings: Sequence[str], timeout: float, quiet: bool) -> int:
    """Return to the deployment before, on all devices, as carefully as `up` brings a new one. Once more undoes that.

    Example: eprune deploy rollback build/system
    """
    from eprune.deploy.fleet import fleet
    from eprune.deploy.rollout import Rollout, Target, plan
    from eprune.deploy.sites import sites_of
    from eprune.model.finding import Failure

    system = read_deployed(application, platforms, mappings)
    sites, order = sites_of(system), order_of(system)
    with told_how_it_ended(system, sites, quiet) as trying, fleet(system.graph.name, sites) as devices:
        _deployed(devices)
        missing = [name for name in order if devices.facts[name]["previous"] is None]
        if missing:
            raise Failure(f"there is no version before on {' and '.join(missing)}")
        digests = {devices.facts[name]["previous_description"].get("digest") for name in order}
        if len(digests) > 1:
            raise Failure("the versions before are not of one deployment: eprune deploy brings one")
        targets = {name: Target(devices.facts[name]["previous"]) for name in order}
        serves = [name for name in order if devices.facts[name]["previous_description"].get("serves")]
        trying.update(devices.facts)
        carry_out(Rollout(devices.sessions, targets, timeout), plan(order, serves, stage=False), quiet)
    if not quiet:
        for name in order:
            say(f"{name}: version {targets[name].version} is healthy")
    return 0


@click.command("undeploy", cls=options.Command, short_help="Remove everything from the devices.")
@system_arguments
@click.option("--purge", is_flag=True, help="Also remove what the programs have written into their data folders.")
@quiet_option
def undeploy(application: str, platforms: Sequence[str], mappings: Sequence[str], purge: bool, quiet: bool) -> int:
    """Stop the programs, senders first, and remove all versions, units, keys and logs. What programs wrote stays.

    Example: eprune deploy undeploy build/system
    """
    from eprune.deploy.rollout import Do, Rollout, Step, Target

    with _devices(application, platforms, mappings) as (system, _, devices):
        devices.complete()
        order = order_of(system)[::-1]
        targets = {name: Target("") for name in order}
        steps = [*(Step(Do.CLAIM, name) for name in order), *(Step(Do.STOP, name) for name in order)]
        carry_out(Rollout(devices.sessions, targets, 0), steps, quiet)
        stays = devices.each(lambda session: session.call("remove", purge=purge))
        for name, left in stays.items():
            if left and not quiet:
                say(f"{name}: what its program wrote stays in {devices.facts[name]['root']}/data (--purge)")
    return 0


#: The subcommands.
COMMANDS = (status, logs, start, stop, rollback, undeploy)
