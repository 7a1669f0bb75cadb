"""What TLS, tunnels and dora cost: two programs over plain loopback, over TLS, through SSH, over zenoh, on dora."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from scripts.bench.harness import own_path, say
from tests.kit import zenoh_router

ROOT = Path(__file__).resolve().parents[2]
ACTORS = ROOT / "scripts" / "bench" / "actors.py"
WAYS = ("none", "tls", "ssh", "zenoh", "dora")
ROUNDS = 5
ECHOES = 100


def secure(folder: Path) -> None:
    """Throughput of large tokens and round trips of small ones, over TLS, SSH, zenoh and dora, against plain links."""
    from eprune.deploy.keys import make

    make(str(folder / "keys"), ["left", "right"], 1)
    with _sshd(folder / "sshd") as ssh:
        if ssh is None:
            print("no sshd starts here: nothing to say of SSH", file=sys.stderr)
        missing = [name for name in ("zenoh", "dora") if not importlib.util.find_spec(name)]
        if missing:
            print(f"not installed, so nothing to say of it: {', '.join(missing)}", file=sys.stderr)
        ways = tuple(way for way in WAYS if way not in missing and (ssh or way != "ssh"))
        say("", "plain", *(way.upper() for way in ways[1:]), *(f"{way.upper()} to plain" for way in ways[1:]))
        say(*["---"] * (2 * len(ways)))
        for nbytes, count in ((73728, 5000), (4 * 1024 * 1024, 200)):
            _tell(folder, ssh, f"{nbytes:,} B, MB/s", ways, nbytes, count)
        _tell(folder, ssh, "400 B and back, us", ways, 400, 0)


def _tell(folder: Path, ssh: Optional[list[str]], what: str, ways: tuple[str, ...], nbytes: int, count: int) -> None:
    """A line of the table; without a count round trips are timed."""
    rounds = [[_run(folder, ssh, way, nbytes, count) for way in ways] for _ in range(ROUNDS)]
    figures = [(nbytes / seconds / 1e6 if count else seconds * 1e6) for seconds in map(statistics.median, zip(*rounds))]
    ratios = [
        statistics.median((times[0] / times[n]) if count else times[n] / times[0] for times in rounds)
        for n in range(1, len(ways))
    ]
    say(what, *(f"{figure:,.0f}" for figure in figures), *(f"{ratio:.2f}" for ratio in ratios))


def _run(folder: Path, ssh: Optional[list[str]], way: str, nbytes: int, count: int) -> float:
    """Seconds a token, or a round trip."""
    from eprune.deploy.ports import free_base_port

    base = free_base_port(4)
    here, there = base, base + 2 if way == "ssh" else base
    shape = f"'uint8', ({nbytes},), capacity=4, security={way!r}"
    if way == "dora":
        shape = f"'uint8', ({nbytes},), capacity=4"
    if way == "zenoh":
        shape = f"'uint8', ({nbytes},), capacity=4, via='zenoh'"
    to = f"{shape}, address='127.0.0.1'"
    if count:
        left = [f"actor('A', 'ACTORS:Some', 'cpu', {{'count': '{count}'}})"]
        right = ["actor('B', 'ACTORS:Discard', 'cpu')"]
    else:
        told = f"{{'count': '{ECHOES}', 'told': 'told'}}"
        left = [
            f"actor('A', 'ACTORS:RoundTrip', 'cpu', {told})",
            f"rx('b', 'A.in', {shape}, frm='right', port={here + 1}, delay=1)",
        ]
        right = ["actor('B', 'ACTORS:Echo', 'cpu')", f"tx('b', 'B.out', {to}, to='left', port={there + 1})"]
    left.insert(1, f"tx('f', 'A.out', {to}, to='right', port={here})")
    right.insert(1, f"rx('f', 'B.in', {shape}, frm='left', port={there})")
    tunnel = [f"-L{here}:127.0.0.1:{there}", f"-R{there + 1}:127.0.0.1:{here + 1}"]
    router = zenoh_router.start(base + 3) if way == "zenoh" else None
    options = [f"--zenoh=tcp/127.0.0.1:{base + 3}"] if router else []
    with _tunnel([*(ssh or []), *tunnel], here) if way == "ssh" else contextlib.nullcontext():
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "EPRUNE_KEYS": str(folder / "keys")}
        programs = [_program(folder, name, lines) for name, lines in (("left", left), ("right", right))]
        commands = [[sys.executable, str(path), f"--record={path.with_suffix('.json')}", *options] for path in programs]
        if way == "dora":
            commands, environment = [_dataflow(folder, bool(count))], {**environment, "PATH": own_path()}
        quiet = {"stderr": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        processes = [subprocess.Popen(command, env=environment, cwd=folder, **quiet) for command in commands]
        codes = [process.wait() for process in processes]
    if router:
        zenoh_router.stop(router)
    if any(codes):
        raise SystemExit(f"{way}: the programs failed")
    if not count:
        return float((folder / "told").read_text())
    actor = json.loads((folder / "right.json").read_text())["actors"]["B"]
    return (actor["last_s"] - actor["first_s"]) / (actor["firings"] - 1)


def _dataflow(folder: Path, one_way: bool) -> list[str]:
    """The command that runs the two programs as nodes."""
    there = {"left": ("f", "right"), "right": ("b", "left")}
    nodes = []
    for name, (sent, peer) in there.items():
        received = there[peer][0]
        edges = [(f"{sent}.credit", [sent])] if name == "left" or not one_way else []
        edges += [(received, [f"{received}.credit"])] if name == "right" or not one_way else []
        inputs = {edge: {"source": f"{peer}/{edge}", "queue_size": 6} for edge, _ in edges}
        outputs = [each for _, several in edges for each in several]
        node = {"id": name, "path": f"{name}.py", "args": f"--dora --record={folder / name}.json"}
        nodes.append({**node, "inputs": inputs, "outputs": outputs})
    (folder / "dataflow.yml").write_text(json.dumps({"nodes": nodes}))  # JSON is YAML
    return ["dora", "run", "dataflow.yml"]


def _program(folder: Path, name: str, declarations: list[str]) -> Path:
    text = ["from eprune.runtime import Program", f"program = Program('bench', {name!r}, 'd', __file__)"]
    text += ["program.unit('cpu')", *(f"program.{declaration}" for declaration in declarations)]
    text += ["raise SystemExit(program.main())"]
    path = folder / f"{name}.py"
    path.write_text("\n".join(text).replace("ACTORS:", f"{os.path.relpath(ACTORS, folder)}:"))
    return path


@contextlib.contextmanager
def _sshd(folder: Path) -> Iterator[Optional[list[str]]]:
    """The ssh command that reaches an sshd on this machine, which is started for this; None if there is none."""
    import pytest

    from tests.kit import sshd

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(sshd.server(folder))
        except pytest.skip.Exception:
            yield None
            return
        config = ["-F", str(folder / "ssh_config"), "-p", str(server.port)]
        yield ["ssh", *config, "-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "LogLevel=QUIET", "127.0.0.1"]


@contextlib.contextmanager
def _tunnel(command: list[str], port: int) -> Iterator[None]:
    """An ssh that forwards, from when it listens on a port."""
    with subprocess.Popen(command) as process:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
