"""What a token costs between two actors that compute nothing: over loopback, and within a process."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from eprune.deploy.ports import free_base_port
from scripts.bench.harness import BARE, bare, period, program, ratios, run, say


def link(folder: Path) -> None:
    """TX to RX over loopback, against a bare sendall and recv_into pair."""

    def both(nbytes: int, count: int) -> float:
        port = free_base_port(1)
        receiver = subprocess.Popen(
            [sys.executable, str(BARE), "receiver", str(port), str(nbytes), str(count)], stdout=subprocess.PIPE
        )
        while True:
            command = [sys.executable, str(BARE), "sender", str(port), str(nbytes), str(count)]
            if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.05)
        return json.loads(receiver.communicate()[0])["token_s"]

    def record(nbytes: int, count: int, capacity: int, source: str = "Idle", sink: str = "Discard") -> dict:
        port = free_base_port(1)
        shape = f"'uint8', ({nbytes},), capacity={capacity}"
        tx = program(
            folder,
            "tx",
            f"actor('A', 'ACTORS:{source}', 'cpu0')",
            f"tx('f', 'A.out', {shape}, to='rx', address='127.0.0.1', port={port})",
        )
        rx = program(
            folder, "rx", f"actor('B', 'ACTORS:{sink}', 'cpu1')", f"rx('f', 'B.in', {shape}, frm='tx', port={port})"
        )
        return run(folder, tx, rx, arguments=("--frames", str(count)))[1]

    def ours(nbytes: int, count: int, capacity: int) -> float:
        return period(record(nbytes, count, capacity), "B")

    say("token", "bare pair", "eprune", "throughput ratio (target)")
    say("---", "---", "---", "---")
    for nbytes, count in ((64 * 1024, 20000), (256 * 1024, 6000), (1024 * 1024, 2000), (4 * 1024 * 1024, 500)):
        ratio, our_s, bare_s = ratios(5, lambda n=nbytes, c=count: ours(n, c, 4), lambda n=nbytes, c=count: both(n, c))
        rates = [f"{nbytes / seconds / 1e9:.2f} GB/s" for seconds in (bare_s, our_s)]
        say(f"{nbytes // 1024} KiB", *rates, f"{ratio:.2f} (0.8)")
    for capacity, target in ((2, 25_000), (64, 300_000)):
        seconds = statistics.median(ours(400, 200_000, capacity) for _ in range(5))
        say(f"400 B, capacity {capacity}", "", f"{1 / seconds:.0f} tokens/s", f"({target:,} tokens/s)")
    age = record(73728, 500, 2, "Stamp", "Lag")["printed"]["age_us"]
    say("73,728 B, one way, actor to actor", "", f"{age:.0f} us", "(at most 100 us)")


def hop(folder: Path) -> None:
    """A hand-over between two actors of one process, on one core, against two bare SimpleQueues."""
    path = program(
        folder,
        "hop",
        "actor('A', 'ACTORS:Idle', 'cpu0')",
        "actor('B', 'ACTORS:Discard', 'cpu0')",
        "fifo('f', 'A.out', 'B.in', 'int32', (), capacity=2)",
        "cluster('A', 'B')",
    )
    count = 100_000

    def ours() -> float:
        return period(run(folder, path, arguments=("--frames", str(count)))[0], "B")

    ratio, bare_s, our_s = ratios(7, lambda: bare("handover", count)["token_s"], ours)
    say("hop", "bare, us", "eprune, us", "cost ratio (target)")
    say("---", "---", "---", "---")
    say("", f"{bare_s * 1e6:.2f}", f"{our_s * 1e6:.2f}", f"{ratio:.2f} (at most 0.15)")
