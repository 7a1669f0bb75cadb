"""``eprune replicate``: a chain becomes an application of many endpoints and servers that survives failures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from eprune.cli import options
from eprune.cli.errors import say

if TYPE_CHECKING:
    from eprune.passes.replicate import Replicated


@click.command("replicate", cls=options.Command)
@options.application_argument
@click.option("--endpoints", type=click.IntRange(1, 999), required=True, metavar="N", help="How many endpoints.")
@click.option("--servers", type=click.IntRange(1, 999), required=True, metavar="M", help="How many servers.")
@click.option(
    "--cut-after",
    required=True,
    metavar="ACTOR",
    help="The endpoint's last actor: it and all that leads to it are on each endpoint, the rest is on each server.",
)
@click.option("-o", "--output", required=True, metavar="DIR", help="The folder to write; it is made if need be.")
@click.option(
    "--policy",
    type=click.Choice(["stop", "wait", "drop", "zero"]),
    default="drop",
    help="The fault policy of the FIFOs between endpoints and servers. Default: drop.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5100,
    metavar="PORT",
    help="The first TCP port; each link has one. Default: 5100.",
)
@click.option("--format", "fmt", type=click.Choice(["text", "json"]), default="text", help="text (default) or json.")
def command(
    application: str, endpoints: int, servers: int, cut_after: str, output: str, policy: str, port: int, fmt: str
) -> None:
    """Replicate a chain: N endpoints with its first part, M servers with the rest, each endpoint joined to each server.

    Writes application.xml, and platform and mapping files of all endpoints and servers, into DIR. An endpoint sends to
    every server, and a server goes on with the endpoints that are left. `eprune analyze --faults` says what that
    survives.

    \b
    Examples:
      eprune replicate graphs/vehicle_chain.xml --cut-after L3 --endpoints 6 --servers 2 -o build/k
      eprune analyze build/k/application.xml -p build/k/platforms -m build/k/mappings --faults 2
    """
    from eprune.analysis.check import check
    from eprune.cli.inputs import read_inputs, sound
    from eprune.model.finding import EpruneError, has_errors
    from eprune.model.graph import FaultPolicy
    from eprune.passes.replicate import replicate

    if port + endpoints * servers - 1 > 65535:
        raise click.UsageError(f"--port {port}: {endpoints * servers} links would need TCP ports above 65535")
    inputs = sound(read_inputs(application))
    tensors = inputs.interfaces[cut_after].tensors if cut_after in inputs.interfaces else {}
    cut = next((fifo.source.port for fifo in inputs.graph.fifos if fifo.source.actor == cut_after), "")
    try:
        made = replicate(inputs.graph, cut_after, endpoints, servers, FaultPolicy(policy), port, tensors.get(cut))
    except ValueError as error:
        raise click.UsageError(f"{application}: {error}") from None
    findings = check(made.graph, {}, made.platforms, made.mappings)
    if has_errors(findings):
        raise EpruneError(*findings, exit_code=1)
    written = _write(made, output)
    if fmt == "json":
        counts = {"actors": len(made.graph.actors), "fifos": len(made.graph.fifos)}
        click.echo(json.dumps({**written, **counts}, indent=2))
        return
    say(f"{written['application']}: {len(made.graph.actors)} actors and {len(made.graph.fifos)} FIFOs")
    say(f"next: eprune run {written['application']} -p {written['platforms']} -m {written['mappings']}")


def _write(made: Replicated, folder: str) -> dict[str, str]:
    """Write all files, the application last: what it refers to is there."""
    from eprune.formats.atomic import write_file
    from eprune.formats.xml.application import write_application
    from eprune.formats.xml.mapping import write_mapping
    from eprune.formats.xml.platform import write_platform
    from eprune.passes.relocate import relocated

    paths = {name: str(Path(folder, name)) for name in ("application.xml", "platforms", "mappings")}
    for platform in made.platforms:
        write_file(str(Path(folder, "platforms", f"{platform.name}.xml")), write_platform(platform))
    for mapping in made.mappings:
        write_file(str(Path(folder, "mappings", f"{mapping.platform}.xml")), write_mapping(mapping))
    write_file(paths["application.xml"], write_application(relocated(made.graph, folder)))
    return {name.partition(".")[0]: path for name, path in paths.items()}
