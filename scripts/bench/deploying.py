"""From a report to healthy programs on two devices: both are this machine, behind an sshd each."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.bench.harness import say

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5
PLATFORMS = ("endpoint", "server")
#: what all is compared with: the same programs, made and started on this machine
ONCE = "`eprune run --frames 1`"


def deploying(folder: Path) -> None:
    """Seconds from a report on cuts of the vehicle classifier to healthy programs on two devices behind sshds."""
    import pytest

    from tests.kit import fleet as kit
    from tests.kit import sshd

    servers = []
    try:
        with sshd.server(folder / "endpoint-sshd") as one, sshd.server(folder / "server-sshd") as other:
            servers = [one, other]
            path = kit.both(folder / "bin", servers)
            os.environ["PATH"] = f"{path}:{os.environ['PATH']}"
            _measure(folder, dict(zip(PLATFORMS, servers)))
    except pytest.skip.Exception as reason:
        print(f"no sshd starts here: {reason}", file=sys.stderr)


def _measure(folder: Path, servers: Mapping[str, Any]) -> None:
    from eprune.deploy.ports import free_base_port

    port = free_base_port(8)
    for (name, server), peer in zip(servers.items(), PLATFORMS[::-1]):
        where = f'host="{server.url}" python="{sys.executable}" folder="{folder}/devices/{name}"'
        link = f'<link to="{peer}" port="{port}" bandwidth="11.2MB/s" latency="1.49ms"/>'
        text = f'<platform name="{name}" {where}><unit name="cpu"/>{link}</platform>\n'
        (folder / f"{name}.xml").write_text(text)
    platforms = ("-p", "endpoint.xml", "server.xml")
    eprune(folder, "explore", str(ROOT / "graphs/vehicle.xml"), *platforms, "-o", "cuts")
    eprune(folder, "profile", "cuts", "--actors", "-q")
    eprune(folder, "report", "cuts")
    steps: dict[str, list[float]] = {}
    for number in range(ROUNDS):
        many = f"Input.count={10**6 + number}"

        def timed(what: str, *words: str) -> None:
            steps.setdefault(what, []).append(eprune(folder, *words))

        ssh = ["ssh", "-p", str(servers["endpoint"].port), "127.0.0.1", "true"]
        begun = time.monotonic()
        subprocess.run(ssh, check=True)
        steps.setdefault("`ssh DEVICE true`, for comparison", []).append(time.monotonic() - begun)
        shutil.rmtree(folder / "system", ignore_errors=True)
        timed("`eprune cut cuts --after L2 -o system`", "cut", "cuts", "--after", "L2", "-o", "system")
        timed("`eprune deploy system`: the first time", "deploy", "system", "--set", many)
        timed("... again, where nothing has changed", "deploy", "system", "--set", many)
        timed("... another version", "deploy", "system", "--set", f"{many}0")
        timed("`eprune deploy rollback system`", "deploy", "rollback", "system")
        timed("`eprune deploy undeploy system`", "deploy", "undeploy", "system")
        here = ("system/application.xml", "-p", "system/platforms", "-m", "system/mappings", "--ports", "auto")
        timed(ONCE, "run", *here, "--frames", "1", "-q")
    once = steps.pop(ONCE)
    cut, first = list(steps.values())[1:3]
    steps["**from report to healthy**"] = [sum(pair) for pair in zip(cut, first)]
    say("", "seconds", "from", "to", f"times {ONCE}")
    say(*["---"] * 5)
    for what, seconds in {ONCE: once, **steps}.items():
        ratio = statistics.median(one / other for one, other in zip(seconds, once))
        say(what, *(f"{each:.2f}" for each in (statistics.median(seconds), min(seconds), max(seconds), ratio)))


def eprune(folder: Path, *words: str) -> float:
    """How many seconds a command takes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun = time.monotonic()
    command = [sys.executable, "-m", "eprune", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return time.monotonic() - begun
