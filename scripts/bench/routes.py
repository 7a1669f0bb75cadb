"""K(2,4) with each frame to both servers, and to one of them: bytes, and how long answers are late after a failure."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scripts.bench.harness import say
from scripts.bench.replicas import ROOT, command

ENDPOINTS, SERVERS, FRAMES = 4, 2, 100
#: Frames per second while a server fails, and seconds of silence after which its frames go to the other one.
RATE, TIMEOUT = 50, 0.5
RUNS = 3


def chain(folder: Path, paced: bool) -> Path:
    """The vehicle classifier, ``paced`` by a clock."""
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
    return folder / "chain.xml"


def compiled(folder: Path, made: Path) -> list[Path]:
    """The programs of an application."""
    given = ("-p", made / "platforms", "-m", made / "mappings", "--allow-outside")
    command("codegen", made / "application.xml", *given, "-o", f"{folder}/programs/")
    return sorted((folder / "programs").glob("*.py"))


def build(folder: Path, endpoints: int, route: str, cut: str, paced: bool = False) -> list[Path]:
    """The programs of K(2, endpoints) of the vehicle classifier, whose answers come back."""
    shape = ("--cut-after", cut, "--back-to", "Sink", "--endpoints", endpoints, "--servers", SERVERS)
    sharing = ("--route", route, "--policy", "drop" if route == "all" else "wait", "--timeout", f"{TIMEOUT}s")
    command("replicate", chain(folder, paced), "--allow-outside", *shape, *sharing, "-o", folder / "k")
    return compiled(folder, folder / "k")


def offloaded(folder: Path) -> list[Path]:
    """The programs of a device that offloads what comes after L2, and computes what the server does not."""
    made = chain(folder, True)
    for name in ("endpoint", "server"):
        where = 'unit="cpu0"' if name == "endpoint" else 'platform="endpoint"'
        places = "".join(f'<map actor="{each}" {where}/>' for each in ("Input", "L1", "L2", "L3", "L4-L5", "Sink"))
        text = f'<mapping application="vehicle" platform="{name}">{places}</mapping>'
        (folder / f"{name}.xml").write_text(text)
    mappings = ("-m", folder / "endpoint.xml", folder / "server.xml")
    placed = ("-p", "graphs/endpoint.xml", "graphs/server.xml", *mappings)
    times = ("--here", "0.005,0.01,0.003,0.0001", "--there", "0.0005,0.001,0.0003,0.0001")
    ends = ("--device", "endpoint", "--server", "server", "--retry", f"{TIMEOUT}s")
    command("apply", "offload", made, "--allow-outside", *placed, *ends, *times, "-o", folder / "k")
    return compiled(folder, folder / "k")


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


def pause(
    programs: list[Path], how: signal.Signals, endpoint: str = "endpoint1", server: str = "server1"
) -> tuple[float, float, int]:
    """Seconds between two answers, usually and at most, where a server gets a signal; how many answers are missing."""
    processes = begin(programs, "--frames", "200", "--dead-after", "30", "--patience", "5")
    lines = processes[endpoint].stdout
    assert lines is not None
    came = []
    for number, _ in enumerate(lines):
        came.append(time.monotonic())
        if number == 100:
            processes[server].send_signal(how)
    processes[server].kill()
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
    say("a server is", "what there is", "ms between answers, usually", "at most", "answers missing")
    say(*["---"] * 5)
    paced = {route: build(folder / f"paced-{route}", 1, route, "L2", paced=True) for route in ("all", "one")}
    for route, programs in paced.items():
        _fail(f"frames go to {route}", lambda how, programs=programs: pause(programs, how))
    programs = offloaded(folder / "offloaded")
    _fail("offloaded, --retry", lambda how: pause(programs, how, "endpoint", "server"))


def _fail(what: str, tried: Callable[[signal.Signals], tuple[float, float, int]]) -> None:
    for state, how in (("killed", signal.SIGKILL), ("frozen", signal.SIGSTOP)):
        usual, most, missing = (statistics.median(each) for each in zip(*[tried(how) for _ in range(RUNS)]))
        say(state, what, f"{usual * 1e3:.1f}", f"{most * 1e3:.0f}", f"{missing:.0f}")
