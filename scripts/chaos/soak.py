"""A soak: many small tokens over connections that break now and then; none is lost unseen, and memory is bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from eprune.deploy.ports import free_base_port
from scripts.chaos.proxy import Proxy

ROOT = Path(__file__).resolve().parents[2]
ACTORS = ROOT / "scripts" / "chaos" / "soak_actors.py"
#: Seconds between two resets, and bytes by which a process may grow in the second half.
RESET, GROWTH = 2.0, 8 * 2**20


class Soaked(NamedTuple):
    """What came of a soak: tokens made, arrived, dropped, sent once more; resets; growth of each process in bytes."""

    made: int
    arrived: int
    dropped: int
    resent: int
    resets: int
    growth: dict[str, int]
    seconds: float
    wrong: tuple[str, ...]


def soak(policy: str, tokens: int, folder: Path) -> Soaked:
    """Send so many tokens, of 64 bytes, from one process to another over a proxy that resets the connection."""
    base = free_base_port(2)
    common = f"'int64', (8,), capacity=64, policy='{policy}', port="
    aligned = ", aligned=True" * (policy != "wait")
    texts = {
        "left": (
            f"actor('A', 'ACTORS:Numbers', 'cpu', {{'count': '{tokens}'}})",
            f"tx('f', 'A.out', {common}{base}, to='right', address='127.0.0.1')",
        ),
        "right": (
            f"actor('B', 'ACTORS:Check', 'cpu', {{'path': '{folder}/told', 'policy': '{policy}'}})",
            f"rx('f', 'B.in', {common}{base + 1}, frm='left')",
        ),
    }
    proxy = Proxy(base, base + 1)
    processes: dict[str, subprocess.Popen[bytes]] = {}
    for name, declarations in texts.items():
        text = ["from eprune.runtime import Program", f"program = Program('soak', {name!r}, 'd', __file__{aligned})"]
        text += ["program.unit('cpu')", *(f"program.{each}" for each in declarations)]
        path = folder / f"{name}.py"
        path.write_text("\n".join([*text, "raise SystemExit(program.main())"]).replace("ACTORS:", f"{ACTORS}:"))
        words = [sys.executable, str(path), f"--record={folder / name}.json"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        processes[name] = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    begin = time.monotonic()
    sizes: dict[str, list[int]] = {name: [] for name in processes}
    last = begin
    try:
        while any(process.poll() is None for process in processes.values()):
            if time.monotonic() > begin + 60 + tokens / 1000:
                break  # it hangs: what is killed below ends with a signal, and is told
            time.sleep(0.1)
            for name, process in processes.items():
                sizes[name].append(resident(process.pid))
            if time.monotonic() - last > RESET:
                proxy.cut()
                last = time.monotonic()
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        proxy.close()
    return _judge(policy, tokens, folder, processes, sizes, proxy.cuts - 1, time.monotonic() - begin)


def _judge(
    policy: str,
    tokens: int,
    folder: Path,
    processes: dict[str, subprocess.Popen[bytes]],
    sizes: dict[str, list[int]],
    resets: int,
    seconds: float,
) -> Soaked:
    wrong = [f"{name} ends with {process.returncode}" for name, process in processes.items() if process.returncode]
    if wrong:
        return Soaked(tokens, 0, 0, 0, resets, {}, seconds, tuple(wrong))
    growth = {}
    for name, seen in sizes.items():
        alive = [size for size in seen if size]
        growth[name] = max(alive) - max(alive[: len(alive) // 2 + 1])  # what warms up does so in the first half
        if growth[name] > GROWTH:
            wrong.append(f"{name} grows by {growth[name] / 2**20:.0f} MiB")
    sent = json.loads((folder / "left.json").read_text())["fifos"]["f"]
    told = json.loads((folder / "told").read_text())
    if sent["tokens"] != tokens or sent["confirmed"] + sent["dropped"] != tokens:
        wrong.append(f"{sent['tokens']} tokens are not {sent['confirmed']} confirmed and {sent['dropped']} dropped")
    if policy == "wait" and (told["arrived"] != tokens or told["missing"] or sent["dropped"]):
        wrong.append(f"{told['arrived']} tokens arrived of {tokens}, {told['missing']} are missing")
    if told["disorder"]:
        wrong.append(f"{told['disorder']} tokens came twice, late or damaged")
    return Soaked(tokens, told["arrived"], sent["dropped"], sent["resent"], resets, growth, seconds, tuple(wrong))


def resident(pid: int) -> int:
    """Bytes of memory that a process has, 0 if it has gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def main(tokens: int) -> int:
    """Soak each policy; the exit code."""
    head = ("policy", "tokens", "arrived", "dropped", "sent again", "resets", "growth, MiB", "seconds", "verdict")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    failed = False
    for policy in ("wait", "drop"):
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            found = soak(policy, tokens, Path(folder))
        grown = f"{max(found.growth.values(), default=0) / 2**20:.1f}"
        verdict = "; ".join(found.wrong) or "as promised"
        figures = (found.made, found.arrived, found.dropped, found.resent, found.resets)
        cells = (policy, *map(str, figures), grown, f"{found.seconds:.0f}", verdict)
        print("| " + " | ".join(cells) + " |", flush=True)
        failed |= bool(found.wrong)
    return 1 if failed else 0
