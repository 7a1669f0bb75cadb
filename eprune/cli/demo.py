"""``eprune demo``: the vehicle classifier, from XML files to a distributed run, step by step."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional

import click

from eprune.cli import options
from eprune.cli.errors import FINDINGS
from eprune.cli.printing import show
from eprune.formats.examples import example

#: Result lines that are shown of a run.
SHOWN = 5


@click.command("demo", short_help="Run the vehicle classifier, step by step.")
@click.option("--images", metavar="PATH", help="Your own pictures: a folder, a pattern or a file.")
@click.option("--frames", type=click.IntRange(min=1), metavar="N", help="Stop after N frames (default: all there are).")
@click.option("--build", metavar="DIR", help="Where the programs go (default in a checkout: build/demo).")
@options.format_option
def command(images: Optional[str], frames: Optional[int], build: Optional[str], fmt: str) -> int:
    """Run the vehicle classifier, split between an endpoint and a server process, step by step.

    Every step is a command that you can type yourself: it is printed, then executed. In the end the whole model runs on
    the endpoint alone, and the results of both runs must be equal to the last digit; else the exit code is 1.

    With --format json, stdout has the steps and the results of the split, and the steps are printed on stderr.

    Example: eprune demo --images ~/photos
    """
    with ExitStack() as stack:
        if build is None and Path("graphs/vehicle.xml").exists():
            build = "build/demo"
        folder = build or stack.enter_context(tempfile.TemporaryDirectory(prefix="eprune-demo-"))
        demo = Demo(fmt == "json")
        try:
            code = _steps(demo, images, frames, folder)
        except Failed as failed:
            code = failed.code
        if fmt == "json":
            show(json.dumps(demo.as_data(), indent=2), fmt)
        return code


@dataclass(frozen=True)
class Step:
    """A command that was executed."""

    title: str
    command: str
    exit_code: int


class Failed(Exception):
    """A step failed, which ends the demo with its exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


@dataclass
class Demo:
    """What has been done so far. With ``apart`` it is printed on stderr."""

    apart: bool
    steps: list[Step] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    equal: Optional[bool] = None

    def step(self, title: str, *arguments: str, capture: bool = False) -> list[str]:
        """Print and execute one command; its lines on stdout, if they are wanted. Raises Failed."""
        self.say(f"\n{len(self.steps) + 1}. {title}")
        typed = f"eprune {shlex.join(arguments)}"
        self.say(click.style(f"$ {typed}", bold=True))
        done = subprocess.run(
            [sys.executable, "-m", "eprune", *arguments],
            stdout=subprocess.PIPE if capture or self.apart else None,
            encoding="utf-8",
            check=False,
        )
        lines = (done.stdout or "").splitlines()
        for line in lines[:SHOWN] if capture else lines:
            self.say(line)
        if capture and len(lines) > SHOWN:
            self.say(f"... and {len(lines) - SHOWN} more")
        self.steps.append(Step(title.rstrip(":"), typed, done.returncode))
        if done.returncode:
            raise Failed(done.returncode)
        return lines

    def say(self, text: str) -> None:
        """Print a line."""
        click.echo(text, err=self.apart)

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        results = [json.loads(line) for line in self.results]
        return {"steps": [asdict(step) for step in self.steps], "results": results, "equal": self.equal}


def _steps(demo: Demo, images: Optional[str], frames: Optional[int], folder: str) -> int:
    application = example("graphs/vehicle.xml")
    endpoint, server = example("graphs/endpoint.xml"), example("graphs/server.xml")
    split = [application, "-p", endpoint, server, "-m", example("mappings/vehicle_split")]
    local = [application, "-p", endpoint, "-m", example("mappings/vehicle_local")]
    limits = ["--frames", str(frames)] if frames else []
    if images:
        limits += ["--set", f"Input.path={Path(images).expanduser().absolute()}"]

    demo.step("Is the application sound, and the split of it as well?", "analyze", *split)
    demo.step("One program for each platform, to be read and run:", "codegen", *split, "-o", f"{folder}/")
    demo.results = demo.step("Both programs, as two processes joined over TCP:", "run", *split, *limits, capture=True)
    title = "The whole model on the endpoint alone, for comparison:"
    whole = demo.step(title, "run", *local, *limits, capture=True)
    demo.equal = bool(demo.results) and demo.results == whole
    if not demo.equal:
        demo.say("\nThe results of the split differ from the whole model's.")
        return FINDINGS
    demo.say(f"\nThe results of the split equal the whole model's to the last digit: {len(demo.results)} frames.")
    return 0
