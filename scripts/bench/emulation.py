"""Emulated links beside links that `tc` shapes: the same programs, in turn, on loopback and in two namespaces."""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Optional

from scripts.bench.harness import say
from scripts.netlab import Host, NotPermitted, hosts

ROOT = Path(__file__).resolve().parents[2]
ACTORS = ROOT / "scripts" / "bench" / "actors.py"
#: Pairs of runs; the median ratio counts.
PAIRS = 5
ECHOES = 40


@functools.lru_cache
def _netem() -> bool:
    """Whether this kernel can delay packets."""
    try:
        with hosts(latency=1e-3):
            return True
    except NotPermitted:
        return False


def emulation(folder: Path) -> None:
    """Throughput and round trips over an emulated link, against `tc` in network namespaces."""
    say("bandwidth", "token", "tc, MB/s", "emulated, MB/s", "throughput ratio (0.95 to 1.05)")
    say("---", "---", "---", "---", "---")
    for bandwidth, nbytes, count in (
        (2.3e6, 73728, 60),
        (4.7e6, 73728, 100),
        (11.2e6, 73728, 200),
        (11.2e6, 294912, 60),
        (50e6, 294912, 200),
        (100e6, 1048576, 200),
    ):
        pairs = _pairs(folder, bandwidth, 0.0, lambda f, n=nbytes, c=count: _stream(f, n, c))
        _tell(f"{bandwidth / 1e6:g} MB/s", nbytes, pairs, lambda seconds, n=nbytes: f"{n / seconds / 1e6:.3f}", -1)
    print(flush=True)
    say("link", "token", "tc, ms", "emulated, ms", "round trip ratio (0.95 to 1.05)")
    say("---", "---", "---", "---", "---")
    for bandwidth, latency, nbytes in (
        (11.2e6, 0.0, 73728),
        (2.3e6, 0.0, 73728),
        (11.2e6, 1.49e-3, 400),
        (11.2e6, 1.49e-3, 73728),
        (4.7e6, 1.22e-3, 73728),
        (2.3e6, 20e-3, 400),
    ):
        pairs = _pairs(folder, bandwidth, latency, lambda f, n=nbytes: _echo(f, n))
        link = f"{bandwidth / 1e6:g} MB/s, {latency * 1e3:g} ms"
        if latency and not _netem():
            link += " (no netem here: tc's round trip without latency, and twice the latency)"
        _tell(link, nbytes, pairs, lambda seconds: f"{1e3 * seconds:.3f}", 1)


def _tell(
    link: str,
    nbytes: int,
    pairs: Sequence[tuple[Optional[float], float]],
    figure: Callable[[float], str],
    power: int,
) -> None:
    ours = statistics.median(each for _, each in pairs)
    if None in (other for other, _ in pairs):
        beside, ratio = "no tc here", ""
    else:
        beside = figure(statistics.median(other for other, _ in pairs if other))
        ratio = f"{statistics.median((own / other) ** power for other, own in pairs if other):.3f}"
    say(link, f"{nbytes:,} B", beside, figure(ours), ratio)


def _pairs(
    folder: Path, bandwidth: float, latency: float, write: Callable[[Callable[..., Path]], None]
) -> list[tuple[Optional[float], float]]:
    """What the programs that ``write`` writes tell, over `tc` (None where it is not possible) and emulated, in turn."""

    def program(name: str, *declarations: str) -> Path:
        peer = "right" if name == "left" else "left"
        text = ["from eprune.runtime import Program", f"program = Program('bench', {name!r}, 'd', __file__)"]
        text += ["program.unit('cpu')", f"program.link({peer!r}, {bandwidth!r}, {latency!r})"]
        text += [f"program.{declaration}" for declaration in declarations] + ["raise SystemExit(program.main())"]
        path = folder / f"{name}.py"
        path.write_text("\n".join(text).replace("ACTORS:", f"{os.path.relpath(ACTORS, folder)}:"))
        return path

    write(program)
    pairs: list[tuple[Optional[float], float]] = []
    for _ in range(PAIRS):
        with ExitStack() as stack:
            try:
                added = 0.0 if _netem() else 2 * latency
                shaped = added + _run(folder, stack.enter_context(hosts(bandwidth, latency if _netem() else 0.0)))
            except NotPermitted:
                shaped = None
        pairs.append((shaped, _run(folder, None)))
    return pairs


def _run(folder: Path, pair: Optional[tuple[Host, Host]]) -> float:
    """Run left and right; the seconds that left or right wrote to the file ``told``."""
    from eprune.deploy.ports import free_base_port

    port = free_base_port(2)
    addresses = [host.address for host in pair] if pair else ["127.0.0.1"] * 2
    processes = []
    for side, (name, peer) in enumerate((("left", "right"), ("right", "left"))):
        command = [sys.executable, str(folder / f"{name}.py"), f"--bind={addresses[side]}", "--insecure"]
        command += [f"--link={peer}={addresses[1 - side]}:{port}", f"--record={folder / name}.json"]
        command = pair[side].command(*command) if pair else [*command, "--emulate"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL))
    codes = [process.wait() for process in processes]
    if any(codes):
        raise SystemExit(f"{folder}: the programs failed")
    told = folder / "told"
    if told.exists():
        seconds = float(told.read_text())
        told.unlink()
        return seconds
    actor = json.loads((folder / "right.json").read_text())["actors"]["B"]
    return (actor["last_s"] - actor["first_s"]) / (actor["firings"] - 1)


def _stream(program: Callable[..., Path], nbytes: int, count: int) -> None:
    shape = f"'uint8', ({nbytes},), capacity=2"
    tx = f"tx('f', 'A.out', {shape}, to='right', address='127.0.0.1', port=5100)"
    program("left", f"actor('A', 'ACTORS:Some', 'cpu', {{'count': '{count}'}})", tx)
    program("right", "actor('B', 'ACTORS:Discard', 'cpu')", f"rx('f', 'B.in', {shape}, frm='left', port=5100)")


def _echo(program: Callable[..., Path], nbytes: int) -> None:
    shape = f"'uint8', ({nbytes},), capacity=2"
    program(
        "left",
        f"actor('A', 'ACTORS:RoundTrip', 'cpu', {{'count': '{ECHOES}', 'told': 'told'}})",
        f"tx('f', 'A.out', {shape}, to='right', address='127.0.0.1', port=5100)",
        f"rx('b', 'A.in', {shape}, frm='right', port=5101, delay=1)",
    )
    program(
        "right",
        "actor('B', 'ACTORS:Echo', 'cpu')",
        f"rx('f', 'B.in', {shape}, frm='left', port=5100)",
        f"tx('b', 'B.out', {shape}, to='left', address='127.0.0.1', port=5101)",
    )
