"""Other applications on the same device: which cores, ports and memory each takes, and whether that goes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from eprune.analysis.lookup import windows
from eprune.analysis.mapping import memory_use
from eprune.codegen.program import PlatformProgram
from eprune.model.system import System


@dataclass(frozen=True)
class Share:
    """What a program takes of its device: cores, ports that it listens on, bytes of buffers and weights (rule M3)."""

    cores: tuple[int, ...] = ()
    ports: tuple[int, ...] = ()
    memory: int = 0


def memory_of(system: System, platform: str) -> int:
    """Bytes of FIFO buffers and weights on a platform, as rule M3 counts them."""
    mapping = system.mapping(platform)
    if mapping is None:
        return 0
    return sum(memory_use(system.graph, mapping, system.interfaces, windows(system)).values())


def limit_of(system: System, platform: str) -> Optional[int]:
    """Bytes of memory that a platform's file states."""
    found = system.platform(platform)
    return None if found is None else found.memory


def share_of(program: PlatformProgram, memory: int) -> Share:
    """What a program takes whose buffers and weights are so many bytes."""
    cores = {core for unit in program.units for core in unit.cores}
    return Share(tuple(sorted(cores)), tuple(sorted({end.port for end in program.rx})), memory)


def together(share: Share, limit: Optional[int], facts: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Problems and notes of a program with this share beside those that are on its device already.

    ``limit`` is the memory that the platform file states, in bytes; None: that of the device counts.
    """
    problems, notes = [], []
    total = share.memory
    for name, said in facts["neighbours"].items():
        other = Share(tuple(said.get("cores", ())), tuple(said.get("listens", ())), said.get("memory", 0))
        total += other.memory
        notes.append(f"beside {name}, which takes {_words(other)}")
        cores, ports = sorted({*share.cores} & {*other.cores}), sorted({*share.ports} & {*other.ports})
        if cores:
            notes.append(f"{_several('core', cores)} {'are' if len(cores) > 1 else 'is'} taken by {name}, too")
        if ports:
            problems.append(
                f"{name} listens on {_several('port', ports)}: state another port for the link in both platform files"
            )
    have = facts["memory_total"] if limit is None else limit
    if facts["neighbours"] and have is not None and total > have:
        problems.append(
            f"M3: with {' and '.join(facts['neighbours'])}, buffers and weights take {total >> 20} MiB, "
            f"and there are {have >> 20}"
        )
    return problems, notes


def _words(share: Share) -> str:
    cores = _several("core", share.cores) if share.cores else "any core"
    return f"{cores} and {share.memory / (1 << 20):.1f} MiB for buffers and weights"


def _several(what: str, numbers: Any) -> str:
    return f"{what}{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
