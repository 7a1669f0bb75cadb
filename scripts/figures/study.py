"""One case of the papers on this machine: calibrated, explored, predicted at all points and measured at some."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np

from eprune.explore.cost import predict
from eprune.explore.plan import ACTORS, RESULTS, Plan
from eprune.formats.behaviours.model_slice import ModelSlice
from eprune.formats.behaviours.python_class import PythonBehaviour
from eprune.formats.xml.application import read_application, write_application
from eprune.formats.xml.platform import read_platform, write_platform
from eprune.measure import script
from eprune.measure.exploration import read_costs, read_plan_of
from eprune.model.graph import Actor
from eprune.runtime.kernel.actor import PortType
from eprune.runtime.main.files import Files
from scripts.figures.papers import Case

ROOT = Path(__file__).resolve().parents[2]
PLATFORMS = Path(__file__).resolve().parent / "platforms"
#: Frames that the sources repeat: rendering them anew would cost more than the networks.
FRAMES = 10
#: How often actors are timed.
TIMINGS = 2
#: How often the whole model is measured to find the slowdown of an emulated unit.
CALIBRATIONS = 2


class Point(NamedTuple):
    """A partition point after the actor ``last``, in milliseconds per frame.

    ``compute`` and ``send`` are the endpoint's, predicted; ``steady`` is what a run of the case's frames should show,
    in which both go on at the same time; ``measured`` is what one did show, if one was made.
    """

    number: int
    last: str
    nbytes: int
    compute: float
    send: float
    steady: float
    measured: Optional[float]


class Study(NamedTuple):
    """A case with its points; the slowdown is of the emulated endpoint against this machine's core."""

    case: Case
    slowdown: float
    points: tuple[Point, ...]


def eprune(*arguments: str, within: Sequence[str] = ()) -> None:
    """Run a command of ours, ``within`` another one. Raises SystemExit with what it said where it fails."""
    command = [*within, sys.executable, "-m", "eprune", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"eprune {' '.join(arguments)}: {done.stderr}")


def application(name: str, folder: Path) -> Path:
    """The application with frames from a file, so that its source costs what a camera's would: a copy."""
    graph = read_application(str(ROOT / "graphs" / f"{name}.xml"))
    source, *others = graph.actors
    path = folder / f"{name}.npy"
    np.save(path, _frames(source))
    parameters = {**dict(source.parameters), "path": str(path), "repeat": "0"}
    source = replace(source, parameters=tuple(parameters.items()))
    copy = folder / f"{name}.xml"
    copy.write_text(write_application(replace(graph, actors=tuple(map(_located, (source, *others))))))
    return copy


def _located(actor: Actor) -> Actor:
    """The actor with its behaviour's file where it was found, for the copy lies elsewhere."""
    behaviour = actor.behaviour
    assert isinstance(behaviour, (PythonBehaviour, ModelSlice))
    return replace(actor, behaviour=replace(behaviour, file=str(Path(behaviour.path).resolve())))


def _frames(source: Actor) -> np.ndarray:
    """Some frames that the source renders."""
    behaviour = source.behaviour
    assert isinstance(behaviour, PythonBehaviour)
    actor = Files(__file__).load_class(f"{Path(behaviour.path).resolve()}:{behaviour.class_name}")()
    ports = list(source.ports)
    actor.name, actor.inputs = source.name, {}
    actor.outputs = {port.name: PortType(port.token.dtype, port.token.shape, 1) for port in ports}
    actor.initialize()
    frames = []
    for _ in range(FRAMES):
        rooms = {port.name: np.zeros(port.token.shape, port.token.dtype) for port in ports}
        actor.fire({}, rooms)
        frames.append(rooms[ports[0].name])
    actor.finalize()
    return np.stack(frames)


def times(graph: Path, folder: Path) -> dict[str, Any]:
    """What `eprune profile --actors` says of an application here, the least disturbed time: once for all cases."""
    cuts = folder / f"{graph.stem}-times"
    platforms = PLATFORMS / "n2_ethernet"
    eprune("explore", str(graph), "-p", str(platforms / "endpoint.xml"), str(platforms / "server.xml"), "-o", str(cuts))
    found = []
    for _ in range(TIMINGS):
        eprune("profile", str(cuts), "--actors")
        found += json.loads((cuts / ACTORS).read_text())["platforms"].values()
    return min(found, key=lambda each: sum(each["actors"].values()))


def calibrate(case: Case, graph: Path, timed: Mapping[str, Any], folder: Path) -> float:
    """The slowdown with which the whole model takes on the emulated endpoint what the papers state.

    Between its firings an emulated unit waits, and other things go through the caches; a core that is always busy, as
    when actors are timed, is faster. So it is measured in the way in which it is used.
    """
    slowdown = case.whole / 1e3 / sum(timed["actors"].values())
    cuts = folder / f"{case.name}-calibration"
    for _ in range(CALIBRATIONS):
        explore(case, graph, slowdown, cuts, "--must-not-use", "i7")
        eprune("profile", str(cuts), "--emulate", "--again")
        (line,) = script.read(cuts / RESULTS, read_plan_of(str(cuts)).id, True).values()
        slowdown *= case.whole / line["platforms"][case.device]["ms"]
    return slowdown


def explore(case: Case, graph: Path, slowdown: float, cuts: Path, *constraints: str) -> None:
    """Explore a case in ``cuts``, on an endpoint that is so many times slower."""
    files = []
    for name in ("endpoint", "server"):
        platform = read_platform(str(PLATFORMS / f"{case.device}_{case.link}".lower() / f"{name}.xml"))
        if name == "endpoint":
            platform = replace(platform, units=(replace(platform.units[0], slowdown=slowdown),))
        files.append(cuts.parent / f"{cuts.name}-{name}.xml")
        files[-1].write_text(write_platform(platform))
    options = ["-o", str(cuts), "--frames", str(case.frames), *case.arguments, *constraints]
    eprune("explore", str(graph), "-p", str(files[0]), str(files[1]), *options)


def study(case: Case, graph: Path, timed: Mapping[str, Any], slowdown: float, folder: Path) -> Study:
    """Explore a case in ``folder``, predict all of its points and measure those it names."""
    cuts = folder / case.name
    explore(case, graph, slowdown, cuts)
    plan = read_plan_of(str(cuts))
    # Predictions, too, are calibrated by the papers' time of the whole model.
    timed_slowdown = case.whole / 1e3 / sum(timed["actors"].values())
    told = {case.device: {**timed, "slowdown": timed_slowdown}, "i7": {**timed, "slowdown": 1}}
    (cuts / ACTORS).write_text(json.dumps({"plan": plan.id, "platforms": told}))
    names = [each.name for each in plan.alternatives]
    wanted = [name for name in names if not case.points or int(name) in case.points]
    missing = script.waiting(wanted, script.read(cuts / RESULTS, plan.id, True), False)
    if missing:
        eprune("profile", str(cuts), "--emulate", *(word for name in missing for word in ("--point", name)))
    return Study(case, slowdown, points(case, plan, cuts))


def points(case: Case, plan: Plan, cuts: Path) -> tuple[Point, ...]:
    """All partition points of an exploration, predicted and measured."""
    costs = read_costs(plan, cuts)
    assert costs is not None
    still = replace(costs, links=())
    results = script.read(cuts / RESULTS, plan.id, True)
    found = []
    # Actors that are tied to the endpoint do not tell the points apart.
    order = [actor for actor in plan.flow.actors if actor not in case.arguments]
    for each in plan.alternatives:
        told = predict(plan.flow, plan.roles, costs, each.homes)
        compute = predict(plan.flow, plan.roles, still, each.homes).value("endpoint")
        whole, period = told.value("endpoint"), told.value("throughput")
        line = results.get(each.name)
        here = [actor for actor in order if each.homes[actor] == case.device]
        found.append(
            Point(
                number=int(each.name),
                last=here[-1],
                nbytes=plan.flow.nbytes(each.homes),
                compute=compute,
                send=whole - compute,
                steady=((case.frames - 1) * period + whole) / case.frames,
                measured=line["platforms"][case.device]["ms"] if line and line["ok"] else None,
            )
        )
    return tuple(found)
