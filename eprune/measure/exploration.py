"""An exploration's folder: partition points with mappings, programs and scripts, and what was found out of them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform as host
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Optional

from eprune.analysis.check import check
from eprune.deploy.build import bundle_of, programs_of
from eprune.explore.cost import Costs
from eprune.explore.flow import flow
from eprune.explore.plan import (
    ACTORS,
    PLAN,
    LinkFigures,
    Plan,
    Power,
    link_figures,
    memory,
    power,
    read_plan,
    script,
    write_plan,
)
from eprune.explore.space import Alternative, Constraints, Roles, Space, Units, fastest, mapping, place
from eprune.formats.atomic import write_file
from eprune.formats.xml.mapping import write_mapping
from eprune.measure import script as measuring
from eprune.measure.progress import SILENT, Progress
from eprune.measure.store import Store, empty
from eprune.model.finding import WrongUsage, errors
from eprune.model.system import System

#: A process that measures in an exploration's folder holds a lock on this file.
LOCK = ".profile.lock"
#: The commands that measured there.
COMMANDS = "commands.json"

#: Platform -> unit -> actor -> seconds.
Times = Mapping[str, Mapping[str, Mapping[str, float]]]
NO_TIMES: Times = MappingProxyType({})


class NoPoint(Exception):
    """No partition point can be built; ``excluded`` says why, for each."""

    def __init__(self, excluded: Mapping[str, str]) -> None:
        super().__init__("no partition point can be built")
        self.excluded = excluded


def write_exploration(
    system: System,
    roles: Roles,
    constraints: Constraints,
    space: Space,
    frames: int,
    folder: Path,
    command: str,
    progress: Progress = SILENT,
    fast: bool = False,
    estimated: Times = NO_TIMES,
) -> Plan:
    """Write everything; explore.json comes last, so that a folder with one is whole.

    ``fast``: actors are on the units of their platforms that were timed as the fastest. ``estimated`` are what to take
    for times until actors are timed. Raises NoPoint, and WrongUsage where there are no such times.
    """
    timed = _timed_units(system, folder) if fast else {}
    several = [platform for platform in system.platforms if len(platform.units) > 1]
    units = {
        platform.name: {
            actor.name: timed.get(platform.name, {}).get(actor.name) or unit.name
            for actor in system.graph.actors
            if (unit := platform.unit_for(actor)) is not None
        }
        for platform in several
    }
    _clear(folder)
    store = Store(folder)
    digest = hashlib.sha256(str(frames).encode())
    excluded: dict[str, str] = dict(space.excluded)
    alternatives: list[Alternative] = []
    for number, alternative in enumerate(space.alternatives, 1):
        progress.update(number)
        problem = _write_alternative(system, alternative, units, folder, store, digest)
        if problem:
            excluded[alternative.name] = problem
        else:
            alternatives.append(alternative)
    progress.clear()
    if not alternatives:
        raise NoPoint(excluded)
    given = (system.graph.where.file, *(platform.where.file for platform in system.platforms))
    plan = Plan(
        id=digest.hexdigest()[:16],
        flow=flow(system.graph, system.interfaces),
        roles=roles,
        frames=frames,
        constraints=constraints,
        alternatives=tuple(alternatives),
        excluded=excluded if roles.anywhere else dict(sorted(excluded.items(), key=_by_number)),
        links=link_figures(system.platforms),
        power=power(system.platforms),
        files=tuple(path if path == "-" else os.path.relpath(path, folder) for path in given),
        command=command,
        directory=here(folder),
        units=units,
        memory=memory(system.platforms),
        estimated=estimated,
    )
    if fast and (times := read_times(folder)):
        write_times(plan, folder, times.platforms)
    write_file(str(folder / "measure.py"), Path(measuring.__file__).read_bytes())
    for platform in plan.roles.platforms:
        path = folder / f"measure-{platform}.sh"
        write_file(str(path), script(plan, platform))
        path.chmod(0o755)
    write_file(str(folder / PLAN), write_plan(plan))
    return plan


def _by_number(item: tuple[str, str]) -> list[int]:
    return [*map(int, item[0].split("-"))]


@dataclass(frozen=True)
class Typed:
    """A command that somebody typed, in ``directory``, which is relative to an exploration's folder."""

    command: str
    directory: str


def here(folder: Path) -> str:
    """The current folder, as seen from an exploration's."""
    return os.path.relpath(os.path.realpath("."), os.path.realpath(folder))


def commands_of(plan: Plan, folder: Path) -> tuple[Typed, ...]:
    """The commands that measured or timed this plan, in order, each once; none where nobody has written them down."""
    try:
        data = json.loads((folder / COMMANDS).read_text(encoding="utf-8"))
        if data["plan"] != plan.id:
            return ()
        return tuple(Typed(str(each["command"]), str(each["directory"])) for each in data["commands"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def remember(plan: Plan, folder: Path, command: str) -> None:
    """Write down that this command measured or timed a plan."""
    typed = Typed(command, here(folder))
    commands = [each for each in commands_of(plan, folder) if each != typed]
    data = {"plan": plan.id, "commands": [asdict(each) for each in (*commands, typed)]}
    write_file(str(folder / COMMANDS), json.dumps(data, indent=1) + "\n")


def foreign(folder: Path) -> bool:
    """Whether a folder has files, but no exploration."""
    try:
        return folder.is_dir() and not (folder / PLAN).exists() and any(folder.iterdir())
    except OSError:
        return False


def _clear(folder: Path) -> None:
    """Remove what an earlier exploration left; results stay, because they state which plan they belong to."""
    try:
        old = read_plan((folder / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    (folder / PLAN).unlink()
    for alternative in old.alternatives:
        shutil.rmtree(folder / alternative.name, ignore_errors=True)
    empty(folder)


def _write_alternative(
    system: System, alternative: Alternative, units: Units, folder: Path, store: Store, digest: Any
) -> str:
    """Write a pair of mappings, and the programs of the platforms that run something; or say what is wrong with it."""
    name, homes = alternative.name, alternative.homes
    units = {**units, **alternative.units}
    placed = place(system, homes, units)
    for finding in errors(check(placed)):
        return f"{finding.rule}: {finding.message}"
    for platform in system.platforms:
        each = mapping(system.graph, platform, homes, units)
        write_file(str(folder / name / f"{platform.name}.xml"), write_mapping(each))
    for program in programs_of(placed):
        data = bundle_of(program, str(folder / name / f"{program.platform}.pyz"))
        digest.update(store.add(data, name, program.platform))
    return ""


def read_plan_of(folder: str) -> Plan:
    """The exploration in a folder. Raises WrongUsage where there is none."""
    path = Path(folder, PLAN)
    try:
        return read_plan(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WrongUsage(f"{folder} has no {PLAN}: make one with eprune explore APP.xml ... -o {folder}") from None
    except ValueError as error:
        raise WrongUsage(f"{path} cannot be used: {error}; run eprune explore again") from None


@dataclass(frozen=True)
class Timed:
    """What timing the actors gave: of which plan, and for each platform ``actors`` (name -> seconds) and where."""

    plan: str
    platforms: Mapping[str, Mapping[str, Any]]


def read_times(folder: Path) -> Optional[Timed]:
    """The times of actors in a folder; None if there are none. Raises WrongUsage for a file that is damaged."""
    try:
        data = json.loads((folder / ACTORS).read_text(encoding="utf-8"))
        platforms = data["platforms"]
        if not isinstance(platforms, dict) or not all(isinstance(each["actors"], dict) for each in platforms.values()):
            raise TypeError
        return Timed(data["plan"], platforms)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise _damaged(folder) from None


def _damaged(folder: Path) -> WrongUsage:
    return WrongUsage(f"{folder / ACTORS} cannot be used: run eprune profile {folder} --actors")


def read_costs(plan: Plan, folder: Path, speeds: Optional[Mapping[str, float]] = None) -> Optional[Costs]:
    """What the actors cost, as timed, with platforms so many times faster; None where they were not timed.

    Raises WrongUsage for times that cannot be used: damaged ones, or those of an earlier exploration.
    """
    timed = read_times(folder)
    if timed is None or timed.plan != plan.id:
        return None
    try:
        slow = {name: float(each.get("slowdown", 1)) for name, each in timed.platforms.items()}
        times = {
            name: {actor: seconds * slow[name] for actor, seconds in _on_units(each, plan.units.get(name)).items()}
            for name, each in timed.platforms.items()
        }
        # They are the application's, though each platform sampled them: those of the first platform count.
        sampled = [each.get("rates", {}) for each in timed.platforms.values()]
        rates = {name: float(rate) for each in reversed(sampled) for name, rate in each.items()}
        late = {
            name: {actor: float(p95) * slow[name] for actor, (_, p95) in each["spread"].items()}
            for name, each in timed.platforms.items()
            if each.get("rested")
        }
    except (ValueError, TypeError, AttributeError, KeyError):
        raise _damaged(folder) from None
    factors = speeds or {}
    scaled = {
        name: {actor: seconds / factors.get(name, 1.0) for actor, seconds in own.items()} for name, own in times.items()
    }
    relative = {name: factors.get(name, 1.0) / slow[name] for name in slow}
    emulated = {name: factor for name, factor in relative.items() if factor != 1}
    on: Times = {}
    units = plan.units
    if plan.roles.anywhere:
        on = {
            name: {
                unit: {actor: seconds * slow[name] / factors.get(name, 1.0) for actor, seconds in own.items()}
                for unit, own in each["units"].items()
            }
            for name, each in timed.platforms.items()
            if "units" in each
        }
        units = {name: timed.platforms[name]["fastest"] for name in on}
    late = {name: {actor: each / factors.get(name, 1.0) for actor, each in own.items()} for name, own in late.items()}
    return Costs(scaled, plan.links, plan.power, emulated, rates, units=units, on=on, memory=plan.memory, late=late)


def estimated_costs(plan: Plan, speeds: Optional[Mapping[str, float]] = None) -> Optional[Costs]:
    """What the actors cost by the estimate of the plan, with platforms so many times faster; None if it has none."""
    if not plan.estimated:
        return None
    factors = speeds or {}
    scaled = {
        name: {
            unit: {actor: each / factors.get(name, 1.0) for actor, each in own.items()} for unit, own in units.items()
        }
        for name, units in plan.estimated.items()
    }
    return replace(costs_by(scaled, plan.links, plan.power, plan.memory), speeds=dict(factors), estimated=True)


def costs_by(
    times: Times, links: tuple[LinkFigures, ...], power: Mapping[str, Power], memory: Mapping[str, int]
) -> Costs:
    """Costs of actors that may be on any unit that has a time for them, and else are on the fastest one."""
    units = {name: fastest(own) for name, own in times.items()}
    best = {name: {actor: times[name][unit][actor] for actor, unit in own.items()} for name, own in units.items()}
    on = {name: own for name, own in times.items() if len(own) > 1}
    chosen = {name: own for name, own in units.items() if name in on}
    return Costs(best, links, power, units=chosen, on=on, memory=memory)


def _on_units(timed: Mapping[str, Any], units: Optional[Mapping[str, str]]) -> Mapping[str, float]:
    """Actor -> seconds, on the unit of its platform that it is on."""
    if "units" not in timed or units is None:
        own: Mapping[str, float] = timed["actors"]
        return own
    return {actor: timed["units"][unit][actor] for actor, unit in units.items() if unit}


def _timed_units(system: System, folder: Path) -> dict[str, dict[str, str]]:
    """Platform -> actor -> the unit that was timed as the fastest. Raises WrongUsage where nothing was timed."""
    timed = read_times(folder)
    found = {} if timed is None else {name: dict(each.get("fastest", {})) for name, each in timed.platforms.items()}
    wanted = {platform.name: {unit.name for unit in platform.units} for platform in system.platforms}
    if not any(set(own.values()) <= wanted.get(name, set()) for name, own in found.items() if own):
        raise WrongUsage(
            f"{folder} has no times of platforms with several units: eprune explore without --fastest-units, then "
            f"eprune profile {folder} --actors"
        )
    return {name: {a: unit for a, unit in own.items() if unit in wanted.get(name, ())} for name, own in found.items()}


def stale_costs(plan: Plan, folder: Path) -> bool:
    """Whether the folder has times of actors, but of an earlier exploration. Raises WrongUsage for damaged ones."""
    timed = read_times(folder)
    return timed is not None and timed.plan != plan.id


def times_from_elsewhere(plan: Plan, folder: Path) -> dict[str, Any]:
    """Platform -> its times in the folder, of those that were taken on another machine than this.

    Times that are damaged are none: whoever asks is about to write new ones.
    """
    try:
        timed = read_times(folder)
    except WrongUsage:
        return {}
    own = timed.platforms if timed is not None and timed.plan == plan.id else {}
    return {name: each for name, each in own.items() if each.get("host", host.node()) != host.node()}


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others from measuring in this folder at the same time. Raises WrongUsage if another process does."""
    if os.name != "posix":
        yield
        return
    import fcntl

    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WrongUsage(
                f"another eprune profile is measuring in {folder}: both would take the cores from each other, "
                "so wait until it is done, or explore into another folder"
            ) from None
        yield


def write_times(plan: Plan, folder: Path, platforms: Mapping[str, Any]) -> str:
    """Write what timing the actors gave, for each platform; the file's path."""
    path = str(folder / ACTORS)
    write_file(path, json.dumps({"plan": plan.id, "platforms": dict(platforms)}, indent=1) + "\n")
    return path
