"""K(2,4) with each frame to both servers, and to one of them: bytes, and how long answers are late after a failure."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from scripts.bench.harness import say
from scripts.bench.replicas import ROOT, command

ENDPOINTS, SERVERS, FRAMES = 4, 2, 100
#: Frames per second while a server fails, and seconds of silence after which its frames go to the other one.
RATE, TIMEOUT = 50, 0.5
RUNS = 5


def build(folder: Path, endpoints: int, route: str, cut: str, paced: bool = False) -> list[Path]:
    """The programs of K(2, endpoints) of the vehicle classifier, whose answers come back."""
    text = (ROOT / "graphs" / "vehicle.xml").read_text()
    text = text.replace('name="Input"', f'name="Input" clock="{RATE}/s"') if paced else text
    for old, new in (
        ("frame_source.py", f"{ROOT}/actors/frame_source.py"),
        ("json_lines.py", f"{ROOT}/actors/json_lines.py"),
        ("vehicle.tflite", f"{ROOT}/graphs/vehicle.tflite"),
        ('name="count" value="100"', 'name="count" value="100000"'),
    ):
        text = text.replace(old, new)
    folder.mkdir()
    (folder / "chain.xml").write_text(text)
    shape = ("--cut-after", cut, "--back-to", "Sink", "--endpoints", endpoints, "--servers", SERVERS)
    sharing = ("--route", route, "--policy", "drop" if route == "all" else "wait", "--timeout", f"{TIMEOUT}s")
    command("replicate", folder / "chain.xml", "--allow-outside", *shape, *sharing, "-o", folder / "k")
    given = ("-p", folder / "k/platforms", "-m", folder / "k/mappings", "--allow-outside")
    command("codegen", folder / "k/application.xml", *given, "-o", f"{folder}/programs/")
    return sorted((folder / "programs").glob("*.py"))


def begin(programs: list[Path], *options: str) -> dict[str, subprocess.Popen[str]]:
    """All programs, started."""
    return {
        path.stem: subprocess.Popen(
            [sys.executable, str(path), "--record", str(path.with_suffix(".json")), "--no-pin", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        for path in programs
    }


def traffic(programs: list[Path]) -> tuple[float, float]:
    """Bytes of tokens per frame of an endpoint, to the servers and back."""
    for name, process in begin(programs, "--frames", str(FRAMES)).items():
        _, said = process.communicate()
        if process.returncode:
            raise SystemExit(f"{name}: {said}")
    sums = {"out": 0, "back": 0}
    for path in programs:
        if path.stem.startswith("endpoint"):
            for fifo in json.loads(path.with_suffix(".json").read_text())["fifos"].values():
                if "policy" in fifo:  # between platforms; what is sent has a count of tokens that arrived
                    sums["out" if fifo.get("confirmed") is not None else "back"] += fifo["bytes"]
    return sums["out"] / FRAMES / ENDPOINTS, sums["back"] / FRAMES / ENDPOINTS


def pause(programs: list[Path], how: signal.Signals) -> tuple[float, float, int]:
    """Seconds between two answers, usually and at most, where a server gets a signal; how many answers are missing."""
    processes = begin(programs, "--frames", "200", "--dead-after", "30", "--patience", "5")
    endpoint = processes["endpoint1"]
    assert endpoint.stdout is not None
    came = []
    for number, _ in enumerate(endpoint.stdout):
        came.append(time.monotonic())
        if number == 100:
            processes["server1"].send_signal(how)
    processes["server1"].kill()
    for process in processes.values():
        process.communicate()
    between = [later - earlier for earlier, later in zip(came, came[1:])]
    return statistics.median(between), max(between[20:]), 200 - len(came)


def routes(folder: Path) -> None:
    """Each frame to both servers, and to one of them."""
    say("cut after", "frames go to", "bytes per frame, to servers", "back")
    say(*["---"] * 4)
    for cut in ("L2", "L3"):
        for route in ("all", "one"):
            sent, back = traffic(build(folder / f"{cut}-{route}", ENDPOINTS, route, cut))
            say(cut, route, f"{sent:.0f}", f"{back:.0f}")
    say("")
    say("server 1 is", "frames go to", "ms between answers, usually", "at most", "answers missing")
    say(*["---"] * 5)
    for route in ("all", "one"):
        programs = build(folder / f"paced-{route}", 1, route, "L2", paced=True)
        for what, how in (("killed", signal.SIGKILL), ("frozen", signal.SIGSTOP)):
            runs = [pause(programs, how) for _ in range(RUNS)]
            usual, most, missing = (statistics.median(each) for each in zip(*runs))
            say(what, route, f"{usual * 1e3:.1f}", f"{most * 1e3:.0f}", f"{missing:.0f}")
