"""``eprune run``: all platforms of an application on this machine, one process each."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Optional

import click

from eprune.cli import options
from eprune.cli.errors import say

if TYPE_CHECKING:
    from eprune.model.system import System


@click.command("run", cls=options.Command, short_help="Run all platforms on this machine.")
@options.application_argument
@options.deployment_options(required=True)
@options.outside_option
@options.model_option
@click.option(
    "--frames",
    type=click.IntRange(min=1),
    metavar="N",
    help="Sources stop after N frames; with --model sdf, iterations.",
)
@click.option("--set", "settings", multiple=True, metavar="ACTOR.PARAM=VALUE", help="Set an actor's parameter.")
@options.fuse_option
@click.option(
    "--interpreter",
    type=click.Choice(["auto", "ai-edge-litert", "tflite-runtime"]),
    help="The TFLite interpreter to use (default: auto, the first that is installed).",
)
@click.option("--record", metavar="DIR", help="Write each platform's run record to DIR/PLATFORM.json.")
@click.option("--trace", metavar="DIR", help="Write each platform's timeline to DIR/PLATFORM.trace.json.")
@click.option("--summary", metavar="FILE", help='Write the summary as JSON to FILE; "-" is stdout.')
@click.option("--build", metavar="DIR", help="Keep the generated programs in DIR (default: a temporary folder).")
@click.option(
    "--ports",
    type=click.Choice(["auto", "file"]),
    default="auto",
    help="TCP ports of the links: free ones (default), or those of the platform files.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    metavar="S",
    help="Seconds that actors have to initialize, and peers to start.",
)
@click.option(
    "--stall-after",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Report an actor that is longer than S seconds in one stage (default: 60; 0 never).",
)
@click.option("--pin/--no-pin", default=True, help="Pin threads to their units' cores (default), or not.")
@click.option(
    "--threads",
    type=click.Choice(["cluster", "actor"]),
    default="cluster",
    show_default=True,
    help="Fire the actors of a cluster by one thread in a static order, or each actor by a thread of its own.",
)
@click.option(
    "--check",
    is_flag=True,
    help="End with an error where a behaviour leaves an output unwritten or keeps a view of a token; slower.",
)
@click.option(
    "--emulate",
    is_flag=True,
    help="Emulate the speed of the links and units in the platform files; results are labelled.",
)
@click.option("--keys", metavar="FOLDER", help="Certificates for links with TLS (default: new ones, for this run).")
@click.option(
    "--tap",
    "taps",
    multiple=True,
    metavar="FIFO=FILE",
    help="Copy the first 1000 tokens of FIFO into FILE, which `eprune play` and numpy.load read.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no summary on stderr.")
def command(
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    frames: Optional[int],
    settings: Sequence[str],
    fuse: bool,
    interpreter: Optional[str],
    record: Optional[str],
    trace: Optional[str],
    summary: Optional[str],
    build: Optional[str],
    ports: str,
    timeout: Optional[float],
    stall_after: Optional[float],
    pin: bool,
    threads: str,
    check: bool,
    emulate: bool,
    keys: Optional[str],
    taps: Sequence[str],
    quiet: bool,
) -> int:
    """Run all platforms of an application on this machine: one process each, joined over loopback.

    Analyzes, generates each platform's program and runs them until the sources end. What actors print goes to stdout,
    progress and a summary to stderr; stdin goes to the actor that reads it. Exit code: 0 fine, 1 the run failed, 2
    unusable input, 130 interrupted.

    \b
    Examples:
      eprune run app.xml -p platforms/ -m mappings/split/ --frames 100
      eprune run app.xml -p platforms/ -m mappings/split/ --set Input.path=photos | jq .class
    """
    from eprune.cli.reading import read_sound

    return run_system(
        read_sound(application, platforms, mappings),
        frames,
        settings,
        fuse,
        interpreter,
        record,
        trace,
        summary,
        build,
        ports,
        timeout,
        stall_after,
        pin,
        threads,
        check,
        emulate,
        keys,
        taps,
        quiet,
    )


def run_system(
    system: System,
    frames: Optional[int] = None,
    settings: Sequence[str] = (),
    fuse: bool = True,
    interpreter: Optional[str] = None,
    record: Optional[str] = None,
    trace: Optional[str] = None,
    summary: Optional[str] = None,
    build: Optional[str] = None,
    ports: str = "auto",
    timeout: Optional[float] = None,
    stall_after: Optional[float] = None,
    pin: bool = True,
    threads: str = "cluster",
    check: bool = False,
    emulate: bool = False,
    keys: Optional[str] = None,
    taps: Sequence[str] = (),
    quiet: bool = False,
) -> int:
    """Run a system on this machine; the exit code. What it takes is what the command's options say."""
    from eprune.cli.progress import RunProgress
    from eprune.deploy.build import Writer, programs_of
    from eprune.deploy.local import launch
    from eprune.deploy.options import certificates, check_complete, link_options, placed_settings, secured, stdin_reader
    from eprune.formats.atomic import write_file
    from eprune.measure.builds import build_all
    from eprune.measure.summary import summarize
    from eprune.model.platform import Security
    from eprune.views.summary import text

    check_complete(system)
    tls = secured(system, Security.TLS)
    if keys and not tls:
        raise click.UsageError('--keys is for links with security="tls", and there are none')
    if secured(system, Security.SSH) and not quiet:
        say('note: links with security="ssh" need no tunnel on one machine: they run over plain loopback')
    common = [f"--frames={frames}"] * bool(frames) + [f"--interpreter={interpreter}"] * bool(interpreter)
    common += [f"--timeout={timeout}"] * bool(timeout) + ["--no-pin"] * (not pin)
    common += [f"--stall-after={stall_after}"] * (stall_after is not None)
    common += [f"--threads={threads}"] * (threads != "cluster")
    common += ["--check"] * check + ["--emulate"] * emulate
    placed = placed_settings(system, settings)
    reader = stdin_reader(system, settings)
    arguments = {platform: [*common, *own] for platform, own in link_options(system, ports).items()}
    for platform, setting in placed:
        arguments[platform].append(f"--set={setting}")
    for platform, tap in _placed_taps(system, taps):
        arguments[platform].append(f"--tap={tap}")
    for results, option, suffix in ((record, "record", ".json"), (trace, "trace", ".trace.json")):
        if results:
            Path(results).mkdir(parents=True, exist_ok=True)
            for platform in arguments:
                arguments[platform].append(f"--{option}={Path(results, platform + suffix)}")

    with tempfile.TemporaryDirectory(prefix="eprune-") as temporary:
        folder = Path(build or temporary)
        programs = {mapping.platform: str(folder / f"{mapping.platform}.py") for mapping in system.mappings}
        writer = Writer()
        made = programs_of(system, fuse)
        build_all(made)
        for program in made:
            writer.program(program, programs[program.platform])
        progress = RunProgress(quiet)
        with certificates(list(programs), keys, tls):
            outcome = launch(programs, arguments, progress.update, progress.say, tolerant=system.tolerant, stdin=reader)
        progress.clear()
    if outcome.exit_code == 0:
        amount = summarize(system.graph.name, outcome.records)
        if summary:
            write_file(summary, json.dumps(amount.as_data(), indent=2) + "\n")
        if not quiet:
            say(text(amount))
    return outcome.exit_code


def _placed_taps(system: System, taps: Sequence[str]) -> list[tuple[str, str]]:
    """The platform of each tap: that of the FIFO's producer."""
    producers = {fifo.name: system.homes[fifo.source.actor] for fifo in system.graph.fifos}
    placed = []
    for text in taps:
        fifo, _, path = text.partition("=")
        if fifo not in producers or not path:
            known = ", ".join(producers)
            raise click.BadParameter(f"{text!r}: expected FIFO=FILE, FIFO one of {known}", param_hint="--tap")
        placed.append((producers[fifo], f"{fifo}={Path(path).absolute()}"))
    return placed
