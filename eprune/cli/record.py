"""``eprune record``: the tokens of chosen FIFOs of a deployed system, while it goes on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import click

from eprune.cli import options
from eprune.cli.deploying import quiet_option, read_deployed, system_arguments
from eprune.cli.errors import FINDINGS, say

_UNITS = {"": 1, "B": 1, "KB": 1000, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def _size(ctx: click.Context, param: click.Parameter, text: str) -> int:
    found = re.fullmatch(r"(\d+) ?([KMG]?i?B?)", text, re.IGNORECASE)
    if not found or found[2].upper() not in _UNITS:
        raise click.BadParameter(f"{text!r}: expected a size, for example 64MiB", ctx, param)
    return int(found[1]) * _UNITS[found[2].upper()]


@click.command("record", cls=options.Command, short_help="Record tokens of a deployed system.")
@system_arguments
@click.option("--fifo", "fifos", multiple=True, required=True, metavar="FIFO", help="The FIFO; several, if repeated.")
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder for FIFO.npy; it is made if necessary.")
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    default=100,
    metavar="N",
    help="So many tokens of each at most (default: 100).",
)
@click.option("--bytes", "most", default="64MiB", callback=_size, metavar="SIZE", help="So many bytes of each at most.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0.1),
    default=30.0,
    metavar="S",
    help="Then take what there is (default: 30).",
)
@quiet_option
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    fifos: Sequence[str],
    output: str,
    tokens: int,
    most: int,
    seconds: float,
    quiet: bool,
) -> int:
    """Copy tokens of a deployed system's FIFOs into files, while it goes on.

    Producers do not wait: tokens that the device's disk is too slow for are left out, counted, and marked in the file.
    DIR/FIFO.npy has a row for each token (numpy.load): firing, time, lost, used, token. `eprune play` feeds an
    application with it. Exit code: 0 all that was asked for, 1 there were fewer tokens, or some were left out.

    \b
    Examples:
      eprune record build/system --fifo f3 --tokens 500 -o tokens
      eprune record build/system --fifo f3 --fifo f5 --seconds 10 --bytes 1GiB -o tokens
    """
    from eprune.deploy.fleet import fleet
    from eprune.deploy.recording import Wish, record
    from eprune.deploy.sites import sites_of

    system = read_deployed(application, platforms, mappings)
    producers = {fifo.name: system.homes[fifo.source.actor] for fifo in system.graph.fifos}
    for name in fifos:
        if name not in producers:
            raise click.BadParameter(f"there is no FIFO {name!r}; there is {', '.join(producers)}", param_hint="--fifo")
    chosen = list(dict.fromkeys(fifos))
    homes = {name: producers[name] for name in chosen}
    sites = [site for site in sites_of(system) if site.platform in homes.values()]
    Path(output).mkdir(parents=True, exist_ok=True)
    with fleet(system.graph.name, sites) as devices:
        devices.complete()
        taken = record(devices, homes, Wish(tokens, most, seconds), output)
    for name in chosen:
        each = taken[name]
        lost = f"; {each.lost} were left out, as the disk was slow" * bool(each.lost)
        problem = f"; {each.problem}" * bool(each.problem)
        if not quiet or lost or problem:
            say(f"{each.file}: {each.tokens} tokens of {name}{lost}{problem}")
    return FINDINGS if any(each.lost or each.problem for each in taken.values()) else 0
