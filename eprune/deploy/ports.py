"""Which TCP ports of this machine an application's links use: consecutive ones for each link, free at the time."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping

#: Where ports for links are sought, unless EPRUNE_PORTS says: below those that systems give to connections.
PORTS = "20000-31999"
#: The port after those that were chosen last: what has been chosen need not be in use yet.
_next_port = 0


def _allowed() -> str:
    return os.environ.get("EPRUNE_PORTS") or PORTS


def any_base_port(count: int) -> int:
    """The first of ``count`` consecutive ports, free or not: others than those before, as long as there are such.

    Raises OSError where EPRUNE_PORTS does not allow that.
    """
    global _next_port
    text = _allowed()
    first, _, last = text.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) + 1 - count <= 65536 - count):
        raise OSError(f"EPRUNE_PORTS={text}: expected FIRST-LAST with {count} ports at least, such as {PORTS}")
    bases = range(int(first), int(last) + 2 - count)
    base = _next_port if _next_port in bases else bases[0] if _next_port else random.choice(bases)
    _next_port = base + count
    return base


def free_base_port(count: int) -> int:
    """The first of ``count`` consecutive TCP ports that are free on loopback now. Raises OSError if none is found."""
    for _ in range(200):
        base = any_base_port(count)
        try:
            for port in range(base, base + count):
                socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return base
    raise OSError(f"no {count} consecutive free TCP ports on 127.0.0.1 in {_allowed()}")


def link_ports(links: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], int]:
    """The first of each link's free loopback ports; ``links``: pair of platforms -> how many FIFOs are between them."""
    bases: dict[tuple[str, str], int] = {}
    taken: set[int] = set()
    for pair, count in links.items():
        base = free_base_port(count)
        while taken & set(range(base, base + count)):
            base = free_base_port(count)
        taken |= set(range(base, base + count))
        bases[pair] = base
    return bases


def link_arguments(links: Mapping[tuple[str, str], int]) -> dict[str, list[str]]:
    """Options that put every link on free loopback ports.

    ``links`` maps pairs of platforms to how many FIFOs are between them. Returns platform -> arguments.
    """
    arguments: dict[str, list[str]] = {}
    for (one, other), base in link_ports(links).items():
        for platform, peer in ((one, other), (other, one)):
            arguments.setdefault(platform, []).append(f"--link={peer}=127.0.0.1:{base}")
    return arguments
