"""How long ``eprune analyze`` takes, and how much memory."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from scripts.bench.harness import ROOT, say


def analyzer(folder: Path) -> None:
    """eprune analyze on a chain and on a random layered graph, also with times and requirements."""
    say("graph", "actors", "FIFOs", "seconds", "peak memory")
    say("---", "---", "---", "---", "---")
    for kind in ("chain", "layered", "required"):
        for count in (1000, 10_000, 100_000)[: 2 if kind == "required" else 3]:
            choose = random.Random(count)
            width = 1 if kind == "chain" else 10
            edges = [
                (source, target)
                for target in range(width, count)
                for source in sorted(
                    {choose.randrange(max(0, target - 3 * width), target - width + 1) for _ in range(2)}
                )
            ]
            if kind == "chain":
                edges = [(target - 1, target) for target in range(1, count)]
            ports: list[list[str]] = [[] for _ in range(count)]
            for number, (source, target) in enumerate(edges):
                ports[source].append(f'<out name="o{number}" token="float32[4]"/>')
                ports[target].append(f'<in name="i{number}" token="float32[4]"/>')
            stated = [""] * count
            if kind == "required":
                stated = [f' time="{choose.randint(1, 20)}ms"' for _ in range(count)]
                stated = [text + ' rate="20/s"' * (n < width) for n, text in enumerate(stated)]
            lines = [f'<actor name="a{n}"{stated[n]}>{"".join(own)}</actor>' for n, own in enumerate(ports)]
            lines += [f'<fifo name="f{n}" from="a{u}.o{n}" to="a{v}.i{n}"/>' for n, (u, v) in enumerate(edges)]
            if kind == "required":
                lines += _requirements(edges, width)
            path = folder / f"{kind}.xml"
            path.write_text('<application name="big">\n' + "\n".join(lines) + "\n</application>\n")
            begin = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-m", "eprune", "analyze", str(path)], cwd=ROOT, stdout=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                raise SystemExit("the graph is not sound")
            seconds = time.perf_counter() - begin
            say(kind, f"{count}", f"{len(edges)}", f"{seconds:.2f}", f"{usage.ru_maxrss / 1024:.0f} MiB")


def _requirements(edges: list[tuple[int, int]], width: int) -> list[str]:
    """Of the first three sources, each to a sink that its tokens get to."""
    found = []
    for number, (source, target) in enumerate(edges):
        if source < width and len(found) < 3:
            end = number
            while True:
                onward = next((place for place, (other, _) in enumerate(edges) if other == target), None)
                if onward is None:
                    break
                end, target = onward, edges[onward][1]
            ends = f'from="a{source}.o{number}" to="a{target}.i{end}"'
            found.append(f'<require {ends} rate="20/s" latency="1000s"/>')
    return found
