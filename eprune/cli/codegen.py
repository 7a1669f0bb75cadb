"""``eprune codegen``: compile an application to one program per platform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from eprune.cli import options
from eprune.cli.errors import say
from eprune.views.tables import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eprune.codegen.program import PlatformProgram


@click.command("codegen", cls=options.Command, short_help="Compile an application to one program per platform.")
@options.application_argument
@options.deployment_options(required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help='The program to write; a folder (ending in "/") for PLATFORM.py of each mapping; "-" for stdout.',
)
@click.option("--pyz", is_flag=True, help="Write one self-contained file: program, runtime, actors, model segments.")
@click.option(
    "--systemd", is_flag=True, help="With --pyz: also write eprune-PLATFORM.service, to run it as a service there."
)
@options.fuse_option
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    output: str,
    pyz: bool,
    systemd: bool,
    fuse: bool,
) -> None:
    """Compile an application to one top-level program for each mapping given.

    Only what passes `eprune analyze` is compiled. A program NAME.py finds its model segments in NAME.models beside it,
    and its actors where they are; a NAME.pyz needs nothing but Python, numpy and a TFLite interpreter on the device.

    \b
    Examples:
      eprune codegen app.xml -p endpoint.xml -m endpoint_mapping.xml -o build/endpoint.py
      eprune codegen app.xml -p endpoint.xml -m endpoint_mapping.xml --pyz -o endpoint.pyz
      eprune codegen app.xml -p platforms/ -m mappings/split/ -o build/
      eprune codegen app.xml -p platforms/ -m mappings/split/ --pyz --systemd -o build/
    """
    from eprune.cli.progress import progress
    from eprune.cli.reading import read_sound
    from eprune.deploy import build
    from eprune.formats.atomic import write_file

    into_folder = output != "-" and (output.endswith("/") or Path(output).is_dir())
    if len(mappings) > 1 and not into_folder:
        raise click.UsageError(f'{len(mappings)} mappings make {len(mappings)} programs: give a folder, "-o {output}/"')
    if systemd and (not pyz or output == "-" or _is_stream(output)):
        raise click.UsageError("--systemd goes with --pyz and -o FILE: a service runs the one file that was installed")
    system = read_sound(application, platforms, mappings)
    programs = build.programs_of(system, fuse)
    shown, writer = progress(len(programs), unit="program"), build.Writer()
    for number, program in enumerate(programs, 1):
        path = str(Path(output, program.platform + (".pyz" if pyz else ".py"))) if into_folder else output
        if systemd and program.tunnels:
            raise click.UsageError(
                f"--systemd: {program.platform} has links over SSH, for which there is no unit: let them be "
                'security="tls", or write one that runs the .ssh.sh script as a user with a key'
            )
        shown.update(number)
        if pyz:
            build.write_bundle(program, path)
        elif path == "-" or _is_stream(path):
            write_file(path, build.program_text(program, path))
            if program.segments:
                say("note: only the program was written; with -o FILE its model segments are written beside it")
        else:
            writer.program(program, path)
        shown.clear()
        if path != "-":
            say(f"{path}: {_contents(program)}")
            if program.tunnels and not _is_stream(path):
                peers = " and ".join(tunnel.peer for tunnel in program.tunnels)
                say(f"{build.write_tunnels(program, path)}: runs it, with SSH tunnels for its links with {peers}")
        if systemd:
            say(f"{build.write_service(program, path)}: how to install it is written in it")


def _is_stream(path: str) -> bool:
    """Whether the path is a pipe or a device, beside which nothing can be written."""
    return Path(path).exists() and not Path(path).is_file()


def _contents(program: PlatformProgram) -> str:
    segments = len(program.segments)
    parts = (counted(len(program.nodes) - segments, "actor"), counted(segments, "model segment"))
    fifos = (counted(len(program.fifos), "local FIFO"), f"{len(program.tx)} TX", f"{len(program.rx)} RX")
    return ", ".join((*parts, *fifos))
