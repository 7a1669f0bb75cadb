"""The papers' fault-tolerance table: time per frame of K(m,n) of the vehicle classifier.

Each process has a fixed share of a core: a quota of the kernel's cpu controller (cgroups, version 1 or 2), which takes
root. So a process that sends or receives pays for that from its share, as on a device of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.bench.harness import say

ROOT = Path(__file__).resolve().parents[2]
CGROUPS = Path("/sys/fs/cgroup")
#: Microseconds of processor time that a process gets in each period.
QUOTA, PERIOD = 2000, 10000
FRAMES, RUNS = 400, 3
#: Milliseconds per frame at 1 to 6 endpoints (Edge-PRUNE's fault-tolerance paper), with one server.
PAPER = {"endpoint": (4.7, 4.9, 5.2, 5.4, 6.2, 7.0), "server": (4.8, 5.7, 6.5, 7.1, 8.7, 9.7)}


@contextlib.contextmanager
def share(name: str) -> Iterator[Path]:
    """A control group with the quota; the path of its list of processes. Raises OSError where none is to be had."""
    old = CGROUPS / "cpu"
    group = (old if old.is_dir() else CGROUPS) / f"eprune-bench-{os.getpid()}-{name}"
    if not old.is_dir():
        (CGROUPS / "cgroup.subtree_control").write_text("+cpu")
    group.mkdir()
    try:
        if old.is_dir():
            (group / "cpu.cfs_period_us").write_text(str(PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(QUOTA))
        else:
            (group / "cpu.max").write_text(f"{QUOTA} {PERIOD}")
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def command(*arguments: object) -> None:
    """Run a command of eprune, quietly while all is well."""
    line = [sys.executable, "-m", "eprune", *map(str, arguments)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)


def build(folder: Path, servers: int, endpoints: int) -> list[Path]:
    """The programs of K(servers, endpoints), with a source that shows one frame again and again."""
    text = (ROOT / "graphs" / "vehicle_chain.xml").read_text()
    text = text.replace("frame_source.py:FrameSource", f"{ROOT}/scripts/bench/actors.py:Constant")
    text = text.replace("classifier.py:Classifier", f"{ROOT}/actors/classifier.py:Classifier")
    text = text.replace('model="vehicle.tflite"', f'model="{ROOT}/graphs/vehicle.tflite"')
    text = "\n".join(line for line in text.splitlines() if "path" not in line and "count" not in line)
    folder.mkdir()
    chain = folder / "chain.xml"
    chain.write_text(text)
    sizes = ("--endpoints", endpoints, "--servers", servers)
    command("replicate", chain, "--allow-outside", "--cut-after", "L3", *sizes, "-o", folder / "k")
    k = folder / "k"
    given = ("-p", k / "platforms", "-m", k / "mappings", "--allow-outside")
    command("codegen", k / "application.xml", *given, "-o", f"{folder}/programs/")
    return sorted((folder / "programs").glob("*.py"))


def frame_times(programs: list[Path]) -> dict[str, float]:
    """Run them side by side; mean milliseconds per frame of endpoints, of servers, and of a server's one actor."""
    with contextlib.ExitStack() as cleanup:
        started = {}
        for path in programs:
            tasks = cleanup.enter_context(share(path.stem))

            def join(tasks: Path = tasks) -> None:
                tasks.write_text(str(os.getpid()))

            options = [
                "--record",
                str(path.with_suffix(".json")),
                "--frames",
                str(FRAMES),
                "--no-pin",
                "--timeout",
                "120",
            ]
            started[path] = subprocess.Popen(
                [sys.executable, str(path), *options],
                preexec_fn=join,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        for path, process in started.items():
            _, said = process.communicate()
            if process.returncode:
                raise SystemExit(f"{path.stem}: {said.decode()}")
    times: dict[str, list[float]] = {"endpoint": [], "server": [], "answering": []}
    for path in programs:
        actors = json.loads(path.with_suffix(".json").read_text())["actors"]
        told = next(each for each in actors.values() if each["role"] != "inner")
        kind = path.stem.rstrip("0123456789")
        times[kind].append((told["last_s"] - told["first_s"]) / (told["firings"] - 1) * 1e3)
        if kind == "server":
            times["answering"].append(told["busy_s"] / told["firings"] * 1e3)
    return {kind: statistics.mean(each) for kind, each in times.items()}


def replicas(folder: Path) -> None:
    """Print the table."""
    try:
        with share("trial"):
            pass
    except OSError as error:
        say(f"left out: no control group to be had ({error})")
        return
    sizes = [(servers, endpoints) for endpoints in range(1, 7) for servers in (1, 2)]
    programs = {size: build(folder / "K{}-{}".format(*size), *size) for size in sizes}
    runs: dict[tuple[int, int], list[dict[str, float]]] = {size: [] for size in sizes}
    for _ in range(RUNS):
        for size in sizes:
            runs[size].append(frame_times(programs[size]))
    times = {
        size: {kind: statistics.median(run[kind] for run in each) for kind in each[0]} for size, each in runs.items()
    }
    heads = [f"K({m},n): {kind}, ms" for m in (1, 2) for kind in ("endpoint", "server", "of which its actor")]
    say("n", *heads, "paper, K(1,n): endpoint and server, ms")
    say(*["---"] * 8)
    for n in range(1, 7):
        ours = [f"{ms:.2f}" for m in (1, 2) for ms in times[m, n].values()]
        say(f"{n}", *ours, " and ".join(f"{PAPER[kind][n - 1]}" for kind in PAPER))
    say("")
    for kind, paper in PAPER.items():
        growth = [(times[m, 6][kind] / times[m, 1][kind]) ** 0.2 - 1 for m in (1, 2)]
        second = [times[2, n][kind] / times[1, n][kind] - 1 for n in range(1, 7)]
        say(
            f"{kind}: an endpoint more",
            *(f"{each:+.1%} with {m} server{'s' * (m > 1)}" for m, each in enumerate(growth, 1)),
            f"{(paper[5] / paper[0]) ** 0.2 - 1:+.1%} in the paper",
        )
        say(f"{kind}: a second server", f"{min(second):+.1%} to {max(second):+.1%}", "up to +4.3% in the paper")
