"""Whether a version can come up beside the one that runs, and take over while frames flow: ports, memory, state."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from eprune.codegen.program import PlatformProgram
from eprune.deploy.neighbours import memory_of
from eprune.model.system import System


def ports_of(program: PlatformProgram) -> list[int]:
    """The ports of a program's links, at either end."""
    return sorted({end.port for end in (*program.tx, *program.rx)})


def span(programs: Sequence[PlatformProgram]) -> int:
    """How many ports there are from the first one of a system's links to the last one."""
    ports = [port for program in programs for port in ports_of(program)]
    return max(ports) - min(ports) + 1 if ports else 0


def shifted(system: System, by: int) -> System:
    """The same system, with the ports of all links moved up."""
    platforms = tuple(
        replace(platform, links=tuple(replace(link, port=link.port + by) for link in platform.links))
        for platform in system.platforms
    )
    return replace(system, platforms=platforms)


def shift_of(facts: Mapping[str, Mapping[str, Any]]) -> int:
    """By how much the ports of what runs have been moved; 0 where nothing runs, or platforms do not agree."""
    shifts = {each["description"].get("shift", 0) for each in facts.values()}
    return shifts.pop() if len(shifts) == 1 else 0


def next_shift(programs: Sequence[PlatformProgram], facts: Mapping[str, Mapping[str, Any]]) -> int:
    """The least one, of whole spans, by which no port is one of those that are in use by what runs."""
    used = {port for each in facts.values() for port in each["description"].get("ports", ())}
    wanted = {port for program in programs for port in ports_of(program)}
    step, shift = span(programs), 0
    while {port + shift for port in wanted} & used:
        shift += step
    return shift


def obstacles(
    system: System,
    facts: Mapping[str, Mapping[str, Any]],
    running: Mapping[str, Mapping[str, Any]],
    reset: Collection[str],
) -> list[str]:
    """What stands in the way of a change while frames flow.

    ``facts`` is what each device said of itself, ``running`` what its program said (``Succession.describe``), and
    ``reset`` are the actors that begin anew.
    """
    if system.graph.is_sdf:
        return ["the ends of its FIFOs have rates of their own (model sdf): deploy without --live"]
    found = []
    readers = {fifo.name: fifo.target.actor for fifo in system.graph.fifos}
    for platform, said in running.items():

        def moves(actor: str, platform: str = platform) -> bool:
            return system.homes.get(actor, platform) != platform

        for name in said["sources"]:
            if moves(name):
                found.append(f"source {name!r} moves from {platform} to {system.homes[name]}: that takes a stop")
        kept = [(f"actor {name!r} keeps its state", name) for name in said["states"] if name not in said["sources"]]
        kept += [(f"FIFO {name!r} holds state", readers.get(name, reader)) for name, reader in said["fifos"].items()]
        for what, actor in kept:
            if moves(actor) and actor not in reset:
                where = f"moves from {platform} to {system.homes[actor]}"
                found.append(f"{what}, and {where}: --reset {actor} lets it begin anew")
        found += _short_of_memory(system, platform, facts[platform])
    known = {actor.name for actor in system.graph.actors}
    found += [f"--reset {name}: there is no such actor" for name in reset if name not in known]
    return found


def _short_of_memory(system: System, platform: str, facts: Mapping[str, Any]) -> list[str]:
    """Both generations are in memory for a while: what runs says how much one takes, beside buffers and weights."""
    free = facts["memory"]
    if free is None:
        return []
    needed = max(memory_of(system, platform), (facts["state"]["status"] or {}).get("resident_bytes") or 0)
    if needed <= free:
        return []
    return [f"{platform}: both versions need {needed >> 20} MiB of memory more for a while, and {free >> 20} are free"]
