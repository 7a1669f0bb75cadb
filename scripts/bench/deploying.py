"""From a report to healthy programs on two devices: both are this machine, behind an sshd each."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Callable

from scripts.bench.harness import say

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5
PLATFORMS = ("endpoint", "server")
#: what all is compared with: the same programs, made and started on this machine
ONCE = "`eprune run --frames 1`"


def deploying(folder: Path) -> None:
    """Seconds from a report on cuts of the vehicle classifier to healthy programs on two devices behind sshds."""
    _on_devices(folder, _measure)


def updating(folder: Path) -> None:
    """The longest pause between two results, and frames lost, while another version comes onto two devices."""
    _on_devices(folder, _update)


def _on_devices(folder: Path, measure: Callable[[Path, Mapping[str, Any]], None]) -> None:
    import pytest

    from tests.kit import fleet as kit
    from tests.kit import sshd

    servers = []
    try:
        with sshd.server(folder / "endpoint-sshd") as one, sshd.server(folder / "server-sshd") as other:
            servers = [one, other]
            path = kit.both(folder / "bin", servers)
            os.environ["PATH"] = f"{path}:{os.environ['PATH']}"
            measure(folder, dict(zip(PLATFORMS, servers)))
    except pytest.skip.Exception as reason:
        print(f"no sshd starts here: {reason}", file=sys.stderr)


def _cuts(folder: Path, servers: Mapping[str, Any]) -> None:
    """The report's folder, for platforms that are behind these servers."""
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


def _measure(folder: Path, servers: Mapping[str, Any]) -> None:
    _cuts(folder, servers)
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


class Results:
    """The lines of JSON that come into a file, and when each of them came."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.frames: list[int] = []
        self.times: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        rest, place = b"", 0
        while not self._over.is_set():
            if self._path.exists():
                if self._path.stat().st_size < place:  # a sink that begins anew
                    place = 0
                with self._path.open("rb") as file:
                    file.seek(place)
                    data = file.read()
                place += len(data)
                now = time.monotonic()
                *lines, rest = (rest + data).split(b"\n")
                self.frames += [json.loads(line)["frame"] for line in lines]
                self.times += [now] * len(lines)
            time.sleep(0.0005)

    def during(self, act: Callable[[], object]) -> tuple[float, list[int]]:
        """The longest pause between two results while this is done, in seconds, and the frames that came."""
        begin = len(self.times)
        act()
        time.sleep(0.5)
        times = self.times[max(begin - 1, 0) :]
        return max(later - earlier for earlier, later in zip(times, times[1:])), self.frames[begin:]

    def end(self) -> None:
        """Follow it no more."""
        self._over.set()
        self._thread.join()


def _update(folder: Path, servers: Mapping[str, Any]) -> None:
    _cuts(folder, servers)
    eprune(folder, "cut", "cuts", "--after", "L2", "-o", "system")
    told = ("--set", "Sink.path=results.jsonl")
    number = 10**6
    eprune(folder, "deploy", "system", *told, "--set", f"Input.count={number}")
    data = folder / "devices" / "server" / "vehicle" / "server" / "data" / "results.jsonl"
    results = Results(data)
    found: dict[str, list[tuple[float, int]]] = {}
    try:
        for _ in range(ROUNDS):
            for what, more in (("nothing is changed", None), ("`deploy --live`", ("--live",)), ("`deploy`", ())):
                number += 1
                words = ("deploy", "system", *told, "--set", f"Input.count={number}", *(more or ()))
                act = (lambda: time.sleep(5)) if more is None else (lambda words=words: eprune(folder, *words))
                pause, frames = results.during(act)
                lost = sum(later - earlier != 1 for earlier, later in zip(frames, frames[1:]))
                found.setdefault(what, []).append((pause, lost))
    finally:
        results.end()
        eprune(folder, "deploy", "undeploy", "system", "--purge")
    say("", "longest pause, ms", "from", "to", "frames lost, doubled or begun anew")
    say(*["---"] * 5)
    for what, rounds in found.items():
        pauses = [1e3 * pause for pause, _ in rounds]
        figures = (f"{each:.0f}" for each in (statistics.median(pauses), min(pauses), max(pauses)))
        say(what, *figures, str(sum(lost for _, lost in rounds)))


def eprune(folder: Path, *words: str) -> float:
    """How many seconds a command takes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun = time.monotonic()
    command = [sys.executable, "-m", "eprune", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return time.monotonic() - begun
