"""What a user wants to know of a sound application, as data and as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eprune.analysis.summary import summary
from eprune.model.graph import Graph, Port, phases_text
from eprune.model.quantity import format_size
from eprune.model.system import System
from eprune.views.tables import counted, table

#: How many characters of a schedule people are shown.
_SCHEDULE = 400


def as_data(system: System) -> dict[str, Any]:
    """What a user wants to know of a sound graph. Sizes are in bytes, rates, capacities and delays in tokens."""
    graph = system.graph
    found = summary(system)
    homes, units = system.homes, system.units
    ports = dict(graph.ports())
    return {
        "application": graph.name,
        "actors": [
            {
                "name": actor.name,
                "type": actor.type.value,
                "behaviour": actor.behaviour.label if actor.behaviour else None,
                "platform": homes.get(actor.name),
                "unit": units[actor.name][1] if actor.name in units else None,
            }
            for actor in graph.actors
        ],
        "fifos": [
            {
                "name": fifo.name,
                "from": str(fifo.source),
                "to": str(fifo.target),
                "token": str(ports[fifo.source].token),
                "token_bytes": found.token_bytes[fifo.name],
                "rate": ports[fifo.source].url,
                **_ends(graph, ports[fifo.source], ports[fifo.target]),
                "capacity": fifo.capacity,
                "delay": fifo.delay,
            }
            for fifo in graph.fifos
        ],
        "buffer_bytes": found.buffer_bytes,
        "memory_bytes": found.memory_bytes,
        "order": list(found.order),
        **({"iteration": found.iteration, "schedule": found.schedule} if graph.is_sdf else {}),
    }


def _short(schedule: str) -> str:
    """A schedule as far as people read it."""
    return schedule if len(schedule) <= _SCHEDULE else f"{schedule[:_SCHEDULE].rpartition(' ')[0]} ..."


def _ends(graph: Graph, source: Port, target: Port) -> dict[str, list[int]]:
    """The rates at both ends of a multi-rate graph's FIFO, firing by firing."""
    return {"produced": list(source.rates), "consumed": list(target.rates)} if graph.is_sdf else {}


def as_text(data: Mapping[str, Any]) -> str:
    """The same for people."""

    home = {actor["name"]: actor["platform"] for actor in data["actors"]}
    placed = any(home.values())

    def place(actor: dict[str, Any]) -> str:
        return "/".join(filter(None, (actor["platform"], actor["unit"]))) or "-"

    def way(fifo: dict[str, Any]) -> str:
        source, target = (home[fifo[end].partition(".")[0]] or "-" for end in ("from", "to"))
        return source if source == target else f"{source} -> {target}"

    def rate(fifo: dict[str, Any]) -> str:
        ends = [phases_text(tuple(fifo.get(end, [fifo["rate"]]))) for end in ("produced", "consumed")]
        return " -> ".join(dict.fromkeys(ends))

    actors = table(
        ("actor", "type", "behaviour") + ("on",) * placed,
        [
            (actor["name"], actor["type"], actor["behaviour"] or "-") + (place(actor),) * placed
            for actor in data["actors"]
        ],
    )
    fifos = table(
        ("FIFO", "from", "to", "token", "bytes", "rate", "capacity", "delay") + ("on",) * placed,
        [
            (fifo["name"], fifo["from"], fifo["to"], fifo["token"], fifo["token_bytes"], rate(fifo))
            + (fifo["capacity"], fifo["delay"])
            + (way(fifo),) * placed
            for fifo in data["fifos"]
        ],
    )
    memory = "".join(
        f"Memory of {platform}: {format_size(size)}, FIFO buffers and model weights\n"
        for platform, size in data["memory_bytes"].items()
    )
    order = f"Precedence order: {' -> '.join(data['order'])}\n"
    if "iteration" in data:
        firings = ", ".join(f"{count} of {actor}" for actor, count in data["iteration"].items())
        order = f"Firings of an iteration: {firings}\nSchedule: {_short(data['schedule'])}\n"
    size = f"{counted(len(data['actors']), 'actor')} and {counted(len(data['fifos']), 'FIFO')}"
    return (
        f"{data['application']}: {size}\n\n"
        f"{actors}\n{fifos}\n"
        f"FIFO buffers: {format_size(data['buffer_bytes'])}\n{memory}{order}"
    )
