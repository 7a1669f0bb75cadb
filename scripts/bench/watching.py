"""What watching costs: frames per second of a deployed system that is watched, beside the same that is not."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.bench.deploying import PLATFORMS, eprune
from scripts.bench.harness import ROOT, generate, period, say

#: Pairs of a time that is watched and one that is not, the seconds of each, and those until both are as they are.
PAIRS, SECONDS, SETTLE = 9, 8.0, 2.0
FRAMES = 1500


def watching(folder: Path) -> None:
    """The vehicle classifier with a status and without, watched and not watched, in turn; a ratio of 1 is no cost."""
    import pytest

    from tests.kit import fleet as kit
    from tests.kit import sshd

    say("", "ratio", "without", "with")
    say(*["---"] * 4)
    _status(folder)
    try:
        with sshd.server(folder / "endpoint-sshd") as one, sshd.server(folder / "server-sshd") as other:
            path = kit.both(folder / "bin", [one, other])
            os.environ["PATH"] = f"{path}:{os.environ['PATH']}"
            _watched(folder, dict(zip(PLATFORMS, (one, other))))
    except pytest.skip.Exception as reason:
        print(f"no sshd starts here: {reason}", file=sys.stderr)


def _status(folder: Path) -> None:
    """A program that keeps a status file, and one that does not."""
    arguments = ["-p", "graphs/endpoint.xml", "-m", "mappings/vehicle_local"]
    generate(ROOT / "graphs" / "vehicle.xml", arguments, folder)
    program = folder / "endpoint.py"

    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for turn in range(2 * PAIRS):
        status = bool(turn % 2)
        frames = ("--frames", str(FRAMES), "--set", f"Input.count={FRAMES}")
        frames += ("--status", str(folder / "status.json")) if status else ()
        record = _quiet(folder, program, frames)
        used = (record["user_s"] + record["system_s"]) / FRAMES
        found[status].append((1 / period(record, "Sink"), 1e3 * used))
    for place, (what, unit) in enumerate((("frames", "/s"), ("processor time per frame", "ms"))):
        values = {status: [each[place] for each in found[status]] for status in found}
        ratio = statistics.median(one / other for other, one in zip(values[False], values[True]))
        shown = [f"{statistics.median(values[status]):.2f} {unit}" for status in (False, True)]
        say(f"one program, `--status FILE`: {what}", f"{ratio:.3f}", *shown)


def _quiet(folder: Path, program: Path, arguments: tuple[str, ...]) -> dict[str, Any]:
    record = folder / "record.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program), "--record", str(record), *arguments]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    found: dict[str, Any] = json.loads(record.read_text())
    return found


def _watched(folder: Path, servers: Mapping[str, Any]) -> None:
    from eprune.deploy.ports import free_base_port

    port = free_base_port(8)
    (folder / "platforms").mkdir()
    for (name, server), peer in zip(servers.items(), PLATFORMS[::-1]):
        where = f'host="{server.url}" python="{sys.executable}" folder="{folder}/devices/{name}"'
        text = f'<platform name="{name}" {where}><unit name="cpu"/><link to="{peer}" port="{port}"/></platform>\n'
        (folder / "platforms" / f"{name}.xml").write_text(text)
    names = ("-p", "platforms/endpoint.xml", "platforms/server.xml")
    eprune(folder, "explore", str(ROOT / "graphs/vehicle.xml"), *names, "-o", "cuts")
    eprune(folder, "cut", "cuts", "--after", "L2", "-o", "system")
    eprune(folder, "deploy", "system", "--service", "plain", "--set", f"Input.count={10**9}")
    try:
        rates: dict[bool, list[float]] = {False: [], True: []}
        pairs, used = [], []
        for turn in range(PAIRS):
            order = (False, True) if turn % 2 else (True, False)
            found = {}
            for watched in order:
                found[watched], cost = _rate(folder, watched)
                rates[watched].append(found[watched])
                used += [cost] * watched
            pairs.append(found[True] / found[False])
        without, with_it = (statistics.median(rates[watched]) for watched in (False, True))
        ratio = statistics.median(pairs)
        say("deployed over ssh, `eprune top` each second", f"{ratio:.3f}", f"{without:.1f} /s", f"{with_it:.1f} /s")
        share = f"{100 * statistics.median(used):.2f} % of a core"
        say("... of which the agents on both devices take", "", "", share)
    finally:
        eprune(folder, "deploy", "undeploy", "system", "--purge")


def _rate(folder: Path, watched: bool) -> tuple[float, float]:
    """Frames per second that the server takes, and the cores that the agents use that watch it."""
    top = None
    if watched:
        command = [sys.executable, "-m", "eprune", "top", "system", "--format", "json"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        top = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert top.stdout is not None
        for line in top.stdout:  # until both are heard
            if all(each["health"] == "healthy" for each in json.loads(line)["platforms"]):
                break
    try:
        time.sleep(SETTLE)
        frames, at, used = *_frames(folder), _used()
        time.sleep(SECONDS)
        more, later, used_then = *_frames(folder), _used()
        return (more - frames) / (later - at), (used_then - used) / (later - at)
    finally:
        if top is not None:
            top.terminate()
            top.communicate()


def _frames(folder: Path) -> tuple[int, float]:
    """Frames so far, and when that was, by the program's own report."""
    status = json.loads((folder / "devices/server/vehicle/server/run/status.json").read_text())
    return min(status["firings"].values()), status["time"]


def _used() -> float:
    """Seconds of processor time of the agents on both devices, and of what they call."""
    import psutil

    from eprune.deploy.ssh import BOOT

    total = 0.0
    for process in psutil.process_iter(["cmdline"]):
        if BOOT in (process.info["cmdline"] or []):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
