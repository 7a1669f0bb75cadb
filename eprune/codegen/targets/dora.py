"""The target for dora (https://dora-rs.ai): a dataflow with a node for each platform, which runs its actors."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Union

from eprune.codegen.program import PlatformProgram, RxFifo, TxFifo
from eprune.codegen.targets.target import Choices, Part, Target
from eprune.codegen.targets.text import comment, fill
from eprune.model.finding import Finding, Location

#: What the edge is called that gives room back, and how many messages besides tokens are under way: a hello, an end.
CREDIT, BESIDES = ".credit", 2

_NATIVE = "let eprune's own programs run it (eprune run, eprune deploy)"


def _refused(parts: Sequence[Part], choices: Choices) -> Iterator[Finding]:
    there = {part.program.platform for part in parts}
    for part in parts:
        program = part.program
        missing = sorted({end.peer for end in program.ends} - there)
        if missing:
            message = f"platform {program.platform!r} has FIFOs with {missing[0]!r}, of which there is no node"
            yield Finding("FILE", Location(program.sources[1]), message, "add its mapping with -m")
        for end in program.ends:
            if end.security != "none" or end.via:
                what = f'security="{end.security}"' if end.security != "none" else f'via="{end.via}"'
                between = f"the link between {program.platform!r} and {end.peer!r}"
                hint = f"leave it out of both platform files, or {_NATIVE}"
                yield Finding("FILE", end.where, f"{between} has {what}, which dora's edges have not", hint)
        for tx in program.tx:
            yield from _unlike(tx)
    if not any(tx.policy != "stop" for part in parts for tx in part.program.tx):
        yield from _aligned([part.program for part in parts])
    if any(part.program.schedules for part in parts):
        message = "a multi-rate graph (--model sdf) was not tried as a dataflow of dora"
        yield Finding("FILE", Location(parts[0].program.sources[0]), message, _NATIVE)


def _unlike(tx: TxFifo) -> Iterator[Finding]:
    if tx.policy != "stop":
        message = f'FIFO {tx.fifo.name!r} has policy="{tx.policy}", and a node of dora that is gone does not come back'
        yield Finding("FILE", tx.fifo.where, message, f'let it be "stop", or {_NATIVE}')


def _aligned(programs: Sequence[PlatformProgram]) -> Iterator[Finding]:
    """Where firings go by index for another reason, dora's edges lack what is said between tokens."""
    if any(program.aligned for program in programs):
        where = Location(programs[0].sources[0])
        what = 'policy="newest" within a platform, or hold="true"'
        yield Finding("FILE", where, f"inputs are matched by index ({what}), which dora's edges do not carry", _NATIVE)


def _emit(parts: Sequence[Part], choices: Choices) -> dict[str, bytes]:
    """``PLATFORM.pyz`` for each platform, and ``dataflow.yml``."""
    filters: dict[str, Any] = {"json": json.dumps, "comment": comment}
    nodes = [_node(part.program) for part in parts]
    text = fill("dataflow.yml.j2", filters, {}, application=parts[0].program.application, nodes=nodes)
    files = {f"{part.program.platform}.pyz": part.bundle for part in parts}
    return {**files, "dataflow.yml": text.encode()}


def _node(program: PlatformProgram) -> dict[str, Any]:
    inputs = [_edge(rx, rx.fifo.name, rx.origin) for rx in program.rx]
    inputs += [_edge(tx, tx.fifo.name + CREDIT, tx.to) for tx in program.tx]
    return {
        "id": program.platform,
        "path": f"{program.platform}.pyz",
        "inputs": inputs,
        "outputs": [*(tx.fifo.name for tx in program.tx), *(rx.fifo.name + CREDIT for rx in program.rx)],
    }


def _edge(end: Union[TxFifo, RxFifo], name: str, peer: str) -> dict[str, Any]:
    fifo = end.fifo
    way = "of" if name.endswith(CREDIT) else "to"
    return {
        "id": name,
        "source": f"{peer}/{name}",
        "queue": fifo.capacity + end.window + BESIDES,
        "note": f"{fifo.token} {way} {fifo.source if way == 'of' else fifo.target}",
    }


TARGET = Target(
    "dora",
    "a dataflow with a node for each platform",
    refused=_refused,
    emit=_emit,
    takes=(),
    executable=(".pyz",),
)
