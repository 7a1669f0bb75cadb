"""An exploration on disk: explore.json says what there is to measure, under which constraints, and over which links."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Optional, Union

from eprune.explore.flow import Flow, Stream
from eprune.explore.required import Required
from eprune.explore.space import Alternative, Constraints, Roles, Units
from eprune.model.platform import Platform

#: What describes an exploration in its folder; its results, a line of JSON each; the times of its actors.
PLAN = "explore.json"
RESULTS = "results.jsonl"
ACTORS = "actors.json"
#: Results of single frames.
LATENCIES = "latency.jsonl"

_NAME = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True)
class LinkFigures:
    """A link in one direction: bytes per second, seconds, watts while sending; None where the file does not say.

    ``window`` are the bytes of a FIFO that may be under way beyond its capacity.
    """

    origin: str
    to: str
    address: str = "127.0.0.1"
    bandwidth: Optional[float] = None
    latency: Optional[float] = None
    watts: Optional[float] = None
    window: int = 0


@dataclass(frozen=True)
class Power:
    """What a platform takes, in watts: while it computes, or sends over a link that states nothing else; and else.

    ``units``: what other units than the first take while they compute, where they state it.
    """

    watts: float
    idle: float = 0.0
    units: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What ``eprune explore`` decided.

    ``id`` changes with everything that a measurement depends on, so that results of an earlier plan are not taken for
    those of this one. ``files`` are the application's and the platforms', relative to the folder. ``excluded`` maps
    the names of partition points to why they are left out. ``command`` is what the user typed, in ``directory``, which
    is relative to the folder. ``units`` says of platforms that have several which one each actor would be on.
    ``memory``: platform -> bytes, where its file states them. ``estimated``: platform -> unit -> actor -> seconds, from
    the file of the model alone, where ``roles.anywhere``; each unit has those actors that it takes.
    """

    id: str
    flow: Flow
    roles: Roles
    frames: int
    constraints: Constraints
    alternatives: tuple[Alternative, ...]
    excluded: Mapping[str, str]
    links: tuple[LinkFigures, ...]
    power: Mapping[str, Power]
    files: tuple[str, ...]
    command: str
    directory: str = "."
    units: Units = field(default_factory=dict)
    memory: Mapping[str, int] = field(default_factory=dict)
    estimated: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    @property
    def point(self) -> str:
        """What an alternative is called."""
        return "placement" if self.roles.anywhere else "partition point"

    @property
    def objective(self) -> str:
        """What is best, unless somebody says otherwise."""
        return "latency" if self.roles.anywhere else "endpoint"

    @property
    def from_stdin(self) -> bool:
        """Whether the application was read from stdin, and so is in no file."""
        return self.files[0] == "-"

    def files_at(self, folder: Union[str, Path]) -> list[str]:
        """The paths of ``files``, for an exploration in that folder."""
        return [os.path.normpath(Path(folder, file)) for file in self.files]

    def alternative(self, name: str) -> Optional[Alternative]:
        """The alternative of that name, or None."""
        return next((alternative for alternative in self.alternatives if alternative.name == name), None)


def link_figures(platforms: Sequence[Platform]) -> tuple[LinkFigures, ...]:
    """The links between these platforms."""
    names = {platform.name for platform in platforms}
    return tuple(
        LinkFigures(platform.name, link.to, link.address, link.bandwidth, link.latency, link.watts, link.window)
        for platform in platforms
        for link in platform.links
        if link.to in names
    )


def without_window(plan: Plan) -> tuple[LinkFigures, ...]:
    """The links towards the server that state a latency but no window: ``space.place`` gives one to each FIFO."""
    return tuple(
        link
        for link in plan.links
        if link.bandwidth and link.latency and not link.window and link.origin != plan.roles.server
    )


def power(platforms: Sequence[Platform]) -> dict[str, Power]:
    """What the platforms take whose first unit, on which actors run, states it."""
    units = {platform.name: platform.units[0] for platform in platforms if platform.units}
    others = {
        platform.name: {unit.name: unit.watts for unit in platform.units[1:] if unit.watts is not None}
        for platform in platforms
    }
    return {
        name: Power(unit.watts, unit.idle or 0.0, others[name])
        for name, unit in units.items()
        if unit.watts is not None
    }


def memory(platforms: Sequence[Platform]) -> dict[str, int]:
    """Platform -> bytes, of those that state their memory."""
    return {platform.name: platform.memory for platform in platforms if platform.memory is not None}


def write_plan(plan: Plan) -> str:
    """JSON text that reads back as an equal plan; explore/measure.py reads it, too."""
    data = {
        "id": plan.id,
        "application": plan.flow.application,
        "command": plan.command,
        "directory": plan.directory,
        "files": plan.files,
        "platforms": plan.roles.platforms,
        "edges": plan.roles.edges,
        **({"endpoints": plan.roles.endpoints} if plan.roles.anywhere else {}),
        "frames": plan.frames,
        "order": plan.flow.actors,
        "fifos": [asdict(stream) for stream in plan.flow.streams],
        "weights": plan.flow.weights,
        "constraints": asdict(plan.constraints),
        "alternatives": [asdict(alternative) for alternative in plan.alternatives],
        "excluded": plan.excluded,
        "links": [
            {"from": link.origin, **{key: value for key, value in asdict(link).items() if key != "origin"}}
            for link in plan.links
        ],
        "power": {name: asdict(each) for name, each in plan.power.items()},
        "units": plan.units,
        "memory": plan.memory,
        **({"estimated": plan.estimated} if plan.estimated else {}),
    }
    return json.dumps(data, indent=1) + "\n"


def read_plan(text: str) -> Plan:
    """The plan of such a text. Raises ValueError for any other."""
    try:
        data = json.loads(text)
        *others, server = data["platforms"]
        edges = tuple(data["edges"])
        endpoints = data.get("endpoints")
        for name in (*data["platforms"], *(each["name"] for each in data["alternatives"])):
            if not _NAME.fullmatch(name):  # they name files
                raise ValueError(f"{name!r} is not a name")
        return Plan(
            id=data["id"],
            flow=Flow(
                data["application"],
                tuple(data["order"]),
                tuple(Stream(**each) for each in data["fifos"]),
                data.get("weights", {}),
            ),
            roles=Roles(
                tuple(endpoints or (name for name in others if name not in edges)), server, edges, bool(endpoints)
            ),
            frames=data["frames"],
            constraints=_constraints(data["constraints"]),
            alternatives=tuple(Alternative(**each) for each in data["alternatives"]),
            excluded=data["excluded"],
            links=tuple(LinkFigures(origin=each.pop("from"), **each) for each in data["links"]),
            power={name: Power(**each) for name, each in data["power"].items()},
            files=tuple(data["files"]),
            command=data["command"],
            directory=str(data.get("directory", ".")),
            units={name: dict(own) for name, own in data.get("units", {}).items()},
            memory=data.get("memory", {}),
            estimated=data.get("estimated", {}),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it has no valid {error}" if isinstance(error, KeyError) else str(error)) from None


def _constraints(data: Mapping[str, Any]) -> Constraints:
    tuples = {key: tuple(map(_frozen, value)) for key, value in data.items() if key not in ("max_bytes", "required")}
    return Constraints(**tuples, max_bytes=data["max_bytes"], required=Required(**data.get("required", {})))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def script(plan: Plan, platform: str) -> str:
    """The shell script that measures one platform's part of all alternatives, unattended."""
    leader = plan.roles.platforms[0]
    others = [name for name in plan.roles.platforms if name != platform]
    if platform == leader:
        role = (
            f"It leads: {' and '.join(others)} must be running, or start within a minute. It goes on where it stopped."
        )
    else:
        role = f"It waits for {leader}, runs what {leader} asks for, and ends when {leader} has measured everything."
    reach = others if platform == leader else [plan.roles.server] if platform != plan.roles.server else []
    if plan.roles.anywhere and platform != leader:
        reach = [link.to for link in plan.links if link.origin == platform]
    example = [f"--at {name}=192.168.1.{10 + plan.roles.platforms.index(name)}" for name in reach]
    if platform != leader:
        example.append(f"--bind 192.168.1.{10 + plan.roles.platforms.index(platform)}")
    example.append("--insecure")
    return (
        "#!/bin/sh\n"
        f"# {plan.flow.application}: {len(plan.alternatives)} alternatives, {plan.frames} frames each, on {platform}.\n"
        f"# {role}\n"
        f"# Options, for example: {' '.join(example)}; all of them: --help\n"
        'cd "$(dirname "$0")" || exit 2\n'
        f'exec "${{PYTHON:-python3}}" measure.py {platform} "$@"\n'
    )
