"""Several processes that exchange small tokens with each other: what the runtime costs where connections are many."""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

from eprune.deploy.ports import free_base_port
from scripts.bench.harness import BARE, period, program, ratios, run, say, told

#: the all-gather mesh: processes, exchanges an iteration, bytes of a token
DEVICES, EXCHANGES, NBYTES = 4, 7, 16 * 1024
ROUNDS = 1500
#: endpoints of one server, and the tokens of each
FEW, SOME, MANY = 5, 40, 100
TOKENS = {FEW: 16000, SOME: 2000, MANY: 800}


def mesh(folder: Path) -> None:
    """An all-gather of 4 processes on two cores, 7 exchanges of 16 KiB an iteration, against blocking sockets."""
    say("mesh", "bare, ms", "eprune, ms", "time ratio (target)")
    say("---", "---", "---", "---")
    programs = [_device(folder, number, base) for base in [_mesh_ports()] for number in range(DEVICES)]

    def ours() -> float:
        records = run(folder, *programs, arguments=("--frames", str(ROUNDS)))
        return statistics.mean(period(record, f"E{EXCHANGES}") for record in records)

    ratio, bare_s, our_s = ratios(5, _bare_mesh, ours)
    say("", f"{1e3 * bare_s:.3f}", f"{1e3 * our_s:.3f}", f"{ratio:.2f} (at most 2.5)")


def _mesh_ports() -> int:
    return free_base_port(DEVICES * DEVICES)


def _bare_mesh() -> float:
    port = _mesh_ports()
    arguments = [str(each) for each in (port, DEVICES, EXCHANGES, NBYTES, ROUNDS)]
    started = [
        subprocess.Popen([sys.executable, str(BARE), "gather", str(number), *arguments], stdout=subprocess.PIPE)
        for number in range(DEVICES)
    ]
    return statistics.mean(told(process)["round_s"] for process in started)


def _device(folder: Path, own: int, base: int) -> Path:
    """Device ``own``: a source and the exchanges, each of which takes the tokens of all devices."""
    unit = f"cpu{own % 2}"
    lines = [f"actor('E0', 'ACTORS:Idle', {unit!r})"]
    lines += [f"actor('E{step}', 'ACTORS:Idle', {unit!r})" for step in range(1, EXCHANGES + 1)]
    kind = f"'uint8', ({NBYTES},), capacity=2"
    for step in range(EXCHANGES):
        lines.append(f"fifo('d{own}d{own}s{step}', 'E{step}.to{own}', 'E{step + 1}.from{own}', {kind})")
    for peer in range(DEVICES):
        if peer == own:
            continue
        port = base + min(own, peer) * DEVICES + max(own, peer)
        link = f"shared=True, policy='stop', port={port}"
        for step in range(EXCHANGES):
            first = own < peer  # the end that dials has the first numbers
            number = step if first else step + EXCHANGES
            other = step + EXCHANGES if first else step
            tx = f"tx('d{own}d{peer}s{step}', 'E{step}.to{peer}', {kind}, to='d{peer}', address='127.0.0.1', {link}"
            rx = f"rx('d{peer}d{own}s{step}', 'E{step + 1}.from{peer}', {kind}, frm='d{peer}', {link}"
            lines += [f"{tx}, number={number})", f"{rx}, number={other})"]
    return program(folder, f"d{own}", *lines)


def endpoints(folder: Path) -> None:
    """K(1,n): the server's CPU time per frame of 400 B with n endpoints, against a loop of bare sockets."""
    say("endpoints", "bare, us", "eprune, us", "CPU time ratio (target)")
    say("---", "---", "---", "---")
    each = {}
    for count in (FEW, SOME, MANY):
        ratio, bare_s, our_s = ratios(
            3, lambda count=count: _bare_server(count), lambda count=count: _server(folder, count)
        )
        each[count] = our_s
        say(f"{count}", f"{1e6 * bare_s:.2f}", f"{1e6 * our_s:.2f}", f"{ratio:.2f}" + " (at most 2.5)" * (count == SOME))
    say(f"{MANY} against {FEW}", "", "", f"{each[MANY] / each[FEW]:.2f} (at most 1.1)")


def _bare_server(count: int) -> float:
    port = free_base_port(1)
    server = subprocess.Popen(
        [sys.executable, str(BARE), "collect", str(port), str(count), "400", str(TOKENS[count])], stdout=subprocess.PIPE
    )
    senders = subprocess.Popen([sys.executable, str(BARE), "spread", str(port), str(count), "400", str(TOKENS[count])])
    seconds = told(server)["cpu_s"]
    senders.wait()
    return seconds / count


def _server(folder: Path, count: int) -> float:
    """One program has all endpoints' sources: a hundred interpreters say nothing more about the server."""
    base = free_base_port(count)
    server = ["actor('Sink', 'ACTORS:Spent', 'cpu0')"]
    sources = []
    for number in range(count):
        kind = f"'uint8', (400,), capacity=4, port={base + number}"
        server.append(f"rx('f{number}', 'Sink.in{number}', {kind}, frm='many')")
        sources.append(f"actor('S{number}', 'ACTORS:Idle', 'cpu1')")
        sources.append(f"tx('f{number}', 'S{number}.out', {kind}, to='one', address='127.0.0.1')")
    programs = program(folder, "one", *server), program(folder, "many", *sources)
    record = run(folder, *programs, arguments=("--frames", str(TOKENS[count])))[0]
    return record["printed"]["cpu_s"] / count
