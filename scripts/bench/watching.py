"""What watching costs: frames per second of a deployed system that is watched, beside the same that is not."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
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
        found[status].append((1 / period(record, "Sink"), used))
    _compare("one program, `--status FILE`", found)


def _compare(what: str, found: Mapping[bool, Sequence[tuple[float, float]]]) -> None:
    """Two rows: frames per second, and seconds of processor time per frame, without and with."""
    for place, (figure, unit, scale) in enumerate((("frames", "/s", 1.0), ("processor time per frame", "ms", 1e3))):
        values = {each: [scale * one[place] for one in found[each]] for each in found}
        ratio = statistics.median(one / other for other, one in zip(values[False], values[True]))
        shown = [f"{statistics.median(values[each]):.2f} {unit}" for each in (False, True)]
        say(f"{what}: {figure}", f"{ratio:.3f}", *shown)


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
        found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
        agents = []
        for turn in range(PAIRS):
            for watched in (False, True) if turn % 2 else (True, False):
                rate, used, of_agents = _rate(folder, watched)
                found[watched].append((rate, used))
                agents += [of_agents] * watched
        _compare("deployed over ssh, `eprune top` each second", found)
        say(
            "... of which the agents on both devices take", "", "", f"{100 * statistics.median(agents):.2f} % of a core"
        )
    finally:
        eprune(folder, "deploy", "undeploy", "system", "--purge")


def _rate(folder: Path, watched: bool) -> tuple[float, float, float]:
    """Frames per second that the server takes; seconds of processor time per frame on both devices, of programs and of
    agents that watch them; the cores that the agents use.
    """
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
        before = _counts(folder)
        time.sleep(SECONDS)
        frames, seconds, programs, agents = (after - each for after, each in zip(_counts(folder), before))
        return frames / seconds, (programs + agents) / frames, agents / seconds
    finally:
        if top is not None:
            top.terminate()
            top.communicate()


def _counts(folder: Path) -> tuple[float, ...]:
    """Frames so far, when that was, and the seconds of processor time of programs, by their reports, and of agents."""
    reports = [
        json.loads((folder / f"devices/{name}/vehicle/{name}/run/status.json").read_text()) for name in PLATFORMS
    ]
    programs = sum(report["user_s"] + report["system_s"] for report in reports)
    return min(reports[-1]["firings"].values()), reports[-1]["time"], programs, _used()


def _used() -> float:
    """Seconds of processor time of the agents on both devices, and of what they call."""
    import psutil

    from eprune.deploy.ssh import BOOT

    total = 0.0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if BOOT in process.cmdline():
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
    return total
