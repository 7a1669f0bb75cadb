"""``eprune run``: all platforms of an application on this machine, one process each."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import say

#: Seconds between two updates of the line of progress.
PROGRESS_INTERVAL = 0.2


@click.command("run", cls=options.Command, short_help="Run all its platforms on this machine.")
@options.application_argument
@options.deployment_options(required=True)
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Sources stop after N frames.")
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
@click.option("--timeout", type=click.FloatRange(min=0.1), metavar="S", help="Seconds to wait for peers to start.")
@click.option("--pin/--no-pin", default=True, help="Pin threads to their units' cores (default), or not.")
@click.option("--emulate", is_flag=True, help="Be as slow as the links and units of the platform files; labelled.")
@click.option("--keys", metavar="FOLDER", help="Certificates for links with TLS (default: new ones, for this run).")
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
    pin: bool,
    emulate: bool,
    keys: Optional[str],
    quiet: bool,
) -> int:
    """Run all platforms of an application on this machine: one process each, joined over loopback.

    Analyzes, generates each platform's program and runs them until the sources end. What actors print goes to stdout,
    progress and a summary to stderr. Exit code: 0 fine, 1 the run failed, 2 unusable input, 130 interrupted.

    \b
    Examples:
      eprune run app.xml -p platforms/ -m mappings/split/ --frames 100
      eprune run app.xml -p platforms/ -m mappings/split/ --set Input.path=photos | jq .class
    """
    from eprune.cli.deployment import certificates, check_complete, link_options, placed_settings, secured
    from eprune.cli.inputs import read_inputs, sound
    from eprune.deploy.build import program_for, write_program
    from eprune.deploy.local import launch
    from eprune.formats.atomic import write_file
    from eprune.measure.summary import as_text, summarize
    from eprune.model.platform import Security

    inputs = sound(read_inputs(application, platforms, mappings))
    check_complete(inputs)
    if secured(inputs, Security.SSH) and not quiet:
        say('note: links with security="ssh" need no tunnel on one machine: they run over plain loopback')
    common = [f"--frames={frames}"] * bool(frames) + [f"--interpreter={interpreter}"] * bool(interpreter)
    common += [f"--timeout={timeout}"] * bool(timeout) + ["--no-pin"] * (not pin)
    common += ["--emulate"] * emulate
    placed = placed_settings(inputs, settings)
    arguments = {platform: [*common, *own] for platform, own in link_options(inputs, ports).items()}
    for platform, setting in placed:
        arguments[platform].append(f"--set={setting}")
    for results, option, suffix in ((record, "record", ".json"), (trace, "trace", ".trace.json")):
        if results:
            Path(results).mkdir(parents=True, exist_ok=True)
            for platform in arguments:
                arguments[platform].append(f"--{option}={Path(results, platform + suffix)}")

    with tempfile.TemporaryDirectory(prefix="eprune-") as temporary:
        folder = Path(build or temporary)
        programs = {mapping.platform: str(folder / f"{mapping.platform}.py") for mapping in inputs.mappings}
        for mapping in inputs.mappings:
            write_program(program_for(inputs, mapping, fuse), programs[mapping.platform])
        progress = Progress(enabled=not quiet and sys.stderr.isatty())
        tolerant = any(fifo.policy.value != "stop" for fifo in inputs.graph.fifos)
        with certificates(list(programs), keys, secured(inputs, Security.TLS)):
            outcome = launch(programs, arguments, progress.update, progress.say, tolerant=tolerant)
        progress.clear()
    if outcome.exit_code == 0:
        told = summarize(inputs.graph.name, outcome.records)
        if summary:
            write_file(summary, json.dumps(told, indent=2) + "\n")
        if not quiet:
            say(as_text(told))
    return outcome.exit_code


class Progress:
    """One line on a terminal that says how many frames each platform is done with, and which are lost."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled
        self._frames: dict[str, int] = {}
        self._lost: dict[str, set[str]] = {}
        self._shown = 0.0

    def update(self, status: Mapping[str, Any]) -> None:
        """Take a platform's status."""
        self._frames[status["platform"]] = min(status["firings"].values(), default=0)
        self._lost[status["platform"]] = {name for name, peer in status["peers"].items() if peer["state"] == "lost"}
        if self.enabled and time.monotonic() > self._shown + PROGRESS_INTERVAL:
            self._shown = time.monotonic()
            line = "frames: " + ", ".join(f"{platform} {frames}" for platform, frames in self._frames.items())
            lost = sorted(set().union(*self._lost.values()))
            line = f"lost: {', '.join(lost)}; {line}" if lost else line
            # The cursor goes back, for a sink may write its next line to the same terminal.
            click.echo(f"\r\x1b[K{line[:70]}\r", err=True, nl=False)

    def say(self, message: str) -> None:
        """Print a program's message."""
        self.clear()
        say(message)

    def clear(self) -> None:
        """Remove the line."""
        if self.enabled:
            click.echo("\r\x1b[K", err=True, nl=False)
