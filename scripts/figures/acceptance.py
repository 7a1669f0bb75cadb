"""The latency of single frames, predicted against measured, at the partition points of the papers' cases.

python -m scripts.figures.acceptance                           all cases: see docs/results/experiments.md
python -m scripts.figures.acceptance vehicle-n2-wifi --rounds 3

In each round the actors are timed, then 26 points are measured, and so on, so that both are of the same minutes: the
machine that plays the platforms has other work to do. Of several rounds the median counts. Emulated platforms are as
slow as the papers state for the whole model; both the prediction and the run have that slowdown.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from eprune.explore.cost import Costs, predict
from eprune.explore.late import deviations
from eprune.explore.plan import LATENCIES, Plan
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.system import read_system
from eprune.formats.xml.application import read_application, write_application
from eprune.formats.xml.platform import read_platform
from eprune.measure import script
from eprune.measure.exploration import read_costs, read_plan_of, write_times
from eprune.measure.latency import LINK
from eprune.measure.single_frame import returning
from eprune.measure.timing import time_platform
from scripts.figures.papers import CASES, Case
from scripts.figures.study import PLATFORMS, ROOT, application, eprune, explore

#: The real-time priority of what is measured.
PRIORITY = 5
DISCARD = '''from eprune.runtime import Actor


class Discard(Actor):
    """Takes tokens."""

    def fire(self, inputs, outputs):
        pass
'''
#: How far a prediction may be from what is measured, in percent.
P50, P95 = 10.0, 20.0
#: Frames of a point in each round, by application.
FRAMES = {"vehicle": 30, "ssd_mobilenet": 12}
ROUNDS = 3
#: Points that are measured before the actors are timed anew.
GROUP = 26
#: Seconds between points that are measured at once, for those that take the same time would compute at the same time.
APART = 0.7
#: Seconds that a platform rests at most between two frames when its actors are timed.
REST = 0.1


@dataclass(frozen=True)
class Latency:
    """A point's latency in a round, in milliseconds. ``together``: p95 if all platforms were late at the same time.

    ``parts``: platform, or link, -> predicted; ``shares``: the means that were measured of them.
    """

    point: str
    cut: str
    p50: float
    p95: float
    together: float
    measured_p50: float
    measured_p95: float
    parts: Mapping[str, float]
    shares: Mapping[str, float]


def rest_of(case: Case) -> float:
    """Seconds that a platform rests while a frame is elsewhere, about."""
    return min(case.whole / 1e3, REST)


def without_sinks(graph: Path) -> Path:
    """The application with sinks that do nothing, in another file.

    A latency ends where the result is. But a sink of the endpoint that takes its time has the unit while the next frame
    begins, and its thread when the next result comes.
    """
    (graph.parent / "discard.py").write_text(DISCARD)
    read = read_application(str(graph))
    nothing = PythonBehaviour("discard.py", "Discard", str(graph.parent / "discard.py"))
    actors = tuple(each if each.outputs else replace(each, behaviour=nothing, parameters=()) for each in read.actors)
    path = graph.with_name(f"{graph.stem}-frames.xml")
    path.write_text(write_application(replace(read, actors=actors)))
    return path


def slowdown_of(case: Case, graph: Path) -> float:
    """With which the whole model takes what the papers state, on an emulated endpoint, which waits."""
    platform = read_platform(str(PLATFORMS / f"{case.device}_{case.link}".lower() / "endpoint.xml"))
    slowdown = 2.0
    for _ in range(2):
        unit = replace(platform.units[0], slowdown=slowdown)
        slower = replace(platform, units=(unit,))
        timed = time_platform(str(graph), slower, None, allow_outside=True, emulate=True, rest=rest_of(case))
        slowdown = case.whole / 1e3 / sum(timed["actors"].values())
    return max(slowdown, 1.0)


def timed(plan: Plan, cuts: Path, rest: float) -> None:
    """Time the actors on both platforms, which rest while a frame is elsewhere."""
    found = {}
    for name, file in zip(plan.roles.platforms, plan.files_at(cuts)[1:]):
        platform, graph = read_platform(file), plan.files_at(cuts)[0]
        found[name] = time_platform(graph, platform, None, allow_outside=True, emulate=True, rest=rest)
    write_times(plan, cuts, found)


def predicted(plan: Plan, costs: Costs, homes: Mapping[str, str]) -> tuple[float, float, float, dict[str, float]]:
    """p50, p95, and p95 if all is late together, in ms; and the parts of the platforms."""
    typical = predict(plan.flow, plan.roles, costs, homes)
    parts = deviations(plan.flow, plan.roles, costs, homes)
    assert parts is not None
    every = replace(costs, times={name: {**own, **costs.late[name]} for name, own in costs.times.items()})
    together = predict(plan.flow, plan.roles, every, homes).latency
    independent = typical.latency + math.hypot(*parts.values())
    still = predict(plan.flow, plan.roles, replace(costs, links=()), homes)
    own = {name: 1e3 * seconds for name, seconds in still.platforms.items()}
    own[LINK] = 1e3 * typical.latency - sum(own.values())
    return 1e3 * typical.latency, 1e3 * independent, 1e3 * together, own


def profile(plan: Plan, cuts: Path, names: Sequence[str], at_once: int) -> dict[str, Any]:
    """What is measured of points; of several at once each in a folder and, for its ports, a network of its own."""
    words = ["--latency", "--emulate"]
    if at_once == 1:
        eprune("profile", str(cuts), *words, *_points(names))
        return script.read(cuts / LATENCIES, plan.id, True)
    alone = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    folders = [cuts.with_name(f"{cuts.name}-{number}") for number in range(at_once)]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(cuts, folder)

    def measure(number: int) -> None:
        time.sleep(number * APART)
        points = _points(names[number::at_once])
        eprune("profile", str(folders[number]), *words, *points, within=alone)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(measure, range(at_once)))
    lines: dict[str, Any] = {}
    for number, folder in enumerate(folders):
        found = script.read(folder / LATENCIES, plan.id, True)
        lines.update({name: found[name] for name in names[number::at_once] if name in found})
    return lines


def round_of(case: Case, plan: Plan, cuts: Path, names: Sequence[str], at_once: int) -> list[Latency]:
    """Actors timed, some points measured."""
    timed(plan, cuts, rest_of(case))
    costs = read_costs(plan, cuts)
    assert costs is not None
    lines = profile(plan, cuts, names, at_once)
    files = plan.files_at(cuts)
    system = read_system(files[0], files[1:], allow_outside=True)
    found = []
    for name in names:
        each = plan.alternative(name)
        line: Optional[Mapping[str, Any]] = lines.get(name)
        assert each is not None
        if line is None or not line["ok"]:
            raise SystemExit(f"{case.name}: point {name} failed: {line and line['problem']}")
        back = returning(plan, system, each, plan.frames)
        homes = {actor: back.system.homes[actor] for actor in each.homes}
        # A latency ends when the result is there: sinks do not count.
        still = dict.fromkeys(plan.flow.sinks, 0.0)
        without = replace(
            costs,
            times={name: {**own, **still} for name, own in costs.times.items()},
            late={name: {**own, **still} for name, own in costs.late.items()},
        )
        p50, p95, together, parts = predicted(plan, without, homes)
        taken = line["latency_ms"]
        found.append(Latency(name, each.after, p50, p95, together, taken["p50"], taken["p95"], parts, line["split_ms"]))
    return found


def _points(names: Sequence[str]) -> list[str]:
    return [word for name in names for word in ("--point", name)]


def accepted(case: Case, graph: Path, slowdown: float, folder: Path, options: argparse.Namespace) -> list[Latency]:
    """The medians of the rounds of a case."""
    cuts = folder / f"{case.name}-acceptance"
    case = replace_frames(case, options.frames or FRAMES[case.application])
    explore(case, graph, slowdown, cuts)
    plan = read_plan_of(str(cuts))
    every = [each.name for each in plan.alternatives]
    wanted = every if options.every or not case.points else [name for name in every if int(name) in case.points]
    rounds = []
    for number in range(1, options.rounds + 1):
        print(f"{time.monotonic() - BEGIN:.0f} s: {case.name}, round {number}", file=sys.stderr, flush=True)
        groups = [wanted[first : first + GROUP] for first in range(0, len(wanted), GROUP)]
        rounds.append([each for group in groups for each in round_of(case, plan, cuts, group, options.at_once)])
    return [median(each) for each in zip(*rounds)]


def replace_frames(case: Case, frames: int) -> Case:
    """The case with so many frames of a point."""
    return case._replace(frames=frames)


def median(rounds: Sequence[Latency]) -> Latency:
    """What is in the middle, figure by figure."""

    def of(name: str) -> float:
        return statistics.median(getattr(each, name) for each in rounds)

    def in_dict(name: str) -> dict[str, float]:
        return {key: statistics.median(getattr(each, name)[key] for each in rounds) for key in getattr(rounds[0], name)}

    figures = {name: of(name) for name in ("p50", "p95", "together", "measured_p50", "measured_p95")}
    return replace(rounds[0], **figures, parts=in_dict("parts"), shares=in_dict("shares"))


def percent(told: float, taken: float) -> float:
    """How far a prediction is from what was measured."""
    return 100 * (told - taken) / taken


def rows(case: Case, found: Sequence[Latency]) -> list[tuple[str, ...]]:
    """Cells of the table."""
    cells = []
    for each in found:
        errors = percent(each.p50, each.measured_p50), percent(each.p95, each.measured_p95)
        misses = [name for name, error, most in zip(("p50", "p95"), errors, (P50, P95)) if abs(error) > most]
        cells.append(
            (
                *(case.name, each.point, each.cut),
                *(f"{each.p50:.2f}", f"{each.measured_p50:.2f}", f"{errors[0]:+.0f} %"),
                *(f"{each.p95:.2f}", f"{each.measured_p95:.2f}", f"{errors[1]:+.0f} %"),
                f"{percent(each.together, each.measured_p95):+.0f} %",
                ", ".join(misses) or "met",
                ", ".join(f"{name} {each.parts[name]:.2f}/{value:.2f}" for name, value in each.shares.items()),
                reason(each) if misses else "",
            )
        )
    return cells


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """The table, and below it how many points are within the aims, and how good the predictions are."""
    lines = [HEADER, ["---"] * len(HEADER), *cells]
    errors = [[abs(float(row[place].rstrip(" %"))) for row in cells] for place in (5, 8, 9)]
    within = [sum(error <= most for error in own) for own, most in zip(errors, (P50, P95))]
    told = [f"{statistics.median(own):.0f} % (worst {max(own):.0f} %)" for own in errors]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + (
        f"\np50 within {P50:.0f} % at {within[0]} of {len(cells)} points, p95 within {P95:.0f} % at {within[1]}. "
        f"Median error of p50 {told[0]}, of p95 {told[1]}; were all platforms late at once, {told[2]}.\n"
    )


def reason(latency: Latency) -> str:
    """What makes most of the difference: a part's typical time, or how much it varies."""
    name = max(latency.shares, key=lambda part: abs(latency.shares[part] - latency.parts[part]))
    shift, parts = latency.measured_p50 - latency.p50, (latency.parts[name], latency.shares[name])
    wider = (latency.measured_p95 - latency.measured_p50) - (latency.p95 - latency.p50)
    if abs(wider) > abs(shift):
        return f"varies {'more' if wider > 0 else 'less'} than timed: p95 - p50 is {wider:+.2f} ms from predicted"
    return f"{name} takes {parts[1]:.2f} ms, not {parts[0]:.2f}"


HEADER = (
    *("case", "point", "cut", "p50 predicted", "measured", "error", "p95 predicted", "measured", "error"),
    *("all late at once", "aims", "parts: predicted/measured", "why"),
)
BEGIN = time.monotonic()


def first_in_line() -> bool:
    """Give this process and all that it starts the cores before others, if it may: a device has its core for itself."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except (AttributeError, OSError):
        return False
    return True


def main() -> None:
    names = [case.name for case in CASES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *names], help="which cases; all by default")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "build" / "acceptance", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--frames", type=int, metavar="N", help="of a point in each round")
    parser.add_argument("--every", action="store_true", help="all points of SSD-MobileNet, not 15 of them")
    parser.add_argument("--at-once", type=int, default=1, metavar="N", help="points (root); default: 1")
    parser.add_argument("--no-priority", action="store_true", help="share the cores with other work, as others do")
    options = parser.parse_args()
    if options.no_priority or not first_in_line():
        print("note: without real-time priority, other work on this machine counts", file=sys.stderr)
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    graphs: dict[str, Path] = {}
    slowdowns: dict[tuple[str, str], float] = {}
    found: dict[str, list[Latency]] = {}
    for case in CASES:
        if options.names and case.name not in options.names:
            continue
        name = case.application
        if name not in graphs:
            graphs[name] = without_sinks(application(name, folder))
        device = (name, case.device)
        if device not in slowdowns:
            slowdowns[device] = slowdown_of(case, graphs[name])
        found[case.name] = accepted(case, graphs[name], slowdowns[device], folder, options)
        cells = [row for case in CASES if case.name in found for row in rows(case, found[case.name])]
        text = markdown(cells)
        data = {
            "slowdowns": {f"{app} on {unit}": factor for (app, unit), factor in slowdowns.items()},
            "rounds": options.rounds,
            "cases": {name: [asdict(each) for each in own] for name, own in found.items()},
        }
        (folder / "acceptance.json").write_text(json.dumps(data, indent=1) + "\n")
        (folder / "acceptance.md").write_text(text)
    print((folder / "acceptance.md").read_text(), end="")


if __name__ == "__main__":
    main()
