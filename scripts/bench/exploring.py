"""How long it takes to explore every partition point, and how far predictions are from what is measured, here."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from scripts.bench.harness import say

ROOT = Path(__file__).resolve().parents[2]


def exploring(folder: Path) -> None:
    """Every partition point of both applications on two cores, over loopback: measured, and predicted."""
    say(
        "application",
        "points",
        "explore, s",
        "measure all, s",
        "time the actors, s",
        "predict all, s",
        "error of prediction",
    )
    say("---", "---", "---", "---", "---", "---", "---")
    for name, frames in (("vehicle", 300), ("ssd_mobilenet", 20)):
        cuts = folder / name
        platforms = [word for each in ("endpoint", "server") for word in ("-p", str(ROOT / "graphs" / f"{each}.xml"))]
        graph = str(ROOT / "graphs" / f"{name}.xml")
        seconds = [
            _timed("explore", graph, *platforms, "-o", str(cuts), "--frames", str(frames)),
            _timed("profile", str(cuts)),
            _timed("profile", str(cuts), "--actors"),
            _timed("report", str(cuts), "--format", "json"),
        ]
        errors = _errors(cuts, frames)
        told = f"median {statistics.median(errors):.0f} %, worst {max(errors):.0f} %"
        say(name, f"{len(errors)}", *(f"{each:.1f}" for each in seconds), told)


def _timed(*arguments: str) -> float:
    begin = time.perf_counter()
    command = [sys.executable, "-m", "eprune", *arguments]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def _errors(cuts: Path, frames: int) -> list[float]:
    """Percent by which the predicted time a frame of each run differs from the measured one."""
    from eprune.explore.cost import predict
    from eprune.explore.plan import RESULTS
    from eprune.measure import script
    from eprune.measure.exploration import read_costs, read_plan_of

    plan = read_plan_of(str(cuts))
    costs = read_costs(plan, cuts)
    assert costs is not None
    loopback = replace(costs, links=())
    results = script.read(cuts / RESULTS, plan.id)
    errors = []
    for each in plan.alternatives:
        line = results[each.name]
        if not line["ok"]:
            continue
        told = predict(plan.flow, plan.roles, loopback, each.homes)
        # A run begins with a single frame, then there is one a period.
        predicted = ((frames - 1) * told.value("throughput") + told.value("latency")) / frames
        measured = 1e3 / line["frames_per_second"]
        errors.append(100 * abs(predicted - measured) / measured)
    return errors
