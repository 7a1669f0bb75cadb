#!/usr/bin/env python3
"""A network laboratory: two network namespaces, joined by a link that `tc` shapes, stand for two hosts.

    sudo python -m scripts.netlab --bandwidth 11.2MB/s --latency 1.49ms run graphs/vehicle.xml \\
        -p graphs/endpoint.xml -p graphs/server.xml -m mappings/vehicle_split --frames 100
    sudo python -m scripts.netlab --bandwidth 100Mbit/s exec 'iperf3 -s -1' 'sleep 1; iperf3 -c 10.77.0.1'

``run`` takes what `eprune run` takes, for two platforms; ``exec`` runs a shell command on each host. The bandwidth is
that of the application's bytes, as in platform files; headers come on top. With ``--trace walk.csv`` the link changes
as a trace for `eprune replay` says, from when the hosts begin; what it says of platforms is left out. Needs Linux,
root, and iproute2; a latency needs a kernel with the netem queueing discipline. Namespaces are removed at the end,
whatever happens.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import click

from eprune.runtime.net.conditions import Change

ROOT = Path(__file__).resolve().parents[1]
#: Bytes of a full Ethernet frame, and those of the application in it.
FRAME, PAYLOAD = 1514, 1448
#: Seconds of traffic that a shaped link lets through at once, and that may wait in front of it.
BURST, QUEUE = 0.1e-3, 0.5


#: The exit codes of signals that told us to stop.
_stopped: list[int] = []


class NotPermitted(Exception):
    """This machine does not let us, or cannot."""


class Host(NamedTuple):
    """A network namespace."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """These words as a command that runs on the host."""
        return ["ip", "netns", "exec", self.name, *words]


@contextlib.contextmanager
def hosts(
    bandwidth: Optional[float] = None, latency: float = 0.0, delayed: bool = False
) -> Iterator[tuple[Host, Host]]:
    """Two hosts for as long as the context lasts; bytes per second and seconds in each direction.

    Raises NotPermitted with the command that was refused and what it said.
    """
    if not (shutil.which("ip") and shutil.which("tc")):
        raise NotPermitted("there are no ip and tc here (iproute2)")
    pair = [Host(f"netlab-{os.getpid()}-{number}", f"10.77.0.{number}") for number in (1, 2)]
    try:
        for host in pair:
            do("ip", "netns", "add", host.name)
        do(*f"ip link add v1 netns {pair[0].name} type veth peer name v2 netns {pair[1].name}".split())
        for number, host in enumerate(pair, 1):
            do(*f"ip -n {host.name} addr add {host.address}/24 dev v{number}".split())
            do(*f"ip -n {host.name} link set v{number} up".split())
            do(*f"ip -n {host.name} link set lo up".split())
            for discipline in disciplines(bandwidth, latency, delayed):
                do(*f"tc -n {host.name} qdisc add dev v{number} {discipline}".split())
        yield pair[0], pair[1]
    finally:
        for host in pair:
            subprocess.run(["ip", "netns", "del", host.name], capture_output=True, check=False)


def disciplines(bandwidth: Optional[float], latency: float, delayed: bool = False) -> list[str]:
    """What ``tc qdisc add dev DEVICE`` is told for a link, in order; ``delayed``, if by no latency, all the same."""
    told = []
    parent = "root"
    if latency or delayed:
        told.append(f"root handle 1: netem delay {latency * 1e6:.0f}us limit 100000")
        parent = "parent 1:1"
    if bandwidth is not None:
        rate = bandwidth * FRAME / PAYLOAD
        burst = max(2 * FRAME, rate * BURST)
        told.append(f"{parent} handle 2: tbf rate {8 * rate:.0f}bit burst {burst:.0f} limit {rate * QUEUE + 2**16:.0f}")
    return told


def do(*words: str) -> None:
    """Run a command of iproute2. Raises NotPermitted with what it said."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotPermitted(f"{words[0]}: {error.strerror}") from None
    if done.returncode:
        hint = "; this kernel has no netem: leave the latency out" if "netem" in words else ""
        raise NotPermitted(f"{' '.join(words)}: {done.stderr.strip()}{hint}")


class Shaped:
    """A link that follows a trace: ``changes`` of bandwidth and latency, in order of their seconds."""

    def __init__(self, changes: Sequence[Change], bandwidth: Optional[float], latency: float) -> None:
        """The link as it begins. Raises ValueError if nothing says its bandwidth from the beginning."""
        self.changes = [each for each in changes if each.peer]
        self.bandwidth, self.latency = bandwidth, latency
        while self.changes and self.changes[0].seconds <= 0:
            self._take(self.changes.pop(0))
        if self.bandwidth is None and any(each.bandwidth is not None for each in self.changes):
            raise ValueError("nothing says the link's bandwidth at 0 seconds: give --bandwidth, or a row of the trace")
        #: a link whose latency will change is delayed from the beginning, by nothing if need be
        self.delayed = bool(self.latency) or any(each.latency for each in self.changes)
        self.begun = time.monotonic()

    def _take(self, change: Change) -> None:
        self.bandwidth = self.bandwidth if change.bandwidth is None else change.bandwidth
        self.latency = self.latency if change.latency is None else change.latency

    def follow(self, pair: Sequence[Host]) -> None:
        """What is due by now is done to the link. Raises NotPermitted."""
        due = [each for each in self.changes if each.seconds <= time.monotonic() - self.begun]
        for change in due:
            self._take(change)
        if due:
            self.changes = self.changes[len(due) :]
            for number, host in enumerate(pair, 1):
                for discipline in disciplines(self.bandwidth, self.latency, self.delayed):
                    do(*f"tc -n {host.name} qdisc change dev v{number} {discipline}".split())


def side_by_side(commands: Sequence[Sequence[str]], meanwhile: Callable[[], None] = lambda: None) -> int:
    """Run commands at the same time until all have ended, or this program was told to stop. None is left running.

    The first exit code that is not 0, or that of the signal. ``meanwhile`` is called over and over.
    """
    processes = [subprocess.Popen(command, start_new_session=True) for command in commands]
    while any(process.poll() is None for process in processes) and not _stopped:
        time.sleep(0.05)
        meanwhile()
    codes = [*_stopped, *(process.poll() or 0 for process in processes)]
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return next((code for code in codes if code), 0)


def _quantity(parse: str):  # type: ignore[no-untyped-def]
    def convert(_: click.Context, param: click.Parameter, text: Optional[str]) -> Optional[float]:
        from eprune.model import quantity

        try:
            return None if text is None else getattr(quantity, parse)(text)
        except ValueError as error:
            raise click.BadParameter(str(error), param=param) from None

    return convert


@click.group(help=__doc__.split("\n\n")[0])
@click.option("--bandwidth", callback=_quantity("parse_bandwidth"), help="Such as 11.2MB/s (default: not shaped).")
@click.option("--latency", callback=_quantity("parse_time"), default="0s", help="Such as 1.49ms (default: none).")
@click.option("--trace", metavar="FILE", help="A trace for eprune replay, by which the link changes.")
@click.pass_context
def main(context: click.Context, bandwidth: Optional[float], latency: float, trace: Optional[str]) -> None:
    from eprune.measure.replay import read_trace

    try:
        context.obj = Shaped(read_trace(trace) if trace else (), bandwidth, latency)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    # Not as exceptions, which could come between the start of a process and our knowing of it.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: _stopped.append(128 + number))


@main.command("exec")
@click.argument("one")
@click.argument("other")
@click.pass_context
def execute(context: click.Context, one: str, other: str) -> None:
    """Run shell command ONE on 10.77.0.1 and OTHER on 10.77.0.2, until both have ended."""
    with _laboratory(context) as pair:
        commands = [host.command("sh", "-c", text) for host, text in zip(pair, (one, other))]
        code = side_by_side(commands, lambda: context.obj.follow(pair))
    context.exit(code)


@main.command("run")
@click.argument("application")
@click.option("-p", "--platform", "platforms", multiple=True, required=True, help="Platform file; two of them.")
@click.option("-m", "--mapping", "mappings", multiple=True, required=True, help="Mapping file; or a folder of them.")
@click.option("--frames", type=click.IntRange(min=1), help="Sources stop after so many frames.")
@click.option("--set", "settings", multiple=True, metavar="ACTOR.PARAM=VALUE", help="Set an actor's parameter.")
@click.option("--allow-outside", is_flag=True, help="Let the application name files outside its own folder.")
@click.pass_context
def run(
    context: click.Context,
    application: str,
    platforms: Sequence[str],
    mappings: Sequence[str],
    frames: Optional[int],
    settings: Sequence[str],
    allow_outside: bool,
) -> None:
    """Run an application's two platforms, one on each host; what actors print and the summary as by eprune run."""
    from eprune.deploy.options import placed_settings
    from eprune.formats.system import files_in, read_system
    from eprune.measure.summary import summarize
    from eprune.views.summary import text

    told: dict[str, list[str]] = {}
    if settings:
        files = files_in(platforms, "platform"), files_in(mappings, "mapping")
        for name, setting in placed_settings(read_system(application, *files, allow_outside=allow_outside), settings):
            told.setdefault(name, []).append(f"--set={setting}")

    given = [word for path in platforms for word in ("-p", path)] + [word for path in mappings for word in ("-m", path)]
    with tempfile.TemporaryDirectory(prefix="netlab-") as folder:
        command = [sys.executable, "-m", "eprune", "codegen", application, *given, "--pyz", "-o", f"{folder}/"]
        command += ["--allow-outside"] * allow_outside
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
            context.exit(subprocess.run(command, check=False).returncode)
        programs = sorted(Path(folder).glob("*.pyz"))
        if len(programs) != 2:
            raise click.UsageError(f"{len(programs)} platforms run something; there are two hosts")
        with _laboratory(context) as pair:
            commands = []
            for host, program, peer, there in zip(pair, programs, programs[::-1], pair[::-1]):
                options = ["--insecure", f"--bind={host.address}", f"--link={peer.stem}={there.address}"]
                options += told.get(program.stem, [])
                options += [f"--record={program.with_suffix('.json')}"] + [f"--frames={frames}"] * bool(frames)
                commands.append(host.command(sys.executable, str(program), *options))
            code = side_by_side(commands, lambda: context.obj.follow(pair))
        if code == 0:
            records = {each.stem: json.loads(each.with_suffix(".json").read_text()) for each in programs}
            name = next(iter(records.values()))["application"]
            click.echo(text(summarize(name, records)), err=True)
    context.exit(code)


@contextlib.contextmanager
def _laboratory(context: click.Context) -> Iterator[tuple[Host, Host]]:
    link: Shaped = context.obj
    try:
        with hosts(link.bandwidth, link.latency, link.delayed) as pair:
            link.begun = time.monotonic()
            yield pair
    except NotPermitted as error:
        raise click.ClickException(f"not possible here: {error}") from None


if __name__ == "__main__":
    main()
