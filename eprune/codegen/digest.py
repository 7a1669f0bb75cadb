"""A fingerprint of a deployment, by which its platforms know each other when they connect."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from eprune.model.behaviour import Json
from eprune.model.graph import Actor, Dpg, Fifo, Port
from eprune.model.system import System


def digest(system: System, hashes: Mapping[str, str]) -> str:
    """The SHA-256, in hexadecimal, of what every platform of a deployment must agree on.

    That is the graph with its parameters and fault policies, the contents of behaviours, models, initial tokens and
    files that are parts of an actor (``hashes``: path -> hash), which platform each actor is on, and from where to
    where something is required, as tokens on the way say more of themselves; not what is required. Where the files
    lie, their lines and comments, the units, addresses and ports, and whether segments are fused take no part. The
    order of FIFOs does: ports are numbered by it. A file that ``hashes`` lacks is known by its name in the graph.
    """
    graph, homes = system.graph, system.homes
    description = [
        graph.name,
        [_actor(actor, homes[actor.name], hashes) for actor in graph.actors],
        [_fifo(fifo, hashes) for fifo in graph.fifos],
        [_dpg(dpg) for dpg in graph.dpgs],
        *_stated(computation=graph.computation.value if graph.is_sdf else None),
        *[["require", str(each.source), str(each.target)] for each in graph.requirements],
    ]
    return hashlib.sha256(json.dumps(description, separators=(",", ":")).encode()).hexdigest()


def _actor(actor: Actor, home: str, hashes: Mapping[str, str]) -> Json:
    return [
        actor.name,
        actor.type.value,
        home,
        None if actor.behaviour is None else actor.behaviour.identity(hashes),
        sorted([name, hashes.get(path, value)] for name, value, path in _placed(actor)),
        [_port(port) for port in actor.ports],
        actor.quorum,
        *_stated(match=actor.match, clock=actor.clock, rate=actor.rate, stall_after=actor.stall_after),
    ]


def _placed(actor: Actor) -> Iterator[tuple[str, str, str]]:
    """The parameters, each with the path that its value means if it names a file."""
    home = Path(actor.where.file).parent
    return ((name, value, str(home / value)) for name, value in actor.parameters)


def _stated(**values: Json) -> list[Json]:
    """What is stated: a file that does not state it keeps its fingerprint."""
    return [[name, value] for name, value in values.items() if value not in (None, False)]


def _port(port: Port) -> Json:
    rates = [port.lrl, port.atr, port.url]
    live = _stated(hold=port.hold, max_age=port.max_age, phases=list(port.phases) or None)
    return [port.name, port.direction.value, str(port.token), *rates, port.control, port.tensor, port.required, *live]


def _fifo(fifo: Fifo, hashes: Mapping[str, str]) -> Json:
    path = fifo.initial_path
    initial = None if path is None else hashes.get(path, fifo.initial)
    faults: list[Json] = [fifo.policy.value, fifo.timeout, fifo.ack.value]
    faults += _stated(timeout_floor=fifo.timeout_floor, room_timeout=fifo.room_timeout)
    faults += _stated(window=fifo.window, group=fifo.group, route=fifo.route)
    return [fifo.name, str(fifo.source), str(fifo.target), fifo.capacity, fifo.delay, initial, *faults]


def _dpg(dpg: Dpg) -> Json:
    rows: list[Json] = [[row.value, *row.rates] for row in dpg.rows]
    late = None if dpg.late is None else str(dpg.late)
    said = _stated(inside=dpg.inside or None, late=late, late_after=dpg.late_after)
    return [dpg.name, *dpg.actors, [str(ref) for ref in dpg.ports], rows, *said]
