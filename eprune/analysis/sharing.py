"""Which FIFOs carry the same tokens, so that one of them is enough between two platforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eprune.model.graph import FaultPolicy, Fifo, Graph
from eprune.model.interface import Interface

#: A FIFO under another policy may lose what its neighbour keeps: the two are not the same.
_WHOLE = (FaultPolicy.STOP, FaultPolicy.WAIT)


def same_tokens(graph: Graph, interfaces: Mapping[str, Interface]) -> dict[str, str]:
    """FIFO -> the first in the file that carries the same tokens under the same terms, where there are several.

    They come from ports of one actor that name one tensor, at rate 1, and the actor's behaviour ``copies``: it does not
    mind if some of these ports are gone. They agree in all but their reader and their capacity.
    """
    inside = {name for dpg in graph.dpgs for name in dpg.actors}
    copying = {name for name, interface in interfaces.items() if interface.copies} - inside
    ports = dict(graph.ports())
    groups: dict[tuple[Any, ...], list[str]] = {}
    for fifo in graph.fifos:
        source, target = ports.get(fifo.source), ports.get(fifo.target)
        if fifo.source.actor not in copying or fifo.target.actor in inside or source is None or target is None:
            continue
        plain = all(port.static and port.url == 1 and not port.control for port in (source, target))
        tensor = interfaces[fifo.source.actor].tensors.get(fifo.source.port)
        if (
            plain
            and tensor is not None
            and fifo.route is None
            and fifo.policy in _WHOLE
            and fifo.source.actor != fifo.target.actor
        ):
            groups.setdefault((fifo.source.actor, tensor, *_terms(fifo)), []).append(fifo.name)
    return {name: group[0] for group in groups.values() if len(group) > 1 for name in group}


def _terms(fifo: Fifo) -> tuple[Any, ...]:
    stated = (fifo.delay, fifo.initial, fifo.policy, fifo.timeout, fifo.timeout_floor, fifo.room_timeout, fifo.ack)
    return (*stated, fifo.window, fifo.group)
