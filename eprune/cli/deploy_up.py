"""``eprune deploy up``: a system onto its devices, or another version of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.deploying import (
    carry_out,
    order_of,
    quiet_option,
    read_deployed,
    system_arguments,
    timeout_option,
    told_how_it_ended,
)
from eprune.cli.errors import say
from eprune.cli.printing import show

if TYPE_CHECKING:
    from eprune.deploy.fleet import Fleet
    from eprune.deploy.prepare import Bootstrap, Prepared, Wanted
    from eprune.deploy.rollout import Step
    from eprune.deploy.sites import Site
    from eprune.model.system import System

#: Days before its end from which on a certificate is renewed.
RENEW = 30.0


@click.command("up", cls=options.Command, short_help="Bring a system onto its devices (the default).")
@system_arguments
@click.option("--bootstrap", is_flag=True, help="Make a virtual environment with what programs need on each device.")
@click.option(
    "--wheels", metavar="FOLDER", help="With --bootstrap: install these wheels, which are sent, and use no index."
)
@click.option(
    "--require", multiple=True, metavar="PACKAGE", help="With --bootstrap: also install this, as pip names it."
)
@click.option("--keys", metavar="FOLDER", help="Certificates for links with TLS, as `eprune certify` makes them.")
@click.option(
    "--renew-before",
    type=click.FloatRange(min=0),
    default=RENEW,
    metavar="DAYS",
    help=f"Renew certificates that end within so many days (default: {RENEW:g}; 0 only what has ended).",
)
@click.option("--set", "settings", multiple=True, metavar="ACTOR.PARAM=VALUE", help="Set an actor's parameter.")
@click.option("--with-inputs", is_flag=True, help="Also send the files that actors read: pictures, recordings.")
@click.option("--insecure", is_flag=True, help="Allow unprotected links to other machines.")
@options.zenoh_option
@click.option(
    "--metrics",
    multiple=True,
    metavar="PLATFORM=[HOST:]PORT",
    help="The program of PLATFORM answers http://HOST:PORT/metrics for Prometheus (default host: its loopback).",
)
@click.option(
    "--service",
    type=click.Choice(["system", "user", "plain"]),
    help="What keeps programs running: the system's systemd, the user's, or a supervisor of eprune (default: the first "
    "of these that the device has).",
)
@click.option("--live", is_flag=True, help="Change while frames flow: both versions run until the new one takes over.")
@click.option("--reset", multiple=True, metavar="ACTOR", help="With --live: begin anew, and forget this actor's state.")
@timeout_option
@click.option("--dry-run", is_flag=True, help="Look at the devices, print what would be done, and change nothing.")
@quiet_option
@options.format_option
def up(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    bootstrap: bool,
    wheels: Optional[str],
    require: Sequence[str],
    keys: Optional[str],
    renew_before: float,
    settings: Sequence[str],
    with_inputs: bool,
    insecure: bool,
    zenoh: Sequence[str],
    metrics: Sequence[str],
    service: Optional[str],
    live: bool,
    reset: Sequence[str],
    timeout: float,
    dry_run: bool,
    quiet: bool,
    fmt: str,
) -> int:
    """Bring a system onto its devices: all of it, or nothing of it.

    Every device is looked at first. Programs, certificates and units go into a new version's folder while the version
    before runs. Then all stop, switch, and start, those that receive first. Only when all are healthy the new version
    is kept; if one is not in time, the connection breaks, or you press Ctrl-C, the version before comes back on every
    device. With --live nothing stops: the new version comes up beside the one that runs, on other ports; when all of it
    is connected, all sources change at a frame that they have agreed on; what is under way is finished by the version
    before, and sources, sinks and actors with state go on where it has ended. If one platform does not agree in time,
    none changes. With --format json, stdout has each platform's version. Exit code: 0 all are healthy, 1 the version
    before is back, 130 interrupted.

    \b
    Examples:
      eprune deploy build/system --bootstrap
      eprune deploy build/system --live
      eprune deploy up app.xml -p platforms/ -m mappings/split/ --keys keys --timeout 120
      eprune deploy build/system --dry-run
    """
    from eprune.deploy.fleet import fleet
    from eprune.deploy.live import next_shift, shift_of
    from eprune.deploy.prepare import Bootstrap
    from eprune.deploy.rollout import Rollout, live_plan, plan
    from eprune.deploy.sites import sites_of

    if (wheels or require) and not bootstrap:
        raise click.UsageError("--wheels and --require are for --bootstrap: give it too")
    if reset and not live:
        raise click.UsageError("--reset is for --live: without it every actor begins anew")
    system = read_deployed(application, platforms, mappings)
    sites = sites_of(system)
    asked = Bootstrap(bootstrap, tuple(require), wheels)
    answering = _answering(system, metrics)
    make = partial(_wanted, system, keys, renew_before, settings, with_inputs, insecure, zenoh, answering, dry_run)
    wanted = make()
    order = order_of(system)
    with (
        told_how_it_ended(system, sites, quiet) as trying,
        fleet(system.graph.name, sites, _questions(wanted, service)) as devices,
    ):
        devices.complete()
        runs = shift_of(devices.facts)
        prepared = _prepared(make(runs) if runs else wanted, sites, devices.facts, asked)
        same = all(each.same for each in prepared.values())
        shift = next_shift([each.program for each in wanted.values()], devices.facts) if live and not same else 0
        if not same and shift != runs:
            prepared = _prepared(make(shift) if shift else wanted, sites, devices.facts, asked)
        targets = {name: each.target for name, each in prepared.items() if each.target is not None}
        versions = {name: target.version for name, target in targets.items()}
        environments = [name for name in order if targets[name].environment is not None]
        steps: tuple[Step, ...] = ()
        if live and not same:
            listens = {name: [end.port + shift for end in each.program.rx] for name, each in wanted.items()}
            _check_live(system, devices, reset, listens)
            steps = live_plan(order, environments)
        elif not same:
            steps = plan(order, [name for name in order if wanted[name].program.serves], environments)
        if dry_run:
            _show_plan(steps, versions, fmt)
            return 0
        if not same:
            trying.update(devices.facts)
            carry_out(Rollout(devices.sessions, targets, timeout, reset=reset), steps, quiet)
    for name in order:
        if not quiet:
            say(f"{name}: version {versions[name]} {'runs already' if same else 'is healthy'} ({_site(sites, name)})")
    if fmt == "json":
        show(json.dumps({"application": system.graph.name, "versions": versions, "changed": not same}, indent=2), fmt)
    return 0


def _check_live(system: System, devices: Fleet, reset: Sequence[str], listens: Mapping[str, Sequence[int]]) -> None:
    """Raises Failure where a version, on these ports, cannot take over from what runs while frames flow."""
    from eprune.deploy.agreement import ask
    from eprune.deploy.live import obstacles
    from eprune.model.finding import Failure

    silent = [name for name, facts in devices.facts.items() if facts["state"]["active"] != "running"]
    if silent:
        raise Failure(f"nothing runs on {' and '.join(silent)} that could hand over: deploy without --live")
    running = devices.each(lambda session: ask(session, "describe"))
    problems = obstacles(system, devices.facts, running, reset)
    taken = devices.each(lambda session: session.call("taken", ports=list(listens[session.site.platform])))
    problems += [f"{name}: port {port} is in use: the new version needs it" for name in taken for port in taken[name]]
    if problems:
        raise Failure("\n".join(problems))


def _site(sites: Sequence[Site], name: str) -> Site:
    return next(site for site in sites if site.platform == name)


def _wanted(
    system: System,
    keys: Optional[str],
    renew_before: float,
    settings: Sequence[str],
    with_inputs: bool,
    insecure: bool,
    zenoh: Sequence[str],
    answering: Mapping[str, str],
    dry_run: bool,
    shift: Optional[int] = None,
) -> dict[str, Wanted]:
    """What is to be deployed on each platform, with the ports of its links moved by ``shift``.

    None: they are where they are, and what is to be said is said. Raises EpruneError for what cannot work.
    """
    import os

    from eprune.deploy.build import bundle_of, programs_of
    from eprune.deploy.live import shifted
    from eprune.deploy.needs import needs_of
    from eprune.deploy.neighbours import limit_of, memory_of
    from eprune.deploy.options import KEYS, placed_settings
    from eprune.deploy.prepare import Wanted, renew_keys
    from eprune.deploy.release import inputs_of, keys_for, reached_at, unreachable
    from eprune.measure.builds import build_all
    from eprune.model.finding import EpruneError

    system = shifted(system, shift or 0)
    programs = programs_of(system)
    findings = [finding for each in programs if (finding := unreachable(system, each, insecure)) is not None]
    if findings:
        raise EpruneError(*findings)
    if zenoh and not any(program.over_zenoh for program in programs):
        raise click.UsageError('--zenoh is for links with via="zenoh", and there are none')
    if any(program.over_zenoh for program in programs) and not zenoh:
        raise click.UsageError('links with via="zenoh" need a router: --zenoh tcp/HOST:7447, or --zenoh discover')
    build_all(programs)
    secure = [program.platform for program in programs if program.secure]
    folder = keys or os.environ.get(KEYS)
    if keys and not secure:
        raise click.UsageError('--keys is for links with security="tls", and there are none')
    if secure and not folder:
        raise click.UsageError('links with security="tls" need certificates: --keys FOLDER; eprune certify makes them')
    if secure and folder and not dry_run and shift is None:
        renewed, notes = renew_keys(folder, secure, renew_before)
        for line in (*renewed, *(f"note: {note}" for note in notes)):
            say(line)
    placed = placed_settings(system, settings)
    set_already = {setting.partition("=")[0] for setting in settings}
    inputs = {
        program.platform: tuple(
            each for each in inputs_of(system, program.platform) if f"{each.actor}.{each.parameter}" not in set_already
        )
        for program in programs
    }
    if not with_inputs and shift is None:
        for name, each in ((name, each) for name, several in inputs.items() for each in several):
            say(f"note: {name}: {each.actor} reads {each.path}, which is not sent: --with-inputs sends it")
    return {
        program.platform: Wanted(
            program,
            bundle_of(program, f"{program.platform}.pyz"),
            needs_of(program),
            keys_for(folder, program.platform) if folder and program.platform in secure else {},
            (
                *["--insecure"] * insecure,
                *(f"--zenoh={place}" for place in zenoh if program.over_zenoh),
                *(f"--metrics={address}" for name, address in answering.items() if name == program.platform),
                *(f"--set={setting}" for platform, setting in placed if platform == program.platform),
            ),
            reached_at(system, program.platform) if program.rx or program.tx else (),
            inputs[program.platform] if with_inputs else (),
            shift or 0,
            memory_of(system, program.platform),
            limit_of(system, program.platform),
        )
        for program in programs
    }


def _answering(system: System, given: Sequence[str]) -> dict[str, str]:
    """Platform -> where its program answers with metrics."""
    import re

    known = [mapping.platform for mapping in system.mappings]
    for text in given:
        name, _, address = text.partition("=")
        if name not in known or not re.fullmatch(r"(([\w.-]+|\[[0-9A-Fa-f:.]+\]):)?\d{1,5}", address):
            expected = f"expected PLATFORM=[HOST:]PORT, and PLATFORM one of {', '.join(known)}"
            raise click.BadParameter(f"{text!r}: {expected}", param_hint="--metrics")
    return dict(text.split("=", 1) for text in given)


def _questions(wanted: Mapping[str, Wanted], service: Optional[str]) -> dict[str, Any]:
    from eprune.deploy.fleet import Question

    return {name: Question(each.needs.all, each.addresses, service) for name, each in wanted.items()}


def _prepared(
    wanted: Mapping[str, Wanted], sites: Sequence[Site], facts: Mapping[str, Any], bootstrap: Bootstrap
) -> dict[str, Prepared]:
    """What each platform is to come to. Raises Failure with all that stands in the way."""
    from eprune.deploy.prepare import prepare
    from eprune.model.finding import Failure

    prepared = {site.platform: prepare(wanted[site.platform], site, facts[site.platform], bootstrap) for site in sites}
    problems = [
        f"{site.platform} ({site}): {problem}" for site in sites for problem in prepared[site.platform].problems
    ]
    for site in sites:
        for note in prepared[site.platform].notes:
            say(f"note: {site.platform} ({site}): {note}")
    if problems:
        raise Failure("\n".join(problems))
    return prepared


def _show_plan(steps: Sequence[Step], versions: Mapping[str, str], fmt: str) -> None:
    if fmt == "json":
        said = [{"platform": step.platform or None, "do": step.do.value} for step in steps]
        show(json.dumps({"versions": dict(versions), "steps": said}, indent=2), fmt)
        return
    for name, version in versions.items():
        say(f"{name}: version {version}{'' if steps else ' runs already'}")
    show("".join(f"{number}. {step}\n" for number, step in enumerate(steps, 1)))
