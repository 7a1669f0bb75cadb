"""``eprune codegen``: compile an application to one program per platform."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import say
from eprune.cli.printing import show
from eprune.codegen.targets.table import TARGETS
from eprune.views.tables import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eprune.codegen.program import PlatformProgram
    from eprune.model.system import System

#: The target that the others pack or run.
PYTHON = "python"
#: Options that only other targets take.
CHOICES = {option for target in TARGETS.values() for option in target.takes}


@click.command("codegen", cls=options.Command, short_help="Compile an application to one program per platform.")
@options.application_argument
@options.deployment_options(required=True)
@options.outside_option
@options.model_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    required=True,
    help='The program to write; a folder (ending in "/") for PLATFORM.py of each mapping; "-" for stdout.',
)
@click.option("--pyz", is_flag=True, help="Write one self-contained file: program, runtime, actors, model segments.")
@click.option(
    "--systemd",
    is_flag=True,
    help="With --pyz: also write eprune-PLATFORM.service, which runs the program as a systemd service.",
)
@click.option(
    "--target",
    type=click.Choice([PYTHON, *TARGETS]),
    default=PYTHON,
    help="What to write: programs (python, the default), or for an engine, into a folder: "
    + "; ".join(f"{target.name}, {target.summary}" for target in TARGETS.values())
    + ".",
)
@click.option("--registry", metavar="PREFIX", default="", help="Where images are pushed: registry.example/team.")
@click.option(
    "--keys", metavar="FOLDER", help='Certificates of platforms (eprune certify), for links with security="tls".'
)
@click.option("--insecure", is_flag=True, help="Allow unprotected links between containers.")
@options.zenoh_option
@click.option("--with-inputs", is_flag=True, help="Pack the files that actors read, such as pictures.")
@click.option("--require", metavar="PACKAGE", multiple=True, help="A package that an actor needs besides.")
@options.fuse_option
@options.format_option
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    output: str,
    pyz: bool,
    systemd: bool,
    target: str,
    registry: str,
    keys: Optional[str],
    insecure: bool,
    zenoh: Sequence[str],
    with_inputs: bool,
    require: Sequence[str],
    fuse: bool,
    fmt: str,
) -> None:
    """Compile an application to one top-level program for each mapping given.

    Only what passes `eprune analyze` is compiled. A program NAME.py finds its model segments in NAME.models beside it,
    and its actors where they are; a NAME.pyz needs nothing but Python, numpy and a TFLite interpreter on the device.
    With --format json, stdout has what was written: the files, and what each program runs.

    \b
    Examples:
      eprune codegen app.xml -p endpoint.xml -m endpoint_mapping.xml -o build/endpoint.py
      eprune codegen app.xml -p endpoint.xml -m endpoint_mapping.xml --pyz -o endpoint.pyz
      eprune codegen app.xml -p platforms/ -m mappings/split/ -o build/
      eprune codegen app.xml -p platforms/ -m mappings/split/ --pyz --systemd -o build/
      eprune codegen app.xml -p platforms/ -m mappings/split/ --target kubernetes --registry registry.example -o build/
    """
    from eprune.cli.progress import progress
    from eprune.cli.reading import read_sound
    from eprune.deploy import build
    from eprune.formats.atomic import write_file
    from eprune.measure.builds import build_all

    into_folder = output != "-" and (output.endswith("/") or Path(output).is_dir())
    if len(mappings) > 1 and not into_folder:
        raise click.UsageError(f'{len(mappings)} mappings make {len(mappings)} programs: give a folder, "-o {output}/"')
    if systemd and (not pyz or output == "-" or (not into_folder and _is_stream(output))):
        raise click.UsageError("--systemd goes with --pyz and -o FILE: a service runs the one file that was installed")
    if target == PYTHON:
        options.refuse(tuple(CHOICES), "goes with --target")
    else:
        options.refuse(("pyz", "systemd"), f"--target {target} packs programs its own way")
        options.refuse(tuple(CHOICES - set(TARGETS[target].takes)), f"this means nothing to --target {target}")
        if not into_folder:
            raise click.UsageError(f'--target {target} writes several files: give a folder, "-o {output}/"')
    if fmt == "json" and output == "-":
        raise click.UsageError("--format json: stdout is for the program; give a file or a folder with -o")
    system = read_sound(application, platforms, mappings)
    programs = build.programs_of(system, fuse)
    not_built = build_all(programs)
    if not_built:
        say(f"note: not built here, but where it starts first: {not_built}")
    if target != PYTHON:
        choices = (registry, keys, insecure, tuple(zenoh))
        _write_target(system, programs, target, output, choices, with_inputs, require, fmt)
        _warn(system, application)
        return
    shown, writer = progress(len(programs), unit="program"), build.Writer()
    written: list[dict[str, Any]] = []
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
        tunneled = program.tunnels and path != "-" and not _is_stream(path)
        script = build.write_tunnels(program, path) if tunneled else None
        service = build.write_service(program, path) if systemd else None
        written.append(_as_data(program, path, script, service))
        if fmt == "text" and path != "-":
            _say(program, path, script, service)
    _warn(system, application)
    if fmt == "json":
        show(json.dumps({"application": system.graph.name, "programs": written}, indent=2), fmt)


def _write_target(
    system: System,
    programs: Sequence[PlatformProgram],
    name: str,
    output: str,
    choices: tuple[str, Optional[str], bool, tuple[str, ...]],
    with_inputs: bool,
    require: Sequence[str],
    fmt: str,
) -> None:
    """Write what a target makes of the programs, and say what was written and what was left out."""
    from eprune.codegen.targets.target import Choices
    from eprune.deploy import build
    from eprune.deploy.pack import part_of
    from eprune.deploy.release import inputs_of, keys_for
    from eprune.formats.atomic import write_file
    from eprune.model.finding import EpruneError

    target, (registry, keys, insecure, zenoh) = TARGETS[name], choices
    if registry and not re.fullmatch(r"[a-z0-9][a-z0-9._/:-]*", registry):
        raise click.UsageError(f"--registry {registry!r}: a prefix of names of images, such as registry.example/team")
    reasons = {program.platform: target.chosen(program) for program in programs}
    chosen = [program for program in programs if not reasons[program.platform]]
    left_out = {platform: reason for platform, reason in reasons.items() if reason}
    for platform, reason in left_out.items():
        say(f"note: {platform} is left out: {reason}")
    if not chosen:
        raise click.UsageError(f"--target {name}: nothing is left to write")
    if keys and not any(program.secure for program in chosen):
        raise click.UsageError('--keys is for links with security="tls", and there are none')
    if zenoh and not any(program.over_zenoh for program in chosen):
        raise click.UsageError('--zenoh is for links with via="zenoh", and there are none')
    inputs = {program.platform: inputs_of(system, program.platform) for program in chosen}
    if not with_inputs and "with_inputs" in target.takes:
        for platform, each in ((platform, each) for platform, several in inputs.items() for each in several):
            say(f"note: {platform}: {each.actor} reads {each.path}, which is not packed: --with-inputs packs it")
    packed = "require" in target.takes
    parts = [part_of(each, packed, require, inputs[each.platform] if with_inputs else ()) for each in chosen]
    certificates = {each.platform: keys_for(keys, each.platform) for each in chosen if keys and each.secure}
    made = Choices(insecure, registry.rstrip("/"), zenoh, certificates)
    findings = list(target.refused(parts, made))
    if findings:
        raise EpruneError(*findings)
    files = target.emit(parts, made)
    for path, data in files.items():
        write_file(str(Path(output, path)), data, private=path.startswith(target.secret))
        if path.endswith(target.executable):
            build.make_executable(str(Path(output, path)))
    if fmt == "json":
        told = {"application": system.graph.name, "target": name, "files": sorted(files), "left_out": left_out}
        show(json.dumps(told, indent=2), fmt)
        return
    for path in files:
        if "/" not in path and not path.endswith(target.executable):
            say(f"{Path(output, path)}: how to use it is written in it")


def _warn(system: System, application: str) -> None:
    """Warn of accelerators that nobody has compared with an interpreter."""
    from eprune.measure.verified import unverified

    for platform, unit, model, why in unverified(system):
        files = f"{shlex.quote(application)} -p {shlex.quote(platform.where.file)}"
        say(
            f"warning: unit {unit.name!r} of platform {platform.name!r} {why} with {Path(model).name}: "
            f"eprune verify {files} --unit {shlex.quote(unit.name)}"
        )


def _is_stream(path: str) -> bool:
    """Whether the path is a pipe or a device, beside which nothing can be written."""
    return Path(path).exists() and not Path(path).is_file()


def _as_data(program: PlatformProgram, path: str, script: Optional[str], service: Optional[str]) -> dict[str, Any]:
    segments = {node.name: list(node.members) for node in program.segments}
    return {
        "platform": program.platform,
        "file": path,
        "script": script,
        "service": service,
        "digest": program.digest,
        "actors": [node.name for node in program.nodes if node.name not in segments],
        "segments": segments,
        "fifos": {
            "local": [fifo.name for fifo in program.fifos],
            "tx": {each.fifo.name: each.to for each in program.tx},
            "rx": {each.fifo.name: each.origin for each in program.rx},
        },
    }


def _say(program: PlatformProgram, path: str, script: Optional[str], service: Optional[str]) -> None:
    """Say what was written for a platform."""
    say(f"{path}: {_contents(program)}")
    if script:
        peers = " and ".join(tunnel.peer for tunnel in program.tunnels)
        say(f"{script}: runs it, with SSH tunnels for its links with {peers}")
    if service:
        say(f"{service}: how to install it is written in it")


def _contents(program: PlatformProgram) -> str:
    segments = len(program.segments)
    parts = (counted(len(program.nodes) - segments, "actor"), counted(segments, "model segment"))
    fifos = (counted(len(program.fifos), "local FIFO"), f"{len(program.tx)} TX", f"{len(program.rx)} RX")
    return ", ".join((*parts, *fifos))
