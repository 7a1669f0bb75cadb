"""``eprune demo``: the vehicle classifier, from XML files to a distributed run, step by step."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Optional

import click

from eprune.cli.errors import FINDINGS
from eprune.formats.examples import example

#: Result lines that are shown of a run.
SHOWN = 5


@click.command("demo", short_help="Run the vehicle classifier, step by step.")
@click.option("--images", metavar="PATH", help="Your own pictures: a folder, a pattern or a file.")
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Stop after N frames (default: all there are).")
@click.option("--build", metavar="DIR", help="Where the programs go (default in a checkout: build/demo).")
def command(images: Optional[str], frames: Optional[int], build: Optional[str]) -> int:
    """Run the vehicle classifier, split between an endpoint and a server process, step by step.

    Every step is a command that you can type yourself: it is printed, then executed. In the end the whole model runs on
    the endpoint alone, and the results of both runs must be equal to the last digit; else the exit code is 1.

    Example: eprune demo --images ~/photos
    """
    with ExitStack() as stack:
        if build is None and Path("graphs/vehicle.xml").exists():
            build = "build/demo"
        folder = build or stack.enter_context(tempfile.TemporaryDirectory(prefix="eprune-demo-"))
        return _demo(images, frames, folder)


def _demo(images: Optional[str], frames: Optional[int], folder: str) -> int:
    application = example("graphs/vehicle.xml")
    endpoint, server = example("graphs/endpoint.xml"), example("graphs/server.xml")
    split = [application, "-p", endpoint, server, "-m", example("mappings/vehicle_split")]
    local = [application, "-p", endpoint, "-m", example("mappings/vehicle_local")]
    limits = ["--frames", str(frames)] if frames else []
    if images:
        limits += ["--set", f"Input.path={Path(images).expanduser().absolute()}"]

    _say("1. Is the application sound, and the split of it as well?")
    _eprune("analyze", *split)
    _say("2. One program for each platform, to be read and run:")
    _eprune("codegen", *split, "-o", f"{folder}/")
    _say("3. Both programs, as two processes joined over TCP:")
    results = _eprune("run", *split, *limits, capture=True)
    _say("4. The whole model on the endpoint alone, for comparison:")
    whole = _eprune("run", *local, *limits, capture=True)
    if not results or results != whole:
        _say("The results of the split differ from the whole model's.")
        return FINDINGS
    _say(f"The results of the split equal the whole model's to the last digit: {len(results)} frames.")
    return 0


def _eprune(*arguments: str, capture: bool = False) -> list[str]:
    """Print and execute one command; its lines on stdout, if they are wanted. A failure ends the demo with its code."""
    click.echo(click.style(f"$ eprune {shlex.join(arguments)}", bold=True))
    done = subprocess.run(
        [sys.executable, "-m", "eprune", *arguments],
        stdout=subprocess.PIPE if capture else None,
        encoding="utf-8",
        check=False,
    )
    lines = (done.stdout or "").splitlines()
    for line in lines[:SHOWN]:
        click.echo(line)
    if len(lines) > SHOWN:
        click.echo(f"... and {len(lines) - SHOWN} more")
    if done.returncode:
        click.get_current_context().exit(done.returncode)
    return lines


def _say(text: str) -> None:
    click.echo(f"\n{text}")
